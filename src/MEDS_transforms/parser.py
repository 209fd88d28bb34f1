"""Turns values of a configuration into polars expressions: columns, text with columns in it, matchers.

A **column expression** (`cfg_to_expr`) is one of

| form | result |
|---|---|
| `"name"` | the column |
| `"text {a} more {b}"` | text with the columns' values in place of the braces; null if any of them is null |
| `{col: name}` | the column, whatever its name looks like |
| `{str: "…{a}…"}` | text, even without a column in it |
| `{literal: value}` | the value itself |
| `{extract: {from: column, regex: pattern, group_index: 1}}` | that capture group, from the column's text |
| `[expression, …]` | the first that is not null, in the common type of all (text if any is text) |
| `{output: expression, matcher: matcher}` | the expression on rows that match, null elsewhere |
| `{"name or text {a}": matcher}` | short for the line above |

A **matcher** (`matcher_to_expr`) maps columns to what all of their values must be: a single value, null, or
`{regex: pattern}`, which is searched for in the column's text. Patterns are in Rust's dialect (no look-around).
A matcher is true or false in every row, never null, so `~` selects exactly the other rows.

Values are compared in the dtype that the column has in the data: `"9"`, `"09"`, `9` and `9.0` are all the number
9; a boolean equals `"true"` or `"false"` in any case, but never 0 or 1; dates and times equal their ISO 8601
text, to the microsecond (without a zone: the column's local time); text equals only itself. A value that
the column's dtype cannot hold matches no row.

Only `{name}` is replaced in a text; other braces stand for themselves: `"{{a}}"` puts braces around a value,
and `{literal: "{a}"}` is those three characters. Functions also return the columns that an expression reads.
"""

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
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .dataset.columns import column as as_column
from .errors import InputError, listed, nearest

Parsed = tuple[pl.Expr, set[str]]
"""An expression and the columns that it reads."""

_T = TypeVar("_T")

_EXPRESSION = "Column expression"
_MATCHER = "Matcher"

_COLUMN_IN_TEXT = re.compile(r"\{([^{}]+)\}")


def cfg_to_expr(cfg: Any) -> Parsed:
    """The polars expression for a column expression, and the columns that it reads.

    `cfg` has any form of the table above, in plain containers or those of OmegaConf.

    Raises:
        ValueError: it has another form; the message quotes what was found, where, and what is allowed there.

    Examples:
        >>> expression, columns = cfg_to_expr({"Lab {code}": {"flag": {"regex": "^abn"}}})
        >>> sorted(columns)
        ['code', 'flag']
        >>> pl.DataFrame({"code": [7, 8], "flag": ["abnormal", None]}).select(expression).to_series().to_list()
        ['Lab 7', None]
    """
    return _expression(_plain(cfg), "")


def matcher_to_expr(cfg: Any) -> Parsed:
    """The polars expression that is true on the rows that match and false on all others, and its columns.

    The empty matcher matches every row; its expression is the literal `true`, which has length 1 unless it is
    used beside columns of a frame.

    Raises:
        ValueError: `cfg` is not a matcher; the message quotes what was found, where, and what is allowed there.

    Examples:
        >>> expression, columns = matcher_to_expr({"version": "9"})
        >>> pl.DataFrame({"version": [9, 10, None]}).select(expression).to_series().to_list()
        [True, False, False]
    """
    return _matcher(_plain(cfg), "")


def is_matcher(cfg: Any) -> tuple[bool, str | None]:
    """Whether the value is a matcher, and if not, why.

    Examples:
        >>> is_matcher({"code": None})
        (True, None)
        >>> is_matcher(["code"])
        (False, "Matcher: found ['code']; allowed: a mapping from columns to values")
    """
    try:
        matcher_to_expr(cfg)
    except ValueError as error:
        return False, str(error)
    return True, None


def is_col_field(text: str | None) -> bool:
    """Whether the text has the form `col(name)`, which names a column in an event conversion file.

    Examples:
        >>> is_col_field("col(ward)"), is_col_field("ward"), is_col_field(None)
        (True, False, False)
    """
    return isinstance(text, str) and text.startswith("col(") and text.endswith(")")


def parse_col_field(text: str) -> str:
    """The name inside `col(name)`.

    Raises:
        ValueError: the text has another form.

    Examples:
        >>> parse_col_field("col(ward)")
        'ward'
    """
    if not is_col_field(text):
        raise InputError(f"{text!r} does not name a column: write col(name)")
    return text.removeprefix("col(").removesuffix(")")


