"""Rows to measurements: codes, times, values, duplicates, and columns that are combined."""

import logging
from datetime import UTC, date, datetime, time
from decimal import Decimal

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.dataset.dtypes import concat_with_common_dtypes
from MEDS_transforms.extract.event_file.read import read_event_file
from MEDS_transforms.extract.event_times import TimeCheck, check_range
from MEDS_transforms.extract.events import drop_duplicate_rows, event_rows, extract_event

T = datetime(2020, 1, 2, 3, 4, 5, 678)
CATEGORIES = pl.Enum(["a", "b", "1.5"])


@pytest.fixture
def event(tmp_path):
    """The event of a block of the event conversion file; static and with a fixed code unless it says otherwise."""

    def parse(**block):
        path = tmp_path / "events.yaml"
        path.write_text(yaml.safe_dump({"labs": {"lab": {"code": "A", "time": None, **block}}}, sort_keys=False))
        return read_event_file(path).tables["labs"].events[0]

    return parse


@pytest.fixture
def extract(event):
    """The measurements that columns of raw rows give."""

    def measurements(columns, dedup_text=False, **block):
        rows = pl.DataFrame(columns)
        if "subject_id" not in rows.columns:
            rows = rows.with_columns(subject_id=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        found = event(**block)
        return extract_event(event_rows(rows, found), found, [], dedup_text)

    return measurements


# Codes


@pytest.mark.parametrize(
    ("code", "codes"),
    [
        ("A", ["A", "A", "A", "A"]),
        (["A", "B"], ["A//B"] * 4),
        ("col(x)", ["p", "q"]),
        (["A", "col(x)"], ["A//p", "A//UNK", "A//q", "A//UNK"]),
        (["col(x)", "A"], ["p//A", "q//A"]),
        (["col(x)", "col(n)"], ["p//1", "q//3"]),
        (["col(n)", "col(x)"], ["1//p", "3//q", "4//UNK"]),
        (["A", "col(n)", "col(x)", "B"], ["A//1//p//B", "A//UNK//UNK//B", "A//3//q//B", "A//4//UNK//B"]),
    ],
)
def test_codes(extract, code, codes):
    """A null column reads UNK; a row whose code begins with a null column gives no measurement."""
    found = extract({"x": ["p", None, "q", None], "n": [1, None, 3, 4]}, code=code)
    assert found["code"].to_list() == codes
    assert found.schema == {"subject_id": pl.Int64, "code": pl.String, "time": pl.Datetime("us")}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (pl.Series([9], dtype=pl.UInt8), "9"),
        (pl.Series([9.5]), "9.5"),
        (pl.Series([True]), "true"),
        (pl.Series(["a"], dtype=pl.Categorical), "a"),
        (pl.Series(["a"], dtype=CATEGORIES), "a"),
        (pl.Series([date(2020, 1, 2)]), "2020-01-02"),
        (pl.Series([Decimal("1.50")]), "1.50"),
        (pl.Series([""]), ""),
    ],
)
def test_code_parts_are_text(extract, values, code):
    assert extract({"x": values}, code=["A", "col(x)"])["code"].to_list() == [f"A//{code}"]


# Times


