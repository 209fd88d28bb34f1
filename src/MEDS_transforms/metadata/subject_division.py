"""Divides subjects, with what is known of them, among splits, and says what has come of it.

Subjects are frames with the columns subject_id, stratum, group and split; the latter two null where there is none.
"""

import logging
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from ..dataset.allotment import draw_in_groups, draw_in_strata
from ..dataset.columns import internal
from ..dataset.schema import SPLIT, SUBJECT_ID
from ..dataset.splits import HASH, Numbers, check_fractions, draw_at_random, hashed_splits
from ..errors import InputError, counted
from ..mapreduce.figures import SUBJECTS
from ..work.accounts import Account
from .subject_traits import GROUP, STRATUM

logger = logging.getLogger(__name__)

IS_GIVEN = internal("is_given")
"""Whether a subject's split was given, rather than drawn."""
_GIVEN = internal("given")
_MUCH = 0.05
"""A share that differs so much from the one that is wanted is worth a warning."""


def without_unknown(table: pl.DataFrame, subjects: pl.DataFrame, key: str) -> pl.DataFrame:
    """The rows of a table of subjects, but for those of others, with a warning; `key` names the table."""
    unknown = table.join(subjects, SUBJECT_ID, "anti")[SUBJECT_ID].sort()
    if unknown.len():
        logger.warning("%s: %s without data, such as %s", key, counted(unknown.len(), "subject"), unknown[0])
    return table.join(subjects, SUBJECT_ID, "semi")


