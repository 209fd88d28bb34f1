"""Statistics of codes: computed from the rows of one shard, and merged over several shards.

A shard's part has one row per code; merged, the parts of several shards give the statistics of all their rows. Counts
and sums are added in 64 bits. Mean and standard deviation are merged by the pairwise method of Chan, Golub and LeVeque
("Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", Stanford STAN-CS-79-773, 1979) from n,
mean and squared deviations of the parts, which avoids cancellation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..dataset.schema import (
    CODE_N_OCCURRENCES,
    CODE_N_SUBJECTS,
    NUMERIC_VALUE,
    SUBJECT_ID,
    VALUES_MAX,
    VALUES_MEAN,
    VALUES_MIN,
    VALUES_N_INTS,
    VALUES_N_OCCURRENCES,
    VALUES_N_SUBJECTS,
    VALUES_STD,
    VALUES_SUM,
    VALUES_SUM_SQD,
)

_SQUARED_DEVIATIONS = "values/sum_squared_deviations"

VALUE = pl.col(NUMERIC_VALUE)
_EXACT = VALUE.cast(pl.Float64)


def value_or_null() -> pl.Expr:
    """The value of a row as float32; NaN and infinities become null, since nothing can be computed with them."""
    value = VALUE.cast(pl.Float32)
    return pl.when(value.is_finite()).then(value)


@dataclass(frozen=True)
class Statistic:
    """A statistic of a code.

    `parts` has the columns of a shard's part, as expressions of rows whose `numeric_value` is `value_or_null`;
    `merged` is an expression of the concatenated parts. A count is a number of rows or subjects.
    """

    parts: Mapping[str, pl.Expr]
    merged: pl.Expr
    is_count: bool = False
    is_sum: bool = False
    """Whether the expressions give the terms of a sum; see `summed`."""


SUMS = (VALUES_SUM, VALUES_SUM_SQD)


def summed(groups: pl.DataFrame) -> pl.DataFrame:
    """The groups with sums in place of their terms, added one by one in float32, in the order of the rows.

    NOTE: so release 0.1 added them, and whoever compares results finds the same sums, errors of rounding included.
    polars' own sum of float32 goes another way in each of its releases; values/mean and values/std have none of this.
    """
    return groups.with_columns(_added(groups[name]) for name in SUMS if name in groups.columns)


def _added(terms: pl.Series) -> pl.Series:
    """The sum of each list of terms."""
    sums = np.zeros(terms.len(), np.float32)
    group = np.repeat(np.arange(terms.len()), terms.list.len().fill_null(0).to_numpy())
    # Unbuffered, and so one by one.
    np.add.at(sums, group, terms.explode(empty_as_null=False, keep_nulls=False).to_numpy())
    return pl.Series(terms.name, sums)


def terms_of(parts: Mapping[str, pl.Expr], grouped: bool) -> dict[str, pl.Expr]:
    """The expressions of a part, in which sums are lists of their terms, for groups of rows or for all rows."""
    lists = {name: part.cast(pl.Float32).drop_nulls() for name, part in parts.items() if name in SUMS}
    return {**parts, **{name: terms if grouped else terms.implode() for name, terms in lists.items()}}


def _count(name: str, part: pl.Expr) -> Statistic:
    return Statistic({name: part}, pl.col(name).cast(pl.UInt64).sum(), is_count=True)


def _sum(name: str, terms: pl.Expr) -> Statistic:
    return Statistic({name: terms}, pl.col(name), is_sum=True)


def _mean_of_parts() -> pl.Expr:
    n = pl.col(VALUES_N_OCCURRENCES).cast(pl.UInt64)
    return pl.when(n.sum() > 0).then((n * pl.col(VALUES_MEAN)).sum() / n.sum())


def _deviation_of_parts() -> pl.Expr:
    n = pl.col(VALUES_N_OCCURRENCES).cast(pl.UInt64)
    between = n * (pl.col(VALUES_MEAN) - _mean_of_parts()) ** 2
    return pl.when(n.sum() > 0).then(((pl.col(_SQUARED_DEVIATIONS) + between).sum() / n.sum()).sqrt())


_N = {VALUES_N_OCCURRENCES: VALUE.count()}
_MEAN = {**_N, VALUES_MEAN: _EXACT.mean()}
_DEVIATION = {**_MEAN, _SQUARED_DEVIATIONS: _EXACT.var(ddof=0) * VALUE.count()}

STATISTICS: Mapping[str, Statistic] = {
    CODE_N_SUBJECTS: _count(CODE_N_SUBJECTS, pl.col(SUBJECT_ID).n_unique()),
    CODE_N_OCCURRENCES: _count(CODE_N_OCCURRENCES, pl.len()),
    VALUES_N_SUBJECTS: _count(VALUES_N_SUBJECTS, pl.col(SUBJECT_ID).filter(VALUE.is_not_null()).n_unique()),
    VALUES_N_OCCURRENCES: _count(VALUES_N_OCCURRENCES, VALUE.count()),
    VALUES_N_INTS: _count(VALUES_N_INTS, (VALUE.floor() == VALUE).sum()),
    VALUES_SUM: _sum(VALUES_SUM, VALUE),
    VALUES_SUM_SQD: _sum(VALUES_SUM_SQD, VALUE * VALUE),
    VALUES_MIN: Statistic({VALUES_MIN: VALUE.min()}, pl.col(VALUES_MIN).min()),
    VALUES_MAX: Statistic({VALUES_MAX: VALUE.max()}, pl.col(VALUES_MAX).max()),
    VALUES_MEAN: Statistic(_MEAN, _mean_of_parts()),
    VALUES_STD: Statistic(_DEVIATION, _deviation_of_parts()),
}
"""Every statistic by its name, without `values/quantiles` (see `quantiles`)."""