@pytest.mark.parametrize(
    ("formats", "text", "expected"),
    [
        ("%Y-%m-%d %H:%M:%S", "2020-01-02 03:04:05", datetime(2020, 1, 2, 3, 4, 5)),
        ("%Y-%m-%d %H:%M:%S%.f", "2020-01-02 03:04:05.000678", T),
        ("%Y-%m-%d", "2020-01-02", datetime(2020, 1, 2)),
        ("%Y", "2020", datetime(2020, 1, 1)),
        ("%Y-%m", "2020-05", datetime(2020, 5, 1)),
        ("%m/%Y", "05/2020", datetime(2020, 5, 1)),
        ("%B %Y", "May 2020", datetime(2020, 5, 1)),
        ("%Y-%m-%d %H", "2020-01-02 03", datetime(2020, 1, 2, 3)),
        ("%Y-%m-%d %H:%M", "2020-01-02 03:04", datetime(2020, 1, 2, 3, 4)),
        ("%d/%m/%y %I:%M %p", "02/01/20 03:04 PM", datetime(2020, 1, 2, 15, 4)),
        ("%Y-%j", "2020-032", datetime(2020, 2, 1)),
        (["%Y-%m-%d", "%d.%m.%Y"], "02.01.2020", datetime(2020, 1, 2)),
        (["%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y"], "2020", datetime(2020, 1, 1)),
        (["%m/%d/%Y", "%d/%m/%Y"], "02/01/2020", datetime(2020, 2, 1)),
        (["%m/%d/%Y", "%d/%m/%Y"], "13/01/2020", datetime(2020, 1, 13)),
        (["%d/%m/%Y", "%m/%d/%Y"], "02/01/2020", datetime(2020, 1, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Categorical(pl.Categories("of a name"))])
def test_times_from_text(extract, formats, text, expected, dtype):
    """The first format that parses counts; what a format leaves out is the first instant."""
    found = extract({"t": pl.Series([text], dtype=dtype)}, time="col(t)", time_format=formats)
    assert found["time"].to_list() == [expected]
    assert found.schema["time"] == pl.Datetime("us")


def test_each_row_takes_the_first_format_that_parses(extract):
    text = ["2020-01-02 03:04", "2020-01-02", "02.01.2020", None, "never", "2021"]
    found = extract({"t": text}, time="col(t)", time_format=["%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y", "%d.%m.%Y"])
    assert found.select("subject_id", "time").rows() == [
        (1, datetime(2020, 1, 2, 3, 4)),
        (2, datetime(2020, 1, 2)),
        (3, datetime(2020, 1, 2)),
        (6, datetime(2021, 1, 1)),
    ]


@pytest.mark.parametrize(
    ("values", "time_format", "expected"),
    [
        (pl.Series([2020], dtype=pl.Int16), "%Y", datetime(2020, 1, 1)),
        (pl.Series([2020.0, None]), "%Y", datetime(2020, 1, 1)),
        (pl.Series([2020.0, None], dtype=pl.Float32), "%Y", datetime(2020, 1, 1)),
        (pl.Series([20200102]), "%Y%m%d", datetime(2020, 1, 2)),
        (pl.Series([202005]), "%Y%m", datetime(2020, 5, 1)),
        (pl.Series([Decimal("2020.05")]), "%Y.%m", datetime(2020, 5, 1)),
    ],
)
def test_numbers_with_a_format_read_as_their_text(extract, values, time_format, expected):
    found = extract({"t": values}, time="col(t)", time_format=time_format)
    assert found["time"].to_list() == [expected]


@pytest.mark.parametrize("values", [["2020"], [2020], [2020.0], pl.Series(["2020"], dtype=pl.Categorical)])
def test_text_and_numbers_without_a_format_are_an_error(extract, values):
    with pytest.raises(ValueError, match=r"labs\.lab\.time: the column 't'.*time_format") as error:
        extract({"t": values}, time="col(t)")
    assert str(pl.Series(values).dtype) in str(error.value)


@pytest.mark.parametrize("values", [[time(1)], [True], [[1]]])
def test_what_is_no_time_at_all(extract, values):
    with pytest.raises(ValueError, match=r"labs\.lab\.time: the column 't'.*not a time"):
        extract({"t": values}, time="col(t)", time_format="%Y")


@pytest.mark.parametrize("time_format", [None, "%Y"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([date(2020, 1, 2)]), datetime(2020, 1, 2)),
        (pl.Series([T], dtype=pl.Datetime("us")), T),
        (pl.Series([T], dtype=pl.Datetime("ns")), T),
        (pl.Series([T], dtype=pl.Datetime("ms")), T.replace(microsecond=0)),
    ],
)
def test_date_and_datetime_columns_with_or_without_a_format(extract, values, expected, time_format):
    found = extract({"t": values}, time="col(t)", **({"time_format": time_format} if time_format else {}))
    assert found["time"].to_list() == [expected]
    assert found.schema["time"] == pl.Datetime("us")


@pytest.mark.parametrize(
    ("text", "time_format", "expected"),
    [
        ("2020-01-02 03:04+02:00", "%Y-%m-%d %H:%M%z", datetime(2020, 1, 2, 1, 4)),
        ("2020-01-02 03:04:05 -0500", "%Y-%m-%d %H:%M:%S %z", datetime(2020, 1, 2, 8, 4, 5)),
        ("2020-01-02T03:04:05Z", "%Y-%m-%dT%H:%M:%S%#z", datetime(2020, 1, 2, 3, 4, 5)),
        ("2020-01-02T03:04:05+01:00", "%+", datetime(2020, 1, 2, 2, 4, 5)),
    ],
)
def test_text_with_a_zone_becomes_utc_with_a_warning(extract, caplog, text, time_format, expected):
    found = extract({"t": [text]}, time="col(t)", time_format=time_format)
    assert found["time"].to_list() == [expected]
    assert found.schema["time"] == pl.Datetime("us")
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "labs.lab.time" in caplog.text
    assert "UTC" in caplog.text


def test_one_format_with_a_zone_and_one_without(extract):
    found = extract(
        {"t": ["2020-01-02 03:04+02:00", "2020-01-02 03:04"]},
        time="col(t)",
        time_format=["%Y-%m-%d %H:%M%z", "%Y-%m-%d %H:%M"],
    )
    assert found["time"].to_list() == [datetime(2020, 1, 2, 1, 4), datetime(2020, 1, 2, 3, 4)]


@pytest.mark.parametrize("unit", ["us", "ns", "ms"])
def test_a_column_with_a_zone_becomes_utc_with_a_warning(extract, caplog, unit):
    times = pl.Series([datetime(2020, 7, 1, 12)], dtype=pl.Datetime(unit)).dt.replace_time_zone("Europe/Berlin")
    found = extract({"t": times}, time="col(t)")
    assert found["time"].to_list() == [datetime(2020, 7, 1, 10)]
    assert found.schema["time"] == pl.Datetime("us")
    assert "Europe/Berlin" in caplog.text
    assert "UTC" in caplog.text


def test_a_column_in_utc_keeps_its_instants(extract):
    found = extract({"t": [datetime(2020, 7, 1, 12, tzinfo=UTC)]}, time="col(t)")
    assert found["time"].to_list() == [datetime(2020, 7, 1, 12)]


def test_rows_without_a_time_give_nothing(extract):
    columns = {"t": ["2020", None, "never", ""], "d": [None, date(2020, 1, 1), None, None], "n": [None] * 4}
    assert extract(columns, time="col(t)", time_format="%Y")["subject_id"].to_list() == [1]
    assert extract(columns, time="col(d)")["subject_id"].to_list() == [2]
    assert extract(columns, time="col(n)").is_empty()
    assert extract(columns, time="col(n)", time_format="%Y").is_empty()
    assert extract(columns)["time"].to_list() == [None] * 4


# Whether the times of a chunk parse at all


def look(event, *batches, **block):
    """What is said of a chunk that comes in these batches of times."""
    lab = event(time="col(t)", time_format=["%Y", "%Y-%m"], **block)
    check = TimeCheck()
    for times in batches:
        rows = pl.DataFrame(
            {"t": times, "c": ["x" if t else None for t in times]}, schema={"t": pl.String, "c": pl.String}
        )
        rows = rows.with_columns(subject_id=pl.lit(1, dtype=pl.Int64))
        check.look(lab, rows, extract_event(rows, lab, [], False))
    check.raise_if_none_parsed()


@pytest.mark.parametrize(
    "batches",
    [[["1/2/20", None, "3/4/20"]], [[None], ["1/2/20", "3/4/20"]], [["1/2/20"], [None], ["3/4/20"]]],
)
def test_a_chunk_in_which_no_time_parses_is_an_error_with_examples(event, batches):
    with pytest.raises(ValueError, match="time_format") as error:
        look(event, *batches)
    for part in ("labs.lab.time", "'t'", "'%Y' or '%Y-%m'", "'1/2/20'"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "batches", [[], [[]], [[None, None]], [["1/2/20", "2020"]], [["1/2/20"], ["2020"]], [["2020"], ["1/2/20"]]]
)
def test_one_time_that_parses_is_enough(event, batches):
    look(event, *batches)


def test_times_that_parse_in_rows_without_a_code_count(event):
    """The format is right; that no row gives a measurement is another matter."""
    look(event, ["2020"], ["x"], code="col(c)")
    check, lab = TimeCheck(), event(code="col(c)", time="col(t)", time_format="%Y")
    rows = pl.DataFrame({"subject_id": [1], "t": ["2020"], "c": [None]}, schema_overrides={"c": pl.String})
    check.look(lab, rows, extract_event(rows, lab, [], False))
    check.raise_if_none_parsed()


# Values


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int64, pl.Float32, pl.Float64, pl.Decimal(10, 2)])
def test_a_numeric_value_that_is_a_number_keeps_its_dtype(extract, dtype):
    found = extract({"n": pl.Series([1, None], dtype=dtype)}, numeric_value="n")
    assert found.schema["numeric_value"] == dtype
    assert found["numeric_value"].to_list() == [1, None]


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, CATEGORIES])
def test_a_numeric_value_from_text(extract, dtype):
    found = extract({"n": pl.Series(["1.5", "a", None], dtype=dtype)}, numeric_value="n")
    assert found.schema["numeric_value"] == pl.Float64
    assert found["numeric_value"].to_list() == [1.5, None, None]


