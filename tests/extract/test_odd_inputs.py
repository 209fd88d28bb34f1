"""What is right for odd input of event files: nothing is lost or changed without a word, and errors say what to do."""

import json
import re
from datetime import date, datetime, timedelta

import polars as pl
import pytest

from helpers import ONE_SPLIT

NEW_YORK = {"time_zone": "America/New_York"}


@pytest.fixture
def measured(x):
    """The measurements of one event of a table `t`."""

    def run(content, event, *overrides, **top):
        x.table("t.csv" if isinstance(content, str) else "t.parquet", content)
        x.events({**top, "t": {"e": {"code": "A", "time": None, **event}}})
        x.run_until("merge_to_MEDS_cohort", ONE_SPLIT, *overrides)
        return x.shard("merge_to_MEDS_cohort", "train/0")

    return run


@pytest.fixture
def refused(x):
    """The first stage refuses an event of a table `t`."""

    def run(content, event, said, **top):
        x.table("t.csv" if isinstance(content, str) else "t.parquet", content)
        x.events({**top, "t": {"e": {"code": "A", "time": None, **event}}})
        with pytest.raises(ValueError, match=said):
            x.run("shard_events")

    return run


# Dtypes

NO_TEXT = {
    "Duration": pl.Series([timedelta(1)]),
    "List": pl.Series([["a"]]),
    "Array": pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)),
    "Struct": pl.Series([{"a": 1}]),
}


@pytest.mark.parametrize("event", [{"code": ["A", "col(q)"]}, {"code": "col(q)"}, {"text_value": "q"}])
@pytest.mark.parametrize("dtype", NO_TEXT)
def test_what_is_not_written_as_text_is_refused(refused, dtype, event):
    refused(pl.DataFrame({"subject_id": [1], "q": NO_TEXT[dtype]}), event, rf"t\.e.*column 'q' has the dtype {dtype}")


@pytest.mark.parametrize("event", [{"code": ["A", {"str": "{q}"}]}, {"x": {"substring": {"from": "q", "start": 1}}}])
def test_nor_in_expressions(refused, event):
    refused(pl.DataFrame({"subject_id": [1], "q": NO_TEXT["List"]}), event, r"t\.e.*column 'q' has the dtype List")


def test_text_that_a_program_wrote_as_bytes(measured):
    frame = pl.DataFrame({"subject_id": [1], "q": pl.Series(["é"]).cast(pl.Binary)})
    assert measured(frame, {"code": ["A", "col(q)"]})["code"].to_list() == ["A//é"]


# Several values per row


def test_codes_of_each_are_as_they_are_written(measured):
    """Those of a text file, and whole numbers beside others."""
    event = {"code": ["A", "col(q)"], "each": [{"q": "a"}, {"q": {"col": "b"}}, {"q": ["c", "a"]}]}
    found = measured("subject_id,a,b,c\n1,007,1.50,2\n", event)
    assert found["code"].to_list() == ["A//007", "A//1.50", "A//2"]


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({"a": [2**53 + 1], "b": [2.5]}, [f"A//{2**53 + 1}", "A//2.5"]),
        ({"a": [1.0], "b": ["x"]}, ["A//1", "A//x"]),
    ],
)
def test_of_several_dtypes_too(measured, values, codes):
    event = {"code": ["A", "col(q)"], "each": [{"q": "a"}, {"q": "b"}]}
    assert measured(pl.DataFrame({"subject_id": [1], **values}), event)["code"].to_list() == codes


def test_whole_numbers_in_lists(measured):
    frame = pl.DataFrame({"subject_id": [1], "l": [[1.0, 2.5]]})
    assert measured(frame, {"code": ["A", "col(q)"], "each": {"q": "l"}})["code"].to_list() == ["A//1", "A//2.5"]


def test_empty_lists_give_no_measurement_and_null_is_one_value(measured):
    """With every release of polars."""
    frame = pl.DataFrame({"subject_id": [1, 2, 3, 4], "l": [["a", "b"], [], None, [None]]})
    found = measured(frame, {"code": ["A", "col(q)"], "each": {"q": "l"}})
    assert found.select("subject_id", "code").rows() == [(1, "A//a"), (1, "A//b"), (3, "A//UNK"), (4, "A//UNK")]


