"""The blocks of add_time_derived_measurements beside age and part of the day; these are in a module of their own."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import Preprocessing, measurements
from MEDS_transforms import run_pipeline
from MEDS_transforms.mapreduce.plans import Others
from MEDS_transforms.transforms.add_time_derived_measurements import add_time_derived_measurements, others
from MEDS_transforms.transforms.time_units import UNITS

START = datetime(2020, 1, 1, 9)


def after(hours):
    return START + timedelta(hours=hours)


def added(df, **blocks):
    return add_time_derived_measurements(blocks)(df.lazy())


def new(df, **blocks):
    """The new rows: subject, hours since `START`, code, value."""
    rows = added(df.with_columns(is_old=pl.lit(True)), **blocks)
    rows = rows.filter(pl.col("is_old").is_null()).drop("is_old").rows()
    return [(subject, (time - START) / timedelta(hours=1), code, value) for subject, time, code, value in rows]


# Birth


@pytest.mark.parametrize(
    ("births", "ages"),
    [
        ({"DOB_code": "BIRTH//2"}, [(2, 6.0, "AGE", 1.0)]),
        ({"DOB_regex": "BIRTH"}, [(1, 5.0, "AGE", 5.0), (2, 5.0, "AGE", 5.0), (2, 6.0, "AGE", 6.0)]),
        ({"DOB_code": None, "DOB_regex": "^BIRTH//1$"}, [(1, 5.0, "AGE", 5.0)]),
        ({"DOB_code": "BIRTH//2", "DOB_regex": "BIRTH"}, [(2, 6.0, "AGE", 1.0)]),
    ],
)
def test_births_by_code_or_by_a_pattern(births, ages):
    df = measurements(
        (1, after(0), "BIRTH//1"),
        (1, after(5), "A"),
        (2, after(0), "MY_BIRTH"),
        (2, after(5), "BIRTH//2"),
        (2, after(6), "A"),
        (3, after(0), None),
    )
    assert new(df, age={"age_code": "AGE", "age_unit": "h", **births}) == ages


@pytest.mark.parametrize(
    ("births", "said"),
    [({}, "DOB_code or DOB_regex"), ({"DOB_regex": "("}, "DOB_regex: "), ({"DOB_regex": 3}, "DOB_regex: ")],
)
def test_births_that_nothing_tells_are_an_error(births, said):
    with pytest.raises(ValueError, match="age: ") as info:
        added(measurements(), age={"age_code": "AGE", "age_unit": "h", **births})
    assert said in str(info.value)


def test_a_pattern_for_births_beside_the_packaged_defaults(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": measurements((1, after(0), "BORN//X"), (1, after(365.2422 * 24), "A"))})
    got = x.run("add_time_derived_measurements", age={"DOB_code": None, "DOB_regex": "^BORN"}, time_of_day=None)["0"]
    assert got["code"].to_list() == ["BORN//X", "AGE", "A"]
    assert got["numeric_value"].to_list() == [None, 1.0, None]


# Time since

IN, OUT = {"code": {"regex": "^IN"}}, {"code": {"regex": "^OUT"}}
STAYS = measurements(
    (1, None, "IN//static"),
    (1, after(0), "A"),
    (1, after(1), "IN//1"),
    (1, after(1), "A"),
    (1, after(3), "A"),
    (1, after(4), "OUT"),
    (1, after(6), "A"),
    (1, after(7), "IN//2"),
    (1, after(8), "OUT"),
    (1, after(8), "IN//3"),
    (1, after(9), "A"),
    (2, after(10), "A"),
    (2, after(11), "OUT"),
)


def test_the_newest_strictly_earlier_measurement_of_the_same_subject_counts():
    got = new(STAYS, time_since={"ADM": {"matcher": IN}})
    hours = {3: 2, 4: 3, 6: 5, 7: 6, 8: 1, 9: 1}
    assert got == [(1, time, "TIME_SINCE//ADM//hours", since) for time, since in hours.items()]


def test_a_spell_ends_with_the_time_of_its_end():
    """What ends at the very time of a beginning is the spell before it."""
    got = new(STAYS, time_since={"ADM": {"matcher": IN, "until": OUT}})
    assert [(time, since) for _, time, _, since in got] == [(3, 2), (4, 3), (8, 1), (9, 1)]


def test_codes_and_units_and_the_order_of_several():
    df = measurements((1, after(0), "A"), (1, after(36), "B"))
    blocks = {
        "x": {"matcher": {"code": "A"}, "unit": "d", "code": "S//{unit}//{name}"},
        "y": {"matcher": {}, "code": "Y"},
        "off": None,
    }
    got = added(df, time_since=blocks)
    assert got["code"].to_list() == ["A", "Y", "S//days//x", "B"]
    assert got["numeric_value"].to_list() == [None, 36, 1.5, None]
    assert got.schema["numeric_value"] == pl.Float32


def test_matchers_may_ask_for_any_column():
    df = measurements((1, after(0), "A", 1), (1, after(1), "A", 7), (1, after(2), "B"), kind=pl.Series(["x", "y", "z"]))
    got = added(df, time_since={"X": {"matcher": {"kind": "x", "numeric_value": 1}}})
    assert got["numeric_value"].to_list() == [1, 1, 7, 2, None]
    with pytest.raises(ValueError, match=r"time_since\.X\.until: the data has no column knd \(did you mean 'kind'\?\)"):
        added(df, time_since={"X": {"matcher": {}, "until": {"knd": "x"}}})


@pytest.mark.parametrize(
    ("block", "what"),
    [
        (None, Others.PASSED_ON),
        ({"X": {"matcher": {"code": "A", "numeric_value": None}, "until": None}}, Others.PASSED_ON),
        ({"X": {"matcher": {"unit": "A"}}}, Others.PASSED_ON.but_needs("unit")),
        (
            {"X": {"matcher": {"kind": "A"}}, "Y": {"matcher": {"code": "A"}, "until": {"unit": "A"}}},
            Others.PASSED_ON.but_needs("kind", "unit"),
        ),
    ],
)
def test_columns_that_matchers_ask_for_are_needed(block, what):
    assert others({"time_since": block}) == what


# The calendar


@pytest.mark.parametrize(
    ("blocks", "by_month"),
    [
        ({"month": {}}, [f"MONTH//{n:02}" for n in range(1, 13)]),
        ({"month": {"month_code": "M"}}, [f"M//{n:02}" for n in range(1, 13)]),
        (
            {"season": {}},
            [f"SEASON//{s}" for s in ["WINTER"] * 2 + ["SPRING"] * 3 + ["SUMMER"] * 3 + ["AUTUMN"] * 3 + ["WINTER"]],
        ),
        (
            {"season": {"season_code": "S", "hemisphere": "south"}},
            [f"S//{s}" for s in ["SUMMER"] * 2 + ["AUTUMN"] * 3 + ["WINTER"] * 3 + ["SPRING"] * 3 + ["SUMMER"]],
        ),
    ],
)
def test_months_and_seasons(blocks, by_month):
    df = measurements(
        (1, None, "A"), *((1, datetime(1999 + year, n, 28, 23, 59), "A") for year in (0, 1) for n in range(1, 13))
    )
    assert [code for _, _, code, _ in new(df, **blocks)] == by_month * 2


def test_days_of_the_week():
    df = measurements(*((1, datetime(1969, 12, 29) + timedelta(days=n), code) for n in range(8) for code in "AB"))
    days = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN", "MON"]
    assert [code for _, _, code, _ in new(df, weekday={})] == [f"WEEKDAY//{day}" for day in days]
    assert new(df, weekday={"weekday_code": "W"})[0][2] == "W//MON"


# Timelines

EVENTS = measurements(
    (1, None, "SEX"),
    (1, after(0), "A"),
    (1, after(0), "B"),
    (1, after(1), "C"),
    (1, after(7), "D"),
    (1, after(7), "E"),
    (2, None, "SEX"),
    (3, after(2), "LONE"),
    (4, None, "SEX"),
    (4, after(2), "X"),
    (4, after(4.5), "Y"),
)


def test_tokens_of_timelines():
    """As MEDS_transforms 0.6.7 gives them."""
    got = added(EVENTS, timeline_tokens={"time_unit": "hr"})
    start, delta, end = "TIMELINE//START", "TIMELINE//DELTA//hours", "TIMELINE//END"
    assert got.select("subject_id", "code", "numeric_value").rows() == [
        (1, "SEX", None),
        (1, start, None),
        (1, "A", None),
        (1, "B", None),
        (1, delta, 1.0),
        (1, "C", None),
        (1, delta, 6.0),
        (1, "D", None),
        (1, "E", None),
        (1, end, None),
        (2, "SEX", None),
        (3, start, None),
        (3, "LONE", None),
        (3, end, None),
        (4, "SEX", None),
        (4, start, None),
        (4, "X", None),
        (4, delta, 2.5),
        (4, "Y", None),
        (4, end, None),
    ]
    assert got.filter(pl.col("code") == end)["time"].to_list() == [after(7), after(2), after(4.5)]
    assert got.schema == EVENTS.schema


@pytest.mark.parametrize(
    ("block", "codes"),
    [
        ({"time_unit": "d", "timeline_start_code": None, "timeline_end_code": None}, ["TIMELINE//DELTA//days"]),
        ({"time_delta_code": None, "timeline_end_code": "END"}, ["END", "TIMELINE//START"]),
        ({"time_delta_code": None, "timeline_start_code": None, "timeline_end_code": None}, []),
        ({"time_unit": "s", "time_delta_code": "D"}, ["D", "TIMELINE//END", "TIMELINE//START"]),
    ],
)
def test_codes_that_are_null_have_no_tokens(block, codes):
    assert sorted({code for _, _, code, _ in new(EVENTS, timeline_tokens=block)}) == codes


@pytest.mark.parametrize(
    ("bins", "codes"),
    [
        (
            {"bins": [1, 2.5, 24]},
            ["TIMELINE//DELTA//[1,2.5)", "TIMELINE//DELTA//[2.5,24)", "TIMELINE//DELTA//[2.5,24)"],
        ),
        (
            {"bins": {"2h": 2, "3h": 3}, "time_delta_code": "{bin} {time_unit}"},
            ["[0,2h) hours", "[3h,inf) hours", "[2h,3h) hours"],
        ),
    ],
)
def test_intervals_of_the_time_between_events(bins, codes):
    block = {"time_unit": "h", "timeline_start_code": None, "timeline_end_code": None}
    got = new(EVENTS, timeline_tokens=block | bins)
    assert [code for _, _, code, _ in got] == codes
    assert [value for *_, value in got] == [1, 6, 2.5]


def test_tokens_of_a_timeline_are_around_all_other_rows_of_its_first_and_last_time():
    df = measurements((1, after(0), "A"), (2, after(0), "B"))
    tokens = {"time_delta_code": None, "timeline_start_code": "S", "timeline_end_code": "E"}
    codes = ["S", "MONTH//01", "A", "E", "S", "MONTH//01", "B", "E"]
    assert added(df, month={}, timeline_tokens=tokens)["code"].to_list() == codes


# Settings


@pytest.mark.parametrize(
    ("name", "block", "said"),
    [
        ("season", {"hemisphere": "east"}, "hemisphere must be north or south, not 'east'"),
        ("season", {"season_code": 3}, "season_code must be text"),
        ("month", 3, "month must be a block of keys"),
        ("month", {"code": "M"}, "unknown key code"),
        ("weekday", {"weekday_code": None}, "weekday_code must be text"),
        ("time_since", ["A"], "time_since must be a block of keys"),
        ("time_since", {"A": "IN"}, "A must be a block of keys"),
        ("time_since", {"A": {"until": {}}}, "A: matcher is missing"),
        ("time_since", {"A": {"matcher": "IN"}}, "A: matcher must be a matcher"),
        ("time_since", {"A": {"matcher": {"code": {"regex": "("}}}}, "A: matcher is not a valid matcher"),
        ("time_since", {"A": {"matcher": {}, "until": {"code": []}}}, "A: until is not a valid matcher"),
        ("time_since", {"A": {"matcher": {}, "unit": "eons"}}, "A: unit: the unit 'eons' is unknown"),
        ("time_since", {"A": {"matcher": {}, "code": "{nam}"}}, "{nam} in '{nam}' is unknown (did you mean 'name'?)"),
        ("timeline_tokens", {}, "time_unit is missing"),
        ("timeline_tokens", {"time_unit": "ms"}, "time_unit: the unit 'ms' is unknown"),
        ("timeline_tokens", {"time_unit": "h", "time_delta_code": "{bin}"}, "{bin} in '{bin}' is unknown"),
        ("timeline_tokens", {"time_unit": "h", "time_delta_code": 3}, "time_delta_code must be text"),
        ("timeline_tokens", {"time_unit": "h", "timeline_end_code": 3}, "timeline_end_code must be text"),
        ("timeline_tokens", {"time_unit": "h", "bins": [1], "time_delta_code": "D"}, "'D' has no {bin}"),
        ("timeline_tokens", {"time_unit": "h", "bins": {"1h": "1"}}, "bins must be a list of one or more numbers"),
    ],
)
def test_wrong_settings_are_errors(name, block, said):
    with pytest.raises(ValueError, match="add_time_derived_measurements are not valid") as info:
        added(measurements(), **{name: block})
    assert said in str(info.value)


NO_NUMBERS = ([True], ["1"], [[1]], [None], [float("nan")], [float("inf")])


@pytest.mark.parametrize("bins", [[], {}, 5, "5", [0], [-1], [2, 1], [1, 1], {"x": 2, "y": 1}, *NO_NUMBERS])
def test_bins_that_are_no_edges_are_an_error(bins):
    with pytest.raises(ValueError, match="bins must be a list of one or more numbers above 0"):
        added(measurements(), timeline_tokens={"time_unit": "h", "bins": bins})


def test_they_are_off_by_default(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": measurements((1, after(0), "A"))})
    assert x.run("add_time_derived_measurements")["0"]["code"].to_list() == ["TIME_OF_DAY//[06,12)", "A"]


def test_blocks_of_match_and_revise_see_the_rows_that_an_entry_matches(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": STAYS.filter(pl.col("subject_id") == 1)})
    stays = {"_matcher": {"code": {"regex": "^(IN|OUT)"}}, "time_since": {"ADM": {"matcher": IN}}}
    tokens = {"_matcher": {"code": "A"}, "timeline_tokens": {"time_unit": "h", "timeline_start_code": None}}
    entries = [stays, tokens]
    got = x.run("add_time_derived_measurements", age=None, time_of_day=None, _match_revise=entries)["0"]
    rows = got.filter(pl.col("numeric_value").is_not_null())
    hours = [((time - START) / timedelta(hours=1), code[:6], value) for _, time, code, value in rows.rows()]
    assert hours == [
        (1, "TIMELI", 1),
        (3, "TIMELI", 2),
        (4, "TIME_S", 3),
        (6, "TIMELI", 3),
        (7, "TIME_S", 6),
        (8, "TIME_S", 1),
        (9, "TIMELI", 3),
    ]
    assert got.row(-1)[2] == "TIMELINE//END"


def test_what_matchers_ask_for_is_made_also_where_data_are_not_kept(tmp_path):
    """What the last stage does not need would else not be there for the one before it."""
    x = Preprocessing(tmp_path)
    x.write({"train/0": STAYS.with_columns(kind=pl.when(pl.col("code") == "OUT").then(pl.lit("x")))})
    stages = ["filter_subjects", "add_time_derived_measurements", "add_record_bounds", "tokenization"]
    blocks = {"add_time_derived_measurements": {"time_since": {"X": {"matcher": {"kind": "x"}, "code": "X"}}}}
    folders = {"input_dir": str(x.dataset), "cohort_dir": str(x.cohort)}
    run_pipeline({**folders, "stages": stages, "stage_configs": blocks, "keep_intermediates": False})
    events = pl.read_parquet(x.cohort / "data" / "event_seqs" / "train" / "0.parquet")["code"].to_list()
    codes = [code for of_subject in events for of_event in of_subject for code in of_event]
    assert (codes.count("X"), codes.count("RECORD_END")) == (4, 2)


# Properties

times = st.none() | st.integers(0, 30).map(after) | st.datetimes(datetime(1950, 1, 1), datetime(2050, 1, 1))
rows = st.lists(st.tuples(st.integers(1, 4), times, st.sampled_from(["IN", "OUT", "A", "MEDS_BIRTH", None])))
ALL = {
    "age": {"DOB_regex": "BIRTH$", "age_code": "AGE", "age_unit": "d"},
    "time_of_day": {"time_of_day_code": "T", "endpoints": [7]},
    "time_since": {"ADM": {"matcher": IN, "until": OUT, "unit": "min"}, "ANY": {"matcher": {}}},
    "season": {"hemisphere": "south"},
    "month": {},
    "weekday": {},
    "timeline_tokens": {"time_unit": "wk", "bins": {"1d": 1 / 7, "1w": 1}},
}


@settings(max_examples=30)
@given(rows)
def test_any_sharding_gives_the_same_rows_among_which_are_the_old_ones_in_order(rows):
    df = measurements(*((*row, n) for n, row in enumerate(rows))).with_columns(is_old=pl.lit(True))
    make = add_time_derived_measurements(ALL)
    got = make(df)
    shards = [df.filter(pl.col("subject_id").is_in(ids)) for ids in ([1], [], [2, 3], [4])]
    assert pl.concat([make(shard) for shard in shards]).equals(got)
    in_order = got.sort("subject_id", "time", nulls_last=False, maintain_order=True)
    assert got.equals(in_order)
    assert got.filter(pl.col("is_old")).equals(df.sort("subject_id", "time", nulls_last=False, maintain_order=True))


def since_by_hand(rows, begins, ends):
    """The hours since, by subject and time, in plain Python."""
    found = []
    for subject, time in sorted({row[:2] for row in rows if row[1] is not None}):
        before = [row for row in rows if row[0] == subject and row[1] is not None and row[1] < time]
        began = max((row[1] for row in before if row[2] == begins), default=None)
        if began and not any(began < row[1] for row in before if row[2] == ends):
            found.append((subject, time, float(np.float32((time - began) / timedelta(hours=1)))))
    return found


@given(rows, st.sampled_from(["OUT", "IN", "nothing"]))
def test_the_time_since_equals_a_calculation_by_hand(rows, ends):
    blocks = {"ADM": {"matcher": {"code": "IN"}, "until": {"code": ends}, "code": "S"}}
    got = added(measurements(*rows), time_since=blocks).filter(pl.col("code") == "S")
    assert got.select("subject_id", "time", "numeric_value").rows() == since_by_hand(rows, "IN", ends)


def test_every_unit_is_known_by_its_name():
    df = measurements((1, after(0), "A"), (1, after(10_000), "A"))
    for unit, (seconds, _) in UNITS.items():
        [(_, _, code, value)] = new(df, time_since={"A": {"matcher": {}, "unit": unit, "code": "{unit}"}})
        assert (code, value) == (unit, np.float32(36_000_000 / seconds))
