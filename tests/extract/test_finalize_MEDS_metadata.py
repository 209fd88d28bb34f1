"""The cohort's metadata: codes, the dataset, splits; their dtypes on disk and their validity as MEDS."""

import json
from datetime import datetime
from importlib.metadata import version

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import check_meds_codes, check_meds_dataset, check_meds_splits, files_below, write_table
from MEDS_transforms import __version__
from MEDS_transforms.extract.finalize_MEDS_metadata import to_meds_codes

SHARDS = {"train/0": [9, 4], "train/1": [2], "taskA/held_out/0": [3, 2]}


@pytest.fixture
def finalize(x):
    """Runs the stage on merged shards with these codes, and on the result of extract_code_metadata, if any."""

    def run(*overrides, codes=None, data_codes=("A", "B")):
        x.events({"a": {"e": {"code": "A", "time": None}}})
        x.shards(SHARDS)
        for shard in SHARDS:
            path = x.cohort / "merge_to_MEDS_cohort" / f"{shard}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame({"code": [*data_codes]}, schema={"code": pl.String}).write_parquet(path)
        if codes is not None:
            path = x.cohort / "extract_code_metadata" / "codes.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            codes.write_parquet(path)
        x.run("finalize_MEDS_metadata", *overrides)
        return pl.read_parquet(x.cohort / "metadata" / "codes.parquet")

    return run


def arrow_types(x, name):
    return {f.name: str(f.type) for f in pq.read_schema(x.cohort / "metadata" / name)}


def test_what_is_written(x, finalize):
    finalize(codes=pl.DataFrame({"code": ["A"], "description": ["a"]}))
    assert files_below(x.cohort / "metadata") == [
        ".shards.json",
        "codes.parquet",
        "dataset.json",
        "subject_splits.parquet",
    ]


# codes.parquet


def test_codes_come_sorted_with_the_columns_of_meds_first(finalize):
    codes = pl.DataFrame({"x": [1, 2], "parent_codes": [["P"], None], "code": ["B", "A"], "u": ["mg", None]})
    found = finalize(codes=codes)
    assert found.columns == ["code", "description", "parent_codes", "x", "u"]
    assert found.rows() == [("A", None, None, 2, None), ("B", None, ["P"], 1, "mg")]


def test_dtypes_on_disk(x, finalize):
    """Text is arrow string in the columns of MEDS, large_string in the others."""
    codes = pl.DataFrame({"code": ["A"], "description": ["a"], "parent_codes": [["P"]], "u": ["mg"], "n": [1.5]})
    finalize(codes=codes.with_columns(l=pl.concat_list("u")))
    types = arrow_types(x, "codes.parquet")
    parents = types.pop("parent_codes")
    assert parents.startswith("list<")
    assert parents.endswith(": string>")
    others = types.pop("l")
    assert others.startswith("large_list<")
    assert others.endswith(": large_string>")
    assert types == {"code": "string", "description": "string", "u": "large_string", "n": "double"}


@pytest.mark.parametrize(
    "codes",
    [
        pl.DataFrame({"code": ["A"], "description": ["a"], "parent_codes": [["P", None]]}),
        pl.DataFrame({"code": ["A", "B"], "description": [None, None], "parent_codes": ["P", None]}),
        pl.DataFrame({"code": pl.Series(["A"], dtype=pl.Categorical), "description": [3], "parent_codes": [[7]]}),
        pl.DataFrame({"code": ["A"], "x": [["mg", None]]}),
        None,
    ],
)
def test_codes_are_valid_meds(x, finalize, codes):
    found = finalize(codes=codes)
    assert (
        dict(found.schema).items()
        >= {
            "code": pl.String,
            "description": pl.String,
            "parent_codes": pl.List(pl.String),
        }.items()
    )
    check_meds_codes(x.cohort / "metadata" / "codes.parquet")


def test_without_code_metadata_the_table_is_empty(finalize):
    assert finalize().is_empty()


@pytest.mark.parametrize("retype", ["True", "False"])
def test_all_codes_of_the_data_where_asked_for(finalize, retype):
    """The MEDS standard wants every code; release 0.1 left out those that no table describes."""
    codes = pl.DataFrame(
        {"code": ["old", "B"], "description": ["o", "b"], "parent_codes": [None, ["P"]], "x": [1, 2]},
        schema_overrides={"parent_codes": pl.List(pl.String)},
    )
    found = finalize(".include_all_codes=True", f".do_retype={retype}", codes=codes, data_codes=["C", "B", "A", None])
    assert found.rows() == [
        ("A", None, None, None),
        ("B", "b", ["P"], 2),
        ("C", None, None, None),
        ("old", "o", None, 1),
    ]


def test_all_codes_without_any_metadata(finalize):
    assert finalize(".include_all_codes=True").rows() == [("A", None, None), ("B", None, None)]


@pytest.mark.parametrize("overrides", [[], [".include_all_codes='no'"]])
def test_only_described_codes_by_default_and_where_the_word_is_no(finalize, overrides):
    described = pl.DataFrame({"code": ["B"], "description": ["b"]})
    assert finalize(*overrides, codes=described)["code"].to_list() == ["B"]


