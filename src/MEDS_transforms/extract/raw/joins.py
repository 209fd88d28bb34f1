"""Joins of raw tables: the columns of another table beside the rows of a table, before events are made of them.

Keys are compared as text, as it is written: `007` is not `7`. A number of a parquet file is what it would be in text, a
whole one without `.0`. A null is no key.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import polars.selectors as cs

from ...dataset.columns import columns
from ...errors import InputError, listed, nearest
from .aggregates import MATCHED, Column, RightSide
from .keys import as_keys
from .partitions import in_bulk, joined_in_parts, look_up

LEFT, INNER = "left", "inner"
HOW = (LEFT, INNER)
"""What becomes of a row without a match: it stays, with nulls, or is left out."""

_FEWEST_ROWS, _MOST_ROWS = 250_000, 1_000_000
_SHOWN = 3


@dataclass(frozen=True)
class Join:
    """A table to join, and what to take from it.

    Args:
        table: its name.
        left_on: the key's columns on the left. Where a frame has a column as it is written too (see `as_written`), that
            is the key; on the right as well.
        right_on: those of the table, in the same order.
        how: `LEFT` or `INNER`.
        columns: the columns to add, by their new names.
        where: where this is said, for messages.
        fans_out: whether a row with several matches becomes several rows, one for each that differs.
        replaces: whether columns of the right take the place of those that the left has by the same name.
    """

    table: str
    left_on: tuple[str, ...]
    right_on: tuple[str, ...]
    how: str
    columns: Mapping[str, Column]
    where: str = field(default="join", compare=False)
    fans_out: bool = False
    replaces: bool = False


@dataclass
class Matches:
    """Counts the rows of the left.

    Args:
        rows: all of them.
        unmatched: those without a match.
        null_keys: those among the unmatched that have no key.
        examples: a few keys that the right has not, as text.
    """

    rows: int = 0
    unmatched: int = 0
    null_keys: int = 0
    examples: list[str] = field(default_factory=list)

    def count(self, frame: pl.DataFrame, join: Join, found: pl.Series) -> None:
        """Adds the rows of a frame."""
        self.rows += frame.height
        if found.all():
            return
        keys = as_keys(frame.filter(~found), join.left_on, join.where)
        missing = keys.drop_nulls()
        self.unmatched += keys.height
        self.null_keys += keys.height - missing.height
        if len(self.examples) < _SHOWN:
            distinct = missing.unique(maintain_order=True).head(_SHOWN).iter_rows()
            self.examples = [*dict.fromkeys([*self.examples, *map(", ".join, distinct)])][:_SHOWN]


def left_columns(join: Join) -> list[str]:
    """The columns that a join reads on the left."""
    return list(dict.fromkeys(join.left_on))


def right_columns(join: Join) -> list[str]:
    """The columns that a join reads of its table; those of the key first, which are text where the file is text."""
    return list(dict.fromkeys([*join.right_on, *(taken.source for taken in join.columns.values())]))


def columns_after(join: Join, left: Collection[str]) -> list[str]:
    """The columns of the result, by those of the left.

    Raises:
        InputError: the left lacks a column of the key, or has a column that the join adds.
    """
    if missing := [name for name in join.left_on if name not in left]:
        raise InputError(
            f"there is no column {missing[0]!r} to join the table {join.table} on{nearest(missing[0], left)}. "
            f"There are: {listed(left)}.",
            join.where,
        )
    if join.replaces:
        left = [name for name in left if name not in join.columns]
    if both := [name for name in join.columns if name in left]:
        raise InputError(
            f"{join.where}: the column {both[0]!r} is taken from the table {join.table}, and is there already. Give it "
            f"another name, as in columns: {{other_name: {join.columns[both[0]].source}}}, or leave it out."
        )
    return [*left, *join.columns]


def dtypes_added(join: Join, schema: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The dtypes of the columns that a join adds, by those of its table.

    Raises:
        InputError: an aggregation has no meaning for the dtype of its column.
    """
    side = _right_side(join, schema)
    added = side.finished(side.no_states).schema
    return {name: _of_one(added[name]) if join.fans_out else added[name] for name in join.columns}


def joined(
    frames: Iterator[pl.DataFrame],
    join: Join,
    right: Iterator[pl.DataFrame],
    schema: Mapping[str, pl.DataType],
    scratch: Path,
    matches: Matches,
    memory_cells: int = 20_000_000,
) -> Iterator[pl.DataFrame]:
    """The rows of the left, in order, with the columns of the right; how many are in a frame may change.

    Args:
        frames: the left.
        join: how.
        right: the rows of the right table, in order.
        schema: its columns and their dtypes.
        scratch: a folder for temporary files, which a right side needs that does not fit in memory.
        matches: counts the rows of the left, as the result is taken.
        memory_cells: up to how many cells (rows by columns, aggregated) the right side is held in memory.

    Raises:
        InputError: the left has a column that the join adds, a key has several different rows on the right, or a column
            cannot be a key or aggregated as it is wanted.
    """
    side = _right_side(join, schema)
    states = map(side.states, right)
    held, are_all = side.gathered(states, memory_cells)
    if are_all:
        yield from _joined_in_memory(frames, join, side, side.finished(held), matches)
        return
    with TemporaryDirectory(dir=scratch, prefix=".join-") as folder:
        left = in_bulk(frames, _FEWEST_ROWS)
        pairs = joined_in_parts(
            left, lambda frame: _keys(frame, join), side, chain([held], states), Path(folder), memory_cells
        )
        for frame, values in pairs:
            yield _beside(frame, values, join, matches)


def _right_side(join: Join, schema: Mapping[str, pl.DataType]) -> RightSide:
    return RightSide(join.table, join.right_on, join.columns, schema, join.where, join.fans_out)


def _of_one(of_all: pl.DataType) -> pl.DataType:
    """The dtype of a value, by that of the values of all matches."""
    return of_all.inner if isinstance(of_all, pl.List) else of_all  # type: ignore[return-value]  # never a class


def _joined_in_memory(
    frames: Iterator[pl.DataFrame], join: Join, side: RightSide, right: pl.DataFrame, matches: Matches
) -> Iterator[pl.DataFrame]:
    """NOTE: polars hashes the right side again for every frame, so that small frames beside a large right are slow."""
    rows = min(max(right.height, _FEWEST_ROWS), _MOST_ROWS)
    for frame in in_bulk(frames, rows):
        yield _beside(frame, look_up(_keys(frame, join), right, side.keys), join, matches)


def _keys(frame: pl.DataFrame, join: Join) -> pl.DataFrame:
    columns_after(join, frame.columns)
    return as_keys(frame, join.left_on, join.where)


def _beside(frame: pl.DataFrame, values: pl.DataFrame, join: Join, matches: Matches) -> pl.DataFrame:
    found = values[MATCHED].is_not_null()
    matches.count(frame, join, found)
    if join.replaces:
        frame = frame.drop([name for name in join.columns if name in frame.columns])
    result = frame.hstack(values.select(columns(join.columns)))
    if join.how == INNER:
        result = result.filter(found)
    return result.explode(cs.by_name(*join.columns), empty_as_null=True) if join.fans_out else result