@pytest.mark.parametrize("out", ["text_value", "categorical_value"])
@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (["a", None], ["a", None]),
        (pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        ([1, None], ["1", None]),
        ([1.5, None], ["1.5", None]),
        ([True, None], ["true", None]),
        ([date(2020, 1, 2), None], ["2020-01-02", None]),
        ([None, None], [None, None]),
    ],
)
def test_text_and_categorical_values_are_text(extract, out, values, texts):
    found = extract({"v": values}, **{out: "v"})
    assert found.schema[out] == pl.String
    assert found[out].to_list() == texts


@pytest.mark.parametrize(
    ("values", "booleans"),
    [
        ([True, False, None], [True, False, None]),
        ([0, 1, 2, -1, None], [False, True, True, True, None]),
        ([0.0, 0.5, None], [False, True, None]),
        ([Decimal("0.0"), Decimal("0.1")], [False, True]),
        (["true", "T", "Yes", "y", "1", "TRUE", "1.0"], [True] * 7),
        (["false", "f", "NO", "n", "0", "False", "0.0"], [False] * 7),
        (["maybe", "", "2", None], [None] * 4),
        (pl.Series(["Yes", "n", "?"], dtype=pl.Categorical), [True, False, None]),
        ([None, None], [None, None]),
    ],
)
def test_boolean_values(extract, values, booleans):
    found = extract({"v": values}, boolean_value="v")
    assert found.schema["boolean_value"] == pl.Boolean
    assert found["boolean_value"].to_list() == booleans


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1], dtype=pl.UInt8),
        pl.Series([1.5]),
        pl.Series([Decimal("1.5")]),
        pl.Series(["a"]),
        pl.Series(["a"], dtype=pl.Categorical),
        pl.Series([True]),
        pl.Series([None], dtype=pl.Null),
    ],
)
def test_other_columns_stay_as_they_are(extract, values):
    found = extract({"v": values}, ward="v")
    assert found.schema["ward"] == values.dtype
    assert found["ward"].to_list() == values.to_list()


