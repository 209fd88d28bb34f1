"""Assigns subjects to splits, and cuts splits into shards: pure functions of ids and a seed."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, Problem
from ..settings.names import check_names
from .schema import TRAIN_SPLIT

logger = logging.getLogger(__name__)

Ids = NDArray[Any]

DEFAULT_SPLIT_FRACS = {TRAIN_SPLIT: 0.8, "tuning": 0.1, "held_out": 0.1}


def shard_subjects(
    subjects: Ids,
    n_subjects_per_shard: int = 50000,
    external_splits: Mapping[str, Sequence[int]] | None = None,
    split_fracs_dict: Mapping[str, float | None] | None = DEFAULT_SPLIT_FRACS,
    seed: int = 1,
) -> dict[str, list[int]]:
    """Assigns subjects at random to splits, and cuts each split into shards.

    External splits are taken as they are, after the random ones; their subjects are not assigned at random. A
    subject in two external splits is in shards of both. The result depends on the ids and the seed only, and is that
    of release 0.1.

    Args:
        subjects: ids, in any order, repeats allowed.
        n_subjects_per_shard: maximum number of subjects in a shard.
        external_splits: ids by split.
        split_fracs_dict: fraction of the remaining subjects by split; a null fraction drops the split.
        seed: of numpy's default generator.

    Returns:
        ids by `<split>/<number>`, splits in random order.

    Raises:
        ValueError: the fractions are missing or do not sum to 1, a split would be empty, or the shard size is not
            positive.

    Examples:
        >>> shard_subjects(np.arange(1, 11), n_subjects_per_shard=3)["train/0"]
        [9, 4, 8]
    """
    if not isinstance(n_subjects_per_shard, int) or n_subjects_per_shard < 1:
        raise InputError(f"n_subjects_per_shard must be a positive number, not {n_subjects_per_shard!r}.")
    check_names([*(split_fracs_dict or ()), *(external_splits or ())], "split", "The splits cannot be used")
    external = {split: np.array(ids, dtype=np.int64) for split, ids in (external_splits or {}).items()}
    drawn_from = np.unique(np.asarray(subjects))
    for ids in external.values():
        drawn_from = np.setdiff1d(drawn_from, ids)

    rng = np.random.default_rng(seed)
    splits: dict[str, Ids] = {}
    if len(drawn_from):
        splits = _draw_splits(drawn_from, split_fracs_dict, rng)
    elif split_fracs_dict:
        logger.warning("External splits cover all subjects; split_fracs %s are ignored", dict(split_fracs_dict))
    splits |= external

    shards = {}
    for split, ids in splits.items():
        for i, shard in enumerate(_cut(ids, n_subjects_per_shard, rng)):
            shards[f"{split}/{i}"] = shard.tolist()
    return shards


def check_fractions(split_fracs: Mapping[str, float | None] | None) -> dict[str, float]:
    """The fractions of splits that are not dropped.

    Raises:
        InputError: one is not a number from 0 to 1, or they do not sum to 1.
    """
    fracs = {split: frac for split, frac in (split_fracs or {}).items() if frac is not None}
    for split, frac in fracs.items():
        if isinstance(frac, bool) or not isinstance(frac, int | float) or not 0 <= frac <= 1:
            raise InputError(f"split_fracs.{split} must be a number from 0 to 1, or null, not {frac!r}.")
    total = math.fsum(fracs.values())
    if not math.isclose(total, 1):
        what = f"must sum to 1, not {total:g}: {fracs}, for subjects in no external split."
        raise InputError(Problem(what, "split_fracs", joint=" "))
    return fracs


def _draw_splits(ids: Ids, split_fracs: Mapping[str, float | None] | None, rng: np.random.Generator) -> dict[str, Ids]:
    fracs = check_fractions(split_fracs)
    names = list(fracs)
    order = [names[i] for i in rng.permutation(len(names))]
    sizes = [round(fracs[split] * len(ids)) for split in order[:-1]]
    sizes.append(len(ids) - sum(sizes))
    if min(sizes) <= 0:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(min(sizes))] += 1
    if min(sizes) <= 0:
        raise InputError(
            f"Too few subjects ({len(ids):,}) for the splits {fracs}: one would be empty",
            remedy="Drop a split by setting its fraction to null.",
        )
    return dict(zip(order, np.split(rng.permutation(ids), np.cumsum(sizes)[:-1]), strict=True))


def _cut(ids: Ids, n_subjects_per_shard: int, rng: np.random.Generator) -> list[Ids]:
    if len(ids) <= n_subjects_per_shard:
        return [ids]
    return list(np.array_split(rng.permutation(ids), math.ceil(len(ids) / n_subjects_per_shard)))
