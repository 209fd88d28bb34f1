"""Age and time of day: at which times, with which values, and where the new rows stand."""

import math
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import Preprocessing, measurements, write_shards
from MEDS_transforms.dataset.io import scan_parquet
from MEDS_transforms.transforms.add_time_derived_measurements import (
    add_time_derived_measurements,
    age,
    intervals_by_hour,
    seconds_per,
    time_of_day,
)

BIRTH = datetime(2000, 1, 1, 9)
AGE = {"DOB_code": "MEDS_BIRTH", "age_code": "AGE", "age_unit": "days"}
TIME_OF_DAY = {"time_of_day_code": "TOD", "endpoints": [6, 12, 18, 24]}
DEFAULTS = {"age": AGE, "time_of_day": TIME_OF_DAY}


def after(**kwargs):
    return BIRTH + timedelta(**kwargs)


def added(df, **blocks):
    return add_time_derived_measurements(blocks or DEFAULTS)(df.lazy())


def test_new_rows_come_first_within_a_time_those_of_later_blocks_before():
    df = measurements(
        (1, None, "STATIC", 5),
        (1, BIRTH, "MEDS_BIRTH"),
        (1, after(days=2), "B", 1),
        (1, after(days=2), "A", 2),
        (1, after(days=2, hours=12), "C"),
        unit=pl.Series([None, None, "mg", None, None], dtype=pl.String),
    )
    got = added(df)
    assert got.rows() == [
        (1, None, "STATIC", 5, None),
        (1, BIRTH, "TOD//[06,12)", None, None),
        (1, BIRTH, "MEDS_BIRTH", None, None),
        (1, after(days=2), "TOD//[06,12)", None, None),
        (1, after(days=2), "AGE", 2.0, None),
        (1, after(days=2), "B", 1, "mg"),
        (1, after(days=2), "A", 2, None),
        (1, after(days=2, hours=12), "TOD//[18,24)", None, None),
        (1, after(days=2, hours=12), "AGE", 2.5, None),
        (1, after(days=2, hours=12), "C", None, None),
    ]
    assert got.schema == df.schema
    backwards = added(df, time_of_day=TIME_OF_DAY, age=AGE)
    assert backwards["code"].to_list()[3:6] == ["AGE", "TOD//[06,12)", "B"]


def test_the_first_row_of_a_shard_is_no_exception():
    """In release 0.1 new rows and the first row of a shard tied under a sort that was not stable."""
    df = measurements((1, BIRTH, "Z"), (1, BIRTH, "A"))
    assert added(df)["code"].to_list() == ["TOD//[06,12)", "Z", "A"]


def test_age_counts_from_the_earliest_birth_of_each_subject_at_later_times_only():
    df = measurements(
        (1, after(days=-5), "A"),
        (1, BIRTH, "MEDS_BIRTH"),
        (1, BIRTH, "A"),
        (1, after(days=1), "MEDS_BIRTH"),
        (2, BIRTH, "A"),
        (2, after(days=1), "MEDS_BIRTH//2"),
        (3, None, "MEDS_BIRTH"),
        (3, BIRTH, "A"),
        (4, None, "MEDS_BIRTH"),
        (4, BIRTH, "MEDS_BIRTH"),
        (4, after(days=4), "A"),
    )
    ages = added(df, age=AGE).filter(pl.col("code") == "AGE")
    assert ages.rows() == [(1, after(days=1), "AGE", 1.0), (4, after(days=4), "AGE", 4.0)]


def test_codes_are_taken_literally():
    df = measurements((1, BIRTH, "BORN.*("), (1, after(days=1), "BORN.x("))
    ages = added(df, age={**AGE, "DOB_code": "BORN.*(", "age_code": "^AGE$"})
    assert ages.filter(pl.col("code") == "^AGE$")["numeric_value"].to_list() == [1.0]


@pytest.mark.parametrize(
    ("units", "seconds"),
    [
        ("seconds second secs sec s", 1),
        ("minutes minute mins min m", 60),
        ("hours hour hrs hr h", 3600),
        ("days day d", 86_400),
        ("weeks week wks wk w", 604_800),
        ("months month mos mo", 30.436875 * 86_400),
        ("years year yrs yr y", 365.2422 * 86_400),
    ],
)
def test_units(units, seconds):
    df = measurements((1, BIRTH, "MEDS_BIRTH"), (1, after(days=10_000, microseconds=500_000), "A"))
    for unit in units.split():
        assert seconds_per(unit) == seconds
        got = added(df, age={**AGE, "age_unit": unit})
        assert got["numeric_value"].to_list()[1] == np.float32((10_000 * 86_400 + 0.5) / seconds)
        assert got.schema["numeric_value"] == pl.Float32


