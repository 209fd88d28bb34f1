"""Formulas of the newer line's event language, such as `f"LAB//{$name ?? 'UNK'}"`, which the library dftly parses.

dftly gives a tree of nodes. Here, the columns in it are replaced: where a text is made or taken apart, a column is read
as it is written in the table (`0389`, not 389), elsewhere in its own dtype.
"""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import polars.selectors as cs
from dftly import Parser, nodes

from ..errors import listed
from .columns import combined, text_column, whole_column
from .forms import Expression, as_written, malformed

logger = logging.getLogger(__name__)

_WHAT = "Expression"
_TAKE_TEXT = (
    nodes.StringInterpolate,
    nodes.Strptime,
    nodes.RegexExtract,
    nodes.RegexMatch,
    nodes.Substring,
    nodes.LenChars,
    nodes.Split,
    nodes.Hash,
    nodes.SignedHash,
)
_TEXT_DTYPES = ("str", "string")
_SHOWN = 3


def key_column(name: str) -> Expression:
    """A column as a key: as it is written, whole numbers among floats without `.0`."""
    written = cs.by_name(as_written(name), require_all=False).as_expr()
    floats = (cs.by_name(name) & cs.float()).as_expr().cast(pl.String).str.replace(r"\.0$", "")
    text = text_column(name)
    return text._replace(expr=pl.coalesce(written, floats, text.expr))


class _ColumnAs(nodes.Column):  # type: ignore[misc]  # dftly has no types
    """A column as one of the expressions below."""

    READ = staticmethod(whole_column)

    @property
    def polars_expr(self) -> pl.Expr:
        return self.READ(self.args[0]).expr


class _AsValue(_ColumnAs):
    """A column in its own dtype."""


class _AsText(_ColumnAs):
    """A column as it is written."""

    READ = staticmethod(text_column)


class _AsKey(_ColumnAs):
    """A column as it is written, but for whole numbers among floats: these are written without `.0`."""

    READ = staticmethod(key_column)


@dataclass(frozen=True)
class Formula:
    """A formula as it stands in the file, and its tree."""

    text: str
    node: Any

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it reads."""
        return frozenset(self.node.referenced_columns)

    @property
    def hashed(self) -> "Formula | None":
        """What it is the hash of, if it is one."""
        return Formula(self.text, self.node.args[0]) if isinstance(self.node, nodes.Hash) else None

    def value(self) -> Expression:
        """The expression of its values."""
        return _compiled(self.node, _AsValue)

    def written(self) -> Expression:
        """The expression of its values as text."""
        found = _compiled(self.node, _AsText)
        return found._replace(expr=found.expr.cast(pl.String))

    def key(self) -> Expression:
        """The expression of its values as text that also equals that of a table with other dtypes."""
        found = _compiled(self.node, _AsKey)
        return found._replace(expr=found.expr.cast(pl.String))

    def misfits(self, rows: pl.DataFrame) -> Iterator[str]:
        """Why it fails on rows: strict casts and values that these do not suit."""
        for node in _below(_with_columns(self.node, _AsValue)):
            if lost := _lost(node, rows):
                target = node.kwargs["format" if isinstance(node, nodes.Strptime) else "type"].args[0]
                yield (
                    f"{self.text}: in {_read_by(node)} there are values that {target!r} does not suit, such as "
                    f"{', '.join(map(repr, lost))}. Correct them, or write ::? or as ? to make them null"
                )


def formula(value: Any, where: str) -> Formula:
    """The formula that a value at a place in an event file is.

    Raises:
        ValueError: it cannot be parsed; the message quotes it, with its place.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            node = Parser()(value)
            _ = node.polars_expr
    except (ValueError, TypeError, KeyError, AttributeError, pl.exceptions.PolarsError) as error:
        allowed = f'an expression such as $column, f"LAB//{{$column}}" or $column as "%Y-%m-%d" ({_told(error)})'
        raise malformed(_WHAT, where, value, allowed) from error
    for warning in caught:
        logger.warning("%s: %s", where, warning.message)
    return Formula(value if isinstance(value, str) else repr(value), node)


def _told(error: Exception) -> str:
    return str(error).split("\n")[0]


def _compiled(node: Any, context: type[_ColumnAs]) -> Expression:
    tree = _with_columns(node, context)
    columns = [leaf.READ(leaf.args[0]) for leaf in _below(tree) if isinstance(leaf, _ColumnAs)]
    return combined([Expression(pl.lit(None)), *columns], lambda *_: tree.polars_expr)


def _with_columns(node: Any, context: type[_ColumnAs]) -> Any:
    """The tree with columns of our own; the context says how columns are read that make the values of this node."""
    if isinstance(node, nodes.Column):
        return context(node.args[0])
    if isinstance(node, nodes.Literal):
        return node
    args = [_with_columns(arg, _context(node, "", context)) for arg in node.args]
    kwargs = {key: _with_columns(arg, _context(node, key, context)) for key, arg in node.kwargs.items()}
    return type(node)(*args, **kwargs)


def _context(node: Any, key: str, context: type[_ColumnAs]) -> type[_ColumnAs]:
    """How a node reads columns that it has as an argument."""
    if isinstance(node, nodes.Coalesce) or (isinstance(node, nodes.Conditional) and key != "when"):
        return context
    to_text = isinstance(node, nodes.Cast) and node.kwargs["type"].args[0] in _TEXT_DTYPES
    return _AsText if to_text or isinstance(node, _TAKE_TEXT) else _AsValue


def _below(node: Any) -> Iterator[Any]:
    """A node and all below it."""
    yield node
    if not isinstance(node, nodes.Literal | nodes.Column):
        for argument in (*node.args, *node.kwargs.values()):
            yield from _below(argument)


def _lost(node: Any, rows: pl.DataFrame) -> list[Any]:
    """Examples of values that a node with a strict cast cannot cast."""
    if not isinstance(node, nodes.Cast | nodes.Strptime) or "strict" in node.kwargs:
        return []
    try:
        lenient = type(node)(**{**node.kwargs, "strict": nodes.Literal(False)}).polars_expr
        found = rows.select(source=node.kwargs["source"].polars_expr, cast=lenient)
    except (ValueError, pl.exceptions.PolarsError):
        return []  # casts to units, such as ::days, are never strict
    lost = found.filter(pl.col("source").is_not_null() & pl.col("cast").is_null())
    return lost["source"].unique(maintain_order=True).head(_SHOWN).to_list()


def _read_by(node: Any) -> str:
    names = listed(node.referenced_columns)
    return f"the column {names}" if len(node.referenced_columns) == 1 else f"what is made of the columns {names}"
