"""What is known of the keys of rows, a code and what goes with it: found out once, however many rows have a key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from .categories import CODE_CATEGORIES, ByCategory
from .columns import internal
from .dtypes import is_text
from .schema import CODE

KIND, COUNT = internal("kind"), internal("count")
_AT = internal("at")

Ints = npt.NDArray[np.integer[Any]]


def numberer(known: pl.DataFrame) -> Callable[[pl.DataFrame], pl.Series]:
    """A function that gives for keys the numbers of the rows in which they are known; null for those that are not.

    Args:
        known: distinct keys, code first; no code is null.

    Where these are codes alone, it takes them as `categories`, too.
    """
    if known.width == 1 and known.dtypes[0] == pl.String and not known.is_empty():
        # Finding the number of a category takes half the time of a join.
        codes = pl.Enum(known.to_series())

        def of_texts(texts: pl.Series) -> pl.Series:
            return texts.cast(codes, strict=False).to_physical()

        by_category = ByCategory(of_texts)
        return lambda keys: (by_category if keys.dtypes[0] == CODE_CATEGORIES else of_texts)(keys.to_series())
    # NOTE: a join takes names for patterns as well, in some releases of polars; so it gets plain ones.
    names = [internal(f"key{n}") for n in range(known.width)]
    numbered = _named(known, names).with_row_index(_AT)

    def numbers(keys: pl.DataFrame) -> pl.Series:
        keys = _named(_texts(keys), names)
        return keys.join(numbered, on=names, how="left", nulls_equal=True, maintain_order="left")[_AT]

    return numbers


def _texts(keys: pl.DataFrame) -> pl.DataFrame:
    """The keys with categories as texts."""
    return pl.DataFrame([key.cast(pl.String) if is_text(key.dtype) else key for key in keys.get_columns()])


def _named(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame([values.alias(name) for values, name in zip(frame.get_columns(), names, strict=True)])


@dataclass(frozen=True)
class Found:
    """What is known of the keys of some rows.

    Args:
        table: a row for each key, its code first; that of rows without a code is null.
        at: for each of the rows the number of its row in the table.
        code_dtype: the dtype of the codes of the rows; in the table they are texts.
    """

    table: pl.DataFrame
    at: pl.Series
    code_dtype: pl.DataType

    @property
    def codes(self) -> pl.Series:
        """The codes in the table."""
        return self.table.to_series()

    @cached_property
    def places(self) -> Ints:
        """The same as `at`, as numpy wants it: by numbers of another dtype it gathers in twice the time."""
        return self.at.to_numpy().astype(np.intp)

    def codes_of_rows(self, codes: pl.Series) -> pl.Series:
        """The codes that rows are to have, as the column of these, given one for each row of the table."""
        return codes.cast(self.code_dtype).gather(self.at).alias(CODE)

    def by_kind(self, kinds: Ints, n_kinds: npt.ArrayLike) -> Self:
        """The same by keys and kinds of rows: what the rows of both have in common is to be found out once.

        Args:
            kinds: for each row its kind, a number from 0 on.
            n_kinds: how many kinds there are, of all keys or of each.

        Returns:
            a table with those that occur, with KIND and COUNT, the number of their rows, at the end.
        """
        n = np.broadcast_to(np.asarray(n_kinds, dtype=np.int64), self.table.height)
        firsts = np.cumsum(n) - n
        numbers = firsts[self.places] + kinds
        counts = np.bincount(numbers, minlength=int(n.sum()))
        there, places = np.flatnonzero(counts), (np.cumsum(counts > 0) - 1).astype(np.uint32)
        keys = np.repeat(np.arange(n.size), n)[there]
        table = self.table[keys].with_columns(pl.Series(KIND, there - firsts[keys]), pl.Series(COUNT, counts[there]))
        return type(self)(table, pl.Series(places[numbers], dtype=pl.get_index_type()), self.code_dtype)


class KeyTable:
    """Finds what is known of keys, in a table that grows with those that it is asked for.

    NOTE: several threads may call it at once. What one of them finds out may be lost then, and is found out again;
    nothing else is shared.

    Args:
        find_out: gives for distinct keys these, code first, and what is known of them; text in them is String.
    """

    def __init__(self, find_out: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        self._find_out = find_out
        self._known: dict[tuple[pl.DataType, ...], _Known] = {}

    def __call__(self, keys: pl.DataFrame) -> Found:
        """What is known of keys, code first."""
        code_dtype = keys.dtypes[0]
        keys = keys if keys.dtypes == [CODE_CATEGORIES] else _texts(keys)
        dtypes = tuple(keys.dtypes)
        known = self._known.get(dtypes) or self._with(keys.clear())
        numbers = known.numbers(keys)
        new = keys.filter(numbers.is_null() & keys.to_series().is_not_null())
        if new.height:
            known = self._with(new.unique(), known)
            numbers = known.numbers(keys)
        self._known[dtypes] = known
        at = numbers.cast(pl.get_index_type()).fill_null(known.table.height).rechunk()
        return Found(known.table_with_nulls, at, code_dtype)

    def _with(self, keys: pl.DataFrame, before: "_Known | None" = None) -> "_Known":
        """What is known with keys that were not asked for before."""
        table = self._find_out(_texts(keys))
        return _Known(pl.concat([before.table, table]).rechunk() if before else table, keys.columns)


@dataclass(frozen=True)
class _Known:
    """What is known of the keys that were asked for, a row for each; `by` are the columns of the keys."""

    table: pl.DataFrame
    by: Sequence[str]

    @cached_property
    def numbers(self) -> Callable[[pl.DataFrame], pl.Series]:
        return numberer(self.table[:, : len(self.by)])

    @cached_property
    def table_with_nulls(self) -> pl.DataFrame:
        """The table, and a row of nulls, for rows without a code."""
        return pl.concat([self.table, self.table.clear(1)]).rechunk()
