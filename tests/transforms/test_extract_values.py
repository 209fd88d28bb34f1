"""Columns computed from other columns."""

from datetime import date, datetime, timedelta, timezone

import polars as pl
import pytest
from omegaconf import OmegaConf

from helpers import Preprocessing, measurements
from MEDS_transforms.transforms.extract_values import extract_values

T = [datetime(2020, 1, 1), datetime(2021, 1, 1)]
SHARD = measurements(
    (1, None, "BP"),
    (1, T[0], "BP"),
    (1, T[1], "LAB", 1.25),
    (2, T[0], "LAB", 2.0),
    text=pl.Series(["120/80", "x", None, "7"]),
    n=pl.Series([1, 2, 3, None]),
)


def extracted(df=SHARD, **block):
    return extract_values(OmegaConf.create(block))(df.lazy()).lazy().collect()


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("text", ["120/80", "x", None, "7"]),
        ("{code}|{n}", ["BP|1", "BP|2", "LAB|3", None]),
        ({"literal": "{n}"}, ["{n}"] * 4),
        ({"extract": {"from": "text", "regex": r"^(\d+)/(\d+)$", "group_index": 2}}, ["80", None, None, None]),
        (["text", "code"], ["120/80", "x", "LAB", "7"]),
        ({"output": {"literal": "yes"}, "matcher": {"code": {"regex": "^L"}}}, [None, None, "yes", "yes"]),
        ({"text": {"n": 2}}, [None, "x", None, None]),
    ],
)
def test_expressions(expression, values):
    got = extracted(new=expression)
    assert got["new"].to_list() == values
    assert got.drop("new").equals(SHARD)


def test_all_columns_are_computed_from_the_shard_as_it_was_and_replaced_in_place():
    got = extracted(code="text", text="code", more="code")
    assert got.columns == [*SHARD.columns, "more"]
    assert got["code"].to_list() == SHARD["text"].to_list()
    assert got["text"].to_list() == got["more"].to_list() == SHARD["code"].to_list()


@pytest.mark.parametrize(
    ("column", "expression", "dtype", "values"),
    [
        ("numeric_value", "n", pl.Float32, [1, 2, 3, None]),
        ("numeric_value", {"extract": {"from": "text", "regex": r"(\d+)"}}, pl.Float32, [120, None, None, 7]),
        ("code", "n", pl.String, ["1", "2", "3", None]),
        ("categorical_value", "n", pl.String, ["1", "2", "3", None]),
        ("text_value", "numeric_value", pl.String, [None, None, "1.25", "2.0"]),
    ],
)
def test_columns_of_meds_get_their_dtypes(column, expression, dtype, values):
    got = extracted(**{column: expression})
    assert got.schema[column] == dtype
    assert got[column].to_list() == values


@pytest.mark.parametrize(
    ("column", "keys"),
    [
        ("subject_id", [(3, T[0]), (4, T[0]), (4, T[1]), (5, None)]),
        ("time", [(1, None), (1, T[0]), (1, T[1]), (2, T[0])]),
    ],
)
def test_replacing_subject_or_time_warns_and_keeps_rows_in_order(caplog, column, keys):
    df = SHARD.with_columns(n=pl.Series(["5", "4", "4", "3"]), t=pl.Series([T[1], T[0], None, T[0]]))
    got = extracted(df, **{column: "n" if column == "subject_id" else "t"})
    assert got.select("subject_id", "time").rows() == keys
    assert got.schema[column] == SHARD.schema[column]
    assert caplog.records[0].getMessage().startswith(f"extract_values replaces {column}")


@pytest.mark.parametrize(
    ("values", "time"),
    [
        (["2021-05-06 07:08:09", None], datetime(2021, 5, 6, 7, 8, 9)),
        (["2021-05-06T07:08:09Z", None], datetime(2021, 5, 6, 7, 8, 9)),
        (["2021-05-06T07:08:09.123456", None], datetime(2021, 5, 6, 7, 8, 9, 123456)),
        (["2021-05-06", None], datetime(2021, 5, 6)),
        ([date(2021, 5, 6), None], datetime(2021, 5, 6)),
        ([datetime(2021, 5, 6, 7, tzinfo=timezone(timedelta(hours=2))), None], datetime(2021, 5, 6, 5)),
    ],
)
def test_times_of_any_kind(values, time):
    df = pl.DataFrame({"subject_id": [1, 1], "t": values})
    got = extracted(df, time="t")
    assert got.schema["time"] == pl.Datetime("us")
    assert got["time"].to_list() == [None, time]


@pytest.mark.parametrize(
    ("former", "name"), [("numerical_value", "numeric_value"), ("patient_id", "subject_id"), ("timestamp", "time")]
)
def test_former_names_warn(caplog, former, name):
    got = extracted(**{former: "n"})
    assert got[former].to_list() == SHARD["n"].to_list()
    assert any(former in r.getMessage() and name in r.getMessage() for r in caplog.records)


def test_other_columns_do_not_warn(caplog):
    extracted(new="n", numeric_value="n")
    assert not caplog.records


def test_missing_columns_are_listed_with_near_names():
    with pytest.raises(ValueError, match="the data does not have") as info:
        extracted(a="txet", b="{codes} {n}", c={"text": {"nowhere": 1}})
    for part in ("a reads txet (did you mean 'text'?)", "b reads codes", "c reads nowhere"):
        assert part in str(info.value)
    assert "reads n\n" not in str(info.value)


def test_malformed_expressions_are_listed_before_anything_is_read():
    with pytest.raises(ValueError, match="cannot be read") as info:
        extract_values({"a": 5, "b": {"extract": {"from": "x"}}, "c": "fine"})
    assert "- a: " in str(info.value)
    assert "- b: " in str(info.value)
    assert "- c: " not in str(info.value)


@pytest.mark.parametrize(
    ("column", "expression", "says"),
    [
        ("numeric_value", "text", "numeric_value must be Float32; 2 of 4 values are not, such as '120/80', 'x'"),
        ("time", "text", "time must be Datetime"),
        ("subject_id", "text", "'120/80'"),
        ("subject_id", "numeric_value", "1.25"),
    ],
)
def test_values_that_do_not_fit_are_an_error(column, expression, says):
    with pytest.raises(ValueError, match="do not fit") as info:
        extracted(**{column: expression})
    assert says in str(info.value)


def test_keys_that_are_no_columns():
    block = {"description": 3, "_hint": 4, "output_dir": "x", "data_input_dir": "y", "is_metadata": False}
    assert extracted(**block, new="n").columns == [*SHARD.columns, "new"]


def test_a_block_without_columns_warns(caplog):
    assert extracted().equals(SHARD)
    assert "computes no columns" in caplog.text


def test_empty_shards():
    got = extracted(SHARD.clear(), numeric_value="text", subject_id="n", new="{code}")
    assert got.is_empty()
    assert got.schema["numeric_value"] == pl.Float32


def test_the_stage_with_match_and_revise(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": SHARD})
    entries = [{"_matcher": {"code": "LAB"}, "unit": {"literal": "mg"}}]
    shards = x.run("extract_values", half={"literal": 0.5}, _match_revise=entries)
    got = shards["0"]
    assert got.select("code", "half", "unit").rows() == [
        ("BP", None, None),
        ("BP", None, None),
        ("LAB", 0.5, "mg"),
        ("LAB", 0.5, "mg"),
    ]
    assert got.select(SHARD.columns).equals(SHARD)
