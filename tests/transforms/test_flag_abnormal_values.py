"""Which values are low, normal and high, and where that stands."""

import json
import logging
import math
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import Preprocessing, measurements
from MEDS_transforms.errors import MissingColumnError
from MEDS_transforms.settings.checks import check_block
from MEDS_transforms.transforms.flag_abnormal_values import check, flag_abnormal_values_fntr

T = datetime(2020, 1, 1)
NAN, INF = math.nan, math.inf
FLAG = "numeric_value/range_flag"
FLAGS = {"low": "LOW", "normal": "NORMAL", "high": "HIGH"}
OF_ROWS = {"lower_column": "low", "upper_column": "high"}


def rows(*rows):
    """Measurements, from rows of code, value, and the bounds of the row."""
    bounds = pl.DataFrame([row[2:] for row in rows], {"low": pl.Float64, "high": pl.Float64}, orient="row")
    return measurements(*((1, T, code, value) for code, value, *_ in rows)).hstack(bounds)


def flag(df, metadata=None, modifiers=None, **block):
    block = {"flag_as": "column", "flags": FLAGS, **block}
    return flag_abnormal_values_fntr(block, modifiers, metadata)(df.lazy()).lazy().collect()


def flags(df, *more, **block):
    return flag(df, *more, **block)[FLAG].to_list()


@pytest.mark.parametrize(
    ("value", "bounds", "wanted"),
    [
        (4.0, {"lower": 4, "upper": 5}, "NORMAL"),
        (5.0, {"lower": 4, "upper": 5}, "NORMAL"),
        (4.1, {"lower": 4.1}, "NORMAL"),  # as a 32-bit float it is less than as a 64-bit one
        (0.9, {"upper": 0.9}, "NORMAL"),
        (3.9999998, {"lower": 4, "upper": 5}, "LOW"),
        (5.0000005, {"lower": 4, "upper": 5}, "HIGH"),
        (9.0, {"lower": 4}, "NORMAL"),
        (-9.0, {"upper": 4}, "NORMAL"),
        (1.0, {"lower": 1, "upper": 1}, "NORMAL"),
        (INF, {"lower": 4}, "HIGH"),
        (-INF, {"upper": 4}, "LOW"),
        (INF, {"upper": INF}, "HIGH"),
        (NAN, {"lower": 4, "upper": 5}, None),
        (None, {"lower": 4, "upper": 5}, None),
        (4.0, {}, None),
        (INF, {}, None),
    ],
)
def test_where_a_value_is_in_its_range(value, bounds, wanted):
    df = measurements((1, T, "A", value), text=pl.lit("t"))
    got = flag(df, ranges=[{"code": "A", **bounds}])
    assert_frame_equal(got, df.with_columns(pl.Series(FLAG, [wanted], pl.String)))
    of_row = rows(("A", value, bounds.get("lower"), bounds.get("upper")))
    assert flags(of_row, **OF_ROWS) == [wanted]
    coded = flag(df, ranges=[{"code": "A", **bounds}], flag_as="suffix")
    assert_frame_equal(coded, df.with_columns(code=pl.lit(f"A//{wanted}" if wanted else "A")))


def test_the_range_of_a_row_goes_before_that_of_its_code():
    bounds = [(None, None), (0, None), (None, 3), (5, 1), (NAN, NAN)]
    df = rows(*(("A", 2, *pair) for pair in bounds), ("B", 2, None, None))
    ranges = [{"code": "A", "lower": 10, "upper": 20}]
    assert flags(df, **OF_ROWS, ranges=ranges) == ["LOW", "NORMAL", "NORMAL", "LOW", "LOW", None]
    assert flags(df, lower_column="low", ranges=ranges) == ["LOW", "NORMAL", "LOW", "LOW", "LOW", None]


