"""Tables as hospitals have them: separators, encodings, null words, parts, codes with leading zeros, numbers, zones."""

import gzip
from datetime import datetime

import polars as pl
import pytest

from helpers import ONE_SPLIT

LAB = {"code": ["LAB", "col(test)"], "time": None}


@pytest.mark.parametrize("codes", [["0389", "25000", "4019"], ["1.10", "250.00", "1.1"], ["1e5", "100000", "1E5"]])
def test_codes_of_a_text_file_are_as_they_are_written(measured, codes):
    text = "subject_id,test\n" + "".join(f"{i},{code}\n" for i, code in enumerate(codes))
    found = measured({"labs.csv": text}, {"labs": {"lab": LAB}})
    assert set(found["code"]) == {f"LAB//{code}" for code in codes}


def test_or_as_release_0_1_had_them(measured):
    text = "subject_id,test\n1,0389\n2,389\n"
    found = measured({"labs.csv": text}, {"infer_code_dtypes": True, "labs": {"lab": LAB}})
    assert set(found["code"]) == {"LAB//389"}


@pytest.mark.parametrize(("inferred", "code"), [(False, "SNOMED//168537006"), (True, "SNOMED//168537006.0")])
def test_whole_floats_of_a_parquet_file(measured, inferred, code):
    frame = pl.DataFrame({"subject_id": [1, 2], "c": [168537006.0, None]})
    events = {"infer_code_dtypes": inferred, "labs": {"lab": {"code": ["SNOMED", "col(c)"], "time": None}}}
    assert measured({"labs.parquet": frame}, events)["code"].to_list() == [code, "SNOMED//UNK"]


def test_a_column_that_is_code_and_value_is_both(measured):
    """The code is as it is written, the value is a number, and the text only repeats it."""
    event = {**LAB, "numeric_value": "test", "text_value": "test", "hadm_id": "hadm"}
    found = measured({"labs.csv": "subject_id,test,hadm\n1,007.50,8\n"}, {"labs": {"lab": event}})
    assert found.drop("subject_id", "time").row(0) == ("LAB//007.50", 7.5, None, 8)
    assert found.schema["hadm_id"] == pl.Int64


def test_a_later_value_that_does_not_fit_a_column_that_is_both(x):
    x.table("labs.csv", "subject_id,test\n" + "1,07\n" * 3 + "1,high\n")
    x.events({"labs": {"lab": {**LAB, "numeric_value": "test"}}})
    with pytest.raises(ValueError, match=r"labs\.csv, column 'test', row 4.*'high'.*Int64.*infer_schema_length"):
        x.run("shard_events", ".infer_schema_length=2")


def test_all_ways_of_writing_a_text_file(measured):
    text = "subject_id;test;value\n1;'Größe; in cm';1,5\n2;NA;2,25\n3;k.A.;\n"
    options = {"separator": ";", "encoding": "cp1252", "quote": "'", "decimal": ",", "null_values": ["NA", "k.A."]}
    event = {**LAB, "numeric_value": "value"}
    found = measured({"labs.csv": text.encode("cp1252")}, {**options, "labs": {"lab": event}}).sort("subject_id")
    assert found["code"].to_list() == ["LAB//Größe; in cm", "LAB//UNK", "LAB//UNK"]
    assert found["numeric_value"].to_list() == [1.5, 2.25, None]


def test_options_of_one_table_leave_the_others_alone(measured):
    events = {
        "labs": {"separator": "|", "dtypes": {"value": "str"}, "lab": {**LAB, "value": "value"}},
        "vitals": {"vital": {**LAB, "value": "value"}},
        "null_values": ["-"],
    }
    tables = {"labs.csv": "subject_id|test|value\n1|a,b|07\n", "vitals.csv": "subject_id,test,value\n1,-,7\n"}
    found = measured(tables, events)
    assert found.select("code", "value").rows() == [("LAB//a,b", "07"), ("LAB//UNK", "7")]


