"""Batches: every number is in its place, and everything else is 0."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MEDS_transforms.errors import InputError
from MEDS_transforms.tensors import Item, TensorDataset, Window, collate

from .cohorts import DAY, plain, random_rows, rows, write_cohort

SHARDS = {"train/0": random_rows(5, range(60))}


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> TensorDataset:
    return TensorDataset.open(write_cohort(tmp_path_factory.mktemp("cohort"), SHARDS), "train")


def flat_cells(item: Item) -> list[tuple]:
    """Code, value, delta of each measurement, by the nested view."""
    return [
        (int(code), value, days if number == 0 else 0.0)
        for days, codes, values in item.events()
        for number, (code, value) in enumerate(zip(codes, plain(values), strict=True))
    ]


def zero_if_missing(number: float | None) -> float:
    return 0.0 if number is None or np.isnan(number) else number


@settings(max_examples=50)
@given(st.data())
def test_flat_batches(train, data):
    numbers = data.draw(st.lists(st.integers(0, len(train) - 1), min_size=1, max_size=6))
    pad, max_length = data.draw(st.sampled_from(["right", "left"])), data.draw(st.none() | st.integers(1, 60))
    batch = collate([train[number] for number in numbers], pad=pad, max_length=max_length)
    wanted = [flat_cells(train[number])[-(max_length or 0) :] for number in numbers]
    length = max(map(len, wanted))
    assert batch["code"].shape == (len(numbers), length)
    for row, cells in enumerate(wanted):
        filled = [None] * (length - len(cells))
        padded = cells + filled if pad == "right" else filled + cells
        assert batch["mask"][row].tolist() == [cell is not None for cell in padded]
        padded = [cell or (0, None, 0.0) for cell in padded]
        assert batch["code"][row].tolist() == [code for code, _, _ in padded]
        assert batch["numeric_value"][row].tolist() == [zero_if_missing(value) for _, value, _ in padded]
        assert batch["numeric_value_mask"][row].tolist() == [value is not None for _, value, _ in padded]
        assert batch["time_delta_days"][row].tolist() == [zero_if_missing(days) for _, _, days in padded]


@settings(max_examples=50)
@given(st.data())
def test_nested_batches(train, data):
    numbers = data.draw(st.lists(st.integers(0, len(train) - 1), min_size=1, max_size=6))
    pad, max_length = data.draw(st.sampled_from(["right", "left"])), data.draw(st.none() | st.integers(1, 60))
    batch = collate([train[number] for number in numbers], nested=True, pad=pad, max_length=max_length)
    wanted = [list(train[number].events())[-(max_length or 0) :] for number in numbers]
    shape = len(numbers), max(map(len, wanted)), max(len(codes) for events in wanted for _, codes, _ in events)
    cells = np.zeros(shape, [("code", int), ("value", "f4"), ("mask", bool), ("has_value", bool)])
    days = np.zeros(shape[:2], "f4")
    for row, events in enumerate(wanted):
        for column, (delta, codes, values) in enumerate(events, 0 if pad == "right" else shape[1] - len(events)):
            days[row, column] = zero_if_missing(delta)
            for at, (code, value) in enumerate(zip(codes, plain(values), strict=True)):
                cells[row, column, at] = code, zero_if_missing(value), True, value is not None
    names = {"code": "code", "numeric_value": "value", "mask": "mask", "numeric_value_mask": "has_value"}
    assert all(np.array_equal(batch[name], cells[field]) for name, field in names.items())
    assert np.array_equal(batch["time_delta_days"], days)
    assert np.array_equal(batch["event_mask"], cells["mask"].any(axis=2))


def test_static_measurements_and_dtypes(train):
    items = list(train)
    batch = collate(items)
    for row, item in enumerate(items):
        assert batch["static_code"][row][batch["static_mask"][row]].tolist() == item.static_code.tolist()
    kinds = {name: array.dtype.name for name, array in batch.items()}
    assert kinds == {
        **dict.fromkeys(["subject_id", "code", "static_code"], "int64"),
        **dict.fromkeys(["numeric_value", "static_numeric_value", "time_delta_days"], "float32"),
        **dict.fromkeys(["mask", "numeric_value_mask", "static_mask", "static_numeric_value_mask"], "bool"),
    }


def test_windows_that_begin_within_an_event(tmp_path):
    """The delta of an event is that of the first of its measurements that are there."""
    df = rows((1, None, 9, 2.0), (1, 0, 1, None), (1, 3, 2, 0.5), (1, 3, 3, None), (1, 3, 4, 1.5), (1, 5, 5, None))
    dataset = TensorDataset.open(write_cohort(tmp_path, {"0": df}))
    item = dataset.read(0, Window(3))
    batches = collate([item]), collate([item], nested=True)
    assert [batch["time_delta_days"].tolist() for batch in batches] == [[[3, 0, 2]], [[3, 2]]]
    assert [batch["code"].tolist() for batch in batches] == [[[3, 4, 5]], [[[3, 4], [5, 0]]]]
    assert batches[0]["static_numeric_value"].tolist() == [[2.0]]


def test_all_items_are_in_batches_once(train):
    orders = [
        [int(i) for batch in train.batches(7, shuffle=shuffle) for i in batch["subject_id"]]
        for shuffle in (None, 1, 1, 2)
    ]
    assert orders[0] == train.subject_ids.tolist()
    assert orders[1] == orders[2] != orders[3]
    assert sorted(orders[3]) == orders[0] != orders[3]
    sizes = [len(batch["code"]) for batch in train.batches(7, drop_last=True, nested=True)]
    assert sizes == [7] * (len(train) // 7)
    assert len(train) % 7


def test_labels_of_a_batch(tmp_path):
    cohort = write_cohort(tmp_path, SHARDS)
    ids = TensorDataset.open(cohort).subject_ids[:3].tolist()
    times = [DAY.replace(year=2090)] * 3
    labels = pl.DataFrame({"subject_id": ids, "prediction_time": times, "boolean_value": [True, False, True]})
    [batch] = TensorDataset.open(cohort, labels=labels).batches(8)
    assert batch["label"].tolist() == [True, False, True]
    assert batch["label"].dtype == bool
    assert batch["prediction_time"].tolist() == times


@pytest.mark.parametrize("options", [{"pad": "both"}, {"max_length": 0}], ids=str)
def test_options_that_cannot_be(train, options):
    with pytest.raises(InputError, match=f"{next(iter(options))} must be"):
        collate([train[0]], **options)


def test_batches_need_items(train):
    with pytest.raises(InputError, match="at least one item"):
        collate([])
    with pytest.raises(InputError, match="must be a positive number"):
        next(train.batches(0))
