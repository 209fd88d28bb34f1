"""The figures of a dataset: every shard is read once, several at a time where there are cores for that."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ..dataset.schema import CODE, DESCRIPTION, SPLIT, SUBJECT_ID
from .counting import Count, Counts, added_up, count_piece, summed
from .dataset import Dataset
from .names import BIRTH, EVENTS, FIRST, LAST, MEASUREMENTS, PIECES, STATIC, SUBJECTS, UNIT, VALUES
from .pieces import PIECE_ROWS, Reader, rows_of
from .values import Values, values_in

_ROWS_AT_ONCE = 2 * PIECE_ROWS
"""How many rows may be in memory at once, in the pieces of several shards."""
_PENDING = 500_000
"""How many rows of counts are collected before they are added up."""
_UNITS = (UNIT, "units", "unit_of_measurement", "valueuom")
"""What the column of `codes.parquet` is called that has the units of values, which MEDS does not prescribe."""


class Counted(NamedTuple):
    """What was counted in one piece of a shard."""

    counts: Counts
    values: pl.DataFrame


@dataclass(frozen=True)
class Summary:
    """The figures of a dataset.

    Args:
        dataset: what they are about.
        counts: see `counting`.
        values: the distributions of values.
        min_count: codes of fewer subjects are left out.
    """

    dataset: Dataset
    counts: Counts
    values: Values
    min_count: int = 0

    @property
    def hides_few(self) -> bool:
        """Whether figures of few subjects are left out."""
        return self.min_count > 1

    @cached_property
    def n_subjects(self) -> int:
        """The number of distinct subjects."""
        return int(self.counts[Count.SUBJECTS][SUBJECT_ID].n_unique())

    @cached_property
    def n_apart(self) -> int:
        """How many subjects have rows in several files, or apart in one that is read in pieces.

        Each piece is counted for itself: in the figures of codes and periods, such subjects, and events of theirs
        whose rows are apart, count once for each.
        """
        return self.subjects.filter(pl.col(PIECES) > 1).height

    @cached_property
    def subjects(self) -> pl.DataFrame:
        """A row for each subject; see `count_piece`."""
        return summed(self.counts[Count.SUBJECTS], [SUBJECT_ID])

    @cached_property
    def all_codes(self) -> pl.DataFrame:
        """A row for each code, most frequent first, with `description` and `unit`, null where they are not known."""
        codes = summed(self.counts[Count.CODES], [CODE])
        return codes.join(self._described(), on=CODE, how="left").sort(MEASUREMENTS, CODE, descending=[True, False])

    @cached_property
    def codes(self) -> pl.DataFrame:
        """Those of `all_codes` that are shown."""
        return self.all_codes.filter(pl.col(SUBJECTS) >= self.min_count)

    @property
    def n_hidden(self) -> int:
        """How many codes are not shown."""
        return self.all_codes.height - self.codes.height

    @cached_property
    def time_range(self) -> tuple[str, str] | None:
        """The first and the last day of all measurements but births; None where none has a time.

        NOTE: as text, since Python has no dates before the year 1 and after 9999, but files have.
        """
        ends = self.subjects.select(pl.col(FIRST).min(), pl.col(LAST).max())
        first, last = ends.select(pl.all().dt.to_string("%Y-%m-%d")).row(0)
        return None if first is None else (first, last)

    @cached_property
    def n_without_birth(self) -> int:
        """How many subjects have no birth."""
        return self.subjects[BIRTH].null_count()

    @cached_property
    def n_values(self) -> int:
        """How many measurements have a number."""
        return sum_of(self.all_codes, VALUES)

    def codes_with_values(self, most: int) -> list[str]:
        """The codes that have most values, of those that are shown."""
        with_values = self.codes.filter(pl.col(VALUES) > 0)
        return with_values.sort(VALUES, CODE, descending=[True, False])[CODE].head(most).to_list()

    def _described(self) -> pl.DataFrame:
        codes = self.dataset.codes()
        known = pl.DataFrame(schema={CODE: pl.String}) if codes is None else codes
        unit = next((name for name in _UNITS if name in known.columns), UNIT)
        columns = {CODE: CODE, DESCRIPTION: DESCRIPTION, UNIT: unit}
        texts = (pl.col(name) if name in known.columns else pl.lit(None) for name in columns.values())
        described = known.select(text.cast(pl.String).alias(name) for name, text in zip(columns, texts, strict=True))
        return described.drop_nulls(CODE).unique(CODE, keep="first", maintain_order=True)

    def by_split(self) -> pl.DataFrame:
        """The figures of each split: subjects, events, measurements, static rows, codes."""
        subjects, codes = self.counts[Count.SUBJECTS], self.counts[Count.CODES]
        of_subjects = summed(subjects, [SPLIT]).join(subjects.group_by(SPLIT).len(SUBJECTS), on=SPLIT)
        n_codes = codes.group_by(SPLIT).len(CODE)
        figures = of_subjects.join(n_codes, on=SPLIT, how="left").sort(SUBJECTS, SPLIT, descending=[True, False])
        return figures.select(SPLIT, SUBJECTS, EVENTS, MEASUREMENTS, STATIC, CODE)


def sum_of(table: pl.DataFrame, figure: str) -> int:
    """The sum of a figure."""
    return int(table.select(pl.col(figure).sum()).item())


def summarize(
    dataset: Dataset, min_count: int = 0, watch: Callable[[Iterable[Path]], Iterable[Path]] = lambda shards: shards
) -> Summary:
    """The figures of a dataset; `watch` is told the shards as they are done."""
    tables: dict[Count, list[pl.DataFrame]] = {count: [] for count in Count}
    values = Values()
    for _, pieces in zip(watch(dataset.shards), _counted(dataset), strict=True):
        for piece in pieces:
            for count, table in piece.counts.items():
                _collect(count, tables[count], table)
            values.add(piece.values)
    counts = {count: added_up(count, parts) for count, parts in tables.items()}
    return Summary(dataset, counts, values, min_count)


def _collect(count: Count, parts: list[pl.DataFrame], table: pl.DataFrame) -> None:
    """Adds a table to others; NOTE: those of subjects have no rows in common, so that they stay as they are."""
    parts.append(table)
    if count is not Count.SUBJECTS and len(parts) > 1 and sum(part.height for part in parts) > _PENDING:
        parts[:] = [added_up(count, parts)]


def _counted(dataset: Dataset) -> Iterator[list[Counted]]:
    """What is in each shard, in their order; a few shards are read at the same time."""
    reader = Reader(dataset)
    largest = max(min(max(map(rows_of, dataset.shards)), PIECE_ROWS), 1)
    n_at_once = max(1, min(pl.thread_pool_size(), _ROWS_AT_ONCE // largest))

    def count(shard: Path) -> list[Counted]:
        return [Counted(count_piece(split, rows), values_in(rows)) for split, rows in reader.pieces(shard)]

    with ThreadPoolExecutor(n_at_once) as pool:
        for start in range(0, len(dataset.shards), n_at_once):
            yield from pool.map(count, dataset.shards[start : start + n_at_once])
