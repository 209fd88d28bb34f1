"""Counts what is in a piece of a shard, and adds up such counts: small tables, whatever the number of rows."""

from collections.abc import Sequence
from enum import StrEnum

import polars as pl
from meds import birth_code

from ..dataset.measurements import begins_event
from ..dataset.schema import CODE, NUMERIC_VALUE, SPLIT, SUBJECT_ID, TIME
from .names import (
    AGE,
    BIRTH,
    EVENTS,
    FIRST,
    GREATEST,
    LAST,
    LEAST,
    MEASUREMENTS,
    MONTH,
    PIECES,
    STATIC,
    SUBJECTS,
    TOTAL,
    VALUES,
    YEAR,
)


class Count(StrEnum):
    """What is counted; a table each."""

    SUBJECTS = "by subject"
    CODES = "by code"
    MONTHS = "by month"
    YEARS = "by year"
    AGES = "by age"


KEYS = {
    Count.SUBJECTS: [SPLIT, SUBJECT_ID],
    Count.CODES: [SPLIT, CODE],
    Count.MONTHS: [MONTH],
    Count.YEARS: [YEAR],
    Count.AGES: [AGE],
}
"""The columns that tell the rows of these tables apart."""

Counts = dict[Count, pl.DataFrame]

YOUNGEST, OLDEST = -1, 120
"""Ages in years are counted up to these; -1 is all before the birth."""
DAYS_PER_YEAR = 365.25
_MICROSECONDS_PER_YEAR = DAYS_PER_YEAR * 24 * 3600 * 10**6

_IS_BIRTH = pl.col(CODE) == birth_code
_LEAST, _GREATEST = (FIRST, BIRTH, LEAST), (LAST, GREATEST)


def count_piece(split: str, rows: pl.DataFrame) -> Counts:
    """The counts of sorted rows of one split.

    - by subject: `measurements`, `events` (distinct times), `static` (rows without a time), `first` and `last` (times
      of other rows than the birth), `birth`, `pieces` (1, so that the sum is the number of pieces with the subject);
    - by code: `measurements`, `subjects`, `values` (numbers that are finite), and their `least`, `greatest`, `total`;
    - by month and year (of the calendar, from the year 0) and by year of age: `measurements`, `events`, `subjects`,
      without births.
    """
    begins = rows.lazy().with_columns(pl.Series(EVENTS, begins_event(rows)) & pl.col(TIME).is_not_null())
    subjects, codes = _by_subject(begins), _by_code(begins)
    timed = rows.filter(pl.col(TIME).is_not_null() & _IS_BIRTH.not_())
    timed = timed.with_columns(pl.Series(EVENTS, begins_event(timed)))
    year, month = pl.col(TIME).dt.year(), pl.col(TIME).dt.month().cast(pl.Int32)
    in_months = timed.lazy().with_columns((year * 12 + month - 1).alias(MONTH), year.alias(YEAR))
    queries = {
        Count.SUBJECTS: subjects.with_columns(pl.lit(split).alias(SPLIT)),
        Count.CODES: codes.with_columns(pl.lit(split).alias(SPLIT)),
        Count.MONTHS: _by_period(in_months, MONTH),
        Count.YEARS: _by_period(in_months, YEAR),
        Count.AGES: _by_period(_with_age(timed.lazy(), rows.lazy()), AGE),
    }
    return dict(zip(queries, pl.collect_all([*queries.values()]), strict=True))


def _by_subject(rows: pl.LazyFrame) -> pl.LazyFrame:
    seen = pl.col(TIME).filter(_IS_BIRTH.not_())
    return rows.group_by(SUBJECT_ID).agg(
        pl.len().cast(pl.Int64).alias(MEASUREMENTS),
        pl.col(EVENTS).sum().cast(pl.Int64),
        pl.col(TIME).null_count().cast(pl.Int64).alias(STATIC),
        seen.min().alias(FIRST),
        seen.max().alias(LAST),
        pl.col(TIME).filter(_IS_BIRTH).min().alias(BIRTH),
        pl.lit(1, pl.Int64).alias(PIECES),
    )


def _by_code(rows: pl.LazyFrame) -> pl.LazyFrame:
    """NOTE: to group by code and subject first takes less time than to count distinct subjects of each code."""
    number = pl.col(NUMERIC_VALUE)
    finite = pl.when(number.is_finite()).then(number)
    of_subject = rows.group_by(CODE, SUBJECT_ID).agg(
        pl.len().cast(pl.Int64).alias(MEASUREMENTS),
        finite.count().cast(pl.Int64).alias(VALUES),
        finite.min().alias(LEAST),
        finite.max().alias(GREATEST),
        finite.cast(pl.Float64).sum().alias(TOTAL),
    )
    return of_subject.group_by(CODE).agg(pl.len().cast(pl.Int64).alias(SUBJECTS), *_aggregated(of_subject))


def _by_period(rows: pl.LazyFrame, period: str) -> pl.LazyFrame:
    """NOTE: sorted by subject and time, so that the rows of a subject in a period are next to each other."""
    is_new = [pl.col(name).ne_missing(pl.col(name).shift()) for name in (SUBJECT_ID, period)]
    return (
        rows.with_columns(pl.any_horizontal(is_new).alias(SUBJECTS))
        .group_by(period)
        .agg(pl.len().cast(pl.Int64).alias(MEASUREMENTS), pl.col(EVENTS, SUBJECTS).sum().cast(pl.Int64))
    )


def _with_age(timed: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of subjects with a birth, and the whole years since then."""
    births = (
        rows.filter(_IS_BIRTH & pl.col(TIME).is_not_null()).group_by(SUBJECT_ID).agg(pl.col(TIME).min().alias(BIRTH))
    )
    age = (pl.col(TIME).to_physical() - pl.col(BIRTH).to_physical()) / _MICROSECONDS_PER_YEAR
    joined = timed.join(births, on=SUBJECT_ID, how="inner", maintain_order="left")
    return joined.with_columns(age.floor().clip(YOUNGEST, OLDEST).cast(pl.Int32).alias(AGE))


def added_up(count: Count, tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One table of several: the sums of their figures, or the least or greatest of them, by key, sorted."""
    return summed(pl.concat([table.select(tables[0].columns) for table in tables]), KEYS[count])


def summed(table: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The figures by some columns of the key."""
    apart = [name for name in (SPLIT, SUBJECT_ID, CODE) if name in table.columns and name not in key]
    rows = table.lazy().drop(apart)
    return rows.group_by(key).agg(_aggregated(rows.drop(key))).sort(key).collect()


def _aggregated(table: pl.LazyFrame) -> list[pl.Expr]:
    figures = [name for name in table.collect_schema() if name not in (CODE, SUBJECT_ID)]
    return [
        pl.col(name).min() if name in _LEAST else pl.col(name).max() if name in _GREATEST else pl.col(name).sum()
        for name in figures
    ]