@pytest.mark.parametrize("name", ["labs.CSV", "labs.tsv", "labs.csv.zst", "labs.txt.gz", "labs.PQ", "labs.feather"])
def test_every_format(x, measured, name):
    frame = pl.DataFrame({"subject_id": [1, 2], "test": ["a", "b"]})
    if name.endswith("PQ"):
        frame.write_parquet(x.raw / name)
    elif name.endswith("feather"):
        frame.write_ipc(x.raw / name)
    else:
        text = frame.write_csv(separator="\t" if "tsv" in name else ",").encode()
        if name.endswith(".zst"):
            import pyarrow as pa

            text = pa.Codec("zstd").compress(text, asbytes=True)
        (x.raw / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert set(measured({}, {"labs": {"lab": LAB}})["code"]) == {"LAB//a", "LAB//b"}


@pytest.mark.parametrize("table", ["labs", "labs_*"])
def test_parts_in_the_order_of_their_names(x, measured, table):
    folder, stem = ("labs/", "part-") if table == "labs" else ("", "labs_")
    for n in (2, 0, 1):
        x.table(f"{folder}{stem}{n}.csv", f"subject_id,test\n1,{n}\n1,{n + 10}\n")
    found = measured({}, {table: {"lab": LAB}})
    assert found["code"].to_list() == [f"LAB//{n}" for n in (0, 10, 1, 11, 2, 12)]


def test_folders_that_stand_for_a_column(x, measured):
    for year in ("2021", "2020"):
        x.table(f"labs/year={year}/0.parquet", pl.DataFrame({"subject_id": [1], "test": ["a"]}))
    found = measured({}, {"labs": {"lab": {"code": ["LAB", "col(year)"], "time": None}}})
    assert found["code"].to_list() == ["LAB//2020", "LAB//2021"]


def test_a_table_that_is_sharded_already_needs_no_shard_events(x):
    """Whatever the names of its parts are."""
    for n, name in enumerate(["b", "a", "c"]):
        frame = pl.DataFrame({"subject_id": [n, n], "test": [f"{name}1", f"{name}2"]})
        x.table(f"labs/{name}.parquet", frame.head(0) if name == "c" else frame)
    x.events({"labs": {"lab": LAB}})
    stages = "stages=[split_and_shard_subjects,convert_to_sharded_events,merge_to_MEDS_cohort]"
    folder = f".data_input_dir={x.raw}"
    x.run("split_and_shard_subjects", stages, folder, ONE_SPLIT.removeprefix("split_and_shard_subjects"))
    x.run("convert_to_sharded_events", stages, folder)
    x.run("merge_to_MEDS_cohort", stages)
    paths = sorted((x.cohort / "data").rglob("*.parquet"))
    assert set(pl.concat(map(pl.read_parquet, paths))["code"]) == {"LAB//a1", "LAB//a2", "LAB//b1", "LAB//b2"}


@pytest.mark.parametrize("content", [None, "", "subject_id,test\n"], ids=["missing", "no bytes", "no rows"])
def test_an_optional_table_may_be_missing_or_empty(x, measured, caplog, content):
    tables = {"labs.csv": "subject_id,test\n1,a\n"} | ({} if content is None else {"more.csv": content})
    events = {"labs": {"lab": LAB}, "more": {"optional": True, "lab": LAB}}
    assert measured(tables, events)["code"].to_list() == ["LAB//a"]
    assert "more" in caplog.text
    events["more"]["optional"] = False
    x.events(events)
    with pytest.raises((ValueError, FileNotFoundError), match=r"more"):
        x.run("shard_events", "do_overwrite=True")


# Numbers


def test_no_number_becomes_infinite(measured):
    values = ["1e400", "1e39", "-1e39", "inf", "3.4e38", "12"]
    text = "subject_id,test,value\n" + "".join(f"{i},a,{v}\n" for i, v in enumerate(values)) + "9,a,x\n"
    found = measured({"labs.csv": text}, {"labs": {"lab": {**LAB, "numeric_value": "value", "text_value": "value"}}})
    found = found.sort("subject_id")
    assert found["numeric_value"].is_null().to_list() == [True] * 4 + [False, False, True]
    assert found["text_value"].to_list() == [*values[:4], None, None, "x"]


@pytest.mark.parametrize("value", ["inf", "1e400", "-1e999"])
def test_a_column_of_numbers_with_one_beyond_all_is_text(measured, value):
    event = {**LAB, "numeric_value": "value", "text_value": "value"}
    found = measured({"labs.csv": f"subject_id,test,value\n1,a,1.5\n2,a,{value}\n"}, {"labs": {"lab": event}})
    assert dict(found.select("subject_id", "text_value").rows()) == {1: None, 2: value}
    assert found.sort("subject_id")["numeric_value"].to_list() == [1.5, None]


def test_or_an_error_where_it_comes_too_late(x):
    x.table("labs.csv", "subject_id,test,value\n1,a,1.5\n2,a,1e400\n")
    x.events({"labs": {"lab": {**LAB, "numeric_value": "value"}}})
    with pytest.raises(ValueError, match=r"labs\.csv, column 'value', row 2 after.*'1e400' does not fit.*infer_schema"):
        x.run("shard_events", ".infer_schema_length=1")


def test_numbers_with_signs_and_spaces_where_these_are_allowed(measured):
    values = ["<5", " 7 ", ">= 1,5", "8", "high", "<<5", ""]
    text = "subject_id;test;value\n" + "".join(f"{i};a;{v}\n" for i, v in enumerate(values))
    events = {
        "separator": ";",
        "decimal": ",",
        "numbers": "lenient",
        "labs": {"lab": {**LAB, "numeric_value": "value"}},
    }
    found = measured({"labs.csv": text}, events).sort("subject_id")
    assert found["numeric_value"].to_list() == [5, 7, 1.5, 8, None, None, None]
    assert found["text_value"].to_list() == ["<5", " 7 ", ">= 1,5", None, "high", "<<5", None]


# Time zones

TIMES = "subject_id,t\n1,2020-01-15 12:00\n2,2020-07-15 12:00\n3,2020-03-08 02:30\n4,2020-11-01 01:30\n"
EVENT = {"code": "A", "time": "col(t)", "time_format": ["%Y-%m-%d %H:%M%z", "%Y-%m-%d %H:%M"]}


def test_local_times_become_utc(measured):
    found = measured({"labs.csv": TIMES}, {"time_zone": "America/New_York", "labs": {"lab": EVENT}})
    assert dict(found.select("subject_id", "time").rows()) == {
        1: datetime(2020, 1, 15, 17),
        2: datetime(2020, 7, 15, 16),
        3: datetime(2020, 3, 8, 7, 30),  # skipped by the clock
        4: datetime(2020, 11, 1, 5, 30),  # there twice: the first
    }


def test_or_stay_local_and_those_with_a_zone_become_so(measured):
    options = {"time_zone": "America/New_York", "dataset_times": "local"}
    found = measured({"labs.csv": f"{TIMES}5,2020-01-15 12:00+00:00\n"}, {**options, "labs": {"lab": EVENT}})
    times = dict(found.select("subject_id", "time").rows())
    assert (times[1], times[5]) == (datetime(2020, 1, 15, 12), datetime(2020, 1, 15, 7))


@pytest.mark.parametrize("time_format", ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M%z"])
def test_computed_times_too(measured, time_format):
    text = "subject_id,t\n1,2020-01-15 12:00" + ("+00:00\n" if "z" in time_format else "\n")
    event = {"code": "A", "time": {"time": {"from": "t", "format": time_format}}}
    [time] = measured({"labs.csv": text}, {"time_zone": "America/New_York", "labs": {"lab": event}})["time"]
    assert time == datetime(2020, 1, 15, 12 if "z" in time_format else 17)


def test_names_of_zones_are_refused(x):
    x.table("labs.csv", "subject_id,t\n1,2020-01-15 12:00 EST\n")
    x.events({"labs": {"lab": {**EVENT, "time_format": "%Y-%m-%d %H:%M %Z"}}})
    with pytest.raises(ValueError, match=r"labs\.lab\.time_format.*%Z.*time_zone"):
        x.run("shard_events")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoding": "utf-9"}, "encoding.*'utf-9'"),
        ({"time_zone": "Mars/Olympus"}, "time_zone.*'Mars/Olympus'"),
        ({"dataset_times": "local"}, "dataset_times.*time_zone"),
        ({"separator": '"'}, "separator.*quote"),
        ({"separator": ",", "decimal": ","}, "separator.*decimal"),
        ({"labs": {"subject_ids": "hash", "lab": LAB}}, "labs.subject_ids.*top"),
    ],
)
def test_options_that_cannot_be(x, options, said):
    x.table("labs.csv", "subject_id,test\n1,a\n")
    x.events({"labs": {"lab": LAB}, **options})
    with pytest.raises(ValueError, match=said):
        x.run("shard_events")