@pytest.mark.parametrize(
    ("out", "values"),
    [
        ("ward", [date(2020, 1, 1)]),
        ("ward", [T]),
        ("ward", [time(1)]),
        ("ward", [[1, 2]]),
        ("ward", [{"a": 1}]),
        ("ward", [b"x"]),
        ("numeric_value", [date(2020, 1, 1)]),
        ("boolean_value", [date(2020, 1, 1)]),
        ("text_value", [[1, 2]]),
        ("categorical_value", [{"a": 1}]),
    ],
)
def test_other_dtypes_are_an_error(extract, out, values):
    with pytest.raises(ValueError, match=rf"labs\.lab\.{out}: the column 'v'") as error:
        extract({"v": values}, **{out: "v"})
    assert str(pl.Series(values).dtype) in str(error.value)


def test_columns_stand_in_the_order_of_the_file(extract):
    found = extract({"v": [1], "w": ["x"], "t": [T]}, b="v", numeric_value="v", time="col(t)", a="w")
    assert found.columns == ["subject_id", "code", "time", "b", "numeric_value", "a"]


def test_one_input_column_may_feed_several_outputs(extract):
    found = extract({"v": ["1.5"]}, code=["A", "col(v)"], numeric_value="v", text_value="v", raw="v")
    assert found.rows() == [(1, "A//1.5", None, 1.5, "1.5", "1.5")]


