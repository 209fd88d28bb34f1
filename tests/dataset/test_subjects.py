"""Subject ids: every dtype that holds whole numbers gives Int64, anything else is an error with an example."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.dataset.subjects import subject_ids

WHERE = "Table labs, column MRN"
INTEGERS = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]


@pytest.mark.parametrize("dtype", [*INTEGERS, pl.Float32, pl.Float64, pl.Decimal(10, 2)])
def test_numbers(dtype):
    ids = subject_ids(pl.Series("MRN", [3, None, 1], dtype=dtype), WHERE)
    assert (ids.name, ids.dtype, ids.to_list()) == ("subject_id", pl.Int64, [3, None, 1])


@pytest.mark.parametrize(
    "dtype", [pl.String, pl.Categorical, pl.Categorical(pl.Categories("of a name")), pl.Enum(["-2", "007", "+3"])]
)
def test_text_that_is_integers(dtype):
    ids = subject_ids(pl.Series("MRN", ["007", None, "-2"], dtype=dtype), WHERE)
    assert (ids.dtype, ids.to_list()) == (pl.Int64, [7, None, -2])


def test_text_of_floats_that_are_whole():
    """As a program writes a column of integers with nulls in it."""
    assert subject_ids(pl.Series("MRN", ["7.0", None, "-2.00", "8", "9007199254740992.0"]), WHERE).to_list() == [
        *(7, None, -2, 8),
        2**53,
    ]


def test_nothing_but_nulls():
    ids = subject_ids(pl.Series("MRN", [None, None], dtype=pl.Null), WHERE)
    assert (ids.dtype, ids.to_list()) == (pl.Int64, [None, None])


@pytest.mark.parametrize(
    ("values", "dtype", "example"),
    [
        (["12", "A-7"], pl.String, "'A-7'"),
        (["1.5"], pl.String, "'1.5'"),
        (["9007199254740993.0"], pl.String, "'9007199254740993.0'"),
        ([2.0**53 + 2], pl.Float64, "9007199254740994.0"),
        ([2.0**25], pl.Float32, "33554432.0"),
        ([""], pl.String, "''"),
        (["9223372036854775808"], pl.String, "'9223372036854775808'"),
        (["x"], pl.Categorical, "'x'"),
        ([1.0, 1.5], pl.Float64, "1.5"),
        ([float("nan")], pl.Float64, "nan"),
        ([float("inf")], pl.Float64, "inf"),
        ([1e19], pl.Float64, "1e+19"),
        ([0.5], pl.Float32, "0.5"),
        ([2**63], pl.UInt64, str(2**63)),
        ([Decimal("2.5")], pl.Decimal(10, 1), "2.5"),
        ([Decimal(10**20)], pl.Decimal(30, 0), str(10**20)),
    ],
)
def test_anything_else_is_an_error(values, dtype, example):
    """Release 0.1 made nulls of such ids."""
    with pytest.raises(ValueError, match=WHERE) as error:
        subject_ids(pl.Series("MRN", [*values, None], dtype=dtype), WHERE)
    assert example in str(error.value)
    assert "subject_id_col" in str(error.value)


@pytest.mark.parametrize("values", [[True], [date(2020, 1, 1)], [[1]]])
def test_dtypes_that_are_no_ids(values):
    with pytest.raises(ValueError, match=f"{WHERE}.*must be integers, not"):
        subject_ids(pl.Series("MRN", values), WHERE)


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()))
def test_text_and_integers_agree(ids):
    as_text = pl.Series("MRN", [None if i is None else str(i) for i in ids], dtype=pl.String)
    assert subject_ids(as_text, WHERE).to_list() == ids