def test_entries_go_before_a_table_and_that_before_the_code_metadata(tmp_path):
    (tmp_path / "r.csv").write_text("code,regex,lower,upper\nA,,,1\nB,,,1\n,^LAB,,1\n")
    metadata = pl.DataFrame({"code": ["A", "B", "C", "LAB//1", None], "lo": [5, 5, 5, 5, 0], "hi": [None, 9, 9, 9, 0]})
    df = measurements(*((1, T, code, 3) for code in ("A", "B", "C", "LAB//1", "D", None)))
    block = {"lower_metadata_column": "lo", "upper_metadata_column": "hi"}
    assert flags(df, metadata, **block) == ["LOW", "LOW", "LOW", "LOW", None, None]
    block["ranges_fp"] = str(tmp_path / "r.csv")
    assert flags(df, metadata, **block) == ["HIGH", "HIGH", "LOW", "HIGH", None, None]
    block["ranges"] = [{"code": "A", "upper": 4}, {"code": {"regex": "^[AD]$"}, "lower": 4}, {"code": "LAB//1"}]
    assert flags(df, metadata, **block) == ["NORMAL", "HIGH", "LOW", None, "LOW", None]


def test_code_modifiers():
    df = measurements((1, T, "A", 38), (1, T, "A", 38), (1, T, "A", 38), unit=pl.Series(["C", "F", None]))
    entries = [{"code": "A", "unit": "F", "lower": 95}, {"code": "A", "unit": "C", "upper": 37.5}]
    assert flags(df, None, ["unit"], ranges=entries) == ["HIGH", "LOW", None]


@pytest.mark.parametrize(
    ("names", "codes"),
    [
        ({"low": "BAD", "normal": "NORMAL", "high": "BAD"}, ["A//BAD", "A//NORMAL", "A//BAD", "A", None]),
        ({"low": "L", "normal": None, "high": "H"}, ["A//L", "A", "A//H", "A", None]),
        ({"low": None, "normal": None, "high": None}, ["A", "A", "A", "A", None]),
    ],
)  # fmt: skip
def test_names_of_flags(names, codes):
    df = measurements((1, T, "A", 1), (1, T, "A", 2), (1, T, "A", 3), (1, T, "A"), (1, T, None, 9))
    got = flag(df, ranges=[{"code": {"regex": "."}, "lower": 2, "upper": 2}], flags=names, flag_as="suffix")
    assert got.columns == df.columns
    assert got["code"].to_list() == codes


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float32, pl.Decimal(9, 2), pl.Null])
def test_bounds_of_any_number(dtype):
    bounds = pl.Series([None if dtype == pl.Null else 4]).cast(dtype)
    df = measurements((1, T, "A", 5)).with_columns(high=bounds)
    assert flags(df, upper_column="high") == [None if dtype == pl.Null else "HIGH"]


def test_shards_without_values_or_rows():
    ranges = [{"code": "A", "upper": 1}]
    assert flags(measurements((1, T, "A")).drop("numeric_value"), ranges=ranges) == [None]
    assert flag(measurements().cast({"code": pl.Categorical}), ranges=ranges).schema[FLAG] == pl.String
    got = flag(measurements((1, T, "A", 2)).cast({"code": pl.Categorical}), ranges=ranges, flag_as="suffix")
    assert got["code"].to_list() == ["A//HIGH"]
    assert flags(measurements((1, T, "A", 2)).with_columns(pl.lit("old").alias(FLAG)), ranges=ranges) == ["HIGH"]


def test_a_shard_in_which_nothing_changes_is_given_back():
    df = measurements((1, T, "A", NAN), (1, T, "B", 5)).lazy()
    block = {"flag_as": "suffix", "flags": FLAGS, "ranges": [{"code": "A", "upper": 1}]}
    assert flag_abnormal_values_fntr(block, None)(df) is df


