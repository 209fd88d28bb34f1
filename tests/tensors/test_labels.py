"""Items of labels: the history up to a prediction time, found for all at once."""

import logging
import pickle
import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import write_table
from MEDS_transforms.errors import InputError, MissingInputError
from MEDS_transforms.tensors import TensorDataset, Window

from .cohorts import DAY, histories, pairs, random_rows, write_cohort

SHARDS = {
    "train/0": random_rows(1, range(10, 40)),
    "train/1": random_rows(2, range(40, 80)),
    "tuning/0": random_rows(3, range(100, 110)),
}
TRAIN = histories(SHARDS["train/0"], SHARDS["train/1"])
TUNING = histories(SHARDS["tuning/0"])
IDS = list(TRAIN)
TYPES = {"subject_id": pl.Int64, "prediction_time": pl.Datetime("us")}
LAST = datetime(2100, 1, 1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), SHARDS)


def table(*labels: tuple, **dtype: pl.DataType) -> pl.DataFrame:
    return pl.DataFrame(labels, schema={**TYPES, **dtype}, orient="row")


TIMES = st.one_of(
    st.sampled_from([event.time for history in TRAIN.values() for event in history.events]),
    st.datetimes(DAY - timedelta(days=9), DAY + timedelta(days=700)),
)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([*IDS, *TUNING, 5000]), TIMES), min_size=1, max_size=40))
def test_each_label_has_the_events_up_to_its_time(cohort, labels):
    def n_until(subject: int, time: datetime) -> int:
        return sum(event.time <= time for event in TRAIN[subject].events) if subject in TRAIN else 0

    usable = [(subject, time) for subject, time in labels if n_until(subject, time)]
    frame = table(*((*label, number) for number, label in enumerate(labels)), integer_value=pl.Int64)
    if not usable:
        with pytest.raises(InputError, match="None of "):
            TensorDataset.open(cohort, "train", labels=frame, unusable="drop")
        return
    dataset = TensorDataset.open(cohort, "train", labels=frame, unusable="drop")
    assert [(item.subject_id, item.prediction_time.item()) for item in dataset] == usable
    assert [labels[item.label] for item in dataset] == usable
    for item, (subject, time) in zip(dataset, usable, strict=True):
        expected = TRAIN[subject].events[: n_until(subject, time)]
        assert item.lengths.tolist() == [len(event.measurements) for event in expected]
        assert pairs(item.code, item.numeric_value) == [m for event in expected for m in event.measurements]


def test_an_event_at_the_prediction_time_belongs_to_the_history(cohort):
    subject = max(IDS, key=lambda subject: len(TRAIN[subject].events))
    third = TRAIN[subject].events[2].time
    times = [third - timedelta(microseconds=1), third, third + timedelta(microseconds=1)]
    dataset = TensorDataset.open(cohort, "train", labels=table(*((subject, time) for time in times)))
    assert [len(item.lengths) for item in dataset] == [2, 3, 3]
    assert [item.label for item in dataset] == [None] * 3
    drawn = [dataset.read(2, Window(2, "events", "random"), np.random.default_rng(seed)) for seed in range(20)]
    assert {item.first_event for item in drawn} == {0, 1}
    assert len(dataset.events(1).lengths) == 3


@pytest.mark.parametrize(
    ("column", "dtype", "values"),
    [
        ("boolean_value", pl.Boolean, [True, False]),
        ("integer_value", pl.Int32, [3, -1]),
        ("float_value", pl.Float32, [0.5, 2.0]),
        ("categorical_value", pl.String, ["low", "high"]),
        ("categorical_value", pl.Categorical, ["low", "high"]),
    ],
)
def test_columns_of_labels(cohort, column, dtype, values):
    empty = {name: pl.lit(None, pl.Boolean) for name in ("boolean_value", "float_value") if name != column}
    labels = table(*((IDS[0], LAST, value) for value in values), **{column: dtype}).with_columns(**empty)
    assert [item.label for item in TensorDataset.open(cohort, "train", labels=labels)] == values


