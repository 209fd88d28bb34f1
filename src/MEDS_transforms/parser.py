"""Turns values of a configuration into polars expressions: columns, text with columns in it, matchers.

A **column expression** (`cfg_to_expr`) is one of

| form | result |
|---|---|
| `"name"` | the column |
| `"text {a} more {b}"` | text with the columns' values in place of the braces; null if any of them is null |
| `{col: name}` | the column, whatever its name looks like |
| `{str: "…{a}…"}` | text, even without a column in it |
| `{literal: value}` | the value itself |
| `{extract: {from: source, regex: pattern, group_index: 1}}` | that capture group, from the source's text |
| `{substring: {from: source, start: 0, length: 3}}` | characters of its text; from the end if `start` is negative |
| `{cast: {from: source, to: dtype}}` | the value as `str`, `int`, `float` or `bool`; null where it is none |
| `{add: [number, …]}`, `subtract`, `multiply`, `divide` | numbers, from left to right; times and durations as well |
| `{time: {from: source, format: "%Y-%m-%d"}}` | the time that its text tells; with an offset, in UTC |
| `{date: {year: number, month: 1, day: 1, hour: 0, minute: 0, second: 0}}` | the time with these parts |
| `{duration: {days: number}}` | a span of time: weeks, days, hours, minutes, seconds, milliseconds, microseconds |
| `[expression, …]` | the first that is not null, in the common type of all (text if any is text) |
| `{output: expression, matcher: matcher}` | the expression on rows that match, null elsewhere |
| `{"name or text {a}": matcher}` | short for the line above |

A source is the name of a column, or another column expression. A number is that, or a number itself; a column of text
gives the numbers that it holds. A time that is none, such as February 30th, is null.

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

from typing import Any

import polars as pl

from .errors import InputError
from .expressions import event_expression as expression
from .expressions.forms import plain
from .expressions.matchers import matcher

Parsed = tuple[pl.Expr, set[str]]
"""An expression and the columns that it reads."""


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
    found = expression(plain(cfg), "")
    return found.expr, set(found.columns)


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
    found = matcher(plain(cfg), "")
    return found.expr, set(found.columns)


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
