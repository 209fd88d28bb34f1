"""Events of some rows, of several measurements per row, with computed codes, times and values; joins; text ids."""

import json
from datetime import datetime

import polars as pl
import pytest

from helpers import ONE_SPLIT

FORMAT = "%Y-%m-%d"


VITALS = "subject_id,when,bp,unit\n1,2020-01-02,120/80,mmHg\n1,2020-01-03,n/a,mmHg\n1,2020-01-04,110/,kPa\n"


def part_of(column, regex):
    return {"extract": {"from": column, "regex": regex}}


def test_two_measurements_of_one_field(measured):
    each = [
        {"part": {"literal": "SYSTOLIC"}, "number": part_of("bp", r"^(\d+)/")},
        {"part": {"literal": "DIASTOLIC"}, "number": part_of("bp", r"/(\d+)$")},
    ]
    event = {
        "code": ["BP", "col(part)"],
        "time": "col(when)",
        "time_format": FORMAT,
        "each": each,
        "numeric_value": "number",
        "unit": "unit",
    }
    found = measured({"vitals.csv": VITALS}, {"vitals": {"bp": event}})
    assert found.select("time", "code", "numeric_value", "unit").rows() == [
        (datetime(2020, 1, 2), "BP//SYSTOLIC", 120, "mmHg"),
        (datetime(2020, 1, 2), "BP//DIASTOLIC", 80, "mmHg"),
        (datetime(2020, 1, 3), "BP//SYSTOLIC", None, "mmHg"),
        (datetime(2020, 1, 3), "BP//DIASTOLIC", None, "mmHg"),
        (datetime(2020, 1, 4), "BP//SYSTOLIC", 110, "kPa"),
        (datetime(2020, 1, 4), "BP//DIASTOLIC", None, "kPa"),
    ]


@pytest.mark.parametrize(
    ("matcher", "days"),
    [
        ({"unit": "mmHg"}, [2, 3]),
        ({"bp": {"regex": r"^\d"}}, [2, 4]),
        ({"unit": "mmHg", "bp": {"regex": r"^\d"}}, [2]),
        ({"bp": None}, []),
        ({}, [2, 3, 4]),
    ],
)
def test_some_of_the_rows(measured, matcher, days):
    event = {"code": "BP", "time": "col(when)", "time_format": FORMAT, "where": matcher}
    other = {"code": "OTHER", "time": None}
    found = measured({"vitals.csv": VITALS}, {"vitals": {"bp": event, "other": other}})
    assert [time.day for time in found.filter(pl.col("code") == "BP")["time"]] == days


def test_a_matcher_compares_text_with_what_is_written(measured):
    """A code that looks like a number is text; a number is a number."""
    text = "subject_id,code,version\n1,0389,9\n1,389,9.0\n1,0389,10\n"
    event = {"code": ["ICD", "col(code)"], "time": None, "where": {"code": "0389", "version": 9}}
    kept = measured({"d.csv": text}, {"d": {"icd": {**event, "version": "version"}}})
    assert kept.select("code", "version").rows() == [("ICD//0389", 9)]


def test_computed_codes_times_and_values(measured):
    text = "subject_id,y,m,d,code,dose,units,stop\n1,2020,3,9,C09AA02,2,1.5,2020-03-11\n1,2020,13,1,A02,1,2,\n"
    event = {
        "code": ["ATC", {"substring": {"from": "code", "start": 0, "length": 3}}, {"str": "{code}!"}],
        "time": {"date": {"year": "y", "month": "m", "day": "d"}},
        "numeric_value": {"multiply": ["dose", "units"]},
        "text_value": ["stop", "code"],
        "days": {
            "divide": [
                {"subtract": [{"time": {"from": "stop", "format": FORMAT}}, {"date": {"year": "y", "month": "m"}}]},
                {"duration": {"days": 1}},
            ]
        },
    }
    found = measured({"rx.csv": text}, {"rx": {"rx": event}})
    assert found.select("code", "time", "numeric_value", "text_value", "days").rows() == [
        ("ATC//C09//C09AA02!", datetime(2020, 3, 9), 3.0, "2020-03-11", 10.0)
    ]


