"""The values of measurements, from columns of any dtype."""

import polars as pl

from ..dataset.columns import column, named
from ..dataset.dtypes import LARGEST_FLOAT32, has_text, is_text
from ..dataset.schema import BOOLEAN_VALUE, CATEGORICAL_VALUE, NUMERIC_VALUE, TEXT_VALUE
from ..errors import InputError
from ..expressions.forms import text_of, truth_of
from .event_file.model import Event, TableOptions

_LENIENT = r"^\s*(?:[<>≤≥=~]|<=|>=)?\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$"


def value_expr(event: Event, out: str, source: str, dtype: pl.DataType) -> pl.Expr:
    """The output column `out`, made of the input column `source`.

    Raises:
        ValueError: the dtype does not suit this output.
    """
    value = column(source)
    if out == NUMERIC_VALUE and is_text(dtype):
        return number_of(value.cast(pl.String), event.options)
    if out == NUMERIC_VALUE and source in event.computed and dtype.is_float():
        return _that_float32_holds(value)  # a division by 0 is no number
    if out == NUMERIC_VALUE and dtype == pl.Float64:
        return pl.when(value.is_infinite()).then(value).otherwise(_that_float32_holds(value))
    if out in (TEXT_VALUE, CATEGORICAL_VALUE) and has_text(dtype):
        return text_of(source)
    if out == BOOLEAN_VALUE and is_text(dtype):
        return truth_of(value.cast(pl.String))
    if out == BOOLEAN_VALUE and dtype.is_numeric():
        return value != 0
    if out == BOOLEAN_VALUE and dtype == pl.Null:
        return value.cast(pl.Boolean)
    if dtype.is_numeric() or is_text(dtype) or dtype in (pl.Boolean, pl.Null):
        return value
    if dtype.is_temporal() and event.is_newer:
        return value
    raise InputError(
        f"{named(source)} has the dtype {dtype}; a value must be a number, text, categorical or boolean.",
        f"{event.path}.{out}",
    )


def number_of(text: pl.Expr, options: TableOptions) -> pl.Expr:
    """The numbers that texts are (Float64); null where one is none, or where float32 would be infinite."""
    exact = exact_number(text, options)
    if options.numbers == "exact":
        return exact
    left = pl.when(exact.is_null()).then(_with_point(text, options))
    return exact.fill_null(_that_float32_holds(left.str.extract(_LENIENT).cast(pl.Float64, strict=False)))


def exact_number(text: pl.Expr, options: TableOptions) -> pl.Expr:
    """The numbers that texts are as they stand, without a sign such as `<` or spaces around them."""
    return _that_float32_holds(_with_point(text, options).cast(pl.Float64, strict=False))


def _with_point(text: pl.Expr, options: TableOptions) -> pl.Expr:
    return text.str.replace(",", ".", literal=True) if options.decimal == "," else text


def _that_float32_holds(number: pl.Expr) -> pl.Expr:
    """Numbers, null where they would be infinite as `numeric_value`, which is Float32."""
    return pl.when((number.abs() < LARGEST_FLOAT32) | number.is_nan()).then(number)


def text_that_is_no_number(text: pl.Expr, number: pl.Expr, options: TableOptions) -> pl.Expr:
    """Texts, null where they only repeat the number, to the precision of Float32."""
    as_number = exact_number(text, options).cast(pl.Float32)
    repeats = (as_number == number.cast(pl.Float32, strict=False)).fill_null(False)
    return pl.when(~repeats).then(text)


def inexact_text(text: pl.Expr, options: TableOptions) -> pl.Expr:
    """Texts that say more than a number, such as `<5`, or something else."""
    return pl.when(exact_number(text, options).is_null()).then(text)
