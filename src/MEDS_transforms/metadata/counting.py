"""The parts of a shard by code alone, mostly by counting: in half of the time of grouping rows by text.

Codes get numbers, so that a figure of every code is an array with a place for each number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from ..dataset.categories import in_categories
from ..dataset.columns import internal
from ..dataset.schema import (
    CODE,
    CODE_N_OCCURRENCES,
    CODE_N_SUBJECTS,
    NUMERIC_VALUE,
    SUBJECT_ID,
    VALUES_N_OCCURRENCES,
    VALUES_N_SUBJECTS,
    VALUES_SUM,
    VALUES_SUM_SQD,
)

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_NUMBER = internal("number")
_MOST_PAIRS_PER_ROW = 16
"""Up to so many pairs of subject and code per row, these are marked in a table of all pairs."""


def parts_by_code(coded: pl.DataFrame, parts: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """The parts of a shard with a row per code, in no certain order; sums are those of their terms, in float32.

    Args:
        coded: rows, of which each has a code; `numeric_value` is `value_or_null`.
        parts: the columns of the part, as expressions of rows of one code.
    """
    rows = Numbered(coded)
    counts = {name: count(rows) for name, count in _COUNTED.items() if name in parts}
    counted = {name: pl.Series(count[rows.present]) for name, count in counts.items() if count is not None}
    others = {name: part for name, part in parts.items() if name not in counted}
    found = {CODE: coded[CODE].gather(rows.first[rows.present]), **counted}
    if others:
        grouped = coded.with_columns(rows.numbers.alias(_NUMBER)).lazy().group_by(_NUMBER).agg(**others)
        found |= grouped.collect(engine="in-memory").sort(_NUMBER).drop(_NUMBER).to_dict()
    return pl.DataFrame(found).select(CODE, *parts)


@dataclass(frozen=True)
class Numbered:
    """Rows whose codes have numbers."""

    rows: pl.DataFrame

    @cached_property
    def numbers(self) -> pl.Series:
        """The number of each row's code, that of its category; some numbers may not occur here."""
        return in_categories(self.rows)[CODE].to_physical()

    @cached_property
    def number(self) -> Ints:
        """The same, as an array."""
        return self.numbers.to_numpy().astype(np.int64)

    @cached_property
    def n(self) -> int:
        """How many numbers there are."""
        return int(self.number.max(initial=-1)) + 1

    @cached_property
    def first(self) -> Ints:
        """For each number the first row that has it."""
        first = np.full(self.n, -1)
        first[self.number[::-1]] = np.arange(len(self.number))[::-1]
        return first

    @cached_property
    def present(self) -> Ints:
        """The numbers that rows have."""
        return np.flatnonzero(self.first >= 0)

    @cached_property
    def has_value(self) -> Bools:
        """Whether a row has a value."""
        return self.rows[NUMERIC_VALUE].is_not_null().to_numpy()

    @cached_property
    def subject(self) -> Ints:
        """The subject of each row as a number from 0."""
        subjects = self.rows[SUBJECT_ID]
        dense = subjects.rle_id() if subjects.is_sorted() else subjects.rank("dense").fill_null(0)
        return dense.to_numpy().astype(np.int64)

    def occurrences(self) -> Counts:
        """The number of rows of each code."""
        return np.bincount(self.number, minlength=self.n).astype(np.uint32)

    def values(self) -> Counts:
        """The number of values of each code."""
        return np.bincount(self.number[self.has_value], minlength=self.n).astype(np.uint32)

    def subjects(self, with_value: bool = False) -> Counts | None:
        """The number of subjects with each code, or with a value of it; None if a table of all pairs would be large."""
        n_subjects = int(self.subject.max(initial=-1)) + 1
        if n_subjects * self.n > _MOST_PAIRS_PER_ROW * len(self.number):
            return None
        has = np.zeros((n_subjects, self.n), dtype=bool)
        which = self.has_value if with_value else slice(None)
        has[self.subject[which], self.number[which]] = True
        counts: Counts = has.sum(axis=0, dtype=np.uint32)
        return counts

    def sums(self, terms: pl.Series) -> Floats:
        """The sums of each code's terms, which are added one by one in the order of the rows."""
        sums = np.zeros(self.n, np.float32)
        # Unbuffered, and so one by one.
        np.add.at(sums, self.number[self.has_value], terms.drop_nulls().to_numpy())
        return sums


_COUNTED: Mapping[str, Callable[[Numbered], Counts | Floats | None]] = {
    CODE_N_OCCURRENCES: Numbered.occurrences,
    CODE_N_SUBJECTS: Numbered.subjects,
    VALUES_N_OCCURRENCES: Numbered.values,
    VALUES_N_SUBJECTS: lambda rows: rows.subjects(with_value=True),
    VALUES_SUM: lambda rows: rows.sums(rows.rows[NUMERIC_VALUE]),
    VALUES_SUM_SQD: lambda rows: rows.sums(rows.rows[NUMERIC_VALUE] * rows.rows[NUMERIC_VALUE]),
}
