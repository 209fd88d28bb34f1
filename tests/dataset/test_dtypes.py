"""The common dtype of columns, and that no number becomes another in it."""

import polars as pl
import pytest

from MEDS_transforms.dataset.code_metadata import Lookup, join_former
from MEDS_transforms.dataset.dtypes import common_dtype, concat_with_common_dtypes

LARGE = 2**60 + 1


def column(values, dtype, name="v"):
    return pl.DataFrame({name: pl.Series(values, dtype=dtype)})


@pytest.mark.parametrize(
    ("dtypes", "met"),
    [
        ([], pl.Null()),
        ([pl.Null(), pl.Null()], pl.Null()),
        ([pl.Int64(), pl.UInt64()], pl.Int64()),
        ([pl.UInt64(), pl.Null(), pl.Int8()], pl.Int64()),
        ([pl.Int128(), pl.Int64()], pl.Int64()),
        ([pl.UInt32(), pl.UInt64()], pl.UInt64()),
        ([pl.Int64(), pl.Float32()], pl.Float64()),
        ([pl.Datetime("us"), pl.String()], pl.String()),
        ([pl.List(pl.Int8()), pl.List(pl.Int64())], pl.List(pl.Int64())),
        ([pl.List(pl.String()), pl.String()], None),
        ([pl.Date(), pl.Datetime("us")], pl.Datetime("us")),
        ([pl.Int64(), pl.Datetime("us")], None),
    ],
)
def test_the_common_dtype_of_columns(dtypes, met):
    assert common_dtype(dtypes) == common_dtype(dtypes[::-1]) == met


def test_integers_with_and_without_sign_stay_the_same_numbers():
    together = concat_with_common_dtypes([column([LARGE, None], pl.UInt64), column([-LARGE], pl.Int64)])
    assert (together.schema["v"], together["v"].to_list()) == (pl.Int64, [LARGE, None, -LARGE])


@pytest.mark.parametrize(
    ("values", "dtype", "other"), [([1, 2**63], pl.UInt64, pl.Int64), ([1, LARGE], pl.Int64, pl.Float64)]
)
def test_numbers_that_would_become_others_are_an_error(values, dtype, other):
    with pytest.raises(ValueError, match=f"^Column 'v' has incompatible dtypes in the shards: {values[1]} .*{dtype}"):
        concat_with_common_dtypes([column(values, dtype), column([1], other)], "the shards")


def test_numeric_values_are_floats_anyway():
    together = concat_with_common_dtypes(
        [column(values, dtype, "numeric_value") for values, dtype in (([2**63], pl.UInt64), ([LARGE], pl.Int64))]
    )
    assert together["numeric_value"].to_list() == [float(2**63), float(LARGE)]


def test_modifiers_with_and_without_sign_are_found_by_their_number():
    data = pl.LazyFrame({"code": ["A", "A"], "m": pl.Series([LARGE, LARGE + 1], dtype=pl.UInt64)})
    codes = pl.DataFrame({"code": ["A", "A"], "m": [LARGE, LARGE + 1], "n": [1, 2]})
    assert Lookup(codes, ["m"], {"n": "n"})(data).collect()["n"].to_list() == [1, 2]
    assert join_former(data.collect(), codes, ["m"])["n"].to_list() == [1, 2]
    with pytest.raises(Exception, match=f"incompatible dtypes in .*: {2**63} "):
        Lookup(codes, ["m"], {"n": "n"})(data.with_columns(m=pl.lit(2**63, pl.UInt64))).collect()
