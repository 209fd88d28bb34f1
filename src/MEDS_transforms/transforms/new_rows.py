"""New rows for a shard: what they are, and how they get into their places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ..dataset.columns import internal
from ..dataset.measurements import Bools, Ints
from ..dataset.schema import CODE, NUMERIC_VALUE, SUBJECT_ID, TIME


@dataclass(frozen=True)
class NewRows:
    """Measurements to insert: each beside a row of the shard, with the subject and time of that row."""

    at: Ints
    """The positions of these rows, ascending."""
    codes: pl.Series
    """The codes that they have, few."""
    which: Ints
    """For each row the position of its code among these."""
    numeric_value: pl.Series | None = None
    """Float32; None for rows without values."""
    after: bool = False
    """Whether they stand after these rows; else before them."""

    @classmethod
    def of_one_code(cls, code: str, at: Ints, numeric_value: pl.Series | None = None, after: bool = False) -> "NewRows":
        """New rows that all have the same code."""
        return cls(at, pl.Series([code]), np.zeros(len(at), np.int64), numeric_value, after)


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
    old, old_or_null = pl.Series(place.source), pl.Series(place.or_else(np.uint32(rows[0].len())))
    n_new = len(place.order)
    fill: dict[str, Callable[[pl.Series], pl.Series]] = {
        SUBJECT_ID: lambda values: values.rechunk()[old],
        TIME: lambda values: values.rechunk()[old],
        CODE: lambda values: place.filled(values, *_codes(blocks)),
        NUMERIC_VALUE: lambda values: place.filled(values, _values(blocks), np.arange(n_new)),
    }
    filled = []
    while rows:
        values = rows.pop(0)
        filled.append(fill[values.name](values) if values.name in fill else _or_null(values, old_or_null))
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
    """Where the rows of the result come from."""

    source: npt.NDArray[np.uint32]
    """The positions of the old rows that they are, or stand beside."""
    is_new: Bools
    order: Ints
    """The new rows in the order of the result."""

    def or_else(self, position: np.uint32) -> npt.NDArray[np.uint32]:
        """The positions of the old rows, another one for new rows."""
        return np.where(self.is_new, position, self.source)

    def filled(self, old: pl.Series, new: pl.Series, which: Ints) -> pl.Series:
        """A column of the result: an old value, or for each new row one of the new ones."""
        # A copy, because a polars series may share memory with the array that it was made from.
        source = self.source.copy()
        source[self.is_new] = old.len() + which[self.order]
        # NOTE: only frames are concatenated with a common dtype.
        both = pl.concat([old.to_frame(), new.alias(old.name).to_frame()], how="vertical_relaxed", rechunk=True)
        return both.to_series()[pl.Series(source)]


def _place(n: int, blocks: Sequence[NewRows]) -> Place:
    """Where the rows of blocks go in a shard of n rows. Gap i is between the rows i - 1 and i."""
    beside = np.concatenate([block.at for block in blocks])
    gaps = np.concatenate([block.at + block.after for block in blocks])
    is_new = np.ones(n + len(beside), dtype=bool)
    is_new[np.arange(n) + np.cumsum(np.bincount(gaps, minlength=n + 1)[:n])] = False
    order = np.argsort(gaps, kind="stable")
    source = np.cumsum(~is_new, dtype=np.uint32) - ~is_new
    source[is_new] = beside[order]
    return Place(source, is_new, order)


def _codes(blocks: Sequence[NewRows]) -> tuple[pl.Series, Ints]:
    """The codes of all blocks, and for each of their rows the position of its code among these."""
    firsts = np.cumsum([0, *(block.codes.len() for block in blocks)])
    which = [block.which + first for block, first in zip(blocks, firsts, strict=False)]
    return pl.concat([block.codes for block in blocks]), np.concatenate(which)


def _values(blocks: Sequence[NewRows]) -> pl.Series:
    """The values of the rows of all blocks, null for blocks without values."""
    nulls = (pl.repeat(None, len(block.at), dtype=pl.Float32, eager=True) for block in blocks)
    given = [block.numeric_value for block in blocks]
    return pl.concat([null if value is None else value for value, null in zip(given, nulls, strict=True)])
