"""Codes as categories: what they are in data that are not kept, between stages that know what to do with these.

A category is a number of four bytes for all rows of a process that have the code. What is known of a code is found by
that number, without a look at the text, and what rows are gathered and filtered is a quarter of the bytes. Files that
are kept have texts, and so has whatever else reads the rows.
"""

from collections.abc import Callable
from typing import Any

import polars as pl

from ..stages import PACKAGE
from .schema import CODE

CODE_CATEGORIES = pl.Categorical(pl.Categories(CODE, namespace=PACKAGE))
"""The dtype; a column of another program's categories has another."""

_UNKNOWN = 2**32 - 1
"""Stands for a category that was not asked for yet."""


def in_categories(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with codes as categories, where they are texts."""
    return rows.with_columns(rows[CODE].cast(CODE_CATEGORIES)) if rows.schema.get(CODE) == pl.String else rows


def in_texts(rows: Any) -> Any:
    """The rows with codes as texts, where they are categories; anything else as it is."""
    if isinstance(rows, pl.DataFrame | pl.LazyFrame) and rows.lazy().collect_schema().get(CODE) == CODE_CATEGORIES:
        return rows.with_columns(pl.col(CODE).cast(pl.String))
    return rows


class ByCategory:
    """Gives for categories what a function gives for texts: a UInt32, or null. Each category is asked for once.

    NOTE: several threads may call it at once. What one of them finds out may be lost then, and is found out again.

    Args:
        of_texts: gives numbers for texts.
    """

    def __init__(self, of_texts: Callable[[pl.Series], pl.Series]) -> None:
        self._of_texts = of_texts
        # While there is a series of them, polars keeps the numbers of categories; later it gives them anew.
        self._holds = pl.Series([], dtype=CODE_CATEGORIES)
        self._known = pl.Series([], dtype=pl.UInt32)
        """By category; `_UNKNOWN` where it was not asked for yet."""

    def __call__(self, codes: pl.Series) -> pl.Series:
        """The numbers of some codes; null is null."""
        categories, known = codes.to_physical(), self._known
        top: Any = categories.max()
        if top is not None and top >= len(known):
            known = known.extend_constant(_UNKNOWN, top + 1 - len(known)).rechunk()
        found = known.gather(categories)
        if (is_new := found == _UNKNOWN).any():
            new = codes.filter(is_new).unique()
            numbers = self._of_texts(new.cast(pl.String)).cast(pl.UInt32)
            known = known.scatter(new.to_physical(), numbers)
            found = known.gather(categories)
        self._known = known
        return found
