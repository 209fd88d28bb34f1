"""What stages ask of a shard: columns, the order of rows, where events begin."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import measurements, measurements_with_ties, stably_sorted
from MEDS_transforms.dataset.measurements import begins_event, checked, in_order, places_among, sorted_rows

ROW = measurements((1, None, "A"))
COLUMNS = ("subject_id", "time", "code", "numeric_value")

keys = st.lists(st.tuples(st.integers(-2, 2), st.none() | st.datetimes(datetime(1969, 12, 31), datetime(1970, 1, 2))))


@given(keys)
def test_rows_are_sorted_stably_null_times_first(rows):
    df = measurements(*((i, t, str(n)) for n, (i, t) in enumerate(rows)))
    got = in_order(df)
    want = sorted(df.rows(), key=lambda row: (row[0], row[1] is not None, row[1] or datetime.max))
    assert got.rows() == want
    assert in_order(got) is got


@given(keys, keys, st.booleans())
def test_rows_with_other_times_find_their_places_among_those_of_their_subjects(rows, others, after):
    df = in_order(measurements(*((i, t, "old") for i, t in rows)))
    here = {i for i, _ in rows}
    new = measurements(*((i, t, "new") for i, t in others if i in here))
    places = places_among(df, new, np.full(new.height, after))
    for place, row in zip(places, new.iter_slices(1), strict=True):
        got = pl.concat([df[:place], row, df[place:]])
        assert_frame_equal(got, in_order(pl.concat([df, row] if after else [row, df])))


LARGEST = 2**63 - 1
WHOLE_SECONDS = st.integers(-4_000_000_000, 4_000_000_000).map(lambda seconds: seconds * 10**6 + 7)
TIMES = st.one_of(WHOLE_SECONDS, st.integers(-3, 3), st.integers(-LARGEST, LARGEST), st.none())
SUBJECTS = st.one_of(st.integers(0, 3), st.integers(-LARGEST - 1, LARGEST))


@given(
    subjects=st.lists(SUBJECTS, min_size=1, max_size=3),
    times=st.lists(st.one_of(TIMES, WHOLE_SECONDS), min_size=1, max_size=3),
    picks=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=20),
    unit=st.sampled_from(["ms", "us", "ns"]),
)
def test_subjects_and_times_of_any_size_are_sorted_stably(subjects, times, picks, unit):
    rows = [(subjects[i % len(subjects)], times[j % len(times)], n) for n, (i, j) in enumerate(picks)]
    df = pl.DataFrame(rows, schema={"subject_id": pl.Int64, "time": pl.Int64, "n": pl.Int64}, orient="row")
    expected = sorted(rows, key=lambda row: (row[0], row[1] is not None, row[1] or 0))
    got = sorted_rows(df.with_columns(pl.col("time").cast(pl.Datetime(unit))))
    assert got.with_columns(pl.col("time").to_physical()).rows() == expected


@pytest.mark.parametrize("dtype", [pl.Null, pl.Date, pl.Datetime("us"), pl.Datetime("us", "UTC")])
def test_rows_without_any_time_keep_their_order(dtype):
    df = pl.DataFrame(
        {"subject_id": [2, 1, 2, 1], "time": [None] * 4, "n": [0, 1, 2, 3]}, schema_overrides={"time": dtype}
    )
    assert sorted_rows(df)["n"].to_list() == [1, 3, 0, 2]
    assert sorted_rows(df.clear()).is_empty()


def test_ties_keep_their_order_among_many_rows():
    df = measurements_with_ties(100_000)
    assert_frame_equal(in_order(df), stably_sorted(df))


@given(keys)
def test_an_event_begins_where_subject_or_time_change(rows):
    df = in_order(measurements(*((i, t, "A") for i, t in rows)))
    begins = begins_event(df)
    assert begins.sum() == df.select("subject_id", "time").n_unique() * bool(df.height)
    assert df.filter(pl.Series(begins, dtype=pl.Boolean)).select("subject_id", "time").is_duplicated().sum() == 0


def test_rows_without_a_subject_are_an_error():
    with pytest.raises(ValueError, match="1 row without subject_id"):
        in_order(measurements((None, None, "A"), (1, None, "A")))


def test_missing_columns_and_wrong_dtypes_are_listed_together():
    df = ROW.drop("code").with_columns(time=pl.lit("2020"), subject_id=pl.lit("1"))
    with pytest.raises(ValueError, match="not valid MEDS data") as info:
        checked(df.lazy(), *COLUMNS)
    for part in ("time must be a Datetime; it is String", "subject_id must be an integer", "code is missing"):
        assert part in str(info.value)
    assert "numeric_value must" not in str(info.value)


def test_codes_that_normalization_made_numbers_are_told():
    with pytest.raises(ValueError, match="after normalization codes are numbers"):
        checked(ROW.with_columns(code=pl.lit(1, pl.UInt8)), "code")


@pytest.mark.parametrize(
    "df",
    [
        ROW.with_columns(time=pl.lit(None)),
        ROW.with_columns(numeric_value=pl.lit(None)),
        ROW.cast({"code": pl.Categorical}),
        ROW.cast({"code": pl.Enum(["A"])}),
    ],
)
def test_what_other_writers_leave_becomes_what_the_schema_says(df):
    assert_frame_equal(checked(df, *COLUMNS).collect(), ROW)


def test_columns_that_are_not_asked_for_may_be_anything():
    df = ROW.drop("code").with_columns(numeric_value=pl.lit("x"))
    assert_frame_equal(checked(df, "subject_id", "time").collect(), df)