def test_without_retype_every_violation_is_listed(finalize):
    with pytest.raises(ValueError, match="do_retype") as error:
        finalize(".do_retype=False", codes=pl.DataFrame({"code": [1], "parent_codes": ["P"]}))
    for part in ("code must be String, but is Int64", "description", "missing", "parent_codes must be List(String)"):
        assert part in str(error.value)


def test_without_retype_what_complies_passes():
    codes = pl.DataFrame({"code": ["A"], "description": ["a"], "parent_codes": [["P"]]})
    assert to_meds_codes(codes, do_retype=False).equals(codes)


# dataset.json


def test_dataset(x, finalize):
    finalize()
    dataset = json.loads((x.cohort / "metadata" / "dataset.json").read_text())
    created = datetime.fromisoformat(dataset.pop("created_at"))
    assert created.tzinfo is None
    assert dataset == {
        "dataset_name": "D",
        "dataset_version": "1.0",
        "etl_name": "MEDS_transforms",
        "etl_version": __version__,
        "meds_version": version("meds"),
    }
    assert abs((datetime.now(created.tzinfo) - created).days) <= 1
    check_meds_dataset(x.cohort / "metadata" / "dataset.json")


@pytest.mark.parametrize("key", ["dataset_name", "dataset_version"])
def test_a_dataset_without_a_name_or_version(x, finalize, key):
    with pytest.raises(ValueError, match=rf"etl_metadata\.{key} is not set"):
        finalize(f"etl_metadata.{key}=null")
    assert files_below(x.cohort / "metadata") == [".shards.json"]


# subject_splits.parquet


def test_splits_in_the_order_of_the_shard_map(x, finalize):
    finalize()
    path = x.cohort / "metadata" / "subject_splits.parquet"
    assert pl.read_parquet(path).rows() == [
        (9, "train"),
        (4, "train"),
        (2, "train"),
        (3, "taskA/held_out"),
        (2, "taskA/held_out"),
    ]
    assert (
        pq.read_schema(path).remove_metadata().equals(pa.schema([("subject_id", pa.int64()), ("split", pa.string())]))
    )
    check_meds_splits(path)


# Runs again


def test_existing_outputs_are_an_error_without_overwriting(x, finalize):
    finalize()
    names = ["codes.parquet", "dataset.json", "subject_splits.parquet"]
    before = {name: (x.cohort / "metadata" / name).read_bytes() for name in names}
    with pytest.raises(FileExistsError, match="do_overwrite=True") as error:
        finalize()
    assert all(name in str(error.value) for name in names)
    assert {name: (x.cohort / "metadata" / name).read_bytes() for name in names} == before
    codes = pl.DataFrame({"code": ["B"], "description": ["b"]})
    assert finalize("do_overwrite=True", codes=codes).height == 1


def test_what_a_killed_run_left_half_is_completed(x, finalize):
    finalize()
    (x.cohort / "metadata" / "subject_splits.parquet").unlink()
    finalize()
    assert (x.cohort / "metadata" / "subject_splits.parquet").exists()


def test_code_metadata_of_the_users_own_can_be_kept(x, finalize):
    path = x.cohort / "metadata" / "codes.parquet"
    mine = pl.DataFrame({"code": ["MINE"]})
    write_table(path, mine)
    with pytest.raises(FileExistsError, match=r"with no record of what made them: codes\.parquet\. Either"):
        finalize()
    assert finalize("keep_existing=True").equals(mine)
    assert files_below(path.parent) == [".shards.json", "codes.parquet", "dataset.json", "subject_splits.parquet"]


def test_a_folder_of_another_name(x, finalize):
    with pytest.raises(ValueError, match=r"must be a folder called metadata.*elsewhere"):
        finalize(f".reducer_output_dir={x.cohort}/elsewhere")
    assert not (x.cohort / "elsewhere").exists()


def test_only_worker_0_writes(x, finalize):
    with pytest.raises(FileNotFoundError):
        finalize("worker=1")
    assert files_below(x.cohort / "metadata") == [".shards.json"]


def test_without_a_shard_map(x, finalize):
    finalize()
    (x.cohort / "metadata" / ".shards.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"\.shards\.json.*split_and_shard_subjects"):
        x.run("finalize_MEDS_metadata", "do_overwrite=True")


def test_all_codes_need_all_shards(x, finalize):
    finalize()
    (x.cohort / "merge_to_MEDS_cohort" / "train" / "1.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 shards.*train/1"):
        x.run("finalize_MEDS_metadata", "do_overwrite=True", ".include_all_codes=True")


def test_what_a_worker_left_that_was_killed_after_its_last_file_is_cleared_away(x, finalize):
    finalize()
    before = files_below(x.cohort / "metadata")
    scratch = x.cohort / "metadata/.tmp.subject_splits.parquet"
    scratch.mkdir()
    (x.cohort / "metadata" / ".subject_splits.parquet.lock").touch()
    with pytest.raises(FileExistsError):
        finalize()
    assert files_below(x.cohort / "metadata") == before
    assert not scratch.exists()


@pytest.mark.parametrize("name", ["codes.parquet", "subject_splits.parquet", "dataset.json"])
def test_a_file_that_is_missing_is_made(x, finalize, name):
    finalize()
    (x.cohort / "metadata" / name).unlink()
    finalize()
    assert (x.cohort / "metadata" / name).exists()
