"""Which values are outliers, and what becomes of them."""

import math
from datetime import datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from helpers import Preprocessing, measurements
from MEDS_transforms.transforms.occlude_outliers import occlude_outliers_fntr

T = datetime(2020, 1, 1)
NAN, INF = math.nan, math.inf
SUMS = {"values/n_occurrences": pl.UInt8, "values/sum": pl.Float32, "values/sum_sqd": pl.Float32}


def sums(*rows):
    """Code metadata: code, n, sum, sum of squares."""
    return pl.DataFrame(rows, schema={"code": pl.String, **SUMS}, orient="row")


def moments(*rows):
    """Code metadata: code, mean, deviation."""
    return pl.DataFrame(
        rows, schema={"code": pl.String, "values/mean": pl.Float64, "values/std": pl.Float64}, orient="row"
    )


def occlude(df, metadata, modifiers=None, cutoff: object = 3):
    return occlude_outliers_fntr({"stddev_cutoff": cutoff}, modifiers, metadata)(df.lazy()).collect()


STANDARD = [sums(("A", 4, 0.0, 4.0)), moments(("A", 0.0, 1.0))]


@pytest.mark.parametrize("metadata", STANDARD)
@pytest.mark.parametrize(
    ("value", "kept", "flag"),
    [
        (2.5, 2.5, True),
        (3.0, 3.0, True),  # strictly further
        (-3.0, -3.0, True),
        (3.01, None, False),
        (-3.01, None, False),
        (INF, None, False),
        (-INF, None, False),
        (NAN, None, False),
        (None, None, None),
    ],
)
def test_a_value_far_from_the_mean_becomes_null(metadata, value, kept, flag):
    df = measurements((1, T, "A", value), text=pl.lit("t"))
    got = occlude(df, metadata)
    assert got.columns == [*df.columns, "numeric_value/is_inlier"]
    assert got.schema["numeric_value"] == pl.Float32
    assert got.select("numeric_value", "numeric_value/is_inlier").row(0) == (kept, flag)


@pytest.mark.parametrize(
    "metadata",
    [
        sums(("B", 4, 0.0, 4.0)),
        sums(("A", 0, 0.0, 0.0)),
        sums((None, 4, 0.0, 4.0)),
        moments(("A", None, None)),
        sums().clear(),
    ],
)
@pytest.mark.parametrize("value", [99.0, NAN, INF])
def test_a_value_whose_code_has_no_statistics_stays(metadata, value):
    """Release 0.1 removed the value of a code that the metadata lacked, and called one without values an inlier."""
    got = occlude(measurements((1, T, "A", value)), metadata)
    want = measurements((1, T, "A", value)).with_columns(pl.lit(None, pl.Boolean).alias("numeric_value/is_inlier"))
    assert_frame_equal(got, want)


@pytest.mark.parametrize("metadata", [sums(("A", 3, 3e6, 2.9e12)), moments(("A", 1.0, NAN)), moments(("A", NAN, NAN))])
def test_nothing_is_far_where_the_deviation_is_nan(metadata):
    got = occlude(measurements((1, T, "A", 7.0)), metadata)
    assert got.select("numeric_value", "numeric_value/is_inlier").row(0) == (7.0, True)


def test_a_code_whose_values_are_all_the_same():
    got = occlude(measurements((1, T, "A", 1.0), (1, T, "A", 1.5)), sums(("A", 1, 1.0, 1.0)))
    assert got["numeric_value"].to_list() == [1.0, None]


def test_given_mean_and_deviation_are_used_instead_of_the_sums():
    """Release 0.1 failed where the metadata had them."""
    metadata = sums(("A", 4, 0.0, 4.0)).with_columns(
        pl.lit(100.0).alias("values/mean"), pl.lit(1.0).alias("values/std")
    )
    assert occlude(measurements((1, T, "A", 1.0), (1, T, "A", 99.0)), metadata)["numeric_value"].to_list() == [None, 99]


def test_null_modifiers_are_equal():
    """In release 0.1 rows with a null modifier lost their value."""
    df = measurements(*((1, T, "A", 5.0) for _ in range(3))).with_columns(unit=pl.Series([None, "x", "y"]))
    metadata = moments(("A", 5.0, 1.0), ("A", 0.0, 1.0)).with_columns(unit=pl.Series([None, "x"]))
    got = occlude(df, metadata, ["unit"])
    assert got.select("numeric_value", "numeric_value/is_inlier").rows() == [(5.0, True), (None, False), (5.0, None)]


def test_without_a_cutoff_nothing_changes():
    df = measurements((1, T, "A", 99.0))
    assert_frame_equal(occlude(df, sums(("A", 4, 0.0, 4.0)), cutoff=None), df)


@pytest.mark.parametrize("cutoff", [10**39, float("inf")])
def test_a_cutoff_of_any_size(cutoff):
    df = measurements((1, T, "A", 99.0))
    assert occlude(df, STANDARD[0], cutoff=cutoff)["numeric_value"].to_list() == [99.0]


def test_a_flag_that_is_there_already_is_replaced():
    df = measurements((1, T, "A", 99.0)).with_columns(pl.lit("old").alias("numeric_value/is_inlier"))
    assert occlude(df, STANDARD[0])["numeric_value/is_inlier"].to_list() == [False]


def test_an_empty_shard():
    assert occlude(measurements(), STANDARD[0]).schema["numeric_value/is_inlier"] == pl.Boolean


@pytest.mark.parametrize(
    ("cutoff", "kind"), [("4.5", TypeError), (True, TypeError), ([3], TypeError), (-1, ValueError), (NAN, ValueError)]
)
def test_a_cutoff_that_is_none(cutoff, kind):
    with pytest.raises(kind, match="stddev_cutoff must be"):
        occlude(measurements(), STANDARD[0], cutoff=cutoff)


def test_missing_columns():
    with pytest.raises(ValueError, match="numeric_value is missing"):
        occlude(measurements().rename({"numeric_value": "numerical_value"}), STANDARD[0])
    with pytest.raises(ValueError, match=r"no values/sum. Run fit_normalization before this stage"):
        occlude(measurements(), STANDARD[0].drop("values/sum"))


def test_the_stage_with_parts_of_the_rows(tmp_path):
    data = Preprocessing(tmp_path)
    metadata = moments(("LAB//A (mg/dL)", 0.0, 1.0), ("B.*", 0.0, 1.0))
    df = measurements(*((1, T, code, 2.0) for code in ["B.*", "LAB//A (mg/dL)", "Bx"]))
    data.write({"train/0": df, "held_out/0": df.clear()}, metadata)
    block = {
        "_match_revise": [
            {"_matcher": {"code": {"regex": "^LAB//"}}},
            {"_matcher": {"code": "B.*"}, "stddev_cutoff": 1},
        ]
    }
    got = data.run("occlude_outliers", **block)
    assert got["train/0"].select("code", "numeric_value", "numeric_value/is_inlier").rows() == [
        ("LAB//A (mg/dL)", 2.0, True),
        ("B.*", None, False),
        ("Bx", 2.0, None),
    ]
    assert got["held_out/0"].is_empty()
    data.write({}, metadata.drop("values/std"))
    result = data.script("occlude_outliers", "do_overwrite=True")
    assert result.returncode == 1
    assert "Run fit_normalization before this stage" in result.stderr
    assert "Traceback" not in result.stderr
