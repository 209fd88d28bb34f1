"""Assigns subjects to splits, and cuts splits into shards: pure functions of ids and a seed."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, Problem
from ..settings.names import check_names
from .schema import TRAIN_SPLIT

logger = logging.getLogger(__name__)

Ids = NDArray[Any]
Numbers = NDArray[np.int64]
_BITS = 53
"""Of a hash: as many as a float holds."""

RANDOM, HASH = "random", "hash"
"""How subjects are drawn into splits: at random, from all of them; each by a hash of its id."""

DEFAULT_SPLIT_FRACS = {TRAIN_SPLIT: 0.8, "tuning": 0.1, "held_out": 0.1}


def shard_subjects(
    subjects: Ids,
    n_subjects_per_shard: int = 50000,
    external_splits: Mapping[str, Sequence[int]] | None = None,
    split_fracs_dict: Mapping[str, float | None] | None = DEFAULT_SPLIT_FRACS,
    seed: int = 1,
    method: str = RANDOM,
) -> dict[str, list[int]]:
    """Assigns subjects at random, or by a hash, to splits, and cuts each split into shards.

    External splits are taken as they are, after the drawn ones; their subjects are not drawn. A subject in two
    external splits is in shards of both. The result depends on the ids and the seed only; at random it is that of
    release 0.1.

    Args:
        subjects: ids, in any order, repeats allowed.
        n_subjects_per_shard: maximum number of subjects in a shard.
        external_splits: ids by split.
        split_fracs_dict: fraction of the remaining subjects by split; a null fraction drops the split.
        seed: of numpy's default generator, and the key of the hash.
        method: `random`, or `hash`: see `draw_by_hash`. Which shard of its split a subject is in is random always.

    Returns:
        ids by `<split>/<number>`; splits that were drawn at random are in random order.

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
        if method == HASH:
            splits = draw_by_hash(drawn_from, split_fracs_dict, seed)
        else:
            splits = draw_at_random(drawn_from, split_fracs_dict, rng)
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


def draw_at_random(
    ids: Ids, split_fracs: Mapping[str, float | None] | None, rng: np.random.Generator
) -> dict[str, Ids]:
    """Subjects by split, splits in random order, as release 0.1 drew them: sizes are those of the fractions, rounded.

    Raises:
        ValueError: the fractions cannot be used, or a split would be empty.
    """
    fracs = check_fractions(split_fracs)
    names = list(fracs)
    order = [names[i] for i in rng.permutation(len(names))]
    sizes = [round(fracs[split] * len(ids)) for split in order[:-1]]
    sizes.append(len(ids) - sum(sizes))
    if min(sizes) <= 0:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(min(sizes))] += 1
    if min(sizes) <= 0:
        raise too_few(f"subjects ({len(ids):,})", fracs)
    return dict(zip(order, np.split(rng.permutation(ids), np.cumsum(sizes)[:-1]), strict=True))


def too_few(of_what: str, fracs: Mapping[str, float]) -> InputError:
    """The error that a split would have no subjects."""
    what = f"Too few {of_what} for the splits {dict(fracs)}: one would be empty"
    return InputError(what, remedy="Drop a split by setting its fraction to null.")


def draw_by_hash(ids: Ids, split_fracs: Mapping[str, float | None] | None, seed: int | None) -> dict[str, Ids]:
    """Subjects by split, each by a hash of its decimal id (see `hashed_splits`), so that others do not matter.

    Sizes are those of the fractions in expectation only; splits without subjects are left out, with a warning.

    Raises:
        ValueError: the fractions cannot be used, or there is no seed.
    """
    fracs = {split: frac for split, frac in check_fractions(split_fracs).items() if frac}
    drawn = hashed_splits(map(str, ids.tolist()), [*fracs.values()], seed)
    splits = {split: ids[drawn == number] for number, split in enumerate(fracs)}
    if empty := [split for split, of_split in splits.items() if not len(of_split)]:
        logger.warning("The hash has drawn none of %d subjects into the split %s", len(ids), ", ".join(empty))
    return {split: of_split for split, of_split in splits.items() if len(of_split)}


def hashed_splits(names: Iterable[str], fracs: Sequence[float], seed: int | None) -> Numbers:
    """The number of the split of each name, by a hash of the name: the same everywhere, whatever other names there are.

    The first 53 bits of BLAKE2b (RFC 7693; 8 bytes, the decimal seed as its key) of the name in UTF-8 are a number
    from 0 up to 1. The split is the first one at which the sum of the fractions so far is greater.

    Raises:
        ValueError: there is no seed.

    >>> hashed_splits(["1", "2", "3", "4", "5", "6"], [0.8, 0.1, 0.1], seed=1).tolist()
    [1, 0, 0, 0, 2, 1]
    """
    if seed is None:
        raise InputError(Problem("must be a number for the method hash, not null.", "seed", joint=" "))
    keyed = blake2b(digest_size=8, key=str(seed).encode())

    def first_bits(name: str) -> int:
        hashed = keyed.copy()
        hashed.update(name.encode())
        return int.from_bytes(hashed.digest()) >> (64 - _BITS)

    drawn = np.fromiter(map(first_bits, names), np.float64) / 2**_BITS
    splits: Numbers = np.searchsorted(np.cumsum(fracs)[:-1], drawn, side="right")
    return splits


def _cut(ids: Ids, n_subjects_per_shard: int, rng: np.random.Generator) -> list[Ids]:
    if len(ids) <= n_subjects_per_shard:
        return [ids]
    return list(np.array_split(rng.permutation(ids), math.ceil(len(ids) / n_subjects_per_shard)))
