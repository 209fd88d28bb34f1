"""Which subjects stay."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import Preprocessing, files_below, measurements
from MEDS_transforms.filters.filter_subjects import filter_subjects

T = [datetime(2020, 1, 1) + timedelta(days=i) for i in range(3)]
SHARD = measurements(
    (1, None, "S"),
    (1, T[0], "A"),
    (1, T[0], "B"),
    (1, T[0], "C"),
    (2, T[0], "A"),
    (2, T[1], "A"),
    (3, None, "S"),
    (3, None, "T"),
    (4, None, "S"),
    (4, T[0], "A"),
    (4, T[1], "A"),
    (4, T[2], "A"),
)


def kept(df=SHARD, events=None, measurements=None):
    keep = filter_subjects({"min_events_per_subject": events, "min_measurements_per_subject": measurements})
    return keep(df.lazy()).collect()


@pytest.mark.parametrize(
    ("events", "measurements", "subjects"),
    [
        (None, None, [1, 2, 3, 4]),
        (None, 0, [1, 2, 3, 4]),
        (None, 1, [1, 2, 4]),  # rows without a time are no measurements here
        (None, 3, [1, 4]),
        (1, None, [1, 2, 3, 4]),  # the null time is an event
        (2, None, [1, 2, 4]),
        (3, None, [4]),
        (4, None, [4]),
        (5, None, []),
        (2, 2, [1, 2, 4]),
        (2, 3, [1, 4]),
        (3, 3, [4]),
    ],
)
def test_limits(events, measurements, subjects):
    df = kept(events=events, measurements=measurements)
    assert df.equals(SHARD.filter(pl.col("subject_id").is_in(subjects)))


@pytest.mark.parametrize("make", [pl.DataFrame.lazy, lambda df: df])
@pytest.mark.parametrize("events", [None, 1, 2])
def test_a_shard_that_keeps_all_subjects_is_given_back_itself(make, events):
    """So that a caller can see that nothing changed."""
    df = make(SHARD.filter(pl.col("subject_id") != 3))
    keep = filter_subjects({"min_events_per_subject": events, "min_measurements_per_subject": None})
    assert keep(df) is df


def test_times_of_no_dtype_get_one_also_where_all_subjects_are_kept():
    assert kept(SHARD.filter(subject_id=3).with_columns(time=None), events=1).schema["time"] == pl.Datetime("us")


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, *T]))), st.integers(0, 4), st.integers(0, 4))
def test_any_rows_in_any_order(rows, events, measurements_):
    df = measurements(*((i, t, str(n)) for n, (i, t) in enumerate(rows)))
    timed = [i for i, t in rows if t is not None]
    stay = {i for i, _ in rows if timed.count(i) >= measurements_ and len({t for j, t in rows if j == i}) >= events}
    assert kept(df, events, measurements_).rows() == [row for row in df.rows() if row[0] in stay]


@pytest.mark.parametrize("key", ["min_events_per_subject", "min_measurements_per_subject"])
@pytest.mark.parametrize("limit", [1.0, "2", True, [1]])
def test_a_limit_that_is_no_integer_is_an_error_before_anything_is_read(key, limit):
    with pytest.raises(TypeError, match=key):
        filter_subjects({key: limit})


def test_without_limits_nothing_is_asked_of_the_data():
    assert kept(pl.DataFrame({"a": [1]})).rows() == [(1,)]


@pytest.mark.parametrize("df", [SHARD.clear(), SHARD.clear().cast({"time": pl.Null}), SHARD.head(1)])
def test_shards_without_rows_or_events(df):
    assert kept(df, events=2, measurements=1).is_empty()
    assert kept(df, events=0).height == df.height


def test_codes_may_be_numbers_and_other_columns_come_along():
    df = SHARD.with_columns(code=pl.lit(7, pl.UInt8), more=pl.Series([[1]] * SHARD.height))
    assert kept(df, events=3).equals(df.filter(pl.col("subject_id") == 4))


def test_missing_columns_are_an_error():
    with pytest.raises(ValueError, match="time is missing"):
        kept(SHARD.drop("time"), events=1)


def test_the_stage(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"train/0": SHARD, "tuning/0": SHARD.clear()})
    shards = x.run("filter_subjects", min_events_per_subject=3, min_measurements_per_subject=3)
    assert shards["train/0"].equals(SHARD.filter(pl.col("subject_id") == 4))
    assert shards["tuning/0"].equals(SHARD.clear())
    assert files_below(x.cohort) == ["data/train/0.parquet", "data/tuning/0.parquet"]


def test_match_and_revise(tmp_path):
    """Limits for the rows of one kind, the others stay."""
    x = Preprocessing(tmp_path)
    x.write({"0": SHARD})
    entries = [{"_matcher": {"code": "A"}, "min_measurements_per_subject": 2}]
    shards = x.run("filter_subjects", _match_revise=entries)
    assert shards["0"].rows() == [row for row in SHARD.rows() if row[:3] != (1, T[0], "A")]


def test_the_script(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": SHARD})
    done = x.script("filter_subjects", ".min_events_per_subject=3")
    assert done.returncode == 0, done.stderr
    assert x.shards(x.cohort / "data")["0"]["subject_id"].unique().to_list() == [4]
    failed = x.script("filter_subjects", ".min_events_per_subject=2.5", "do_overwrite=True")
    assert failed.returncode == 1
    where = "stage_configs.filter_subjects.min_events_per_subject"
    assert failed.stderr.strip() == f"error: {where} must be a whole number from 0 to 4294967295 or null, not 2.5."
