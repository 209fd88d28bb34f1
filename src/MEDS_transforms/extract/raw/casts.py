"""Brings values of the parts of a table to the dtype that they have in common."""

import polars as pl

from ...dataset.dtypes import cast_exactly
from ...errors import InputError
from ...expressions.forms import number_as_text

_PER_DAY = {"ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
_LAST_DAY = 365 * 250_000
"""Days from 1970 that polars can write as a date, by far."""


def cast_part(values: pl.Series, dtype: pl.DataType, what: str) -> pl.Series:
    """The values as another dtype. Whole floats become text without `.0`, as they do in codes.

    Raises:
        InputError: a value would not be the same, or is out of the range of the dtype; the message shows it.
    """
    if values.dtype.is_temporal():
        return _cast_times(values, dtype, what)
    if values.dtype == pl.Binary:
        return _decoded(values, what)
    if values.dtype.is_float() and dtype == pl.String:
        return pl.select(number_as_text(pl.lit(values), values.dtype)).to_series().alias(values.name)
    return cast_exactly(values, dtype, what)


def _cast_times(values: pl.Series, dtype: pl.DataType, what: str) -> pl.Series:
    """NOTE: polars panics where it writes a time that is too far away, be it in a message of its own."""
    numbers = values.to_physical()
    lost = values.is_null()
    if values.dtype in (pl.Date, pl.Datetime):
        last = min(_LAST_DAY * _PER_DAY.get(getattr(values.dtype, "time_unit", ""), 1), 2**63 - 1)
        lost = (~numbers.is_between(-last, last)).fill_null(True)
    cast = values.set(lost, None).cast(dtype, strict=False)
    if (bad := cast.is_null() & numbers.is_not_null()).any():
        value = numbers.filter(bad)[0]
        raise InputError(
            f"{what}, column {values.name!r}: {value} ({values.dtype}) is out of the range of {dtype}, "
            "the dtype of all parts. Correct the value, or give the column the same dtype in all parts."
        )
    return cast


def _decoded(values: pl.Series, what: str) -> pl.Series:
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:  # also where the cast is not strict
        bad = next(value for value in values.drop_nulls() if value.decode(errors="ignore").encode() != value)
        raise InputError(
            f"{what}, column {values.name!r}: {bad!r} is no text in UTF-8. Write the column as text."
        ) from None