def _plain(cfg: Any) -> Any:
    """The value in plain containers; those of OmegaConf may also be nested in plain ones."""
    if OmegaConf.is_config(cfg):
        try:
            return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            raise InputError(f"Cannot resolve {cfg}: {error}") from error
    if isinstance(cfg, dict):
        return {key: _plain(value) for key, value in cfg.items()}
    if isinstance(cfg, list | tuple):
        return [_plain(value) for value in cfg]
    return cfg


def _malformed(what: str, where: str, found: Any, allowed: str) -> ValueError:
    """The error for a value that is not allowed in its place."""
    place = f" at {where}" if where else ""
    return InputError(f"{what}{place}: found {found!r}; allowed: {allowed}")


def _below(where: str, key: Any) -> str:
    """The place of a key or an index: `[1].output['{a} {b}']`."""
    if isinstance(key, str) and key.isidentifier():
        return f"{where}.{key}" if where else key
    return f"{where}[{key!r}]"


# Column expressions


def _expression(cfg: Any, where: str) -> Parsed:
    if isinstance(cfg, str):
        return _name_or_text(cfg)
    if isinstance(cfg, list):
        return _first_not_null(cfg, where)
    if isinstance(cfg, dict):
        return _mapping(cfg, where)
    raise _malformed(_EXPRESSION, where, cfg, "text, a list, or a mapping")


def _name_or_text(text: str) -> Parsed:
    return _text(text) if _COLUMN_IN_TEXT.search(text) else (as_column(text), {text})


def _text(text: str) -> Parsed:
    """Text with `{column}`s in it. The pieces alternate: text, column, text, …, text."""
    pieces = _COLUMN_IN_TEXT.split(text)
    texts, columns = pieces[0::2], pieces[1::2]
    if not columns:
        return pl.lit(text), set()
    parts = [pl.lit(texts[0])]
    for column, following in zip(columns, texts[1:], strict=True):
        parts += [as_column(column).cast(pl.String), pl.lit(following)]
    return pl.concat_str(parts), set(columns)


def _first_not_null(cfg: list[Any], where: str) -> Parsed:
    if not cfg:
        raise _malformed(_EXPRESSION, where, cfg, "a list of at least one text or mapping")
    for i, element in enumerate(cfg):
        if not isinstance(element, str | dict):
            allowed = f"text or a mapping; the list is {cfg!r}"
            raise _malformed(_EXPRESSION, _below(where, i), element, allowed)
    expressions, columns = zip(*(_expression(e, _below(where, i)) for i, e in enumerate(cfg)), strict=True)
    return pl.coalesce(expressions), set().union(*columns)


def _mapping(cfg: dict[Any, Any], where: str) -> Parsed:
    if not cfg.keys().isdisjoint(_CONDITIONAL_KEYS):
        return _conditional(cfg, where)
    if len(cfg) != 1:
        raise _malformed(_EXPRESSION, where, cfg, f"{_MAPPINGS}; this has {len(cfg)} keys")
    [(kind, value)] = cfg.items()
    if not isinstance(kind, str):
        raise _malformed(_EXPRESSION, where, cfg, f"{_MAPPINGS}; the key {kind!r} is not text")
    if kind in _KINDS:
        return _KINDS[kind](value, _below(where, kind))
    if isinstance(value, dict):
        return _where_matching(_name_or_text(kind), _matcher(value, _below(where, kind)))
    why = f"{kind!r} is not one of these keys{nearest(kind, _KINDS)}, and {value!r} is not a matcher"
    raise _malformed(_EXPRESSION, where, cfg, f"{_MAPPINGS}; {why}")


def _conditional(cfg: dict[Any, Any], where: str) -> Parsed:
    if cfg.keys() != _CONDITIONAL_KEYS:
        raise _malformed(_EXPRESSION, where, cfg, "`output` and `matcher` together, without other keys")
    output = _expression(cfg["output"], _below(where, "output"))
    return _where_matching(output, _matcher(cfg["matcher"], _below(where, "matcher")))


def _where_matching(output: Parsed, matcher: Parsed) -> Parsed:
    return pl.when(matcher[0]).then(output[0]), output[1] | matcher[1]


def _col_kind(name: Any, where: str) -> Parsed:
    if not isinstance(name, str):
        raise _malformed(_EXPRESSION, where, name, "the name of a column")
    return as_column(name), {name}


def _str_kind(text: Any, where: str) -> Parsed:
    if not isinstance(text, str):
        raise _malformed(_EXPRESSION, where, text, "text, with {column} for the value of a column")
    return _text(text)