def test_without_ranges_nothing_changes(caplog):
    df = measurements((1, T, "A", NAN))
    assert_frame_equal(flag(df), df)
    assert "flags nothing" in caplog.text


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"ranges": [{"code": "A", "lower": 2, "upper": 1}]}, r"ranges\[0\]: lower is greater than upper"),
        ({"ranges": [{"code": "A", "upper": NAN}]}, r"ranges\[0\]: a bound is NaN"),
        ({"ranges": [{"code": "A", "uper": 1}]}, r"ranges\[0\]\.uper: there is no such key \(did you mean 'upper'\?\)"),
        ({"ranges_fp": "no.csv"}, "ranges_fp: there is no file no.csv"),
        ({"lower_metadata_column": "lo"}, "no code metadata, which should have the column lo"),
        ({"flag_as": "prefix"}, "flag_as must be"),
    ],
)
def test_wrong_settings(block, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        flag(measurements(), **block)


def test_wrong_names_of_flags():
    [problem] = check_block("flag_abnormal_values", {"flags": {"lo": "L"}})
    assert "flags.lo: there is no such key (did you mean 'low'?)" in problem


def test_wrong_data():
    with pytest.raises(MissingColumnError, match=r"no column lowr \(did you mean 'lower'\?\)"):
        flag(measurements((1, T, "A", 1), lower=pl.lit(1.0)), lower_column="lowr")
    with pytest.raises(ValueError, match="The column lower must be a number; it is String"):
        flag(measurements((1, T, "A", 1), lower=pl.lit("1")), lower_column="lower")
    metadata = pl.DataFrame({"code": ["A", "B"], "lo": [0, 2], "hi": [1, 1]})
    with pytest.raises(ValueError, match="the code B: lower is greater than upper"):
        flag(measurements(), metadata, lower_metadata_column="lo", upper_metadata_column="hi")


def test_wrong_entries_of_match_and_revise(tmp_path):
    entries = [{"_matcher": {"code": "A"}, "ranges": [{"code": "A", "upper": "1"}]}]
    with pytest.raises(ValueError, match=r"ranges\[0\]\.upper must be a number, not '1'"):
        check(Preprocessing(tmp_path).cfg("flag_abnormal_values", _match_revise=entries))


def test_the_stage_counts_flags_and_warns_of_bounds_that_cannot_be(tmp_path, caplog):
    data = Preprocessing(tmp_path)
    df = rows(
        ("A", 1, None, None), ("A", 2, None, None), ("A", 9, 3, 4), ("B", 5, 8, 7), ("B", None, 8, 7), ("C", 7, 9, 1)
    )  # fmt: skip
    data.write({"train/0": df, "held_out/0": df.clear()})
    caplog.set_level(logging.INFO)
    got = data.run("flag_abnormal_values", ranges=[{"code": "A", "lower": 2}], **OF_ROWS)
    assert got["train/0"]["code"].to_list() == ["A//LOW", "A//NORMAL", "A//HIGH", "B", "B", "C"]
    account = json.loads((data.cohort / "metadata/accounting/flag_abnormal_values.json").read_text())
    assert account["values"] == {"low": 1, "normal": 1, "high": 1, "without_range": 2, "wrong_range": 2}
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("2 values of rows whose range has a lower bound above the upper one")
    assert warning.endswith("B (1), C (1)")


def test_the_script_with_parts_of_the_rows(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"train/0": measurements((1, T, "A", 5), (1, T, "B", 5), (1, T, "C", 5))})
    entries = (
        "{_matcher:{code:A},ranges:[{code:A,upper:3}],flag_as:suffix},{_matcher:{code:B},ranges:[{code:B,lower:3}]}"
    )
    ran = data.script("flag_abnormal_values", f"._match_revise=[{entries}]", ".flag_as=column", ".flags.high=H")
    assert ran.returncode == 0, ran.stderr
    got = data.shards(data.cohort / "data")["train/0"]
    assert got.select("code", FLAG).rows() == [("A//H", None), ("B", "NORMAL"), ("C", None)]


VALUES = st.none() | st.sampled_from([-1.0, 0.0, 0.1, 3.0, NAN, INF])
BOUNDS = st.none() | st.sampled_from([0.0, 0.1, 2.0])
CODES = st.sampled_from(["A", "B", "AB", None])
ROWS = st.lists(st.tuples(st.integers(1, 5), st.tuples(CODES, VALUES, BOUNDS, BOUNDS)), max_size=40)
BLOCK = {**OF_ROWS, "ranges": [{"code": "AB", "upper": 0.1}, {"code": {"regex": "A"}, "lower": 0, "upper": 2}]}


@settings(max_examples=25, deadline=None)
@given(drawn=ROWS, n=st.integers(1, 4), how=st.sampled_from(["suffix", "column"]))
def test_shards_do_not_show(drawn, n, how):
    subjects = pl.Series([subject for subject, _ in drawn], dtype=pl.Int64)
    df = rows(*(row for _, row in drawn)).with_columns(subject_id=subjects, id=pl.int_range(pl.len()))
    change = flag_abnormal_values_fntr({"flags": FLAGS, **BLOCK, "flag_as": how}, None)
    parts = [change(df.filter(pl.col("subject_id") % n == at).lazy()).lazy().collect() for at in range(n)]
    assert_frame_equal(pl.concat(parts).sort("id"), flag(df, **BLOCK, flag_as=how))
