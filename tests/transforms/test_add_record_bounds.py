"""Rows for the start and the end of records: at which times, where they stand, and who gets none."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import Preprocessing, measurements
from MEDS_transforms.mapreduce.plans import Others
from MEDS_transforms.transforms.add_record_bounds import add_record_bounds, others

T = [datetime(2020, 1, 1), datetime(2020, 1, 5), datetime(2021, 1, 1)]
OUT = {"code": {"regex": "^OUT"}}
ROWS = measurements(
    (1, None, "SEX", 1),
    (1, T[0], "A", 2),
    (1, T[1], "OUT//1", 3),
    (1, T[1], "B", 4),
    (1, T[2], "C", 5),
    (2, T[1], "A", 6),
    (3, None, "SEX", 7),
)


def bounded(df, **blocks):
    return add_record_bounds(blocks)(df.lazy())


def new(df, code, **block):
    """The rows of one block, as subjects and times."""
    got = bounded(df, **{code: {"code": code, **block}}).filter(pl.col("code") == code)
    return [row[:2] for row in got.rows()]


def test_they_stand_around_the_rows_of_their_time_and_other_columns_are_null():
    df = ROWS.with_columns(unit=pl.lit("mg")).select("code", "unit", "time", "subject_id", "numeric_value")
    got = bounded(df, start={"code": "S"}, end={"code": "E"})
    assert got["code"].to_list() == ["SEX", "S", "A", "OUT//1", "B", "C", "E", "S", "A", "E", "SEX"]
    assert got.schema == df.schema
    is_new = got["code"].is_in(["S", "E"])
    assert got.filter(~is_new).equals(df)
    assert got.filter(is_new).select("unit", "numeric_value").null_count().row(0) == (4, 4)
    only = measurements((1, T[0], "A"))
    assert bounded(only, start={"code": "S"}, end={"code": "E"})["code"].to_list() == ["S", "A", "E"]


def test_at_the_last_measurement_that_matches_after_all_rows_of_its_time_and_before_later_ones():
    got = bounded(ROWS, end={"code": "E", "at": OUT, "otherwise": "skip"})
    assert got["code"].to_list() == ["SEX", "A", "OUT//1", "B", "E", "C", "A", "SEX"]


@pytest.mark.parametrize(
    ("code", "block", "times"),
    [
        ("end", {}, [T[2], T[1]]),
        ("start", {}, [T[0], T[1]]),
        ("end", {"at": OUT}, [T[1], T[1]]),
        ("end", {"at": OUT, "otherwise": "skip"}, [T[1]]),
        ("end", {"at": {"code": {"regex": "^(A|OUT)"}}}, [T[1], T[1]]),
        ("start", {"at": {"code": {"regex": "^(B|OUT|C)"}}, "otherwise": "skip"}, [T[1]]),
        ("end", {"at": {"code": "SEX"}, "otherwise": "skip"}, []),
        ("end", {"at": {"numeric_value": 4}, "offset": 36, "offset_unit": "h"}, [T[1] + timedelta(hours=36)] * 2),
        ("start", {"offset": -1.5}, [T[0] - timedelta(hours=36), T[1] - timedelta(hours=36)]),
        ("end", {"offset": 1, "offset_unit": "mo"}, [t + timedelta(days=30.436875) for t in (T[2], T[1])]),
    ],
)
def test_times(code, block, times):
    assert [time for _, time in new(ROWS, code, **block)] == times


def test_the_start_stands_before_the_end_of_one_time_in_whatever_order_they_are_given():
    given = {"end": {"code": "E"}, "start": {"code": "S"}}
    assert bounded(measurements((1, T[0], "A")), **given)["code"].to_list() == ["S", "A", "E"]
    moved = {name: {**block, "offset": 1} for name, block in given.items()}
    assert bounded(measurements((1, T[0], "A")), **moved)["code"].to_list() == ["A", "S", "E"]


def test_an_offset_moves_the_row_to_its_place_among_the_others_before_which_static_rows_stay():
    got = bounded(ROWS, start={"code": "S", "offset": 2}, end={"code": "E", "offset": -2000})
    assert got["code"].to_list() == ["SEX", "E", "A", "S", "OUT//1", "B", "C", "E", "A", "S", "SEX"]


def test_it_counts_what_it_adds_and_who_gets_none(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"train/0": ROWS, "train/1": ROWS.filter(pl.col("subject_id") > 1).with_columns(pl.col("subject_id") + 9)})
    x.run("add_record_bounds", end={"at": OUT, "otherwise": "skip"}, start={"at": OUT})
    account = json.loads((x.cohort / "metadata" / "accounting" / "add_record_bounds.json").read_text())
    assert account["record_bounds"] == {
        "start": {"added": 3, "at_event_otherwise": 2, "no_match": 0, "no_event": 2},
        "end": {"added": 1, "at_event_otherwise": 0, "no_match": 2, "no_event": 2},
    }
    assert account["out"]["rows"] == account["in"]["rows"] + 4


def test_null_turns_a_block_off():
    assert bounded(ROWS, start=None, end=None).collect().equals(ROWS)
    assert new(ROWS, "end", at=None) == [(1, T[2]), (2, T[1])]


@pytest.mark.parametrize(
    "df", [measurements(), ROWS.filter(pl.col("time").is_null()), measurements().with_columns(time=pl.lit(None))]
)
def test_without_events_nothing_is_added(df):
    assert bounded(df, start={"code": "S"}, end={"code": "E", "at": OUT}).rows() == df.rows()


@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("ns"), pl.Datetime("us", "UTC")])
@pytest.mark.parametrize("codes", [pl.String, pl.Categorical, pl.Categorical(pl.Categories("of a name"))])
def test_times_and_codes_of_other_dtypes(dtype, codes):
    df = ROWS.with_columns(pl.col("time").cast(dtype), pl.col("code").cast(codes)).drop("numeric_value")
    got = bounded(df, end={"code": "E", "offset": 0.5})
    assert got.schema == {**df.schema, "code": pl.String}
    zone = UTC if dtype.time_zone else None
    ends = got.filter(pl.col("code") == "E")["time"].to_list()
    assert ends == [(time + timedelta(hours=12)).replace(tzinfo=zone) for time in (T[2], T[1])]


def test_null_codes_match_nothing_and_rows_are_brought_into_order():
    df = measurements((2, T[1], None), (1, T[2], "OUT"), (1, T[0], None))
    got = bounded(df, end={"code": "E", "at": OUT, "otherwise": "skip"})
    assert got.rows() == [(1, T[0], None, None), (1, T[2], "OUT", None), (1, T[2], "E", None), (2, T[1], None, None)]


@pytest.mark.parametrize(
    ("offset", "unit", "time_unit"),
    [(9000, "years", "us"), (-3000, "years", "us"), (300, "years", "ns"), (-1e11, "s", "ms")],
)
def test_an_offset_that_leads_out_of_all_times_is_an_error_that_names_where(offset, unit, time_unit):
    block = {"code": "E", "offset": offset, "offset_unit": unit}
    with pytest.raises(ValueError, match=r"end\.offset: from 202\d-01-0\d .* for subject [12], it leads out of"):
        bounded(ROWS.with_columns(pl.col("time").dt.cast_time_unit(time_unit)), end=block)


def test_everything_that_is_wrong_is_said_at_once():
    wrong = {"ende": {"code": "E"}, "start": {"at": OUT, "offst": 1}, "end": {"code": "E", "offset": "1"}}
    with pytest.raises(ValueError, match="add_record_bounds") as info:
        bounded(ROWS, **wrong)
    for part in ("did you mean 'end'?", "start: code is missing", "unknown key offst", "offset must be a number"):
        assert part in str(info.value)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"code": 3}, "code must be text, not 3"),
        ({"code": "E", "offset": float("nan")}, "offset must be a number"),
        ({"code": "E", "offset": True}, "offset must be a number"),
        ({"code": "E", "offset": 10**400}, "offset must be a number of days within 10,000 years"),
        ({"code": "E", "offset": -1e300, "offset_unit": "y"}, "offset must be a number of y within 10,000 years"),
        ({"code": "E", "offset_unit": "fortnights"}, "offset_unit: the unit 'fortnights' is unknown"),
        ({"code": "E", "otherwise": "last"}, "otherwise must be event or skip, not 'last'"),
        ({"code": "E", "at": "^OUT"}, "at must be a matcher"),
        ({"code": "E", "at": {"code": {"regex": "("}}}, "at is not a valid matcher"),
        ({"code": "E", "at": {"unit": "mg"}}, "end.at: the data has no column unit"),
        (3, "end must be a block of keys"),
    ],
)
def test_wrong_settings_are_errors(block, said):
    with pytest.raises(ValueError, match="end") as info:
        bounded(ROWS, end=block)
    assert said in str(info.value)


def test_a_matcher_may_ask_for_any_column():
    df = ROWS.with_columns(kind=pl.Series(["", "out", "", "", "", "", ""]))
    block = {"at": {"kind": "out"}, "otherwise": "skip"}
    got = bounded(df, end={"code": "E", **block}).filter(pl.col("code") == "E")
    assert got["time"].to_list() == [T[0]]
    assert others({"start": None, "end": block}) == Others.PASSED_ON.but_needs("kind")
    assert others({"start": {"code": "S", "at": OUT}}) == Others.PASSED_ON


def test_match_and_revise_bounds_the_rows_that_an_entry_matches(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": ROWS})
    entries = [{"_matcher": OUT, "start": None, "end": {"code": "LAST_OUT"}}]
    got = x.run("add_record_bounds", _match_revise=entries)["0"]
    assert got["code"].to_list() == ["SEX", "A", "OUT//1", "LAST_OUT", "B", "C", "A", "SEX"]


times = st.none() | st.sampled_from(T) | st.datetimes(datetime(1950, 1, 1), datetime(2050, 1, 1))
rows = st.lists(st.tuples(st.integers(1, 4), times, st.sampled_from(["OUT", "IN", "A"])))
blocks = st.fixed_dictionaries(
    {"code": st.just("X"), "offset": st.sampled_from([0, 4, -4]), "otherwise": st.sampled_from(["event", "skip"])},
    optional={"at": st.just(OUT)},
)


def by_hand(rows, start, end):
    """The same in plain Python, subject by subject."""
    made = []
    for subject in sorted({row[0] for row in rows}):
        own = [row for row in rows if row[0] == subject]
        events = [row for row in own if row[1] is not None]
        found = {}
        for name, block, choose in (("S", start, min), ("E", end, max)):
            at = [row[1] for row in events if "at" not in block or row[2] == "OUT"]
            if not at and block["otherwise"] == "event":
                at = [row[1] for row in events]
            found[name] = [(subject, choose(at) + timedelta(days=block["offset"]), name, None)] if at else []
        own = [*found["S"], *own, *found["E"]]
        made += sorted(own, key=lambda row: (row[1] is not None, row[1] or T[0]))
    return made


@given(rows, blocks, blocks)
def test_it_equals_a_calculation_by_hand_in_any_sharding(rows, start, end):
    df = measurements(*((*row, n) for n, row in enumerate(rows)))
    make = add_record_bounds({"start": start | {"code": "S"}, "end": end | {"code": "E"}})
    got = make(df)
    assert got.rows() == by_hand(df.rows(), start, end)
    shards = [df.filter(pl.col("subject_id").is_in(ids)) for ids in ([1, 2], [], [3], [4])]
    assert pl.concat([make(shard) for shard in shards]).equals(got)
