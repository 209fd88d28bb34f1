"""The draw of splits and shards: its known results, its invariants, what it refuses."""

import hashlib
import json
import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.dataset.splits import DEFAULT_SPLIT_FRACS, HASH, draw_by_hash, shard_subjects

TEN = np.arange(1, 11)

ids = st.lists(st.integers(-(2**40), 2**40), min_size=5, max_size=60)
fractions = st.sampled_from(
    [
        {"train": 0.8, "tuning": 0.1, "held_out": 0.1},
        {"train": 0.7, "tuning": None, "held_out": 0.3},
        {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25},
        {"train": 1},
    ]
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {},
            [
                ("train/0", [9, 4, 8]),
                ("train/1", [2, 1, 10]),
                ("train/2", [6, 5]),
                ("tuning/0", [3]),
                ("held_out/0", [7]),
            ],
        ),
        (
            {"external_splits": {"taskA/held_out": [8, 9, 10], "taskB/held_out": [10, 8, 9]}},
            [
                ("train/0", [5, 7, 4]),
                ("train/1", [1, 2]),
                ("tuning/0", [3]),
                ("held_out/0", [6]),
                ("taskA/held_out/0", [8, 9, 10]),
                ("taskB/held_out/0", [10, 8, 9]),
            ],
        ),
        (
            {"seed": 3},
            [
                ("held_out/0", [9]),
                ("tuning/0", [8]),
                ("train/0", [7, 5, 3]),
                ("train/1", [2, 6, 1]),
                ("train/2", [10, 4]),
            ],
        ),
        (
            {"seed": 7},
            [
                ("train/0", [5, 1, 7]),
                ("train/1", [8, 4, 9]),
                ("train/2", [6, 2]),
                ("held_out/0", [10]),
                ("tuning/0", [3]),
            ],
        ),
    ],
)
def test_known_results_in_known_order(arguments, expected):
    assert list(shard_subjects(TEN, 3, **arguments).items()) == expected


def test_neither_the_order_nor_the_number_of_mentions_of_an_id_counts():
    shuffled = np.concatenate([TEN[::-1], TEN[:4]])
    assert list(shard_subjects(shuffled, 3).items()) == list(shard_subjects(TEN, 3).items())


def test_the_result_can_be_written_as_json():
    assert json.loads(json.dumps(shard_subjects(TEN, 3)))["tuning/0"] == [3]


def test_a_split_that_fits_one_shard_keeps_its_order():
    assert shard_subjects(TEN, 3, {"task": [10, 8, 9]}, {"train": 1})["task/0"] == [10, 8, 9]


def test_an_external_split_replaces_a_drawn_one_of_the_same_name():
    shards = shard_subjects(TEN, 100, {"train": [2, 1]})
    assert shards["train/0"] == [2, 1]
    assert sorted(i for split in ("tuning/0", "held_out/0") for i in shards[split])


def test_external_ids_that_are_not_in_the_data_stay():
    assert shard_subjects(TEN, 100, {"task": [99, 1]})["task/0"] == [99, 1]


def test_an_id_in_two_external_splits_is_in_both():
    shards = shard_subjects(TEN, 100, {"a": [1, 2], "b": [2, 3]})
    assert (shards["a/0"], shards["b/0"]) == ([1, 2], [2, 3])


@pytest.mark.parametrize(("fractions", "warns"), [(DEFAULT_SPLIT_FRACS, True), (None, False), ({}, False)])
def test_where_external_splits_cover_everybody_fractions_are_ignored(caplog, fractions, warns):
    with caplog.at_level(logging.WARNING):
        assert shard_subjects(TEN, 100, {"all": TEN.tolist()}, fractions) == {"all/0": TEN.tolist()}
    assert ("ignored" in caplog.text) is warns


def test_null_fractions_are_dropped_before_the_draw():
    with_null = {"train": 0.8, "no": None, "tuning": 0.1, "held_out": 0.1}
    assert list(shard_subjects(TEN, 3, split_fracs_dict=with_null).items()) == list(shard_subjects(TEN, 3).items())


def test_one_subject_moves_to_a_split_that_would_be_empty():
    sizes = [len(ids) for ids in shard_subjects(np.arange(4), 100, split_fracs_dict={"a": 0.9, "b": 0.1}).values()]
    assert sorted(sizes) == [1, 3]