@pytest.mark.parametrize(
    ("block", "key", "near"),
    [
        ({"code": ["A", "col(wrad)"]}, "labs.lab.code", "did you mean 'ward'"),
        ({"time": "col(tiem)"}, "labs.lab.time", "did you mean 'time'"),
        ({"numeric_value": "wardd"}, "labs.lab.numeric_value", "did you mean 'ward'"),
        ({"x": "entirely different"}, "labs.lab.x", "The chunks have: subject_id, time, ward"),
    ],
)
def test_a_missing_column_is_named_with_the_nearest(extract, block, key, near):
    with pytest.raises(ValueError, match=key) as error:
        extract({"subject_id": [1], "ward": [1], "time": [1]}, **block)
    assert near in str(error.value)


# A text that only repeats the number


@pytest.mark.parametrize(
    ("number", "text", "kept"),
    [
        (1.5, "1.5", None),
        (1.5, "1.50", None),
        (2.0, "2", None),
        (0.1, "0.1", None),
        (0.1, "0.10000000001", None),  # the same 32-bit float
        (0.1, "0.101", "0.101"),
        (1.5, "1.5 mg", "1.5 mg"),
        (1.5, None, None),
        (None, "1.5", "1.5"),
        (None, "high", "high"),
        (5.0, ">5", ">5"),
    ],
)
def test_text_that_repeats_the_number(extract, number, text, kept):
    columns = {"n": pl.Series([number], dtype=pl.Float64), "t": pl.Series([text], dtype=pl.String)}
    block = {"numeric_value": "n", "text_value": "t"}
    assert extract(columns, dedup_text=True, **block)["text_value"].to_list() == [kept]
    assert extract(columns, dedup_text=False, **block)["text_value"].to_list() == [text]


def test_text_is_compared_before_the_number_loses_digits_in_the_final_cast(extract):
    """Both come from one text column; as 32-bit floats they are equal, also where the text has more digits."""
    found = extract({"v": ["16777217", "abc"]}, dedup_text=True, numeric_value="v", text_value="v")
    assert found.rows() == [(1, "A", None, 16777217.0, None), (2, "A", None, None, "abc")]


# Duplicates


def test_duplicates_keep_their_first_place():
    df = pl.DataFrame({"a": [3, 1, 3, 2, 1, None, None], "b": ["x", "y", "x", "z", "w", None, None]})
    assert drop_duplicate_rows(df).rows() == [(3, "x"), (1, "y"), (2, "z"), (1, "w"), (None, None)]
    assert drop_duplicate_rows(df, ["a"]).rows() == [(3, "x"), (1, "y"), (2, "z"), (None, None)]
    assert drop_duplicate_rows(df.clear()).is_empty()


CELLS = st.one_of(st.none(), st.integers(0, 2))
ROWS = st.lists(
    st.tuples(CELLS, st.sampled_from([None, 0.0, -0.0, float("nan"), 1.0]), st.sampled_from([None, "", "a"]))
)


@given(ROWS, st.sampled_from([None, ["a"], ["b"], ["c", "b"], ["a", "b", "c"]]))
def test_duplicates_as_polars_sees_them(rows, subset):
    df = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.Float64, "c": pl.String}, orient="row")
    df = df.with_columns(d=pl.lit(None), e=pl.col("c").cast(pl.Categorical), f=pl.col("a") == 1)
    expected = df.unique(subset, keep="first", maintain_order=True)
    assert drop_duplicate_rows(df, subset).equals(expected)


# Columns that meet


