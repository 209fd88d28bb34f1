"""Codes become numbers, values distances from the mean."""

import math
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from helpers import Preprocessing, measurements
from MEDS_transforms.transforms.normalization import normalization_fntr

T = datetime(2020, 1, 1)
NAN, INF = math.nan, math.inf
OUTPUT = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.UInt16, "numeric_value": pl.Float32}


def sums(*rows):
    """Code metadata: code, number, n, sum, sum of squares."""
    schema = {
        "code": pl.String,
        "code/vocab_index": pl.UInt16,
        "values/n_occurrences": pl.UInt32,
        "values/sum": pl.Float32,
        "values/sum_sqd": pl.Float32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


METADATA = sums((None, 1, 9, 9.0, 9.0), ("A", 2, 4, 8.0, 20.0), ("B", 3, 0, 0.0, 0.0), ("C", 4, 1, 2.0, 4.0))


def normalize(df, metadata=METADATA, modifiers=None):
    return normalization_fntr(modifiers, metadata)(df.lazy()).collect()


def values(rows, metadata=METADATA):
    got = normalize(measurements(*rows), metadata)
    assert got.schema == OUTPUT
    return got.select("code", "numeric_value").rows()


def test_rows_in_their_order_those_of_unknown_codes_dropped():
    rows = [(2, T, "C", None), (1, None, "A", 3.0), (1, T, "absent", 3.0), (1, T, None, 3.0), (1, T, "A", 2.0)]
    got = normalize(measurements(*rows, text_value=pl.lit("t")))
    assert got.schema == OUTPUT
    assert got.rows() == [(2, T, 4, None), (1, None, 2, 1.0), (1, T, 2, 0.0)]


def test_values_that_tokenization_treats_as_missing():
    got = values([(1, T, code, value) for code, value in [("C", 2.0), ("C", 3.0), ("B", 1.0), ("B", None), ("A", NAN)]])
    assert [code for code, _ in got] == [4, 4, 3, 3, 2]
    assert np.array_equal([NAN if v is None else v for _, v in got], [NAN, INF, NAN, NAN, NAN], equal_nan=True)
    assert got[3][1] is None
    assert got[2][1] is not None


def test_infinities():
    assert values([(1, T, "A", INF), (1, T, "A", -INF)]) == [(2, INF), (2, -INF)]


def test_the_arithmetic_of_the_sums_is_that_of_release_0_1():
    """Whatever the type of the count, in 32 bits throughout."""
    f = np.float32
    mean = f(10.1) / f(7)
    std = np.sqrt(f(20.2) / f(7) - mean * mean)
    for dtype in (pl.UInt8, pl.UInt32, pl.UInt64):
        metadata = sums(("A", 1, 7, 10.1, 20.2)).cast({"values/n_occurrences": dtype})
        assert values([(1, T, "A", 3.3)], metadata) == [(1, (f(3.3) - mean) / std)]


def test_given_mean_and_deviation_are_preferred_and_the_result_is_float32():
    """Release 0.1 gave 64-bit values. In 64 bits a small deviation beside a large mean is not lost."""
    metadata = METADATA.with_columns(pl.lit(16777217.0).alias("values/mean"), pl.lit(0.5).alias("values/std"))
    assert values([(1, T, "A", 16777220.0)], metadata) == [(2, 6.0)]


def test_null_modifiers_are_equal():
    df = measurements(*((1, T, "A", 2.0) for _ in range(3))).with_columns(unit=pl.Series([None, "x", "y"]))
    metadata = sums(("A", 1, 2, 2.0, 4.0), ("A", 2, 2, 0.0, 2.0)).with_columns(unit=pl.Series([None, "x"]))
    got = normalize(df, metadata, ["unit"])
    assert got.schema == OUTPUT
    assert got.select("code", "numeric_value").rows() == [(1, 1.0), (2, 2.0)]


def test_an_empty_shard():
    assert normalize(measurements()).schema == OUTPUT


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("code/vocab_index", "no code/vocab_index. Run fit_vocabulary_indices before this stage"),
        ("values/sum", "no values/sum. Run fit_normalization before this stage"),
    ],
)
def test_metadata_that_lack_what_is_needed(column, message):
    with pytest.raises(ValueError, match=message):
        normalize(measurements(), METADATA.drop(column))


def test_data_that_lack_columns():
    with pytest.raises(ValueError, match="numeric_value is missing"):
        normalize(measurements().rename({"numeric_value": "numerical_value"}))
    with pytest.raises(ValueError, match="The data has no column unit"):
        normalize(measurements(), METADATA.with_columns(unit=pl.lit("x")), ["unit"])


def test_the_stage(tmp_path):
    data = Preprocessing(tmp_path)
    df = measurements((1, T, "A", 3.0), (1, T, "A.", 3.0))
    data.write({"train/0": df, "tuning/0": df.clear()}, METADATA)
    got = data.run("normalization")
    assert got["train/0"].rows() == [(1, T, 2, 1.0)]
    assert got["tuning/0"].schema == OUTPUT
