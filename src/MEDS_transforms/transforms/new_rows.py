"""New rows for a shard: what they are, and how they get into their places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import polars as pl

from ..dataset.columns import internal
from ..dataset.measurements import Ints
from ..dataset.schema import CODE, NUMERIC_VALUE, SUBJECT_ID, TIME


@dataclass(frozen=True)
class Moved:
    """The times of new rows that are not at the time of another row, and where this puts them."""

    times: pl.Series
    before: Ints
    """The positions of the rows that they stand before, ascending; the number of rows for those that come last."""


@dataclass(frozen=True)
class NewRows:
    """Measurements to insert: each beside a row of the shard, with the subject and time of that row, or moved."""

    at: Ints
    """The positions of these rows; ascending, unless the new ones are moved."""
    codes: pl.Series
    """The codes that they have, few."""
    which: Ints
    """For each row the position of its code among these."""
    numeric_value: pl.Series | None = None
    """Float32; None for rows without values."""
    after: bool = False
    """Whether they stand after these rows; else before them."""
    moved: Moved | None = None
    """Given where they have times of their own."""

    @classmethod
    def of_one_code(cls, code: str, at: Ints, numeric_value: pl.Series | None = None, after: bool = False) -> "NewRows":
        """New rows that all have the same code."""
        return cls(at, pl.Series([code]), np.zeros(len(at), np.int64), numeric_value, after)

    @property
    def before(self) -> Ints:
        """The positions of the rows that they stand before, ascending."""
        return self.moved.before if self.moved else self.at + self.after


Block = Callable[[pl.DataFrame, Ints], Sequence[NewRows]]
"""Makes new rows for a shard, given the positions of the first row of every event."""


def insert(rows: list[pl.Series], blocks: Sequence[NewRows]) -> pl.DataFrame:
    """The shard with the new rows, each beside its row; if several are, those of an earlier block are nearer to it.

    The columns of the old rows are taken out of their list one by one, so that their memory is soon free.

    Positions are computed by counting, and every column is gathered once; nothing is sorted.

    NOTE: a gather takes a third of the time where the column is in one chunk and no index is null. So what the new rows
    have is appended to the old ones, and a null for the columns that they leave empty; column by column, since memory
    for a copy of all of them would cost as much as that saves.
    """
    blocks = _in_order(blocks)
    if not blocks:
        return pl.DataFrame(rows)
    place = _place(rows[0].len(), blocks)
    beside = place.source(np.concatenate([block.at for block in blocks]))
    old_or_null = cache(partial(place.source, rows[0].len()))
    fill: dict[str, Callable[[pl.Series], pl.Series]] = {
        SUBJECT_ID: lambda values: values.rechunk()[beside],
        TIME: lambda values: values.rechunk()[beside],
        CODE: lambda values: place.filled(values, *_codes(blocks, values.dtype)),
    }
    if any(block.moved for block in blocks):
        fill[TIME] = lambda values: place.filled(values, _times(values, blocks))
    if any(block.numeric_value is not None for block in blocks):
        fill[NUMERIC_VALUE] = lambda values: place.filled(values, _values(blocks))
    filled = []
    while rows:
        values = rows.pop(0)
        filled.append(fill[values.name](values) if values.name in fill else _or_null(values, old_or_null()))
    return pl.DataFrame(filled)


def _in_order(blocks: Sequence[NewRows]) -> list[NewRows]:
    """The blocks that have rows, in the order in which these stand where they are between the same two old rows."""
    following = [block for block in blocks if block.after]
    preceding = [block for block in reversed(blocks) if not block.after]
    return [block for block in (*following, *preceding) if len(block.at)]


def _or_null(values: pl.Series, which: pl.Series) -> pl.Series:
    """Some of the values; null for their number. NOTE: not under a name that polars would take for a pattern."""
    values, name = values.alias(internal("values")), values.name
    return pl.concat([values, values.clear(1)], rechunk=True)[which].alias(name)


@dataclass(frozen=True)
class Place:
    """The positions that rows have in the result."""

    old: Ints
    new: Ints
    """Those of the new rows of all blocks, block by block."""

    def source(self, of_new: Ints | int) -> pl.Series:
        """For each row of the result the position that it comes from; an old row from its own."""
        source = np.empty(len(self.old) + len(self.new), np.uint32)
        source[self.old] = np.arange(len(self.old), dtype=np.uint32)
        source[self.new] = of_new
        return pl.Series(source)

    def filled(self, old: pl.Series, new: pl.Series, which: Ints | None = None) -> pl.Series:
        """A column of the result: an old value, or for each new row one of the new ones; None: its own."""
        # NOTE: only frames are concatenated with a common dtype.
        both = pl.concat([old.to_frame(), new.alias(old.name).to_frame()], how="vertical_relaxed", rechunk=True)
        return both.to_series()[self.source(old.len() + (np.arange(new.len()) if which is None else which))]


def _place(n: int, blocks: Sequence[NewRows]) -> Place:
    """Where the rows of blocks go in a shard of n rows."""
    free = np.arange(n + 1)  # before each row the first place that is still free
    free[1:] += np.cumsum(sum(_counts(n, block) for block in blocks))[:-1]
    places = []
    for block in blocks:
        places.append(free[block.before] + _number_in_place(block.before))
        free += _counts(n, block)
    return Place(free[:n], np.concatenate(places))


def _counts(n: int, block: NewRows) -> Ints:
    """The number of new rows that stand before each of n rows, and at the end."""
    return np.bincount(block.before, minlength=n + 1)


def _number_in_place(before: Ints) -> Ints:
    """For each row the number of rows that come before it and stand before the same row."""
    number, is_first = np.arange(len(before)), np.ones(len(before), dtype=bool)
    is_first[1:] = before[1:] != before[:-1]
    earlier: Ints = number - np.maximum.accumulate(np.where(is_first, number, 0))
    return earlier


def _codes(blocks: Sequence[NewRows], dtype: pl.DataType) -> tuple[pl.Series, Ints]:
    """The codes of all blocks, and for each of their rows the position of its code among these."""
    firsts = np.cumsum([0, *(block.codes.len() for block in blocks)])
    which = [block.which + first for block, first in zip(blocks, firsts, strict=False)]
    return pl.concat([block.codes for block in blocks]).cast(dtype), np.concatenate(which)


def _values(blocks: Sequence[NewRows]) -> pl.Series:
    """The values of the rows of all blocks, null for blocks without values."""
    nulls = (pl.repeat(None, len(block.at), dtype=pl.Float32, eager=True) for block in blocks)
    given = [block.numeric_value for block in blocks]
    return pl.concat([null if value is None else value for value, null in zip(given, nulls, strict=True)])


def _times(old: pl.Series, blocks: Sequence[NewRows]) -> pl.Series:
    """The times of the rows of all blocks."""
    return pl.concat([block.moved.times if block.moved else old.gather(block.at) for block in blocks])
