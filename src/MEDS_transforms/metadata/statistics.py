"""Statistics of codes: computed from the rows of one shard, and merged over several shards.

A shard's part has one row per code; merged, the parts of several shards give the statistics of all their rows. Counts
are added in 64 bits, sums in 32 bits in the order of release 0.1. Mean and standard deviation are merged by the
pairwise method of Chan, Golub and LeVeque ("Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
Stanford STAN-CS-79-773, 1979) from n, mean and squared deviations of the parts, which avoids cancellation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ..dataset.schema import (
    CODE_N_OCCURRENCES,
    CODE_N_SUBJECTS,
    NUMERIC_VALUE,
    SUBJECT_ID,
    TEXT_N_OCCURRENCES,
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
from .texts import TEXT

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

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

    `parts` has the columns of a shard's part, as expressions of rows with `value_or_null` and `text_or_null`;
    `merged` is an expression of the concatenated parts, None for sums (see `summed` and `sums_of_parts`). A count is a
    number of rows or subjects.
    """

    parts: Mapping[str, pl.Expr]
    merged: pl.Expr | None
    is_count: bool = False


SUMS = (VALUES_SUM, VALUES_SUM_SQD)


def summed(groups: pl.DataFrame, grouped: bool) -> pl.DataFrame:
    """The groups of rows, or all rows as one group, with sums in place of their terms, in float32.

    NOTE: the terms of a code are added one by one, in the order of the rows, those of all rows block by block, since so
    release 0.1 added them: whoever compares results finds the same sums, errors of rounding included. polars' own sum
    of float32 goes another way in each of its releases; values/mean and values/std have none of this.
    """
    add = _one_by_one if grouped else _block_by_block
    return groups.with_columns(add(groups[name]) for name in SUMS if name in groups.columns)


def _one_by_one(terms: pl.Series) -> pl.Series:
    """The sum of each list of terms."""
    sums = np.zeros(terms.len(), np.float32)
    group = np.repeat(np.arange(terms.len()), terms.list.len().fill_null(0).to_numpy())
    # Unbuffered, and so one by one.
    np.add.at(sums, group, terms.explode(empty_as_null=False, keep_nulls=False).to_numpy())
    return pl.Series(terms.name, sums)


def _block_by_block(terms: pl.Series) -> pl.Series:
    """The sum of the only list of terms: those before the first whole block one by one, then that of the blocks.

    A block's terms are added in lanes, and the lanes' sums half to half.
    """
    values = terms[0].to_numpy()
    n_before = len(values) % (_LANES * _LANE)
    blocks = values[n_before:].reshape(-1, _LANE, _LANES)
    lanes = np.zeros((len(blocks), _LANES), np.float32)
    for i in range(_LANE):
        lanes += blocks[:, i]
    while (half := lanes.shape[1] // 2) > 0:
        lanes = lanes[:, :half] + lanes[:, half:]
    before = _one_by_one(terms.list.head(n_before)).to_numpy()
    return pl.Series(terms.name, _halves(0, len(lanes), lambda i: lanes[i]) + before if len(lanes) else before)


_LANES, _LANE = 16, 8


def sums_of_parts(terms: Floats, group: Ints, heights: list[int], n_groups: int) -> Floats:
    """The sum of each group's terms, in float32: those of either half of the parts, halved in turn, then the two sums.

    NOTE: so release 0.1 adds parts where it has threads enough; with few threads it halves less often, so that the last
    digit of its sums depends on the machine.

    Args:
        terms: those of all parts, one part after the other.
        group: the group of each term; a part has at most one term of a group.
        heights: the numbers of terms of the parts.
        n_groups: the number of groups.

    >>> one, big = np.float32(1), np.float32(2**24)
    >>> sums_of_parts(np.array([big, one, one, one]), np.zeros(4, int), [1] * 4, 1).tolist()
    [16777218.0]
    """
    starts = np.cumsum([0, *heights])

    def of_part(number: int) -> Floats:
        rows = slice(starts[number], starts[number + 1])
        sums = np.zeros(n_groups, np.float32)
        sums[group[rows]] = terms[rows]
        return sums

    return _halves(0, len(heights), of_part)


def _halves(first: int, last: int, of: Callable[[int], Floats]) -> Floats:
    """The sum of `of` from `first` up to before `last`: that of the first half and that of the second."""
    if last - first == 1:
        return of(first)
    middle = (first + last) // 2
    return _halves(first, middle, of) + _halves(middle, last, of)


def terms_of(parts: Mapping[str, pl.Expr], grouped: bool) -> dict[str, pl.Expr]:
    """The expressions of a part, in which sums are lists of their terms, for groups of rows or for all rows."""
    lists = {name: part.cast(pl.Float32).drop_nulls() for name, part in parts.items() if name in SUMS}
    return {**parts, **{name: terms if grouped else terms.implode() for name, terms in lists.items()}}


def _count(name: str, part: pl.Expr) -> Statistic:
    return Statistic({name: part}, pl.col(name).cast(pl.UInt64).sum(), is_count=True)


def _sum(name: str, terms: pl.Expr) -> Statistic:
    return Statistic({name: terms}, None)


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
    TEXT_N_OCCURRENCES: _count(TEXT_N_OCCURRENCES, pl.col(TEXT).count()),
}
"""Every statistic by its name, without those that need more than a few figures (see `quantiles` and `texts`)."""
