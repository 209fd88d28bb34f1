"""Subjects in strata and in groups: what holds whatever they are."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MEDS_transforms.dataset.allotment import draw_in_groups, draw_in_strata, rounded

FRACS = st.sampled_from(
    [{"a": 1.0}, {"a": 0.5, "b": 0.5}, {"a": 0.8, "b": 0.1, "c": 0.1}, {"a": 0.61, "b": 0.07, "c": 0.29, "d": 0.03}]
)
NUMBERS = st.lists(st.integers(0, 3), min_size=60, max_size=120)


def dense(values):
    return np.unique(values, return_inverse=True)[1]


@settings(max_examples=60)
@given(strata=NUMBERS, fracs=FRACS, seed=st.integers(0, 9))
def test_every_split_has_its_share_of_every_stratum(strata, fracs, seed):
    ids, strata = np.arange(len(strata)) * 7, dense(strata)
    drawn = draw_in_strata(ids, strata, fracs, np.random.default_rng(seed))
    assert sorted(np.concatenate([*drawn.values()])) == sorted(ids)
    for stratum, size in Counter(strata.tolist()).items():
        for split, frac in fracs.items():
            there = sum(strata[subject // 7] == stratum for subject in drawn[split])
            assert abs(there - frac * size) < 1
    for split, frac in fracs.items():  # and over all strata together
        assert abs(len(drawn[split]) - frac * len(ids)) < 2


@settings(max_examples=60)
@given(groups=NUMBERS, strata=NUMBERS, alone=st.integers(0, 60), fracs=FRACS, seed=st.integers(0, 9))
def test_a_group_is_never_parted(groups, strata, alone, fracs, seed):
    groups = dense([*groups, *range(10, 70 + alone)])
    strata = dense(([*strata] * 5)[: len(groups)])
    ids = np.arange(len(groups))
    drawn = draw_in_groups(ids, groups, strata, fracs, np.random.default_rng(seed))
    assert sorted(np.concatenate([*drawn.values()])) == ids.tolist()
    homes = [{groups[subject] for subject in of_split} for of_split in drawn.values()]
    assert sum(map(len, homes)) == len(set(groups))
    largest = max(Counter(groups.tolist()).values())
    for split, frac in fracs.items():
        assert abs(len(drawn[split]) - frac * len(ids)) <= largest + 4


def test_subjects_without_groups_fill_what_groups_leave():
    """The group of 6 of 10 goes to the larger split, so that all others have their fractions to the subject."""
    groups = np.array([0] * 6 + [1, 2, 3, 4])
    drawn = draw_in_groups(np.arange(10), groups, np.zeros(10, int), {"a": 0.7, "b": 0.3}, np.random.default_rng(1))
    assert {split: len(ids) for split, ids in drawn.items()} == {"a": 7, "b": 3}
    assert set(range(6)) <= set(drawn["a"].tolist())


def test_the_seed_decides():
    def draw(seed):
        groups = np.repeat(np.arange(20), 2)
        drawn = draw_in_groups(
            np.arange(40), groups, np.zeros(40, int), {"a": 0.5, "b": 0.5}, np.random.default_rng(seed)
        )
        return drawn["a"].tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@pytest.mark.parametrize("in_groups", [True, False])
def test_a_split_that_would_be_empty(in_groups):
    ids, strata, fracs, rng = np.arange(4), np.array([0, 0, 1, 1]), {"a": 0.9, "b": 0.1}, np.random.default_rng(1)
    with pytest.raises(ValueError, match=r"Too few .* would be empty\. Drop a split"):
        draw_in_groups(ids, strata, strata, fracs, rng) if in_groups else draw_in_strata(ids, strata, fracs, rng)


@given(st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3), min_size=1, max_size=20))
def test_rounded_figures_are_next_to_what_they_were(parts):
    figures = np.array(parts) / 7
    figures[:, 0] += np.ceil(figures.sum(axis=1)) - figures.sum(axis=1)
    counts = rounded(figures)
    assert (np.abs(counts - figures) < 1 + 1e-9).all()
    np.testing.assert_allclose(counts.sum(axis=1), figures.sum(axis=1))