def test_null_beside_several_values(x):
    x.table("t.parquet", pl.DataFrame({"subject_id": [1, 2], "l": [["a"], None], "m": [[1], [2, 3]]}))
    x.events({"t": {"e": {"code": ["A", "col(q)"], "time": None, "numeric_value": "n", "each": {"q": "l", "n": "m"}}}})
    with pytest.raises(ValueError, match=r"t\.e\.each: q and n have 1 and 2 values in one row"):
        x.run_until("convert_to_sharded_events", ONE_SPLIT)


# Calculations and times


@pytest.mark.parametrize(("dtype", "operation", "result"), [(pl.Int8, "add", 200), (pl.UInt32, "subtract", -101)])
def test_small_integers_do_not_overflow(measured, dtype, operation, result):
    frame = pl.DataFrame({"subject_id": [1], "v": pl.Series([100], dtype=dtype)})
    other = "v" if operation == "add" else 201
    assert measured(frame, {"x": {operation: ["v", other]}})["x"].to_list() == [result]


TEXTS = ["2020-01-15T12:00:00Z", "2020-01-15T12:00:00+00:00", "2020-01-15T07:00:00-0500"]


@pytest.mark.parametrize("expression", [True, False])
@pytest.mark.parametrize(("text", "time_format"), [*((t, "%FT%T%z") for t in TEXTS), (TEXTS[0], "%Y-%m-%dT%H:%M:%SZ")])
def test_moments_are_not_taken_for_local_times(measured, text, time_format, expression):
    event = {"time": {"time": {"from": "t", "format": time_format}}}
    event = event if expression else {"time": "col(t)", "time_format": time_format}
    found = measured(f"subject_id,t\n1,{text}\n", event, **NEW_YORK)
    assert found["time"].to_list() == [datetime(2020, 1, 15, 12)]


def test_an_expression_has_formats_of_one_kind(refused):
    time = {"time": {"from": "t", "format": ["%F %T%z", "%F %T"]}}
    refused("subject_id,t\n1,x\n", {"time": time}, r"t\.e\.time.*all have an offset")


@pytest.mark.parametrize("made", ["expression", "each"])
def test_times_beyond_all_years_are_an_error_however_they_are_made(x, made):
    far = pl.Series([2**62]).cast(pl.Datetime("ms"))
    frame = pl.DataFrame({"subject_id": [1], "t": far if made == "expression" else far.implode()})
    time = {"add": ["t", {"duration": {"days": 1}}]} if made == "expression" else "col(q)"
    more = {} if made == "expression" else {"each": {"q": "t"}}
    x.table("t.parquet", frame)
    x.events({"t": {"e": {"code": "A", "time": time, **more}}})
    with pytest.raises(ValueError, match=r"t\.e\.time: in the table t, .*beyond the years"):
        x.run_until("convert_to_sharded_events", ONE_SPLIT)


def test_computed_times_that_do_not_parse_are_counted_as_such(measured, caplog):
    event = {"time": {"time": {"from": "t", "format": "%Y-%m-%d"}}}
    measured("subject_id,t\n1,2020-01-02\n1,\n1,x\n", event)
    assert "times that no time_format reads, so that their rows are dropped: 1 of 2 (50 %), such as 'x'" in caplog.text


def test_a_time_of_several_columns_lacks_one_or_does_not_parse(measured, caplog):
    event = {"time": {"date": {"year": "y", "month": "m", "day": 31}}}
    measured("subject_id,y,m\n1,2020,1\n1,2020,2\n1,2020,\n", event)
    assert "1 of 2 (50 %), such as '2, 2020'" in caplog.text