@pytest.mark.parametrize(
    ("first", "second", "met"),
    [
        (pl.Int32, pl.Int64, pl.Int64),
        (pl.UInt8, pl.Int8, pl.Int16),
        (pl.Int64, pl.Float32, pl.Float64),
        (pl.Int64, pl.String, pl.String),
        (pl.Boolean, pl.String, pl.String),
        (pl.Float64, pl.Categorical, pl.String),
        (pl.Categorical, pl.String, pl.String),
        (CATEGORIES, pl.String, pl.String),
        (pl.Null, pl.Categorical, pl.Categorical),
        (pl.Null, pl.Float64, pl.Float64),
        (pl.Null, pl.String, pl.String),
    ],
)
def test_columns_get_their_supertype_and_text_wins(first, second, met):
    frames = [pl.DataFrame(schema={"v": first}), pl.DataFrame(schema={"v": second})]
    assert concat_with_common_dtypes(frames).schema["v"] == met
    assert concat_with_common_dtypes(frames[::-1]).schema["v"] == met


def test_values_as_text_where_text_wins():
    frames = [pl.DataFrame({"v": v}) for v in ([1], [2.5], [True], [None], ["x"])]
    assert concat_with_common_dtypes(frames)["v"].to_list() == ["1", "2.5", "true", None, "x"]


def test_signed_and_unsigned_64_bits_become_what_parquet_can_hold():
    frames = [pl.DataFrame({"v": pl.Series([1], dtype=d)}) for d in (pl.Int64, pl.UInt64)]
    met = concat_with_common_dtypes(frames)
    assert met.schema["v"] in (pl.Int64, pl.Float64)
    assert met["v"].to_list() == [1, 1]


def test_columns_that_only_some_have():
    frames = [pl.DataFrame({"a": [1], "b": [2]}), pl.DataFrame({"a": [3], "c": ["x"]})]
    assert concat_with_common_dtypes(frames).rows(named=True) == [
        {"a": 1, "b": 2, "c": None},
        {"a": 3, "b": None, "c": "x"},
    ]


def test_incompatible_dtypes():
    with pytest.raises(ValueError, match=r"Column .v.*Int64.*List"):
        concat_with_common_dtypes([pl.DataFrame({"v": [1]}), pl.DataFrame({"v": [["a"]]})])


FAR_OFF = 2**31 - 1  # days: more than 64 bits of microseconds


@pytest.mark.parametrize(
    ("value", "dtype", "unit"),
    [
        (2**62, pl.Datetime("ms"), "milliseconds"),
        (-(2**63), pl.Datetime("ms"), "milliseconds"),
        (2**63 - 1, pl.Datetime("us"), "microseconds"),
        (FAR_OFF, pl.Date, "days"),
        (-FAR_OFF, pl.Date, "days"),
        (2**62, pl.Datetime("ms", "UTC"), "milliseconds"),
    ],
)
def test_a_time_that_is_too_far_off_is_named(event, value, dtype, unit):
    physical = pl.Int32 if dtype == pl.Date else pl.Int64
    times = pl.Series([None, 0, value, value], dtype=physical).cast(dtype)
    parsed = event(code="A", time="col(t)")
    with pytest.raises(ValueError, match="MEDS can hold") as info:
        check_range(pl.DataFrame({"t": times}), parsed, 1000)
    for part in (
        f"{parsed.path}.time",
        f"table {parsed.table}",
        "column 't'",
        "row 1003",
        f"{value} {unit} since 1970",
    ):
        assert part in str(info.value)


@pytest.mark.parametrize("time", [datetime(1, 1, 1), datetime(9999, 12, 31, 23), None])
@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ms", "UTC")])
def test_times_of_all_the_years_that_there_are_pass(event, time, dtype):
    times = pl.Series([time], dtype=pl.Datetime("us"))
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        times = times.dt.replace_time_zone("UTC")
    check_range(pl.DataFrame({"t": times.cast(dtype)}), event(code="A", time="col(t)"), 0)


def test_other_columns_have_no_range(event):
    check_range(pl.DataFrame({"t": ["x"]}), event(code="A", time="col(t)", time_format="%Y"), 0)
    check_range(pl.DataFrame({"t": [2**62]}), event(code="A", time=None), 0)
    nanoseconds = pl.Series([2**63 - 1, None]).cast(pl.Datetime("ns"))
    check_range(pl.DataFrame({"t": nanoseconds}), event(code="A", time="col(t)"), 0)
