"""Names of columns: the user's are taken literally, and the suite's own never collide with them."""

from collections.abc import Iterable

import polars as pl
import polars.selectors as cs

INTERNAL = "\ue000"
"""What the names of the suite's own columns begin with while it computes: a character for private use, which stands in
no name of a table that people made."""


def internal(name: str) -> str:
    """The name of a column that exists only while something is computed."""
    return f"{INTERNAL}{name}"


def named(name: str) -> str:
    """A column in words, for messages.

    >>> named("weight"), named(internal("labs.lab.time"))
    ("the column 'weight'", 'the expression')
    """
    return "the expression" if name.startswith(INTERNAL) else f"the column {name!r}"


def column(name: str) -> pl.Expr:
    """The column of this name.

    NOTE: `pl.col` expands "*" and "^…$" to several columns; only a selector takes every name literally.
    """
    expands = name == "*" or (name.startswith("^") and name.endswith("$"))
    return cs.by_name(name).as_expr() if expands else pl.col(name)


def columns(names: Iterable[str]) -> list[pl.Expr]:
    """The columns of these names, as `column`."""
    return [column(name) for name in names]
