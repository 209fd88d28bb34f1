"""Column expressions that calculate: casts, arithmetic, parts of texts, dates and durations."""

from collections.abc import Callable
from functools import partial, reduce
from math import inf
from operator import add, mul, sub, truediv
from typing import Any

import polars as pl
import polars.selectors as cs

from ..errors import nearest
from .columns import KINDS, combined, expression, keys_of, text_source, whole_column
from .forms import Expression, below, malformed, truth_of
from .times import is_moment, parsed, wrong_formats

_WHAT = "Column expression"
_DTYPES: dict[str, pl.DataType] = {
    "str": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
}
_DATE_PARTS = {"year": None, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}
_UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


def _cast(spec: Any, where: str) -> Expression:
    spec = keys_of(spec, where, {"from": "a column or expression", "to": f"one of {', '.join(_DTYPES)}"}, {})
    to = spec["to"]
    if to not in _DTYPES:
        raise malformed(_WHAT, below(where, "to"), to, f"one of {', '.join(_DTYPES)}{nearest(str(to), _DTYPES)}")
    if to == "str":
        return text_source(spec["from"], below(where, "from"))
    if to == "bool":
        source = text_source(spec["from"], below(where, "from"))
        return source._replace(expr=truth_of(source.expr))
    source = number(spec["from"], below(where, "from"))
    if to == "int":
        # Integers beyond 2^53 are exact as text, but not as floats.
        written = text_source(spec["from"], below(where, "from"))
        return combined([written, source], lambda *es: pl.coalesce(e.cast(pl.Int64, strict=False) for e in es))
    return source._replace(expr=source.expr.cast(_DTYPES[to], strict=False))


def number(cfg: Any, where: str) -> Expression:
    """An expression or a number, as an operand. A column of text gives its finite numbers, else null."""
    if isinstance(cfg, int | float) and not isinstance(cfg, bool):
        return Expression(pl.lit(cfg))
    if not isinstance(cfg, str):
        return expression(cfg, where)
    column = cs.by_name(cfg)
    texts, integers = column & (cs.string() | cs.categorical() | cs.enum()), column & cs.integer()
    read = texts.as_expr().cast(pl.String).cast(pl.Float64, strict=False).replace([inf, -inf], None)
    # NOTE: polars calculates with small integers in their own dtype, in which 100 + 100 can be -56, and 1 - 2 huge.
    wide = integers.as_expr().cast(pl.Int64)
    return whole_column(cfg)._replace(expr=pl.coalesce(read, wide, (column - texts - integers).as_expr()))


def _arithmetic(operator: Callable[[Any, Any], Any], operands: Any, where: str) -> Expression:
    if not isinstance(operands, list) or len(operands) < 2:
        raise malformed(_WHAT, where, operands, "a list of at least two columns, expressions or numbers")
    parts = [_operand(operand, below(where, i)) for i, operand in enumerate(operands)]
    return combined(parts, lambda *exprs: reduce(operator, exprs))


def _operand(cfg: Any, where: str) -> Expression:
    """An operand of arithmetic, of which days are their midnights.

    NOTE: to polars a day and 23 hours are the day.
    """
    source = number(cfg, where)
    if not isinstance(cfg, str):
        return source
    midnights = (cs.by_name(cfg) & cs.date()).as_expr().cast(pl.Datetime("us"))
    return source._replace(expr=pl.coalesce(midnights, source.expr))


def _substring(spec: Any, where: str) -> Expression:
    others = {"length": "how many characters; default: all the rest"}
    spec = keys_of(spec, where, {"from": "a column or expression", "start": "a position, from 0"}, others)
    for key in ("start", "length"):
        value = spec.get(key)
        if not isinstance(value, int | None) or isinstance(value, bool) or (key == "length" and (value or 0) < 0):
            raise malformed(_WHAT, below(where, key), value, "a whole number")
    source = text_source(spec["from"], below(where, "from"))
    return source._replace(expr=source.expr.str.slice(spec["start"], spec.get("length")))


def _date(spec: Any, where: str) -> Expression:
    others = {part: "a column, expression or number" for part in _DATE_PARTS if part != "year"}
    spec = keys_of(spec, where, {"year": "a column, expression or number"}, others)
    parts = {part: number(spec.get(part, first), below(where, part)) for part, first in _DATE_PARTS.items()}

    def moment(*exprs: pl.Expr) -> pl.Expr:
        # NOTE: polars fails on parts out of range; a text of them that is no time is null.
        digits = [e.cast(pl.Int64, strict=False).cast(pl.String).str.zfill(2) for e in exprs]
        written = pl.concat_str(*digits, separator=" ")
        return written.str.to_datetime("%Y %m %d %H %M %S", time_unit="us", strict=False)

    return combined(parts.values(), moment)


def _time(spec: Any, where: str) -> Expression:
    needed = {"from": "a column or expression", "format": 'such as "%Y-%m-%d", or a list of them'}
    spec = keys_of(spec, where, needed, {})
    formats = spec["format"] if isinstance(spec["format"], list) else [spec["format"]]
    if wrong := wrong_formats(formats):
        raise malformed(_WHAT, below(where, "format"), spec["format"], wrong)
    in_utc = {is_moment(one) for one in formats}
    if len(in_utc) > 1:
        allowed = "formats that all have an offset (%z, Z), or none"
        raise malformed(_WHAT, below(where, "format"), spec["format"], allowed)
    source = text_source(spec["from"], below(where, "from"))
    times = parsed(source.expr, formats)
    return source._replace(expr=times.dt.replace_time_zone("UTC") if True in in_utc else times)


def _duration(spec: Any, where: str) -> Expression:
    known = dict.fromkeys(_UNITS, "a column, expression or number")
    spec = keys_of(spec, where, {}, known)
    if not spec:
        raise malformed(_WHAT, where, spec, f"at least one of {', '.join(_UNITS)}")
    parts = [number(value, below(where, unit)) for unit, value in spec.items()]
    return combined(parts, lambda *exprs: pl.duration(**dict(zip(spec, exprs, strict=True)), time_unit="us"))


KINDS |= {
    "cast": _cast,
    "add": partial(_arithmetic, add),
    "subtract": partial(_arithmetic, sub),
    "multiply": partial(_arithmetic, mul),
    "divide": partial(_arithmetic, truediv),
    "substring": _substring,
    "date": _date,
    "time": _time,
    "duration": _duration,
}
