"""What becomes of rows, event by event: every row is accounted for, with examples of what is lost."""

import json
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.extract.event_counts import TableCounts, swapped_formats
from MEDS_transforms.extract.event_file.model import Table
from MEDS_transforms.extract.event_file.read import read_event_file
from MEDS_transforms.extract.event_findings import find_in_events
from MEDS_transforms.extract.events import drop_duplicate_rows, event_rows, extract_event

LAB = {"code": ["LAB", "col(test)"], "time": "col(t)", "time_format": "%Y-%m-%d", "numeric_value": "n"}
DATES = [str(date(2020, 1, 1) + timedelta(days=day)) for day in range(366)]


@cache
def parsed(content: str) -> Table:
    """The table of an event conversion file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.yaml"
        path.write_text(content)
        return read_event_file(path).tables["t"]


def counted(rows: pl.DataFrame, *batches: int, **events) -> dict:
    """The account of a table of one batch, or of batches that end at these rows."""
    table = parsed(json.dumps({"t": {"subject_id_col": "id", **(events or {"e": LAB})}}))
    counts = TableCounts(table)
    for start, end in zip((0, *batches), (*batches, rows.height), strict=True):
        batch = rows.slice(start, end - start)
        counts.rows(batch.height, 0, 0, 0)
        for event in table.events:
            of_event = counts.events[event.name]
            made = extract_event(event_rows(batch, event, of_event.choose), event, [], False, "id", of_event.look)
            of_event.repeats(made.height - drop_duplicate_rows(made).height)
    return counts.account()


def of_event(rows: pl.DataFrame, *batches: int, **event) -> dict:
    return counted(rows, *batches, e=LAB | event)["events"]["t"]["e"]


def causes(counts: dict) -> dict[str, int]:
    return {cause: n for cause, n in counts["dropped"].items() if n}


def table(**columns) -> pl.DataFrame:
    height = max(len(values) for values in columns.values())
    usual = {"id": [1] * height, "test": ["a"] * height, "t": DATES[:height], "n": ["1"] * height}
    return pl.DataFrame(usual | columns)


def test_rows_that_a_matcher_leaves_out_and_values_that_each_adds():
    """They add up, whatever becomes of the others."""
    rows = table(test=["a", "b", "c", None], t=[DATES[0], "x", None, DATES[1]])
    twice = [{"k": {"literal": "1"}}, {"k": {"literal": "2"}}]
    counts = of_event(rows, each=twice, where={"test": {"regex": "[abc]"}}, code=["LAB", "col(test)", "col(k)"])
    assert (counts["rows"], counts["measurements"]) == (8, 2)
    assert causes(counts) == {"not_chosen": 2, "time_not_parsed": 2, "time_null": 2}


def test_rows_are_dropped_for_the_first_cause():
    rows = table(
        t=["2020-01-01", None, "x", "y", "2020-01-02", None, "2020-01-01"], test=["a", "a", "a", None, None, None, "a"]
    )
    counts = of_event(rows, code="col(test)")
    assert causes(counts) == {"time_null": 2, "time_not_parsed": 2, "code_null": 1, "duplicate": 1}
    assert (counts["rows"], counts["measurements"]) == (7, 1)
    assert counts["examples"] == {"time_not_parsed": ["x", "y"]}


def test_a_static_event_needs_no_time_and_a_literal_code_is_never_null():
    rows = table(t=[None, None], test=[None, None], n=["1", "2"])
    assert causes(of_event(rows, time=None)) == {}
    assert causes(of_event(rows)) == {"time_null": 2}


@pytest.mark.parametrize(
    ("column", "texts", "lost", "examples"),
    [
        ("numeric_value", ["1", " 7 ", "<5", None, "", "  ", "1e3", "-", "nan"], 3, [" 7 ", "<5", "-"]),
        ("boolean_value", ["yes", "0", "maybe", None, ""], 1, ["maybe"]),
        ("text_value", ["anything", None], 0, None),
    ],
)
def test_values_that_became_null_though_there_is_text(column, texts, lost, examples):
    event = {key: value for key, value in LAB.items() if key != "numeric_value"}
    counts = counted(table(n=texts), e=event | {column: "n"})["events"]["t"]["e"]
    assert counts.get("lost", {}).get(column, 0) == lost
    assert counts.get("examples", {}).get(column) == examples


def test_numbers_whose_text_is_kept_are_counted_apart():
    """A text that only repeats the number is no such text."""
    counts = of_event(table(n=["<5", "1", "high", ""]), text_value="n")
    assert (counts.get("lost"), counts["kept_as_text"]) == ({"numeric_value": 0}, {"numeric_value": 2})
    assert counts["examples"] == {"kept_as_text": ["<5", "high"]}


def test_values_of_rows_without_a_measurement_are_not_lost():
    counts = of_event(table(t=["x", "2020-01-01", "2020-01-02"], n=["<5", "<6", "7"]))
    assert counts["lost"] == {"numeric_value": 1}
    assert counts["examples"]["numeric_value"] == ["<6"]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Categorical(pl.Categories("of a name")), pl.Enum(["1", "<5"])])
def test_text_of_other_dtypes(dtype):
    rows = table(n=["1", "<5", None]).with_columns(pl.col("n").cast(dtype))
    assert of_event(rows)["lost"] == {"numeric_value": 1}


@pytest.mark.parametrize("name", ["*", "^n$", "^a|b$", "self", "code"])
def test_columns_of_any_name(name):
    rows = table(n=["1", "<5", "2"], t=["2020-01-01", "2020-01-02", "?"]).rename({"n": name})
    counts = of_event(rows, numeric_value=name)
    assert (counts["lost"], causes(counts)) == ({"numeric_value": 1}, {"time_not_parsed": 1})
    counts = of_event(rows.drop("t").rename({name: "n"}).with_columns(rows["t"].alias(name)), time=f"col({name})")
    assert causes(counts) == {"time_not_parsed": 1}


def test_examples_are_short_and_few_and_from_the_earliest_rows():
    rows = table(n=["x" * 100, *"abcdefgh"])
    assert of_event(rows, 2, 5)["examples"]["numeric_value"] == ["x" * 59 + "…", "a", "b"]


VALUES = st.sampled_from([None, "", "1", "2", "<5", "x"])
TIMES = st.sampled_from([None, "", "2020-01-01", "2020-02-30", "2020-12-31", "soon"])


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), TIMES, VALUES), max_size=30), st.integers(0, 30))
def test_every_row_is_a_measurement_or_dropped_for_a_cause(values, cut):
    rows = pl.DataFrame(
        [(1, *row) for row in values],
        {"id": pl.Int64, "test": pl.String, "t": pl.String, "n": pl.String},
        orient="row",
    )
    events = {"a": LAB, "b": LAB | {"code": "col(test)"}, "c": LAB | {"time": None}}
    account = counted(rows, min(cut, rows.height), **events)
    for event in account["events"]["t"].values():
        assert event["rows"] == rows.height == event["measurements"] + sum(event["dropped"].values())
    times = rows["t"].is_in(["2020-01-01", "2020-12-31"])
    b = account["events"]["t"]["b"]
    assert b["dropped"]["time_null"] == rows["t"].null_count()
    assert b["dropped"]["time_not_parsed"] == (~times & rows["t"].is_not_null()).sum()
    assert b["dropped"]["code_null"] == (times & rows["test"].is_null()).sum()
    lost = times & rows["test"].is_not_null() & rows["n"].is_in(["<5", "x"])
    assert b["lost"]["numeric_value"] == lost.sum()


def kinds(account: dict) -> list[str]:
    return [finding.kind for finding in find_in_events(account)]


def test_a_code_with_columns_that_has_one_value():
    assert "one_code" in kinds(counted(table(test=["a"] * 21)))
    assert "one_code" not in kinds(counted(table(test=["a"] * 20)))
    assert "one_code" not in kinds(counted(table(test=["a"] * 21), e=LAB | {"code": "A"}))
    late = table(test=["a"] * 2000 + ["b"], t=["2020-01-01"] * 2001, n=[str(n) for n in range(2001)])
    assert kinds(counted(late)) == []
    assert kinds(counted(late, 2000)) == []
    assert kinds(counted(late.head(2000), 1000)) == ["one_code"]


AMERICAN = [f"{day[5:7]}/{day[8:]}/{day[:4]}" for day in DATES]


def days(times: list[str], *formats: str) -> list[str]:
    return [
        finding.words
        for finding in find_in_events(
            counted(table(t=times, test=[str(n) for n in range(len(times))]), e=LAB | {"time_format": [*formats]})
        )
        if finding.kind == "day_month"
    ]


def test_a_format_with_day_and_month_swapped_is_found_whether_other_times_parse_or_not():
    [words] = days(AMERICAN, "%d/%m/%Y")
    assert words.startswith("day and month could be swapped: none of 144 times is after the 12th of its month, those")
    assert "'01/13/2020', '01/14/2020', '01/15/2020'" in words
    [words] = days([day for day in AMERICAN if day[3:5] <= "12"], "%d/%m/%Y")
    assert "look like" not in words


@pytest.mark.parametrize(
    "times",
    [
        [day for day in AMERICAN if day[3:5] == "01"] * 20,  # bills of every month
        AMERICAN[:12],  # few
        AMERICAN,
        [*AMERICAN[::31], "01/31/2020"],
    ],
)
def test_days_that_are_right_are_no_finding(times):
    assert days(times, "%m/%d/%Y") == []


def test_two_formats_that_read_a_time_differently_are_found():
    [words] = days(["13/01/2020", "01/13/2020", "02/03/2020", "04/04/2020"], "%d/%m/%Y", "%m/%d/%Y")
    assert words.startswith("day and month could be swapped in 1 times, which two of the formats read differently")
    assert "'02/03/2020'" in words
    assert days(["13/01/2020", "01/13/2020", "04/04/2020"], "%d/%m/%Y", "%m/%d/%Y") == []
    assert days(["02/03/2020", "2020-03-02"], "%d/%m/%Y", "%Y-%m-%d") == []


def test_formats_that_differ_in_the_order_of_day_and_month():
    assert swapped_formats(["%m/%d/%y", "%d.%m.%Y", "%Y-%m-%d", "%-d/%-m/%Y"]) == [
        ("%m/%d/%y", "%d.%m.%Y"),
        ("%m/%d/%y", "%-d/%-m/%Y"),
    ]
    assert swapped_formats(["%d %b %Y", "%b %d %Y"]) == []


def test_times_that_do_not_parse_are_a_share_of_those_that_are_given():
    rows = table(t=["2020-01-01", None, "x", "2020-01-02"])
    [finding] = [found for found in find_in_events(counted(rows)) if found.kind == "times_not_parsed"]
    assert finding.figure == pytest.approx(1 / 3)
    assert finding.where == "t.e"
    assert "1 of 3 (33 %), such as 'x'" in finding.words


def test_an_event_without_measurements():
    assert "events_without_measurements" in kinds(counted(table(t=[None, None])))
    assert "events_without_measurements" not in kinds(counted(table(t=[None, "2020-01-01"])))