# Messages


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"code": ["A", {"str": "{nope}"}]}, r"- t\.e\.code\[1\]: .* has no column 'nope'"),
        ({"numeric_value": {"add": ["nope", 1]}}, r"- t\.e\.numeric_value: .* has no column 'nope'"),
        (
            {"time": {"time": {"from": "{t} {u}", "format": "%Y %H"}}},
            r"no column '\{t\} \{u\}'.* write \{str: \"\{t\} \{u\}\"\}",
        ),
        ({"time": {"literal": "2020"}}, r"- t\.e\.time: the expression has the dtype String\. Give a time_format"),
        ({"x": {"literal": [3, 4]}}, r"- t\.e\.x: the expression has the dtype List"),
    ],
)
def test_an_expression_is_named_by_its_place(refused, event, said):
    refused(pl.DataFrame({"subject_id": [1], "t": [date(2020, 1, 2)]}), event, said)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ({"t": {"seperator": ";", "e": {"code": "A", "time": None}}}, r"t\.seperator.*did you mean 'separator'"),
        ({"seperator": ";", "t": {"e": {"code": "A", "time": None}}}, r"seperator.*did you mean 'separator'"),
        ({"separator": "||", "t": {"e": {"code": "A", "time": None}}}, r"separator must be one character or null"),
        ({"time_zone": "localtime", "t": {"e": {"code": "A", "time": None}}}, r"no time zone 'localtime'"),
        ({"t": {"dtypes": {"cod": "str"}, "e": {"code": "A", "time": None}}}, r"t\.dtypes.*'cod'.*did you mean 'code'"),
    ],
)
def test_options_that_are_meant_otherwise(x, events, said):
    x.table("t.csv", "subject_id,code\n1,01\n")
    x.events(events)
    with pytest.raises(ValueError, match=said):
        x.run("shard_events")


def test_dtypes_for_all_tables_may_be_of_columns_of_some(measured):
    assert measured("subject_id,v\n1,01\n", {"x": "v"}, dtypes={"v": "str", "w": "int"})["x"].to_list() == ["01"]


# Joins

VISIT = {"table": "visits", "on": "visit", "columns": ["ward"]}


@pytest.mark.parametrize("content", [None, ""])
def test_an_optional_table_to_join_may_be_missing_or_empty(x, content, caplog):
    if content is not None:
        x.table("visits.csv", content)
    x.table("t.csv", "subject_id,visit\n1,7\n")
    x.events({"visits": {"optional": True}, "t": {"join": VISIT, "e": {"code": ["A", "col(ward)"], "time": None}}})
    x.run_until("merge_to_MEDS_cohort", ONE_SPLIT)
    assert x.shard("merge_to_MEDS_cohort", "train/0")["code"].to_list() == ["A//UNK"]
    assert "visits: there is no such table to join, or it is empty" in caplog.text


def test_a_table_to_join_that_is_missing_is_named(x):
    x.table("t.csv", "subject_id,visit\n1,7\n")
    x.events({"t": {"join": VISIT, "e": {"code": ["A", "col(ward)"], "time": None}}})
    with pytest.raises(FileNotFoundError, match="There is no table visits below"):
        x.run("shard_events")


# Subject ids


def test_an_empty_text_is_no_subject(measured):
    found = measured('subject_id,v\na,1\n"",2\n,3\n', {"x": "v"}, subject_ids="hash")
    assert found["x"].to_list() == [1]


