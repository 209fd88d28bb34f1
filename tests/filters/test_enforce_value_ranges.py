"""Which values are outside the range of their code, and what becomes of them."""

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
from MEDS_transforms.filters.enforce_value_ranges import check, enforce_value_ranges_fntr
from MEDS_transforms.transforms.occlude_outliers import occlude_outliers_fntr

T = datetime(2020, 1, 1)
NAN, INF = math.nan, math.inf
IS_INLIER = "numeric_value/is_inlier"
FOUND = ("numeric_value", IS_INLIER)


def enforce(df, metadata=None, modifiers=None, **block):
    block = {"out_of_range": "occlude", **block}
    return enforce_value_ranges_fntr(block, modifiers, metadata)(df.lazy()).collect()


def found(value, **bounds):
    df = measurements((1, T, "A", value), text=pl.lit("t"))
    got = enforce(df, ranges=[{"code": "A", **bounds}])
    assert got.columns == [*df.columns, IS_INLIER]
    assert got.schema["numeric_value"] == pl.Float32
    return got.select(FOUND).row(0)


@pytest.mark.parametrize(
    ("value", "kept", "flag"),
    [
        (0, 0, True),
        (9.5, 9.5, True),
        (9.6, None, False),
        (-0.1, None, False),
        (NAN, None, False),
        (INF, None, False),
        (-INF, None, False),
        (None, None, None),
    ],
)
def test_bounds_belong_to_the_range(value, kept, flag):
    assert found(value, min=0, max=9.5) == (kept, flag)


@pytest.mark.parametrize(("value", "flag"), [(1e30, True), (-1, False), (INF, False), (NAN, False)])
def test_one_bound_may_be_missing(value, flag):
    assert found(value, min=0)[1] is flag
    assert found(-value, min=None, max=0)[1] is flag


@pytest.mark.parametrize("value", [0.1, 5, NAN, INF])
def test_a_value_without_a_range_stays(value):
    df = measurements((1, T, "B", value), (1, T, None, value), (1, T, "C", value))
    got = enforce(df, ranges=[{"code": "A", "max": 0}, {"code": "C"}])
    assert_frame_equal(got, df.with_columns(pl.lit(None, pl.Boolean).alias(IS_INLIER)))


def test_a_value_that_is_a_bound_is_in_the_range_though_32_bits_do_not_hold_it():
    assert found(0.1, max=0.1) == found(0.1, min=0.1) == (pytest.approx(0.1), True)
    assert found(3e38, max=1e39)[1] is True


def test_rows_outside_are_dropped_if_so_wished():
    df = measurements((1, T, "A", 5), (1, T, "A", 2), (1, T, "A", None), (1, T, "B", 9), (1, T, "A", NAN))
    got = enforce(df, ranges=[{"code": "A", "max": 3}], out_of_range="drop")
    assert got["numeric_value"].to_list() == [2, None, 9]
    assert got[IS_INLIER].to_list() == [True, None, None]


EARLIER = measurements(*((1, T, "A", v) for v in (None, 9, 1, 1, 1, None)), (1, T, "B", 1)).with_columns(
    pl.Series(IS_INLIER, [False, True, True, None, False, None, True])
)


def test_what_an_earlier_stage_has_found_is_not_forgotten():
    got = enforce(EARLIER, ranges=[{"code": "A", "max": 3}])
    assert got.columns == EARLIER.columns
    assert got[IS_INLIER].to_list() == [False, False, True, True, False, None, True]
    assert enforce(EARLIER, ranges=[{"code": "A", "max": 3}], out_of_range="drop").height == 6


def test_nor_does_occlude_outliers_forget_it():
    metadata = pl.DataFrame({"code": ["A"], "values/mean": [1.0], "values/std": [1.0]})
    got = occlude_outliers_fntr({"stddev_cutoff": 1}, None, metadata)(EARLIER.lazy()).collect()
    assert got[IS_INLIER].to_list() == [False, False, True, True, False, None, True]


def test_columns_of_the_code_metadata():
    metadata = pl.DataFrame({"code": ["A", "B", None], "low": [0, None, 9], "high": [None, 5, 9]})
    df = measurements((1, T, "A", -1), (1, T, "A", 99), (1, T, "B", 6), (1, T, "C", 6))
    got = enforce(df, metadata, min_column="low", max_column="high")
    assert got[IS_INLIER].to_list() == [False, True, False, None]
    # An entry counts alone: it has no maximum from the metadata.
    got = enforce(df, metadata, min_column="low", max_column="high", ranges=[{"code": "B", "min": 0}])
    assert got[IS_INLIER].to_list() == [False, True, True, None]


def test_code_modifiers():
    df = measurements((1, T, "A", 40), (1, T, "A", 100), (1, T, "A", 100), unit=pl.Series(["C", "F", None]))
    entries = [{"code": "A", "unit": "F", "max": 120}, {"code": "A", "unit": "C", "max": 45}]
    assert enforce(df, None, ["unit"], ranges=entries)[IS_INLIER].to_list() == [True, True, None]
    metadata = pl.DataFrame({"code": ["A", "A"], "unit": ["C", "F"], "high": [39, 120]})
    assert enforce(df, metadata, ["unit"], max_column="high")[IS_INLIER].to_list() == [False, True, None]