@pytest.mark.parametrize(
    ("subjects", "arguments", "message"),
    [
        (TEN, {"split_fracs_dict": {"train": 0.5, "tuning": 0.4}}, "sum to 1"),
        (TEN, {"split_fracs_dict": None}, "sum to 1"),
        (TEN, {"split_fracs_dict": {}}, "sum to 1"),
        (np.arange(2), {}, "Too few"),
        (TEN, {"n_subjects_per_shard": 0}, "n_subjects_per_shard"),
        (TEN, {"n_subjects_per_shard": 2.5}, "n_subjects_per_shard"),
    ],
)
def test_what_is_refused(subjects, arguments, message):
    with pytest.raises(ValueError, match=message):
        shard_subjects(subjects, **arguments)


@given(ids=ids, size=st.integers(1, 20), fractions=fractions, seed=st.integers(0, 50))
def test_each_id_is_in_exactly_one_shard(ids, size, fractions, seed):
    ids = [*ids, *range(30)]  # enough for every split to get some
    shards = shard_subjects(np.array(ids), size, None, fractions, seed)
    assert sorted(i for shard in shards.values() for i in shard) == sorted(set(ids))
    assert shards == shard_subjects(np.array(ids[::-1]), size, None, fractions, seed)
    splits = {name.rpartition("/")[0] for name in shards}
    assert splits == {split for split, fraction in fractions.items() if fraction is not None}
    for split in splits:
        sizes = [len(shard) for name, shard in shards.items() if name.rpartition("/")[0] == split]
        assert len(sizes) == math.ceil(sum(sizes) / size)
        assert max(sizes) - min(sizes) <= 1
        assert [f"{split}/{i}" for i in range(len(sizes))] == [n for n in shards if n.rpartition("/")[0] == split]


@given(ids=ids, external=st.lists(st.integers(0, 100), min_size=1, unique=True), seed=st.integers(0, 5))
def test_external_ids_are_not_drawn_and_come_last(ids, external, seed):
    drawn = sorted(set(ids) - set(external))
    shards = shard_subjects(np.array(ids), 1000, {"task": external}, {"train": 1}, seed)
    assert shards.pop("task/0") == external
    assert sorted(shards.get("train/0", [])) == drawn


def by_reference(subject, fractions, seed):
    """The split of a subject as the guide describes it."""
    digest = hashlib.blake2b(str(subject).encode(), digest_size=8, key=str(seed).encode()).digest()
    drawn = (int.from_bytes(digest, "big") >> 11) / 2**53
    so_far = 0.0
    for split, fraction in fractions.items():
        so_far += fraction
        if drawn < so_far:
            return split
    raise AssertionError(drawn)


def split_by_subject(shards):
    return {i: name.rpartition("/")[0] for name, shard in shards.items() for i in shard}


@given(ids=ids, more=ids, fractions=fractions, seed=st.integers(0, 50), size=st.integers(1, 20))
def test_the_hash_moves_nobody_when_subjects_are_added(ids, more, fractions, seed, size):
    some = split_by_subject(shard_subjects(np.array(ids), size, None, fractions, seed, HASH))
    all_of_them = split_by_subject(shard_subjects(np.array([*more, *ids]), 50, None, fractions, seed, HASH))
    assert sorted(all_of_them) == sorted({*ids, *more})
    assert some.items() <= all_of_them.items()
    given_fractions = {split: fraction for split, fraction in fractions.items() if fraction is not None}
    assert some == {i: by_reference(i, given_fractions, seed) for i in {*ids}}


def test_the_hash_meets_the_fractions_in_expectation():
    sizes = {split: len(ids) for split, ids in draw_by_hash(np.arange(50_000), DEFAULT_SPLIT_FRACS, 3).items()}
    assert all(abs(sizes[split] / 50_000 - share) < 0.005 for split, share in DEFAULT_SPLIT_FRACS.items())


def test_a_split_that_the_hash_leaves_empty_is_left_out_with_a_warning(caplog):
    found = draw_by_hash(np.array([2]), {"a": 0.5, "b": 0.5, "c": 0}, 1)
    assert {split: ids.tolist() for split, ids in found.items()} == {"b": [2]}
    assert "none of 1 subjects into the split a" in caplog.text


def test_the_hash_needs_a_seed():
    with pytest.raises(ValueError, match="seed must be a number"):
        shard_subjects(TEN, seed=None, method=HASH)