def test_labels_in_files_stay_in_the_order_of_their_names(cohort, tmp_path):
    for name, subject in {"b": IDS[0], "a/x": IDS[1], "a/y": IDS[2]}.items():
        write_table(tmp_path / f"{name}.parquet", table((subject, LAST, True), boolean_value=pl.Boolean))
    dataset = TensorDataset.open(cohort, "train", labels=tmp_path)
    assert dataset.subject_ids.tolist() == [IDS[1], IDS[2], IDS[0]]
    one = TensorDataset.open(cohort, "train", labels=str(tmp_path / "b.parquet"))
    assert one.subject_ids.tolist() == [IDS[0]]
    assert [item.subject_id for item in pickle.loads(pickle.dumps(dataset))] == [IDS[1], IDS[2], IDS[0]]


def test_prediction_times_of_other_units_and_zones(cohort):
    subject = IDS[0]
    first = TRAIN[subject].events[0].time
    labels = table((subject, first)).with_columns(pl.col("prediction_time").cast(pl.Datetime("ms")))
    zoned = labels.with_columns(pl.col("prediction_time").dt.replace_time_zone("UTC"))
    found = [
        TensorDataset.open(cohort, "train", labels=frame, unusable="drop")[0]
        for frame in (
            labels.with_columns(pl.col("prediction_time") + timedelta(milliseconds=1)),
            zoned.with_columns(pl.col("prediction_time") + timedelta(milliseconds=1)),
        )
    ]
    assert len({(item.prediction_time, len(item.lengths)) for item in found}) == 1


UNUSABLE = table(
    (IDS[0], LAST, True),
    (5000, LAST, True),
    (IDS[1], DAY - timedelta(days=1), True),
    (IDS[2], LAST, None),
    (next(iter(TUNING)), LAST, False),
    boolean_value=pl.Boolean,
)
REASONS = "1 of a subject without tensors, 1 of a subject without an event until prediction_time, 1 without a value"


def test_labels_that_cannot_be_used_are_an_error(cohort):
    with pytest.raises(
        InputError, match=f"Of 5 labels some cannot be used: {REASONS}. Correct them, or set unusable='drop'"
    ):
        TensorDataset.open(cohort, "train", labels=UNUSABLE)


def test_labels_that_cannot_be_used_are_dropped_and_counted(cohort, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = TensorDataset.open(cohort, "train", labels=UNUSABLE, unusable="drop")
    assert [record.getMessage() for record in caplog.records] == [f"Of 5 labels these are left out: {REASONS}."]
    assert dataset.subject_ids.tolist() == [IDS[0]]


def test_labels_of_another_split_are_none_of_the_unusable(cohort, caplog):
    labels = UNUSABLE[[0, 4]]
    assert TensorDataset.open(cohort, "train", labels=labels).subject_ids.tolist() == [IDS[0]]
    assert TensorDataset.open(cohort, "tuning", labels=labels).subject_ids.tolist() == [next(iter(TUNING))]
    assert len(TensorDataset.open(cohort, labels=labels)) == 2
    assert not caplog.records


BOTH = table((IDS[0], LAST, True, 1), boolean_value=pl.Boolean, integer_value=pl.Int64)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (BOTH.rename({"prediction_time": "predicton_time"}), {}, "prediction_time is missing (did you mean 'predicton"),
        (BOTH.with_columns(subject_id=pl.lit(None, pl.Int64)), {}, "1 row without subject_id"),
        (BOTH, {}, "Several columns have labels: boolean_value, integer_value. Name one of them in `label`"),
        (BOTH, {"label": "bool_value"}, "have no column 'bool_value' (did you mean 'boolean_value'?)"),
        (BOTH.with_columns(integer_value=pl.lit("x")), {"label": "integer_value"}, "integer_value of the labels must"),
        (BOTH, {"label": "boolean_value", "unusable": "skip"}, "unusable must be error or drop, not 'skip'"),
        (BOTH.clear(), {}, "None of 0 labels is of a subject of these tensors"),
    ],
)
def test_tables_that_are_no_labels(cohort, labels, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        TensorDataset.open(cohort, "train", labels=labels, **options)


def test_one_of_several_columns(cohort):
    assert TensorDataset.open(cohort, "train", labels=BOTH, label="integer_value")[0].label == 1


@pytest.mark.parametrize("exists", [True, False])
def test_there_are_no_labels(cohort, tmp_path, exists):
    with pytest.raises(MissingInputError, match="there are no labels"):
        TensorDataset.open(cohort, "train", labels=tmp_path if exists else tmp_path / "x")
