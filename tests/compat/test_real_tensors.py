"""Items of real tensors are the rows that normalization made, and those of labels what DuckDB counts up to a time."""

import random
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from MEDS_transforms.tensors import Item, TensorDataset, Window
from tensors.cohorts import deltas, histories, pairs, plain

from .test_real_preprocessing import DATASETS, given, name_of

SPLITS = ("train", "tuning", "held_out")
PARAMS = [(dataset, "tensors") for dataset in DATASETS] or [None]


def opened(cohort: Path, split: str, **options: object) -> TensorDataset:
    return TensorDataset.open(cohort, split, **options)


def rows(cohort: Path, split: str) -> list[pl.DataFrame]:
    return [pl.read_parquet(path, glob=False) for path in sorted((cohort / "normalization" / split).glob("*.parquet"))]


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("param", PARAMS, ids=name_of)
def test_every_item_is_what_the_rows_say(param, in_memory):
    cohort = given(param)[0] / "expected" / "preprocessing"
    for split in SPLITS:
        expected = histories(*rows(cohort, split))
        dataset = opened(cohort, split, in_memory=in_memory)
        assert dataset.subject_ids.tolist() == list(expected)
        for item in dataset:
            history = expected[item.subject_id]
            assert pairs(item.code, item.numeric_value) == [m for event in history.events for m in event.measurements]
            assert item.lengths.tolist() == [len(event.measurements) for event in history.events]
            assert plain(item.time_delta_days) == deltas(history)
            assert pairs(item.static_code, item.static_numeric_value) == history.static


@pytest.mark.parametrize("param", PARAMS, ids=name_of)
def test_random_windows_are_parts_of_histories(param):
    cohort, chance = given(param)[0] / "expected" / "preprocessing", random.Random(1)
    expected, dataset = histories(*rows(cohort, "train")), opened(cohort, "train")
    for _ in range(200):
        number = chance.randrange(len(dataset))
        item = dataset.read(number, Window(chance.randint(1, 300), "events", "random", chance.randint(0, 9)))
        part = expected[item.subject_id].events[item.first_event :][: len(item.lengths)]
        assert [pairs(codes, values) for _, codes, values in item.events()] == [event.measurements for event in part]


LABELLED = """
SELECT l.number, count(*) AS n, count(DISTINCT r.time) AS n_events, sum(r.code::BIGINT) AS codes
FROM labels l JOIN rows r ON r.subject_id = l.subject_id AND r.time <= l.prediction_time
GROUP BY l.number ORDER BY l.number
"""


@pytest.mark.parametrize("param", PARAMS, ids=name_of)
def test_items_of_labels_are_what_a_database_counts(param):
    cohort, chance = given(param)[0] / "expected" / "preprocessing", random.Random(2)
    table = pl.concat(rows(cohort, "train"))
    timed = table.drop_nulls("time").select("subject_id", "time").unique().sort("subject_id", "time")
    drawn = [timed.row(chance.randrange(timed.height)) for _ in range(2000)]
    shifts = [timedelta(microseconds=chance.choice([-1, 0, 1, 10**12, -(10**15)])) for _ in drawn]
    keys = [(subject, time + shift) for (subject, time), shift in zip(drawn, shifts, strict=True)]
    labels = pl.DataFrame(keys, schema=["subject_id", "prediction_time"], orient="row").with_row_index("number")
    with duckdb.connect() as database:
        database.register("labels", labels.to_arrow())
        database.register("rows", table.to_arrow())
        expected = database.execute(LABELLED).fetchall()
    named = labels.select("subject_id", "prediction_time", integer_value=pl.col("number").cast(pl.Int64))
    dataset = opened(cohort, "train", labels=named, unusable="drop")
    assert [figures(item) for item in dataset] == expected
    assert 1000 < len(expected) < 2000


def figures(item: Item) -> tuple[int, int, int, int]:
    return int(item.label), len(item.code), len(item.lengths), sum(item.code.tolist())