def test_metadata_of_a_computed_code(x, measured):
    x.table("d_codes.csv", "code,title\n0389,Sepsis\n389,Other\n")
    event = {
        "code": ["ICD", {"substring": {"from": "code", "start": 0}}],
        "time": None,
        "_metadata": {"d_codes": {"description": "title"}},
    }
    measured({"d.csv": "subject_id,code\n1,0389\n"}, {"d": {"icd": event}})
    x.run("extract_code_metadata")
    codes = pl.read_parquet(next(x.cohort.rglob("codes.parquet")))
    assert codes.select("code", "description").rows() == [("ICD//0389", "Sepsis")]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"code": {"substring": {"from": "bp"}}}, r"labs\.lab\.code.*substring.*start"),
        ({"where": {"bp": [1]}}, r"labs\.lab\.where.*bp"),
        ({"where": []}, r"labs\.lab\.where"),
        ({"each": [{"a": "bp"}, {"b": "bp"}]}, r"labs\.lab\.each.*same names"),
        ({"each": [{"bp": "unit"}]}, r"labs\.lab\.each\.bp.*has a column of that name"),
        ({"numeric_value": {"cast": {"from": "bp", "to": "integer"}}}, r"numeric_value.*'integer'.*did you mean 'int'"),
        ({"numeric_value": {"add": ["bp", "nowhere"]}}, r"no column 'nowhere'"),
        ({"time": {"add": ["bp", {"duration": {"days": 1}}]}}, r"labs\.lab"),
    ],
)
def test_events_that_cannot_be(x, event, said):
    x.table("labs.csv", VITALS)
    x.events({"labs": {"lab": {"code": "A", "time": None, **event}}})
    done = x.script("shard_events")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    import re

    assert re.search(said, done.stderr), done.stderr


def test_lists_of_different_lengths_are_an_error(x):
    x.table("labs.parquet", pl.DataFrame({"subject_id": [1, 2], "a": [[1], [1, 2]], "b": [[1], [1]]}))
    x.events({"labs": {"lab": {"code": "A", "time": None, "each": {"p": {"col": "a"}, "q": {"col": "b"}}}}})
    x.shards({"train/0": [1, 2]})
    x.run("shard_events")
    with pytest.raises(ValueError, match=r"labs\.lab\.each: p and q have 2 and 1 values in one row"):
        x.run("convert_to_sharded_events")


# Joins


LABS = "visit,test,value\n07,a,1\n7,b,2\n08,c,3\n"
VISITS = "visit,patient,start\n07,1,2020-01-02\n7,2,2020-01-03\n08,1,2020-01-04\n"


def test_subject_and_time_of_the_visit(measured):
    """The key is compared as it is written: 07 is not 7."""
    events = {
        "labs": {
            "subject_id_col": "patient",
            "join": {"table": "visits", "on": "visit", "columns": ["patient", "start"]},
            "lab": {"code": ["LAB", "col(test)"], "time": "col(start)", "time_format": FORMAT, "visit": "visit"},
        }
    }
    found = measured({"labs.csv": LABS, "visits.csv": VISITS}, events)
    assert found.select("subject_id", "time", "code", "visit").rows() == [
        (1, datetime(2020, 1, 2), "LAB//a", 7),
        (1, datetime(2020, 1, 4), "LAB//c", 8),
        (2, datetime(2020, 1, 3), "LAB//b", 7),
    ]


def test_the_first_of_several_and_a_chain_of_joins(measured):
    events = {
        "wards": {"separator": ";"},
        "labs": {
            "join": [
                {
                    "table": "stays",
                    "on": {"visit": "stay"},
                    "columns": {"subject_id": {"first": "patient"}, "ward": {"last": "w"}},
                },
                {"table": "wards", "on": {"ward": "id"}, "columns": {"ward_name": "name"}},
            ],
            "lab": {"code": ["LAB", "col(ward_name)"], "time": None},
        },
    }
    tables = {
        "labs.csv": "visit\n1\n2\n3\n",
        "stays.csv": "stay,patient,w\n1,5,A1\n1,6,A2\n2,7,A1\n",
        "wards.csv": "id;name\nA1;North\nA2;South\n",
    }
    found = measured(tables, events)
    assert found.select("subject_id", "code").rows() == [(5, "LAB//South"), (7, "LAB//North")]


@pytest.mark.parametrize(
    ("join", "said"),
    [
        ({"table": "nowhere", "on": "visit", "columns": ["patient"]}, "no table nowhere"),
        ({"table": "visits", "on": "vist", "columns": ["patient"]}, "'vist'.*did you mean 'visit'"),
        ({"table": "visits", "on": "visit", "columns": {"patient": "patent"}}, "'patent'.*did you mean 'patient'"),
        ({"table": "visits", "on": "visit", "columns": {"value": "start", "patient": "patient"}}, "'value'.*already"),
        ({"table": "../visits", "on": "visit", "columns": ["patient"]}, r"labs\.join.*'\.\.'"),
    ],
)
def test_joins_that_cannot_be(x, join, said):
    x.table("labs.csv", LABS)
    x.table("visits.csv", VISITS)
    x.events({"labs": {"subject_id_col": "patient", "join": join, "lab": {"code": "A", "time": None}}})
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        x.run("shard_events")


def test_a_key_with_two_rows_is_an_error_that_names_it(x):
    x.table("labs.csv", LABS)
    x.table("visits.csv", f"{VISITS}08,9,2020-01-05\n")
    join = {"table": "visits", "on": "visit", "columns": ["patient"]}
    x.events({"labs": {"subject_id_col": "patient", "join": join, "lab": {"code": "A", "time": None}}})
    with pytest.raises(ValueError, match=r"visits.*08"):
        x.run("shard_events")
    assert not [path for path in (x.cohort / "shard_events").rglob("*") if path.suffix == ".parquet"]


