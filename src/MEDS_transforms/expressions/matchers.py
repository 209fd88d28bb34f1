"""Matchers: which rows have certain values in certain columns."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import reduce
from math import isinf
from operator import and_
from typing import Any, TypeVar

import polars as pl
import polars.selectors as cs

from ..dataset.columns import column as as_column
from ..dataset.dtypes import LARGEST_FLOAT32
from .forms import Expression, as_written, below, checked_pattern, malformed, text_of

_T = TypeVar("_T")
_MATCHER = "Matcher"


def matcher(cfg: Any, where: str) -> Expression:
    """The expression that is true on the rows that a matcher at a place in a configuration describes, else false."""
    if not isinstance(cfg, dict):
        raise malformed(_MATCHER, where, cfg, "a mapping from columns to values")
    if not_text := [key for key in cfg if not isinstance(key, str)]:
        raise malformed(_MATCHER, where, cfg, f"names of columns as keys; {not_text[0]!r} is not text")
    masks = [_mask(column, wanted, below(where, column)) for column, wanted in cfg.items()]
    as_text = frozenset(column for column, wanted in cfg.items() if isinstance(wanted, str | dict))
    mask = reduce(and_, masks) if masks else pl.lit(True)
    return Expression(mask, frozenset(cfg), as_text, frozenset(cfg) - as_text)


def _mask(column: str, wanted: Any, where: str) -> pl.Expr:
    if wanted is None:
        return as_column(column).is_null()
    if isinstance(wanted, dict):
        if wanted.keys() != {"regex"}:
            raise malformed(_MATCHER, where, wanted, "a value, or a mapping with the one key `regex`")
        pattern = checked_pattern(_MATCHER, wanted["regex"], below(where, "regex"))
        return text_of(column).str.contains(pattern).fill_null(False)
    if isinstance(wanted, str):
        written = cs.by_name(as_written(column), require_all=False) == pl.lit(wanted)
        return pl.coalesce(written, _equals(column, wanted))
    if isinstance(wanted, int | float | date | time):
        return _equals(column, _as_text(wanted))
    allowed = "one text, number, boolean, date or null, or {regex: pattern}; for several: {regex: '^(a|b)$'}"
    raise malformed(_MATCHER, where, wanted, allowed)


def _as_text(value: int | float | date | time) -> str:
    """How the value is written in a text column."""
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float | bool):
        return str(pl.Series([value]).cast(pl.String).item())
    return str(value)


def _equals(column: str, wanted: str) -> pl.Expr:
    """True where the column's value, in the column's type, is the wanted one, else false.

    The type is not known before the data are read. So there is one comparison per type, each on a selector that
    polars expands to the column if it has this type, and to nothing otherwise; at most one comparison remains.
    """
    cell = cs.by_name(column)
    text = (cell & (cs.string() | cs.categorical() | cs.enum())).cast(pl.String) == pl.lit(wanted)
    others = _boolean_equals(cell, wanted) + _number_equals(cell, wanted) + _time_equals(cell, wanted)
    # A comparison is null where the value is null, but also where the value does not fit the type of the comparison.
    return as_column(column).is_not_null() & pl.any_horizontal(pl.lit(False), text, *others).fill_null(False)


def _boolean_equals(cell: cs.Selector, wanted: str) -> list[pl.Expr]:
    truth = {"true": True, "false": False}.get(wanted.lower())
    return [] if truth is None else [(cell & cs.boolean()) == pl.lit(truth)]


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_NO_NUMBER = re.compile(r"nan|[+-]?inf(inity)?", re.IGNORECASE)


def _number_equals(cell: cs.Selector, wanted: str) -> list[pl.Expr]:
    if _NO_NUMBER.fullmatch(wanted):
        return _float_equals(cell, float(wanted))
    if not _NUMBER.fullmatch(wanted):
        return []
    number = Decimal(wanted)
    floats = [] if isinf(float(number)) else _float_equals(cell, float(number))
    return [*_integer_equals(cell, number), *_decimal_equals(cell, number), *floats]


def _float_equals(cell: cs.Selector, number: float) -> list[pl.Expr]:
    double = (cell & cs.by_dtype(pl.Float64)) == pl.lit(number, pl.Float64)
    if abs(number) >= LARGEST_FLOAT32 and not isinf(number):
        return [double]
    return [double, (cell & cs.by_dtype(pl.Float32)) == pl.lit(number, pl.Float32)]


def _integer_equals(cell: cs.Selector, number: Decimal) -> list[pl.Expr]:
    """Compares as 64-bit integers, never as floats, which are not exact beyond 2^53."""
    if number != number.to_integral_value():
        return []
    equals = []
    if -(2**63) <= number < 2**63:
        signed = (cell & cs.signed_integer()).cast(pl.Int64, strict=False)
        equals.append(signed == pl.lit(int(number), pl.Int64))
    if 0 <= number < 2**64:
        unsigned = (cell & cs.unsigned_integer()).cast(pl.UInt64, strict=False)
        equals.append(unsigned == pl.lit(int(number), pl.UInt64))
    return equals


def _decimal_equals(cell: cs.Selector, number: Decimal) -> list[pl.Expr]:
    # NOTE: polars fails, or errs, on decimals of different scales for which 38 digits are too few. So their text is
    # compared, without trailing zeros.
    whole, _, fraction = f"{number.copy_abs():f}".partition(".")
    sign = "-" if number < 0 else ""
    fraction = fraction.rstrip("0")
    end = rf"\.{fraction}0*" if fraction else r"(\.0*)?"
    text = (cell & cs.decimal()).cast(pl.String)
    return [text.str.contains(f"^{sign}{whole.lstrip('0') or '0'}{end}$")]


def _time_equals(cell: cs.Selector, wanted: str) -> list[pl.Expr]:
    # Python also reads "20200101" as a date and "10" as a time; only text with the usual separators counts here.
    equals: list[pl.Expr] = []
    if "-" in wanted and (day := _parsed(date.fromisoformat, wanted)) is not None:
        equals.append((cell & cs.date()) == pl.lit(day))
    if "-" in wanted and (instant := _parsed(_instant, wanted)) is not None:
        equals.append(_instant_equals(cell, instant))
    if ":" in wanted and (clock := _parsed(time.fromisoformat, wanted)) is not None and clock.tzinfo is None:
        equals.append((cell & cs.time()) == pl.lit(clock))
    return equals


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant.astimezone(UTC) if instant.tzinfo else instant


def _instant_equals(cell: cs.Selector, instant: datetime) -> pl.Expr:
    """An instant without a zone is compared to the column's local time; one with a zone to columns with a zone only."""
    zoned = (cell & cs.datetime(time_zone="*")).dt.convert_time_zone("UTC")
    clock = zoned if instant.tzinfo else cell & cs.datetime(time_zone=[None, "*"])
    in_microseconds = clock.dt.replace_time_zone(None).cast(pl.Datetime("us"), strict=False)
    return in_microseconds == pl.lit(instant.replace(tzinfo=None))


def _parsed(parse: Callable[[str], _T], text: str) -> _T | None:
    try:
        return parse(text)
    except (ValueError, OverflowError):
        return None