def with_groups(subjects: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """The subjects with their groups by a table, sorted."""
    return subjects.drop(GROUP).join(groups, SUBJECT_ID, "left").sort(SUBJECT_ID)


def with_given_splits(subjects: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    """The subjects with the splits that a table gives them, or another one of their group; sorted.

    Raises:
        ValueError: the table parts a group.
    """
    found = subjects.join(given, SUBJECT_ID, "left")
    of_groups = found.drop_nulls([GROUP, SPLIT]).group_by(GROUP).agg(pl.col(SPLIT).unique().sort()).sort(GROUP)
    if (parted := of_groups.filter(pl.col(SPLIT).list.len() > 1)).height:
        name, splits = parted.row(0)
        what = f"{counted(parted.height, 'group')} in several splits, such as {name!r} in {', '.join(splits)}"
        raise InputError(what, "external splits", "Put all subjects of a group into the same split.")
    of_groups = of_groups.select(GROUP, pl.col(SPLIT).list.first().alias(_GIVEN))
    found = found.join(of_groups, GROUP, "left")
    return found.with_columns(pl.coalesce(SPLIT, _GIVEN).alias(SPLIT)).drop(_GIVEN).sort(SUBJECT_ID)


def divided(
    subjects: pl.DataFrame, split_fracs: Mapping[str, float | None] | None, method: str, seed: int | None
) -> pl.DataFrame:
    """The sorted subjects with a split for each, and whether it was given (`IS_GIVEN`); the others are divided.

    Rows are in the order of the fractions, then by the names of other splits, and by subject.

    Raises:
        ValueError: the fractions cannot be used, or a split would be empty.
    """
    if SPLIT not in subjects.columns:
        subjects = subjects.with_columns(pl.lit(None, pl.String).alias(SPLIT))
    subjects = subjects.with_columns(pl.col(SPLIT).is_not_null().alias(IS_GIVEN))
    rest = subjects.filter(~pl.col(IS_GIVEN))
    if rest.height:
        fracs = check_fractions(split_fracs)
        drawn = _drawn_by_hash(rest, fracs, seed) if method == HASH else _drawn_at_random(rest, fracs, seed)
        subjects = pl.concat([subjects.filter(IS_GIVEN), rest.with_columns(drawn.alias(SPLIT))])
    elif split_fracs:
        logger.warning("External splits cover all subjects; split_fracs %s are ignored", dict(split_fracs))
    names = dict.fromkeys([*(split_fracs or ()), *subjects[SPLIT].unique().sort()])
    place = pl.col(SPLIT).replace_strict({name: at for at, name in enumerate(names)}, return_dtype=pl.UInt32)
    return subjects.sort(place, SUBJECT_ID)


def _drawn_by_hash(rest: pl.DataFrame, fracs: Mapping[str, float], seed: int | None) -> pl.Series:
    names, positive = rest.select(pl.coalesce(GROUP, pl.col(SUBJECT_ID).cast(pl.String))).to_series(), _positive(fracs)
    return _named(hashed_splits(names, [*positive.values()], seed), positive)


def _drawn_at_random(rest: pl.DataFrame, fracs: Mapping[str, float], seed: int | None) -> pl.Series:
    rng, ids, strata = np.random.default_rng(seed), rest[SUBJECT_ID].to_numpy(), _numbered(rest[STRATUM])
    if rest[GROUP].count():
        drawn = draw_in_groups(ids, _group_numbers(rest[GROUP]), strata, _positive(fracs), rng)
    elif strata.any():
        drawn = draw_in_strata(ids, strata, _positive(fracs), rng)
    else:
        drawn = draw_at_random(ids, fracs, rng)
    numbers = np.empty(len(ids), np.int64)
    for number, of_split in enumerate(drawn.values()):
        numbers[np.searchsorted(ids, of_split)] = number
    return _named(numbers, drawn)


def _positive(fracs: Mapping[str, float]) -> dict[str, float]:
    return {split: frac for split, frac in fracs.items() if frac}


def _numbered(values: pl.Series) -> Numbers:
    """The numbers of values in their order, from 0."""
    return (values.rank("dense") - 1).to_numpy().astype(np.int64)


def _group_numbers(groups: pl.Series) -> Numbers:
    """The numbers of groups, from 0; subjects without one are groups of their own, which follow the others."""
    own = groups.is_null().to_numpy()
    numbers = _numbered(groups.fill_null(groups.min()))
    numbers[own] = numbers.max() + 1 + np.arange(own.sum())
    return numbers


def _named(numbers: Numbers, names: Iterable[str]) -> pl.Series:
    return pl.Series([*names], dtype=pl.String).gather(numbers)


def account_of(subjects: pl.DataFrame, split_fracs: Mapping[str, float | None] | None) -> Account:
    """What has come of a division: the subjects of every split, and how those that were drawn are shared out.

    Parts: `splits` with the shares that were wanted and reached; `strata`, the drawn subjects of each in every split;
    `groups`, how many there are, and how large. A share that is far from the one that was wanted is a warning.
    """
    drawn = subjects.filter(~pl.col(IS_GIVEN))
    account: Account = {"splits": _splits_account(subjects, drawn, split_fracs or {})}
    if drawn[STRATUM].n_unique() > 1:
        counts = drawn.group_by(STRATUM, SPLIT).len().sort(STRATUM)
        account["strata"] = {stratum: dict.fromkeys(account["splits"], 0) for stratum in counts[STRATUM]}
        for stratum, split, n in counts.iter_rows():
            account["strata"][stratum][split] = n
    if sizes := subjects[GROUP].drop_nulls().value_counts()["count"].to_list():
        account["groups"] = {"groups": len(sizes), SUBJECTS: sum(sizes), "largest": max(sizes)}
    return account


def _splits_account(subjects: pl.DataFrame, drawn: pl.DataFrame, fracs: Mapping[str, float | None]) -> Account:
    of_splits = dict(subjects.group_by(SPLIT).len().iter_rows())
    n_drawn = dict(drawn.group_by(SPLIT).len().iter_rows())
    account: Account = {}
    for split in subjects[SPLIT].unique(maintain_order=True):
        account[split] = {SUBJECTS: of_splits[split], "given": of_splits[split] - n_drawn.get(split, 0)}
    for split, wanted in fracs.items():
        if not drawn.height or wanted is None:
            continue
        reached = n_drawn.get(split, 0) / drawn.height
        account.setdefault(split, {SUBJECTS: 0, "given": 0})
        account[split] |= {"share_wanted": wanted, "share_reached": round(reached, 6)}
        if abs(reached - wanted) > _MUCH:
            logger.warning("The split %s has %s of the subjects, not %s", split, f"{reached:.3f}", f"{wanted:g}")
    return account
