"""Divides subjects at random among splits, in strata or in groups: pure functions of numbers and a generator."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .splits import Ids, Numbers, too_few

Figures = NDArray[np.float64]


def draw_in_strata(ids: Ids, strata: Numbers, fracs: Mapping[str, float], rng: np.random.Generator) -> dict[str, Ids]:
    """Subjects by split; of each stratum every split has its fraction, but for less than one subject.

    Args:
        ids: distinct subjects.
        strata: the number of each one's stratum, from 0.
        fracs: by split, none of them 0.
        rng: what draws.

    Raises:
        ValueError: a split would be empty.
    """
    sizes = np.bincount(strata)
    counts = rounded(np.outer(sizes, [*fracs.values()]))
    order = rng.permutation(len(ids))
    order = order[np.argsort(strata[order], kind="stable")]
    splits = np.empty(len(ids), np.int64)
    splits[order] = np.repeat(np.tile(np.arange(len(fracs)), len(sizes)), counts.ravel())
    return _by_split(ids, splits, fracs, f"subjects ({len(ids):,})")


def draw_in_groups(
    ids: Ids, groups: Numbers, strata: Numbers, fracs: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Ids]:
    """Subjects by split; those of a group are in the same one.

    Groups come at random, the largest first, and each goes to the split that is furthest below its target: by the sum
    over strata, and over all subjects together, of what the split lacks there, weighted by the group's subjects. That
    is the split for which the squares of what splits lack shrink most. Subjects that are alone in their groups come
    last and fill what is lacking.

    Args:
        ids: distinct subjects.
        groups: the number of each one's group, from 0.
        strata: the number of each one's stratum, from 0.
        fracs: by split, none of them 0.
        rng: what draws.

    Raises:
        ValueError: a split would be empty.
    """
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    lacking = np.outer([*fracs.values()], np.bincount(strata))
    split_of = np.empty(len(sizes), np.int64)
    members = _members(groups, strata, len(sizes), lacking.shape[1])
    for group in order[: np.count_nonzero(sizes > 1)]:
        counts = members[group]
        split_of[group] = chosen = np.argmax(lacking @ counts + lacking.sum(axis=1) * sizes[group])
        lacking[chosen] -= counts
    splits = split_of[groups]
    alone = rng.permutation(np.flatnonzero(sizes[groups] == 1))
    splits[alone] = _filling(strata[alone], lacking)
    return _by_split(ids, splits, fracs, f"groups ({len(sizes):,})")


def _members(groups: Numbers, strata: Numbers, n_groups: int, n_strata: int) -> NDArray[np.int32]:
    """The subjects of each group in each stratum."""
    members = np.zeros((n_groups, n_strata), np.int32)
    np.add.at(members, (groups, strata), 1)
    return members


def _filling(strata: Numbers, lacking: Figures) -> Numbers:
    """The splits of single subjects in random order, which fill what splits lack in each stratum."""
    sizes = np.bincount(strata, minlength=lacking.shape[1])
    wanted = np.maximum(lacking.T, 0)
    total = wanted.sum(axis=1, keepdims=True)
    shares = np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0)
    counts = rounded(shares * sizes[:, None])
    splits = np.empty(len(strata), np.int64)
    splits[np.argsort(strata, kind="stable")] = np.repeat(np.tile(np.arange(len(lacking)), len(sizes)), counts.ravel())
    return splits


def rounded(figures: Figures) -> Numbers:
    """Figures rounded up or down so that rows, which sum to whole numbers, keep their sums.

    Of a row those are rounded up whose column is furthest below its sum so far, so that columns keep theirs about.

    >>> rounded(np.array([[1.6, 0.4], [1.6, 0.4], [1.6, 0.4]])).tolist()
    [[2, 0], [1, 1], [2, 0]]
    """
    counts = np.floor(figures)
    lacking = np.zeros(figures.shape[1])
    for row, count in zip(figures, counts, strict=True):
        lacking += row - count
        candidates = np.where(row > count, lacking, -np.inf)
        up = np.argsort(-candidates, kind="stable")[: round(float((row - count).sum()))]
        count[up] += 1
        lacking[up] -= 1
    return counts.astype(np.int64)


def _by_split(ids: Ids, splits: Numbers, names: Mapping[str, float], of_what: str) -> dict[str, Ids]:
    by_split = {name: ids[splits == number] for number, name in enumerate(names)}
    if not all(map(len, by_split.values())):
        raise too_few(of_what, names)
    return by_split