def ids(texts, numbers):
    schema = {"subject_id_text": pl.String, "subject_id": pl.Int64}
    return pl.DataFrame({"subject_id_text": texts, "subject_id": numbers}, schema=schema)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (ids(["a", "b"], [9, 9]), "subject_id 9 is there twice"),
        (ids(["a", "a"], [8, 9]), "subject_id_text 'a' is there twice"),
        (ids(["a", None], [8, 9]), "twice or null"),
        (ids(["a", "b"], [8, None]), "twice or null"),
        (ids(["a"], [8]).cast({"subject_id": pl.Int32}), "Int32"),
        (b"damaged", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_table_of_ids_in_which_subjects_would_fall_together_is_refused(x, table, said):
    x.table("t.csv", "subject_id,v\na,1\nb,2\n")
    x.events({"subject_ids": "table", "t": {"e": {"code": "A", "time": None}}})
    x.cohort.mkdir()
    path = x.cohort / "subject_ids.parquet"
    path.write_bytes(table) if isinstance(table, bytes) else table.write_parquet(path)
    x.run("shard_events")
    with pytest.raises(ValueError, match=rf"(?s)subject_ids\.parquet is no table of subject ids.*{re.escape(said)}"):
        x.run("split_and_shard_subjects")


def test_numbers_go_on_above_zero(x):
    x.table("t.csv", "subject_id,v\na,1\n")
    x.events({"subject_ids": "table", "t": {"e": {"code": "A", "time": None}}})
    x.cohort.mkdir()
    ids(["z"], [-5]).write_parquet(x.cohort / "subject_ids.parquet")
    x.run_until("split_and_shard_subjects", ONE_SPLIT)
    assert pl.read_parquet(x.cohort / "subject_ids.parquet").rows() == [("z", -5), ("a", 1)]


def test_external_splits_with_numbers_that_no_id_can_be(x):
    x.table("t.csv", "subject_id,v\n1,1\n")
    x.events({"t": {"e": {"code": "A", "time": None}}})
    (x.folder / "splits.json").write_text(f'{{"train": [1, {2**63}]}}')
    x.run("shard_events")
    with pytest.raises(ValueError, match=rf"splits\.json.*64 bits.*{2**63}"):
        x.run("split_and_shard_subjects", f".external_splits_json_fp={x.folder / 'splits.json'}")


# Metadata tables


@pytest.mark.parametrize("content", [None, ""])
def test_an_optional_metadata_table_that_is_missing_or_empty_describes_nothing(x, content, caplog):
    if content is not None:
        x.table("m.csv", content)
    x.table("t.csv", "subject_id,c\n1,a\n")
    event = {"code": ["A", "col(c)"], "time": None, "_metadata": {"m": {"description": "d"}}}
    x.events({"m": {"optional": True}, "t": {"e": event}})
    x.run_until("finalize_MEDS_data", ONE_SPLIT)
    assert x.shard("data", "train/0")["code"].to_list() == ["A//a"]
    assert "m: there is no such metadata table, or it is empty" in caplog.text


@pytest.mark.parametrize("described", [{"description": "l"}, {"description": "d", "c": "l"}])
@pytest.mark.parametrize("values", [[["a"]], [{"a": 1}]])
def test_lists_and_the_like_describe_no_code(x, described, values):
    x.table("m.parquet", pl.DataFrame({"c": ["a"], "d": ["x"], "l": values}))
    x.table("t.csv", "subject_id,c\n1,a\n")
    x.events({"t": {"e": {"code": ["A", "col(c)"], "time": None, "_metadata": {"m": described}}}})
    with pytest.raises(ValueError, match=r"t\.e\._metadata\.m: .* not written as text"):
        x.run_until("extract_code_metadata", ONE_SPLIT)


# Without shard_events


def sharded_already(x, frame, event):
    x.table("t/a.parquet", frame)
    x.events({"t": {"e": event}})
    stages = "stages=[split_and_shard_subjects,convert_to_sharded_events,merge_to_MEDS_cohort]"
    folder = f".data_input_dir={x.raw}"
    x.run("split_and_shard_subjects", stages, folder, ONE_SPLIT.removeprefix("split_and_shard_subjects"))
    x.run("convert_to_sharded_events", stages, folder)


@pytest.mark.parametrize(
    ("column", "values", "event", "said"),
    [
        ("subject_id", [["a"]], {"code": ["A", "col(c)"]}, r"t\.e: its rows cannot be converted"),
        ("subject_id", [b"\xff"], {"code": ["A", "col(c)"]}, r"t\.e: its rows cannot be converted"),
        ("mrn", ["a"], {"code": ["A", "col(c)"]}, r"a\.parquet has no column 'subject_id', the subject_id_col"),
        ("subject_id", ["a"], {"code": "$c"}, r"needs that stage: add it to the stages"),
    ],
)
def test_what_shard_events_would_have_refused_is_refused_later(x, column, values, event, said):
    with pytest.raises(ValueError, match=said):
        sharded_already(x, pl.DataFrame({column: [1], "c": values}), {**event, "time": None})


def test_what_is_divided_by_0_is_no_number(x, measured):
    text = "subject_id,a,b\n1,6,3\n2,1,0\n3,0,0\n"
    found = measured(text, {"numeric_value": {"divide": ["a", "b"]}}).sort("subject_id")["numeric_value"]
    assert (found[0], found[1]) == (2, None)
    account = json.loads((x.cohort / "metadata" / "accounting" / "convert_to_sharded_events.json").read_text())
    assert account["events"]["t"]["e"]["measurements"] == 3


def test_a_name_that_a_header_repeats(measured, caplog):
    found = measured("subject_id,c,c\n1,a,b\n", {"code": ["A", "col(c)"]})
    assert found["code"].to_list() == ["A//a"]
    assert "'c' several times" in caplog.text
