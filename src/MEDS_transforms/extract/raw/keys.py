"""Keys of joins: text, as it is written in a text file, whatever the dtypes of the two sides."""

from collections.abc import Sequence

import polars as pl

from ...dataset.columns import column, internal
from ...dataset.dtypes import is_text
from ...errors import InputError
from ...expressions.forms import as_written

_LARGEST = 1e38
"""Whole numbers up to here fit 128 bits."""
_TRAILING_ZEROS = r"\.0*$|(\.\d*?[1-9])0*$"
_MOMENT = "%Y-%m-%d %H:%M:%S%.f"


def key_columns(n: int) -> list[str]:
    """The names of the columns of a key with `n` columns."""
    return [internal(f"key {i}") for i in range(n)]


def as_keys(frame: pl.DataFrame, names: Sequence[str], where: str) -> pl.DataFrame:
    """The key of every row: some columns as text, those as they are written preferred (see `as_written`).

    Whole numbers have no fraction, other numbers no zeros at their ends; NaN is null. Times are ISO 8601.

    Raises:
        InputError: a column has values that are not written as text.
    """
    there = frame.schema
    read = [as_written(name) if as_written(name) in there else name for name in names]
    texts = [_as_text(column(name), there[name], f"{where}: the column {name!r}") for name in read]
    return frame.select(text.alias(key) for text, key in zip(texts, key_columns(len(names)), strict=True))


def _as_text(values: pl.Expr, dtype: pl.DataType, what: str) -> pl.Expr:
    text = values.cast(pl.String)
    if dtype.is_float():
        is_whole = (values == values.round()) & (values.abs() < _LARGEST)
        whole = values.cast(pl.Int128, strict=False).cast(pl.String)
        return pl.when(values.is_nan()).then(None).when(is_whole).then(whole).otherwise(text)
    if dtype.is_decimal():
        return text.str.replace(_TRAILING_ZEROS, "$1")
    if dtype == pl.Duration:
        return values.dt.to_string("iso")
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return values.dt.to_string(_MOMENT)
        return values.dt.convert_time_zone("UTC").dt.to_string(f"{_MOMENT}%:z")
    if is_text(dtype) or dtype in (pl.Boolean, pl.Null) or dtype.is_integer() or dtype.is_temporal():
        return text
    raise InputError(f"{what} is {dtype}, and cannot be a key. Keys are text, numbers, booleans or times.")