# Subject ids that are text


TEXT_IDS = "subject_id,test\nP-7,a\nP-07,b\n,c\nÄ 1,d\n"
EVENTS = {"labs": {"lab": {"code": ["LAB", "col(test)"], "time": None}}}


def test_ids_by_a_hash(measured):
    found = measured({"labs.csv": TEXT_IDS}, {"subject_ids": "hash", **EVENTS})
    ids = dict(found.select("code", "subject_id").rows())
    assert ids["LAB//a"] == 0xDA1795A003642C99 >> 1  # printf P-7 | b2sum -l 64
    assert len(set(ids.values())) == len(ids) == 3
    assert all(0 <= number < 2**63 for number in ids.values())


def test_ids_by_a_table_that_is_kept_and_extended(x, measured):
    found = measured({"labs.csv": TEXT_IDS}, {"subject_ids": "table", **EVENTS})
    assert sorted(found["subject_id"]) == [1, 2, 3]
    table = x.cohort / "subject_ids.parquet"
    assert pl.read_parquet(table).rows() == [("P-07", 1), ("P-7", 2), ("Ä 1", 3)]
    x.table("labs.csv", f"{TEXT_IDS}A,e\n")
    for stage in ("shard_events", "split_and_shard_subjects"):
        x.run(stage, "do_overwrite=True", *([ONE_SPLIT.removeprefix(stage)] if stage.startswith("split") else []))
    assert pl.read_parquet(table).rows() == [("P-07", 1), ("P-7", 2), ("Ä 1", 3), ("A", 4)]


def test_a_table_of_ids_that_is_missing_or_lacks_one(x):
    x.table("labs.csv", TEXT_IDS)
    x.events({"subject_ids": "table", **EVENTS})
    x.shards({"train/0": [1, 2, 3]})
    x.run("shard_events")
    with pytest.raises(FileNotFoundError, match=r"subject_ids\.parquet.*split_and_shard_subjects"):
        x.run("convert_to_sharded_events")
    pl.DataFrame({"subject_id_text": ["P-7"], "subject_id": [1]}).write_parquet(x.cohort / "subject_ids.parquet")
    with pytest.raises(ValueError, match=r"labs.*subject_id.*'P-07' has no number"):
        x.run("convert_to_sharded_events")


def test_external_splits_of_text_ids(x):
    x.table("labs.csv", TEXT_IDS)
    x.events({"subject_ids": "hash", **EVENTS})
    splits = x.folder / "splits.json"
    splits.write_text(json.dumps({"mine": ["P-7", "Ä 1"]}))
    x.run("shard_events")
    x.run(
        "split_and_shard_subjects",
        f".external_splits_json_fp={splits}",
        ONE_SPLIT.removeprefix("split_and_shard_subjects"),
    )
    shards = json.loads((x.cohort / "metadata" / ".shards.json").read_text())
    assert {shard: len(ids) for shard, ids in shards.items()} == {"mine/0": 2, "train/0": 1}


def test_whole_numbers_are_the_text_that_they_would_be(measured):
    """A table of integers, one of floats and one of text have the same subjects."""
    tables = {
        "a.parquet": pl.DataFrame({"subject_id": [7], "test": ["a"]}),
        "b.parquet": pl.DataFrame({"subject_id": [7.0, None], "test": ["b", "n"]}),
        "c.csv": "subject_id,test\n7,c\n07,d\n",
    }
    found = measured(tables, {"subject_ids": "hash", **dict.fromkeys("abc", EVENTS["labs"])})
    by_code = dict(found.select("code", "subject_id").rows())
    assert by_code["LAB//a"] == by_code["LAB//b"] == by_code["LAB//c"] != by_code["LAB//d"]


def test_day_and_time_of_day_in_two_columns_and_a_column_for_each_quantity(measured):
    """As the guide has it below "Frequent cases"."""
    text = "subject_id,day,clock,HR,Temp (F)\n1,02/25/2023,08:25 PM,55,\n1,02/26/2023,12:05 AM,,99.5\n"
    time = {"time": {"from": {"str": "{day} {clock}"}, "format": "%m/%d/%Y %I:%M %p"}}
    events = {
        code: {
            "where": {column: {"regex": r"\S"}},
            "code": ["VITALS", code],
            "time": time,
            "numeric_value": column,
        }
        for code, column in {"HR": "HR", "TEMP": "Temp (F)"}.items()
    }
    found = measured({"vitals.csv": text}, {"vitals": events})
    assert found.select("time", "code", "numeric_value").rows() == [
        (datetime(2023, 2, 25, 20, 25), "VITALS//HR", 55.0),
        (datetime(2023, 2, 26, 0, 5), "VITALS//TEMP", 99.5),
    ]