def _literal_kind(value: Any, where: str) -> Parsed:
    try:
        return pl.lit(value), set()
    except (TypeError, pl.exceptions.PolarsError) as error:
        allowed = "a value, or a list of values of one type"
        raise _malformed(_EXPRESSION, where, value, f"{allowed} ({_first_paragraph(error)})") from error


def _extract_kind(spec: Any, where: str) -> Parsed:
    allowed = "a mapping with `from` (a column), `regex` (a pattern) and, if not 1, `group_index`"
    if not isinstance(spec, dict):
        raise _malformed(_EXPRESSION, where, spec, allowed)
    if unknown := [key for key in spec if key not in ("from", "regex", "group_index")]:
        hint = nearest(str(unknown[0]), ("from", "regex", "group_index"))
        raise _malformed(_EXPRESSION, where, spec, f"{allowed}; unknown: {listed(unknown)}{hint}")
    if missing := {"from", "regex"} - spec.keys():
        raise _malformed(_EXPRESSION, where, spec, f"{allowed}; missing: {listed(missing)}")
    source, columns = _col_kind(spec["from"], _below(where, "from"))
    pattern = _pattern(_EXPRESSION, spec["regex"], _below(where, "regex"))
    group = _group_index(spec.get("group_index", 1), pattern, _below(where, "group_index"))
    return source.cast(pl.String).str.extract(pattern, group), columns


def _group_index(index: Any, pattern: str, where: str) -> int:
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise _malformed(_EXPRESSION, where, index, "a non-negative integer")
    # NOTE: for a group that the pattern does not have, polars returns nulls instead of an error.
    groups = len(pl.Series([""]).str.extract_groups(pattern).struct.fields)
    if index > groups:
        allowed = f"0 (the whole match) to {groups}, as {pattern!r} has {groups} capture groups, written (…)"
        raise _malformed(_EXPRESSION, where, index, allowed)
    return index


_CONDITIONAL_KEYS = {"output", "matcher"}
_KINDS: dict[str, Callable[[Any, str], Parsed]] = {
    "col": _col_kind,
    "str": _str_kind,
    "literal": _literal_kind,
    "extract": _extract_kind,
}
_MAPPINGS = "one key of col, str, literal, extract; `output` and `matcher`; or {column or text: matcher}"


def _pattern(what: str, pattern: Any, where: str) -> str:
    """The pattern, after a check that polars can compile it."""
    if not isinstance(pattern, str):
        raise _malformed(what, where, pattern, "a regular expression as text")
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        dialect = "a regular expression in Rust's dialect (without look-around)"
        raise _malformed(what, where, pattern, f"{dialect}. {_first_paragraph(error)}") from error
    return pattern


def _first_paragraph(error: Exception) -> str:
    return str(error).split("\n\n")[0]


# Matchers


def _matcher(cfg: Any, where: str) -> Parsed:
    if not isinstance(cfg, dict):
        raise _malformed(_MATCHER, where, cfg, "a mapping from columns to values")
    if not_text := [key for key in cfg if not isinstance(key, str)]:
        raise _malformed(_MATCHER, where, cfg, f"names of columns as keys; {not_text[0]!r} is not text")
    masks = [_mask(column, wanted, _below(where, column)) for column, wanted in cfg.items()]
    return reduce(and_, masks) if masks else pl.lit(True), set(cfg)


def _mask(column: str, wanted: Any, where: str) -> pl.Expr:
    if wanted is None:
        return as_column(column).is_null()
    if isinstance(wanted, dict):
        if wanted.keys() != {"regex"}:
            raise _malformed(_MATCHER, where, wanted, "a value, or a mapping with the one key `regex`")
        pattern = _pattern(_MATCHER, wanted["regex"], _below(where, "regex"))
        return as_column(column).cast(pl.String).str.contains(pattern).fill_null(False)
    if isinstance(wanted, str | int | float | date | time):
        return _equals(column, _as_text(wanted))
    allowed = "one text, number, boolean, date or null, or {regex: pattern}; for several: {regex: '^(a|b)$'}"
    raise _malformed(_MATCHER, where, wanted, allowed)


def _as_text(value: str | int | float | date | time) -> str:
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
_LARGEST_FLOAT32 = 3.4028235677973366e38
"""Halfway from the largest 32-bit float to the next power of two: numbers from here on become infinite when cast."""


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
    if abs(number) >= _LARGEST_FLOAT32 and not isinf(number):
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