def test_shards_without_values_or_rows():
    ranges = [{"code": "A", "max": 1}]
    got = enforce(measurements((1, T, "A")).drop("numeric_value"), ranges=ranges)
    assert got.select(FOUND).row(0) == (None, None)
    got = enforce(measurements().cast({"code": pl.Categorical}), ranges=ranges)
    assert got.schema[IS_INLIER] == pl.Boolean
    whole = measurements((1, T, "A", 2), (1, T, "A", 1)).cast({"numeric_value": pl.Int64})
    assert enforce(whole, ranges=ranges)[IS_INLIER].to_list() == [False, True]


def test_without_ranges_nothing_changes(caplog):
    df = measurements((1, T, "A", NAN))
    assert_frame_equal(enforce(df), df)
    assert "removes nothing" in caplog.text


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"ranges": [{"code": "A", "min": 2, "max": 1}]}, r"ranges\[0\]: min is greater than max"),
        ({"ranges": [{"code": "A", "max": NAN}]}, r"ranges\[0\]: a bound is NaN"),
        ({"ranges": [{"code": "A", "unit": "x"}]}, r"ranges\[0\]\.unit: there is no such key"),
        ({"ranges_fp": "no.csv"}, "ranges_fp: there is no file no.csv"),
        ({"min_column": "low"}, "no code metadata, which should have the column low"),
        ({"out_of_range": "clip"}, "out_of_range must be 'drop' or 'occlude'|out_of_range must be"),
    ],
)
def test_wrong_settings(block, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        enforce(measurements(), **block)


def test_wrong_ranges_in_the_metadata():
    metadata = pl.DataFrame({"code": ["A", "B"], "low": [0, 2], "high": [1, 1]})
    with pytest.raises(ValueError, match="the code B: min is greater than max"):
        enforce(measurements(), metadata, min_column="low", max_column="high")
    with pytest.raises(ValueError, match="there is no hgih"):
        enforce(measurements(), metadata, max_column="hgih")


def test_wrong_entries_of_match_and_revise(tmp_path):
    entries = [{"_matcher": {"code": "A"}, "ranges": [{"code": "A", "max": "1"}]}]
    with pytest.raises(ValueError, match=r"ranges\[0\]\.max must be a number, not '1'"):
        check(Preprocessing(tmp_path).cfg("enforce_value_ranges", _match_revise=entries))


def test_the_stage_counts_what_it_removes(tmp_path, caplog):
    data = Preprocessing(tmp_path)
    df = measurements((1, T, "A", 5), (1, T, "A", 2), (1, T, "B", None))
    data.write({"train/0": df, "held_out/0": df.clear()})
    (tmp_path / "ranges.csv").write_text("code,max\nA,3\n")
    block = {"ranges_fp": str(tmp_path / "ranges.csv")}
    caplog.set_level(logging.INFO)
    assert data.run("enforce_value_ranges", **block)["train/0"]["numeric_value"].to_list() == [None, 2, None]
    assert "train/0.parquet: values: 1 in range, 1 removed" in caplog.text
    account = data.cohort / "metadata/accounting/enforce_value_ranges.json"
    assert json.loads(account.read_text())["values"] == {"in_range": 1, "removed": 1}


def test_another_table_makes_other_outputs(tmp_path):
    data, table = Preprocessing(tmp_path), tmp_path / "ranges.csv"
    data.write({"train/0": measurements((1, T, "A", 5))})
    entry = {"_matcher": {"code": "A"}, "ranges_fp": str(table)}
    for block in ({"ranges_fp": str(table)}, {"_match_revise": [entry]}):
        table.write_text("code,max\nA,3\n")
        data.run("enforce_value_ranges", **block, cfg_do_overwrite=True)
        table.write_text("code,max\nA,7\n")
        with pytest.raises(FileExistsError, match="ranges_fp"):
            data.run("enforce_value_ranges", **block)
        got = data.run("enforce_value_ranges", **block, cfg_do_overwrite=True)
        assert got["train/0"]["numeric_value"].to_list() == [5]


def test_the_script_with_parts_of_the_rows(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"train/0": measurements((1, T, "A", 5), (1, T, "A", 2), (1, T, "B", 5))})
    block = "._match_revise=[{_matcher:{code:A},ranges:[{code:{regex:.},max:3}],out_of_range:drop}]"
    assert data.script("enforce_value_ranges", block).returncode == 0
    got = data.shards(data.cohort / "data")["train/0"]
    assert got.select("code", *FOUND).rows() == [("A", 2, True), ("B", 5, None)]
    refused = data.script("enforce_value_ranges", ".ranges=[{code:A,mx:3}]")
    assert refused.returncode == 1
    assert "ranges[0].mx: there is no such key (did you mean 'max'?)" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr


VALUES = st.none() | st.sampled_from([-1.0, 0.0, 0.1, 3.0, NAN, INF])
ROWS = st.lists(st.tuples(st.integers(1, 5), st.none(), st.sampled_from(["A", "B", "AB", None]), VALUES), max_size=40)
RANGES = [{"code": "AB", "max": 0.1}, {"code": {"regex": "A"}, "min": 0, "max": 2}]


@settings(max_examples=25)
@given(rows=ROWS, n=st.integers(1, 4), how=st.sampled_from(["occlude", "drop"]))
def test_shards_do_not_show(rows, n, how):
    df = measurements(*rows).with_columns(id=pl.int_range(pl.len()))
    remove = enforce_value_ranges_fntr({"ranges": RANGES, "out_of_range": how}, None)
    parts = [remove(df.filter(pl.col("subject_id") % n == at).lazy()).collect() for at in range(n)]
    assert_frame_equal(pl.concat(parts).sort("id"), enforce(df, ranges=RANGES, out_of_range=how))
