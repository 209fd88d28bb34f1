"""Items and windows of the tensors of a cohort, compared with the rows in plain Python."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MEDS_transforms.errors import InputError, MissingInputError
from MEDS_transforms.tensors import Item, TensorDataset, Window

from .cohorts import deltas, histories, pairs, plain, random_rows, rows, write_cohort

SHARDS = {
    "train/0": random_rows(1, range(10, 40)),
    "train/1": random_rows(2, range(40, 80)),
    "train/2": rows((90, None, 3, None)),  # without events
    "tuning/0": random_rows(3, range(100, 110)),
}
TRAIN = histories(*(df for name, df in SHARDS.items() if name.startswith("train")))
IDS = list(TRAIN)
LONGEST = max(range(len(IDS)), key=lambda number: len(TRAIN[IDS[number]].events))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), SHARDS)


@pytest.fixture(scope="module", params=[False, True], ids=["mapped", "in memory"])
def train(request, cohort) -> TensorDataset:
    return TensorDataset.open(cohort, "train", in_memory=request.param)


def assert_is(item: Item, start: int, stop: int) -> None:
    """An item must be the measurements `start` to `stop` of its subject."""
    history = TRAIN[item.subject_id]
    numbered = [(event, m) for event, e in enumerate(history.events) for m in e.measurements][start:stop]
    events = sorted({event for event, _ in numbered})
    assert pairs(item.code, item.numeric_value) == [m for _, m in numbered]
    assert item.lengths.tolist() == [sum(event == e for event, _ in numbered) for e in events]
    assert item.first_event == events[0]
    assert plain(item.time_delta_days) == deltas(history)[events[0] : events[-1] + 1]
    assert pairs(item.static_code, item.static_numeric_value) == history.static


def n_measurements(number: int, events: slice = slice(None)) -> int:
    return sum(len(event.measurements) for event in TRAIN[IDS[number]].events[events])


def same(first: Item, second: Item) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=a is not None and np.asarray(a).dtype.kind == "f")
        for a, b in zip(first, second, strict=True)
    )


def test_every_subject_with_an_event_is_an_item(train):
    assert [item.subject_id for item in train] == IDS == train.subject_ids.tolist()
    assert 30 < len(train) == len(IDS) < 70
    for number, item in enumerate(train):
        assert_is(item, 0, n_measurements(number))


def test_all_splits_together(cohort):
    everyone = TensorDataset.open(cohort)
    assert everyone.subject_ids.tolist() == list(histories(*SHARDS.values()))


@pytest.mark.parametrize("number", [-1, np.int64(3)])
def test_items_are_counted_as_in_a_list(train, number):
    assert train[number].subject_id == IDS[number]


@pytest.mark.parametrize("number", [10_000, -10_000])
def test_there_is_no_item_beyond_the_last(train, number):
    with pytest.raises(IndexError, match="none of them"):
        train[number]


@settings(max_examples=60)
@given(st.data())
def test_windows_of_measurements(train, data):
    number = data.draw(st.integers(0, len(IDS) - 1))
    size, at = data.draw(st.integers(1, 90)), data.draw(st.sampled_from(["end", "start", "random"]))
    window = Window(size, at=at, seed=data.draw(st.integers(0, 5)))
    item, n = train.read(number, window), n_measurements(number)
    assert len(item.code) == min(size, n)
    stops = {"end": [n], "start": [min(size, n)], "random": range(min(size, n), n + 1)}[at]
    found = [stop for stop in stops if fits(item, stop)]
    assert found
    assert_is(item, max(0, found[0] - size), found[0])


def fits(item: Item, stop: int) -> bool:
    measurements = [m for event in TRAIN[item.subject_id].events for m in event.measurements]
    first = len([m for e in TRAIN[item.subject_id].events[: item.first_event] for m in e.measurements])
    return measurements[stop - len(item.code) : stop] == pairs(item.code, item.numeric_value) and (
        first <= stop - len(item.code) < first + len(TRAIN[item.subject_id].events[item.first_event].measurements)
    )


@settings(max_examples=60)
@given(st.data())
def test_windows_of_events(train, data):
    number = data.draw(st.integers(0, len(IDS) - 1))
    size, at = data.draw(st.integers(1, 45)), data.draw(st.sampled_from(["end", "start", "random"]))
    item, n = train.read(number, Window(size, "events", at)), len(TRAIN[IDS[number]].events)
    assert len(item.lengths) == min(size, n)
    first = {"end": max(0, n - size), "start": 0, "random": item.first_event}[at]
    assert_is(item, n_measurements(number, slice(first)), n_measurements(number, slice(first + size)))


@settings(max_examples=40)
@given(st.integers(0, len(IDS) - 1), st.integers(-5, 45), st.integers(-5, 45))
def test_events_as_in_a_slice(train, number, start, stop):
    item = train.events(number, start, stop)
    expected = TRAIN[IDS[number]].events[start:stop]
    assert item.lengths.tolist() == [len(event.measurements) for event in expected]
    assert pairs(item.code, item.numeric_value) == [m for event in expected for m in event.measurements]


def test_random_windows_depend_on_seed_epoch_and_item_alone(train, cohort):
    window = Window(5, at="random", seed=3)
    again = TensorDataset.open(cohort, "train", window=window)
    places = [train.read(number, window).first_event for number in range(len(train))]
    assert [again[number].first_event for number in reversed(range(len(again)))] == places[::-1]
    assert again[-1].first_event == places[-1]
    again.set_epoch(1)
    assert [item.first_event for item in again] != places
    others = [train.read(number, Window(5, at="random", seed=4)).first_event for number in range(len(train))]
    assert others != places


def test_every_place_of_a_random_window_is_as_likely_as_others(cohort):
    window = Window(1, "events", at="random")
    dataset, n = TensorDataset.open(cohort, "train", window=window), len(TRAIN[IDS[LONGEST]].events)
    found = []
    for epoch in range(100 * n):
        dataset.set_epoch(epoch)
        found.append(dataset[LONGEST].first_event)
    counts = np.bincount(found, minlength=n)
    assert len(counts) == n
    assert 50 < counts.min() < counts.max() < 160


def test_a_generator_draws_the_place(train):
    window = Window(5, at="random")
    drawn = [
        [train.read(LONGEST, window, rng).first_event for _ in range(8)]
        for rng in map(np.random.default_rng, (1, 1, 2))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_views(train):
    item = train.events(LONGEST, 0, 3)
    expected = TRAIN[IDS[LONGEST]].events[:3]
    assert [pairs(codes, values) for _, codes, values in item.events()] == [e.measurements for e in expected]
    assert item.offsets.tolist() == [0, *np.cumsum([len(e.measurements) for e in expected])]
    days = deltas(TRAIN[IDS[LONGEST]])[:3]
    first_only = [d if at == 0 else 0 for d, e in zip(days, expected, strict=True) for at in range(len(e.measurements))]
    repeated = [d for d, e in zip(days, expected, strict=True) for _ in e.measurements]
    assert plain(item.flat().time_delta_days) == first_only
    assert plain(item.flat(repeat_deltas=True).time_delta_days) == repeated
    assert item.flat().code is item.code


def test_a_copy_has_paths_only_and_reads_the_same(train):
    train[0]
    copied = pickle.dumps(train)
    assert len(copied) < 3000
    assert all(same(*both) for both in zip(pickle.loads(copied), train, strict=True))


def read_all(dataset: TensorDataset) -> int:
    return sum(int(item.code.astype(np.int64).sum()) for item in dataset)


def test_threads_share_a_dataset(cohort):
    expected = read_all(TensorDataset.open(cohort, "train"))
    dataset = TensorDataset.open(cohort, "train")
    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(read_all, [dataset] * 16)} == {expected}


def test_forked_processes_go_on_with_a_dataset(cohort):
    """Also after this process has used polars, which must not be used in a forked one."""
    pl.DataFrame({"a": range(1000)}).lazy().group_by("a").len().collect()
    dataset = TensorDataset.open(cohort, "train")
    dataset[0]
    with get_context("fork").Pool(2) as pool:
        assert {*pool.map_async(read_all, [dataset] * 4).get(60)} == {read_all(dataset)}


def test_nothing_is_read_before_it_is_asked_for(cohort, tmp_path):
    for name in SHARDS:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / f"{name}.nrt").symlink_to(cohort / "data" / f"{name}.nrt")
    dataset = TensorDataset.open(tmp_path, "train")
    assert len(dataset) == len(IDS)
    with pytest.raises(MissingInputError, match=r"schemas/train/0\.parquet: there are no static data"):
        dataset[0]
    named = TensorDataset.open(tensors=tmp_path / "data", schemas=cohort / "tokenization" / "schemas", split="train")
    assert named[0].subject_id == IDS[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, r"no split 'trian' \(did you mean 'train'\?\)"),
        ({"cohort": None}, "both `tensors` and `schemas`"),
        ({"cohort": "nowhere"}, "there are no tensors"),
    ],
)
def test_what_cannot_be_opened(cohort, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, MissingInputError), match=message):
        TensorDataset.open(**{"cohort": cohort, **arguments})


@pytest.mark.parametrize(
    "settings",
    [{"size": 0}, {"size": True}, {"size": 2.5}, {"unit": "rows"}, {"at": "middle"}, {"seed": None}],
    ids=str,
)
def test_windows_that_cannot_be(settings):
    with pytest.raises(InputError, match=f"{next(iter(settings))} of a window must be"):
        Window(**settings)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\xff" * 100, b"\x02" + 7 * b"\0" + b"[]", None], ids=repr)
def test_files_that_are_no_tensors(tmp_path, content):
    cohort = write_cohort(tmp_path, {"0": SHARDS["train/0"]})
    file = cohort / "data" / "0.nrt"
    file.write_bytes(file.read_bytes()[:-8] if content is None else content)
    with pytest.raises(InputError, match=r"0\.nrt: this is not a whole file of tensors"):
        TensorDataset.open(cohort)[0]


def test_static_data_of_another_run(tmp_path):
    cohort = write_cohort(tmp_path, {"0": SHARDS["train/0"]})
    write_cohort(tmp_path / "other", {"0": SHARDS["train/1"]})
    (tmp_path / "other" / "tokenization" / "schemas" / "0.parquet").replace(tmp_path / "tokenization/schemas/0.parquet")
    with pytest.raises(InputError, match=r"are not those of .*Run tokenization and tensorization again"):
        TensorDataset.open(cohort)[0]


def test_the_import_needs_neither_torch_nor_the_stages():
    unwanted = {"torch", "nested_ragged_tensors", "MEDS_transforms.mapreduce", "MEDS_transforms.transforms"}
    check = f"import sys, MEDS_transforms.tensors; print(*{unwanted} & {{*sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, env=os.environ)
    assert ran.stdout.strip() == ""
