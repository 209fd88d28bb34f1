"""Splits and groups that users give: every format, and everything that may be wrong with them."""

import gzip
import json

import polars as pl
import pytest

from MEDS_transforms.dataset.external_splits import external_splits_file, read_external_splits
from MEDS_transforms.dataset.subject_tables import read_subject_table
from MEDS_transforms.extract.subject_numbers import ids_as_text

ROWS = {"subject_id": [7, 3, 9, 3], "split": ["b", "a", "b", "a"]}
WANT = {"b": [7, 9], "a": [3]}


def write(folder, name, table):
    path = folder / name
    if name.endswith(".csv.gz"):
        path.write_bytes(gzip.compress(table.write_csv().encode()))
    elif name.endswith(".csv"):
        table.write_csv(path)
    else:
        table.write_parquet(path)
    return str(path)


@pytest.mark.parametrize("key", ["external_splits_fp", "external_splits_json_fp"])
@pytest.mark.parametrize("name", ["s.parquet", "s.par", "s.csv", "s.csv.gz", "s [1].parquet"])
def test_a_table_of_any_format_is_read_by_either_key(tmp_path, key, name):
    path = write(tmp_path, name, pl.DataFrame(ROWS).with_columns(other=pl.lit(1)))
    assert read_external_splits({key: path}) == WANT


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Int8, pl.Float64, pl.String])
@pytest.mark.parametrize("text", [pl.String, pl.Categorical, pl.Enum(["a", "b"])])
def test_dtypes_that_writers_choose(tmp_path, dtype, text):
    table = pl.DataFrame(ROWS).cast({"subject_id": dtype, "split": text})
    assert read_external_splits({"external_splits_fp": write(tmp_path, "s.parquet", table)}) == WANT


def test_splits_that_are_numbers_are_named_by_their_digits(tmp_path):
    path = write(tmp_path, "s.parquet", pl.DataFrame({"subject_id": [1, 2], "split": [0, 1]}))
    assert read_external_splits({"external_splits_fp": path}) == {"0": [1], "1": [2]}


@pytest.mark.parametrize(("ids", "want"), [(["A1", "07"], ["A1", "07"]), ([7, 8], ["7", "8"])])
@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_ids_that_are_text_stay_as_they_are_written(tmp_path, ids, want, name):
    path = write(tmp_path, name, pl.DataFrame({"subject_id": ids, "split": ["a", "a"]}))
    assert read_external_splits({"external_splits_fp": path}, str, ids_as_text) == {"a": want}


def test_a_json_file_by_the_new_key(tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(WANT))
    assert read_external_splits({"external_splits_fp": str(path)}) == WANT
    assert read_external_splits({"external_splits_fp": None}) is None


def test_both_keys_at_once():
    with pytest.raises(ValueError, match="external_splits_fp, external_splits_json_fp: both are given"):
        external_splits_file({"external_splits_fp": "a.csv", "external_splits_json_fp": "b.json"})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"subject_id": [1], "spilt": ["a"]}, r"no column split \(did you mean 'spilt'\?\); it has .*spilt"),
        ({"patient": [1], "part": ["a"]}, r"(?s)no column subject_id.*no column split"),
        ({"subject_id": [], "split": []}, "it has no rows"),
        ({"subject_id": [1, None, None], "split": ["a", "a", "b"]}, "column subject_id: null in 2 rows"),
        ({"subject_id": [1, 2], "split": ["a", None]}, "column split: null in 1 row"),
        ({"subject_id": [1, 2], "split": ["a", ""]}, "column split: null in 1 row"),
        ({"subject_id": [1, 2, 2], "split": ["a", "a", "b"]}, "1 subject with several values, such as 2 with 'a', 'b'"),
        ({"subject_id": ["1", "x"], "split": ["a", "b"]}, "column subject_id: subject ids must be whole numbers.*'x'"),
        ({"subject_id": [1.5], "split": ["a"]}, "whole numbers"),
        ({"subject_id": [True], "split": ["a"]}, "must be integers, not Boolean"),
        ({"subject_id": [1], "split": [0.5]}, "column split: must be text or integers, not Float64"),
        ({"subject_id": [1.5, None], "split": [[1], None]}, r"(?s)whole numbers.*must be text or integers, not List"),
    ],
)
def test_every_fault_of_a_table_is_told_with_its_place(tmp_path, table, said):
    path = write(tmp_path, "s.parquet", pl.DataFrame(table))
    with pytest.raises(ValueError, match=said) as error:
        read_external_splits({"external_splits_json_fp": path})
    assert str(error.value).startswith("The table that external_splits_json_fp names cannot be used:\n")
    assert all(str(path) in problem.where for problem in error.value.problems)


def test_ids_that_are_the_same_number_are_one_subject(tmp_path):
    (tmp_path / "s.csv").write_text("subject_id,split\n07,a\n7,b\n")
    with pytest.raises(ValueError, match="such as 7 with 'a', 'b'"):
        read_external_splits({"external_splits_fp": str(tmp_path / "s.csv")})


@pytest.mark.parametrize(
    ("name", "content"), [("s.parquet", b"PAR1"), ("s.csv", b""), ("s.csv", b"subject_id,split\n1,\xff\n")]
)
def test_a_damaged_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s)cannot be used.*{name}: it cannot be read"):
        read_external_splits({"external_splits_fp": str(tmp_path / name)})


@pytest.mark.parametrize("name", ["none.csv", "none.json"])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"There is no file .*{name} \(external_splits_fp\)"):
        read_external_splits({"external_splits_fp": str(tmp_path / name)})


def test_groups_may_be_null(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("subject_id,group\n1,x\n2,\n3,x\n")
    assert read_subject_table(path, "groups_fp", "group", nulls=True).rows() == [(1, "x"), (3, "x")]