@pytest.mark.parametrize("unit", ["fortnights", "", None, 1, ["days"]])
def test_an_unknown_unit_is_an_error_that_lists_them(unit):
    with pytest.raises(ValueError, match=r"age_unit.*seconds.*weeks.*years \(y, yr, yrs, year\)"):
        added(measurements(), age={**AGE, "age_unit": unit})


@pytest.mark.parametrize(
    ("endpoints", "intervals"),
    [
        ([6, 12, 18, 24], {0: "[00,06)", 5: "[00,06)", 6: "[06,12)", 17: "[12,18)", 18: "[18,24)", 23: "[18,24)"}),
        ([9], {8: "[00,09)", 9: "[09,24)"}),
        ([0], {0: "[00,24)", 23: "[00,24)"}),
        ([24], {0: "[00,24)"}),
        ([0, 1, 23, 24], {0: "[00,01)", 1: "[01,23)", 22: "[01,23)", 23: "[23,24)"}),
    ],
)
def test_intervals(endpoints, intervals):
    by_hour = intervals_by_hour(endpoints)
    assert len(by_hour) == 24
    assert {hour: by_hour[hour] for hour in intervals} == intervals


@pytest.mark.parametrize(
    "endpoints", [[], None, 6, "6", [-1], [25], [6, 6], [12, 6], [6.0], ["6"], [True], {"6": 12}, [None]]
)
def test_wrong_endpoints_are_an_error(endpoints):
    with pytest.raises(ValueError, match="endpoints must be"):
        added(measurements(), time_of_day={**TIME_OF_DAY, "endpoints": endpoints})


def test_everything_that_is_wrong_with_the_blocks_is_said_at_once():
    blocks = {"ages": AGE, "age": {"DOB_code": 3, "age_unit": "d", "age_cod": "x"}, "time_of_day": "no"}
    with pytest.raises(ValueError, match="add_time_derived_measurements") as info:
        added(measurements(), **blocks)
    for part in ("ages: no such block (did you mean 'age'?)", "age_code is missing", "age_cod", "time_of_day must be"):
        assert part in str(info.value)
    with pytest.raises(ValueError, match="DOB_code must be text, not 3"):
        added(measurements(), age={**AGE, "DOB_code": 3})


def test_null_turns_a_block_off_and_other_keys_are_passed_over():
    df = measurements((1, BIRTH, "A"))
    others = {"description": "x", "_script": "y", "output_dir": "z", "is_metadata": False}
    assert added(df, **DEFAULTS, **others).height == 2
    assert added(df, age=None, time_of_day=None, **others).equals(df)


@pytest.mark.parametrize(
    "df",
    [
        measurements(),
        measurements().with_columns(time=pl.lit(None)),
        measurements((1, None, "A"), (1, None, "MEDS_BIRTH"), (2, None, "A")),
    ],
)
def test_empty_shards_and_subjects_without_events_stay_as_they_are(df):
    assert added(df).rows() == df.rows()


def test_an_unordered_shard_is_brought_into_order():
    df = measurements((2, BIRTH, "A"), (1, after(days=1), "B"), (1, None, "C"), (1, after(days=1), "D"))
    assert added(df, time_of_day=TIME_OF_DAY)["code"].to_list() == ["C", "TOD//[06,12)", "B", "D", "TOD//[06,12)", "A"]


def test_wide_values_stay_and_data_without_values_get_the_column():
    df = measurements((1, BIRTH, "MEDS_BIRTH", 0.1), (1, after(days=1), "A", 0.1)).cast({"numeric_value": pl.Float64})
    got = added(df.with_columns(numeric_value=pl.lit(0.1)), age=AGE)
    assert got["numeric_value"].to_list() == [0.1, 1.0, 0.1]
    without = added(df.drop("numeric_value"), age=AGE)
    assert without["numeric_value"].to_list() == [None, 1.0, None]
    assert without.schema["numeric_value"] == pl.Float32


def test_other_columns_of_any_kind_are_null_in_new_rows():
    df = measurements((1, BIRTH, "MEDS_BIRTH", 0.5), (1, after(days=1), "A", 1.5))
    others = {
        "*": pl.Series([1, 2]),
        "^.*$": pl.Series(["x", "y"], dtype=pl.Categorical),
        "kind": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"])),
        "list": pl.Series([["a"], []]),
        "struct": pl.Series([{"a": 1, "b": ["x"]}, None]),
        "true": pl.Series([True, False]),
        "null": pl.Series([None, None]),
    }
    # In several chunks, as frames that were read are.
    df = df.with_columns(s.alias(n) for n, s in others.items())
    df = pl.concat([df.head(1), df.tail(1)], rechunk=False)
    got = added(df)
    assert got["code"].to_list() == ["TOD//[06,12)", "MEDS_BIRTH", "TOD//[06,12)", "AGE", "A"]
    assert got.schema == df.schema
    is_old = got["code"].is_in(["MEDS_BIRTH", "A"])
    assert got.filter(is_old).equals(df)
    assert all(got.filter(~is_old)[n].null_count() == 3 for n in others)


def by_sorting(df, blocks):
    """The same by a slower way: rows of each block put before all others, then a stable sort."""
    for make, settings in ((age, blocks["age"]), (time_of_day, blocks["time_of_day"])):
        times = df.filter(pl.col("time").is_not_null()).select("subject_id", "time").unique().sort("subject_id", "time")
        if make is age:
            births = df.filter(pl.col("code") == settings["DOB_code"]).group_by("subject_id").agg(pl.col("time").min())
            new = (
                times.join(births, on="subject_id", suffix="_b")
                .filter(pl.col("time") > pl.col("time_b"))
                .select(
                    "subject_id",
                    "time",
                    code=pl.lit(settings["age_code"]),
                    numeric_value=((pl.col("time") - pl.col("time_b")).dt.total_microseconds() / 86_400e6).cast(
                        pl.Float32
                    ),
                )
            )
        else:
            labels = intervals_by_hour(settings["endpoints"])
            hours = times["time"].dt.hour().to_list()
            codes = [f"{settings['time_of_day_code']}//{labels[hour]}" for hour in hours]
            new = times.with_columns(code=pl.Series(codes, dtype=pl.String))
        df = pl.concat([new, df], how="diagonal").sort("subject_id", "time", maintain_order=True, nulls_last=False)
    return df


times = st.none() | st.datetimes(datetime(1899, 12, 30), datetime(2100, 1, 1)) | st.sampled_from([BIRTH, after(days=1)])
rows = st.lists(st.tuples(st.integers(1, 3), times, st.sampled_from(["MEDS_BIRTH", "A", "AGE"])))


@given(rows)
def test_it_equals_adding_and_sorting(rows):
    df = measurements(*((*row, n) for n, row in enumerate(rows))).sort("subject_id", "time", maintain_order=True)
    got = added(df)
    assert got.equals(by_sorting(df, DEFAULTS).select(got.columns))


@pytest.mark.slow
def test_it_equals_adding_and_sorting_in_more_than_a_million_rows(tmp_path):
    n, rng = 1_200_000, np.random.default_rng(1)
    df = pl.DataFrame(
        {
            "subject_id": rng.integers(0, 300, n),
            "time": pl.Series(rng.integers(0, 10**11, n) * 10**4).replace(0, None).cast(pl.Datetime("us")),
            "code": pl.Series(["MEDS_BIRTH", "A", "B"]).gather(rng.choice(3, n, p=[0.001, 0.5, 0.499])),
            "numeric_value": np.arange(n).astype(np.float32),
        }
    )
    df = df.with_columns(pl.col("time").dt.truncate("6h")).sort("subject_id", "time", maintain_order=True)
    write_shards(tmp_path, {"0": df})
    got = added(scan_parquet(tmp_path / "0.parquet"))
    assert got.height > 1.2 * n
    assert got.equals(by_sorting(df, DEFAULTS).select(got.columns))


def test_the_stage_with_its_defaults(tmp_path):
    x = Preprocessing(tmp_path)
    df = measurements((1, BIRTH, "MEDS_BIRTH"), (1, after(days=365.2422), "A"))
    x.write({"train/0": df, "held_out/0": df.clear()})
    shards = x.run("add_time_derived_measurements")
    got = shards["train/0"]
    assert got["code"].to_list() == ["TIME_OF_DAY//[06,12)", "MEDS_BIRTH", "TIME_OF_DAY//[12,18)", "AGE", "A"]
    assert math.isclose(got["numeric_value"][3], 1)
    assert shards["held_out/0"].equals(df.clear())


def test_match_and_revise(tmp_path):
    """Blocks can be turned off or changed for the rows of one kind."""
    x = Preprocessing(tmp_path)
    x.write({"0": measurements((1, BIRTH, "A"), (1, BIRTH, "B"))})
    entries = [{"_matcher": {"code": "B"}, "age": None, "time_of_day": {"endpoints": [1, 24]}}]
    entries[0]["time_of_day"]["time_of_day_code"] = "T"
    shards = x.run("add_time_derived_measurements", _match_revise=entries)
    assert shards["0"]["code"].to_list() == ["T//[01,24)", "B", "A"]


@pytest.mark.parametrize("make", [partial(age, "BIRTH", age_code=5, age_unit="y"), partial(time_of_day, None, [6])])
def test_a_code_that_is_no_text_is_an_error(make):
    with pytest.raises(ValueError, match="must be text"):
        make()
