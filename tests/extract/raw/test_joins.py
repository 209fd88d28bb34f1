"""Joins of raw tables, whether the right side is held in memory or in parts on disk."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from MEDS_transforms.errors import InputError
from MEDS_transforms.expressions.forms import as_written
from MEDS_transforms.extract.raw.aggregates import TOTAL, Column
from MEDS_transforms.extract.raw.joins import (
    Join,
    Matches,
    columns_after,
    dtypes_added,
    joined,
    left_columns,
    right_columns,
)

IN_MEMORY, IN_PARTS = 20_000_000, 0
LABS = pl.DataFrame({"hadm_id": ["2", "1", None, "3", "2"], "value": [1, 2, 3, 4, 5]})
ADMISSIONS = pl.DataFrame({"hadm_id": ["1", "2", "9", None], "subject_id": [10, 20, 90, 0]})


@pytest.fixture(params=[IN_MEMORY, IN_PARTS], ids=["in memory", "in parts"])
def cells(request):
    return request.param


def a_join(columns, on="hadm_id", how="left", right_on=None):
    taken = columns if isinstance(columns, dict) else {name: Column(name) for name in columns}
    keys = [tuple(names.split()) for names in (on, right_on or on)]
    return Join("admissions", *keys, how, taken, "labs.join")


def batches(frame, rows):
    """A frame in several; an empty one is one too."""
    return (frame.slice(start, rows) for start in range(0, frame.height or 1, rows))


def join(tmp_path, left, right, spec, cells, batch=2, matches=None):
    counts = matches or Matches()
    found = joined(batches(left, batch), spec, batches(right, batch), right.schema, tmp_path, counts, cells)
    result = pl.concat(found)
    assert list(tmp_path.iterdir()) == []
    return result


def test_rows_stay_in_order_with_nulls_where_nothing_matches(tmp_path, cells):
    matches = Matches()
    got = join(tmp_path, LABS, ADMISSIONS, a_join(["subject_id"]), cells, matches=matches)
    assert_frame_equal(got, LABS.with_columns(subject_id=pl.Series([20, 10, None, None, 20])))
    assert matches == Matches(rows=5, unmatched=2, null_keys=1, examples=["3"])


def test_an_inner_join_leaves_out_what_does_not_match(tmp_path, cells):
    matches = Matches()
    got = join(tmp_path, LABS, ADMISSIONS, a_join(["subject_id"], how="inner"), cells, matches=matches)
    assert got.rows() == [("2", 1, 20), ("1", 2, 10), ("2", 5, 20)]
    assert matches == Matches(rows=5, unmatched=2, null_keys=1, examples=["3"])


def test_an_inner_join_may_take_nothing(tmp_path, cells):
    got = join(tmp_path, LABS, ADMISSIONS, a_join([], how="inner"), cells)
    assert_frame_equal(got, LABS[[0, 1, 4]])


def test_a_table_without_rows_matches_nothing(tmp_path, cells):
    got = join(tmp_path, LABS, ADMISSIONS.clear(), a_join(["subject_id"]), cells)
    assert got["subject_id"].to_list() == [None] * 5
    assert got.schema["subject_id"] == pl.Int64
    none = joined(iter([LABS]), a_join(["subject_id"]), iter([]), ADMISSIONS.schema, tmp_path, Matches(), cells)
    assert_frame_equal(pl.concat(none), got)


def test_no_rows_of_the_left_give_none(tmp_path, cells):
    got = join(tmp_path, LABS.clear(), ADMISSIONS, a_join(["subject_id"]), cells)
    assert_frame_equal(got, LABS.clear().with_columns(subject_id=pl.Series([], dtype=pl.Int64)))
    assert (
        list(joined(iter([]), a_join(["subject_id"]), iter([ADMISSIONS]), ADMISSIONS.schema, tmp_path, Matches())) == []
    )


@pytest.mark.parametrize(
    ("left", "right", "match"),
    [
        (pl.Series(["7"]), pl.Series([7]), True),
        (pl.Series(["7"]), pl.Series([7.0]), True),
        (pl.Series([7], dtype=pl.UInt8), pl.Series([7.0], dtype=pl.Float32), True),
        (pl.Series(["0"]), pl.Series([-0.0]), True),
        (pl.Series(["7.5"]), pl.Series([7.5]), True),
        (pl.Series(["10000000000000000000000"]), pl.Series([1e22]), True),
        (pl.Series(["9007199254740993"]), pl.Series([9007199254740993]), True),
        (pl.Series([9007199254740993]), pl.Series([9007199254740992]), False),
        (pl.Series(["007"]), pl.Series(["7"]), False),
        (pl.Series(["007"]), pl.Series([7]), False),
        (pl.Series(["7.0"]), pl.Series(["7"]), False),
        (pl.Series([" 7"]), pl.Series(["7"]), False),
        (pl.Series(["007"]), pl.Series(["007"], dtype=pl.Categorical), True),
        (pl.Series(["007"]), pl.Series(["007"], dtype=pl.Categorical(pl.Categories("of a name"))), True),
        (pl.Series(["a"], dtype=pl.Enum(["b", "a"])), pl.Series(["a"]), True),
        (pl.Series([None], dtype=pl.String), pl.Series([None], dtype=pl.String), False),
        (pl.Series([None]), pl.Series([None]), False),
        (pl.Series([float("nan")]), pl.Series([float("nan")]), False),
        (pl.Series([float("inf")]), pl.Series([float("inf")]), True),
        (pl.Series(["true"]), pl.Series([True]), True),
        (pl.Series(["5.1"]), pl.Series([Decimal("5.10")]), True),
        (pl.Series([50]), pl.Series([Decimal("50.00")]), True),
        (pl.Series(["2020-01-02"]), pl.Series([date(2020, 1, 2)]), True),
        (pl.Series(["2020-01-02 03:04:05"]), pl.Series([datetime(2020, 1, 2, 3, 4, 5)]), True),
        (
            pl.Series([datetime(2020, 1, 2)], dtype=pl.Datetime("ms")),
            pl.Series([datetime(2020, 1, 2)], dtype=pl.Datetime("ns")),
            True,
        ),
        (
            pl.Series([datetime(2020, 1, 2, 12, tzinfo=UTC)]).dt.convert_time_zone("Asia/Tokyo"),
            pl.Series([datetime(2020, 1, 2, 12, tzinfo=UTC)]),
            True,
        ),
        (pl.Series([timedelta(hours=1)]), pl.Series([timedelta(hours=1)], dtype=pl.Duration("ms")), True),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else None,
)
def test_keys_are_compared_as_text(tmp_path, cells, left, right, match):
    got = join(
        tmp_path,
        pl.DataFrame({"hadm_id": left}),
        pl.DataFrame({"hadm_id": right, "x": [1]}),
        a_join(["x"]),
        cells,
    )
    assert got["x"].to_list() == [1 if match else None]
    assert got["hadm_id"].dtype == left.dtype


def test_a_key_is_read_as_it_is_written_where_that_is_beside_it(tmp_path, cells):
    left = pl.DataFrame({"hadm_id": [7, 7], as_written("hadm_id"): ["007", "7"]})
    right = pl.DataFrame({"hadm_id": [7], as_written("hadm_id"): ["007"], "x": [1]})
    assert join(tmp_path, left, right, a_join({"n": Column("hadm_id")}), cells)["n"].to_list() == [7, None]


def test_lists_are_no_keys(tmp_path, cells):
    lists = pl.DataFrame({"hadm_id": [[1]], "x": [1]})
    for left, right in [(LABS, lists), (lists.drop("x"), ADMISSIONS.rename({"subject_id": "x"}))]:
        with pytest.raises(InputError, match=r"'hadm_id' is List\(Int64\), and cannot be a key"):
            join(tmp_path, left, right, a_join(["x"]), cells)


def test_keys_of_several_columns_with_other_names(tmp_path, cells):
    left = pl.DataFrame({"a": ["1", "1", None, "12"], "b": [1, 2, 1, 1]})
    right = pl.DataFrame({"b": ["1", "1", "1"], "c": ["1", "2", None], "x": ["p", "q", "r"]})
    matches = Matches()
    got = join(tmp_path, left, right, a_join(["x"], "a b", right_on="b c"), cells, matches=matches)
    assert got["x"].to_list() == ["p", "q", None, None]
    assert matches == Matches(4, 2, 1, ["12, 1"])


def test_rows_that_repeat_are_one(tmp_path, cells):
    right = pl.concat([ADMISSIONS.with_columns(y=pl.lit(None, pl.Float64))] * 5)
    got = join(tmp_path, LABS, right, a_join(["subject_id", "y"]), cells)
    assert got["subject_id"].to_list() == [20, 10, None, None, 20]


def test_a_row_may_become_one_for_each_match_that_differs(tmp_path, cells):
    right = pl.DataFrame({"hadm_id": ["1", "2", "2", "2"], "subject_id": [10, 21, 20, 21], "*": ["a", None, "b", None]})
    spec = replace(a_join(["subject_id", "*"]), fans_out=True)
    got = join(tmp_path, LABS, right, spec, cells)
    assert got.rows() == [
        ("2", 1, 21, None),
        ("2", 1, 20, "b"),
        ("1", 2, 10, "a"),
        (None, 3, None, None),
        ("3", 4, None, None),
        ("2", 5, 21, None),
        ("2", 5, 20, "b"),
    ]
    assert dtypes_added(spec, right.schema) == {"subject_id": pl.Int64, "*": pl.String}


def test_columns_of_the_right_may_replace_those_of_the_left(tmp_path, cells):
    right = pl.DataFrame({"hadm_id": ["1"], "value": ["x"]})
    spec = replace(a_join(["value"]), replaces=True)
    assert columns_after(spec, LABS.columns) == ["hadm_id", "value"]
    assert join(tmp_path, LABS, right, spec, cells)["value"].to_list() == [None, "x", None, None, None]


def test_a_total_of_nothing_is_zero(tmp_path, cells):
    right = pl.DataFrame({"hadm_id": ["1", "2", "2"], "n": [None, 2, 3]})
    got = join(tmp_path, LABS, right, a_join({"n": Column("n", TOTAL)}), cells)
    assert got["n"].to_list() == [5, 0, None, None, 5]


def test_rows_that_differ_are_an_error_with_the_remedy(tmp_path, cells):
    right = pl.DataFrame({"hadm_id": ["1", "2", "2", "2"], "subject_id": [10, 20, 21, 20], "other": [1, 2, 3, 4]})
    with pytest.raises(InputError) as error:
        join(tmp_path, LABS, right, a_join(["subject_id"]), cells)
    assert str(error.value) == (
        "labs.join: the table admissions has 3 rows with hadm_id '2', and they differ in subject_id: a row would get "
        "several. Make one value of them, as in columns: {subject_id: {last: subject_id}} (first, last, min, max, sum, "
        "mean, count), or join on more columns."
    )
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_taken_may_differ(tmp_path, cells):
    right = pl.DataFrame({"hadm_id": ["2", "2", None, None], "subject_id": [20, 20, 1, 2], "other": [1, 2, 3, 4]})
    assert join(tmp_path, LABS, right, a_join(["subject_id"]), cells)["subject_id"].to_list() == [
        20,
        None,
        None,
        None,
        20,
    ]


def test_columns_as_they_are_beside_aggregated_ones(tmp_path, cells):
    right = pl.DataFrame({"hadm_id": ["1", "1"], "subject_id": [10, 10], "x": [1, 2]})
    columns = {"subject_id": Column("subject_id"), "x": Column("x", "max"), "n": Column("x", "count")}
    assert join(tmp_path, LABS[1], right, a_join(columns), cells).rows() == [("1", 2, 10, 2, 2)]
    with pytest.raises(InputError, match="2 rows with hadm_id '1', and they differ in subject_id"):
        join(tmp_path, LABS, right.with_columns(subject_id=pl.Series([10, 11])), a_join(columns), cells)


def test_a_column_that_is_there_already_is_an_error(tmp_path, cells):
    right = ADMISSIONS.with_columns(value=pl.lit(0))
    with pytest.raises(
        InputError, match=r"labs.join: the column 'value' is taken .* {other_name: value}, or leave it out"
    ):
        join(tmp_path, LABS, right, a_join(["value"]), cells)
    assert join(tmp_path, LABS, right, a_join({"v": Column("value")}), cells).columns == ["hadm_id", "value", "v"]


def test_a_key_that_is_not_there_is_an_error(tmp_path, cells):
    with pytest.raises(InputError, match=r"no column 'hadm_id' .* \(did you mean 'hadmid'\?\)"):
        join(tmp_path, LABS.rename({"hadm_id": "hadmid"}), ADMISSIONS, a_join(["subject_id"]), cells)


def test_joins_may_follow_each_other(tmp_path, cells):
    patients = pl.DataFrame({"subject_id": ["10", "20"], "dod": ["2020-01-01", None]})
    first, second = a_join(["subject_id"]), a_join(["dod"], on="subject_id")
    counts = Matches(), Matches()
    one = joined(batches(LABS, 2), first, batches(ADMISSIONS, 2), ADMISSIONS.schema, tmp_path, counts[0], cells)
    two = joined(one, second, batches(patients, 2), patients.schema, tmp_path, counts[1], cells)
    assert pl.concat(two)["dod"].to_list() == [None, "2020-01-01", None, None, None]
    assert [c.unmatched for c in counts] == [2, 2]
    assert columns_after(second, columns_after(first, LABS.columns)) == ["hadm_id", "value", "subject_id", "dod"]


def test_what_a_join_needs():
    columns = {"x": Column("b", "max"), "y": Column("b", "min"), "z": Column("k"), "w": Column("c")}
    spec = a_join(columns, "a b a", right_on="k l m")
    assert left_columns(spec) == ["a", "b"]
    assert right_columns(spec) == ["k", "l", "m", "b", "c"]


NAMES = ["^a|b$", "*", "^.*$", "__row", "key 0", "matched", "part", "row", "rows", "n x", "{a}", "", "ä b"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_column_is_taken_literally(tmp_path, cells, name):
    left = pl.DataFrame({"a": ["wrong"] * 2, "b": ["wrong"] * 2, name: ["2", "1"]})
    right = pl.DataFrame({"a": ["wrong"] * 3, "b": ["wrong"] * 3, name: ["1", "2", "2"], "x": [1, 2, 3]})
    key = ((name,), (name,))
    spec = Join("t", *key, "left", {f"{name}2": Column(name), "s": Column("x", "sum")})
    assert join(tmp_path, left, right, spec, cells).rows() == [
        ("wrong", "wrong", "2", "2", 5),
        ("wrong", "wrong", "1", "1", 1),
    ]
    if name:
        other = right.rename({name: "k", "x": name})
        spec = Join("t", ("b",), ("k",), "left", {name: Column(name, "max")})
        left = pl.DataFrame({"b": ["2", "1"], "a": ["wrong"] * 2})
        assert join(tmp_path, left, other, spec, cells)[name].to_list() == [3, 1]


VALUES = {
    pl.Int8: [1, None, 3],
    pl.UInt64: [2**64 - 1, None, 3],
    pl.Int128: [2**100, None, 3],
    pl.Float32: [1.5, None, float("nan")],
    pl.Decimal(10, 2): [Decimal("1.50"), None, Decimal("2")],
    pl.Boolean: [True, None, False],
    pl.String: ["", None, "x"],
    pl.Categorical: ["b", None, "a"],
    pl.Categorical(pl.Categories("of a name")): ["b", None, "a"],
    pl.Enum(["b", "a"]): ["b", None, "a"],
    pl.Binary: [b"\xff", None, b""],
    pl.Date: [date(2020, 1, 1), None, date(1800, 1, 1)],
    pl.Datetime("ns", "UTC"): [datetime(2020, 1, 1, tzinfo=UTC), None, datetime(1800, 1, 1, tzinfo=UTC)],
    pl.Duration("ms"): [timedelta(1), None, timedelta(2)],
    pl.List(pl.Int64): [[1, None], None, []],
    pl.Struct({"a": pl.Int64}): [{"a": 1}, None, {"a": None}],
    pl.Null: [None, None, None],
}


@pytest.mark.parametrize("dtype", VALUES, ids=str)
def test_values_of_any_dtype_on_both_sides(tmp_path, cells, dtype):
    values = pl.Series("x", VALUES[dtype], dtype=dtype, strict=False)
    right = pl.DataFrame({"hadm_id": ["1", "2", "3", "3"], "x": values.append(values[2:])})
    columns = {"x": Column("x"), "first": Column("x", "first"), "last": Column("x", "last"), "n": Column("x", "count")}
    left = pl.DataFrame({"hadm_id": ["3", "4", "1"], "y": values[:3]})
    spec = a_join(columns)
    got = join(tmp_path, left, right, spec, cells)
    is_text = dtype == pl.Categorical or isinstance(dtype, pl.Categorical | pl.Enum)
    want = (values.cast(pl.String) if is_text else values)[:3].gather([2, 1, 0])
    for name in ("x", "first", "last"):
        assert_frame_equal(got.select(pl.col(name).alias("x")), want.to_frame())
    assert_frame_equal(got.select("y"), left.select("y"))
    assert dtypes_added(spec, right.schema) == {name: got.schema[name] for name in columns}


TEXTS = st.sampled_from(["1", "2", "3", "01", "1.0", "", "ä", "x" * 20])
LEFTS = st.lists(st.tuples(st.none() | TEXTS, st.integers(0, 5)), max_size=40)
RIGHTS = st.lists(st.tuples(st.none() | TEXTS, st.none() | st.integers(-5, 5)), max_size=40)
HOWS = st.sampled_from(["left", "inner"])
SIZES = {"batch": st.integers(1, 10), "cells": st.sampled_from([0, 10, 40, 10_000])}

ORACLES = {
    "first": lambda found: found[0],
    "last": lambda found: found[-1],
    **{
        name: lambda found, of=of: of(there) if (there := [v for v in found if v is not None]) else None
        for name, of in {"min": min, "max": max, "sum": sum, "mean": lambda v: sum(v) / len(v)}.items()
    },
    "count": lambda found: sum(v is not None for v in found),
}
ANY_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@ANY_FOLDER
@given(left=LEFTS, right=RIGHTS, how=HOWS, **SIZES)
def test_aggregated_joins_are_those_of_a_dictionary(tmp_path, left, right, how, batch, cells):
    table = {}
    for key, value in right:
        table.setdefault(key, []).append(value)
    table.pop(None, None)
    want = [
        (*row, *(of(table[row[0]]) for of in ORACLES.values())) if row[0] in table else (*row, *[None] * len(ORACLES))
        for row in left
        if how == "left" or row[0] in table
    ]
    columns = {name: Column("value", name) for name in ORACLES}
    lefts = pl.DataFrame(left, schema={"key": pl.String, "y": pl.Int64}, orient="row")
    rights = pl.DataFrame(right, schema={"key": pl.String, "value": pl.Int64}, orient="row")
    matches = Matches()
    got = join(tmp_path, lefts, rights, a_join(columns, "key", how), cells, batch, matches)
    assert got.rows() == want
    assert (matches.rows, matches.unmatched) == (len(left), sum(key not in table for key, _ in left))
    assert matches.null_keys == sum(key is None for key, _ in left)
    assert matches.examples == [*dict.fromkeys(k for k, _ in left if k is not None and k not in table)][:3]


@ANY_FOLDER
@given(left=LEFTS, right=RIGHTS, how=HOWS, **SIZES)
def test_plain_joins_are_those_of_a_dictionary(tmp_path, left, right, how, batch, cells):
    table = {}
    for key, value in right:
        table.setdefault(key, set()).add(value)
    table.pop(None, None)
    lefts = pl.DataFrame(left, schema={"key": pl.String, "y": pl.Int64}, orient="row")
    rights = pl.DataFrame(right, schema={"key": pl.String, "value": pl.Int64}, orient="row")
    spec = a_join(["value"], "key", how)
    if several := {key for key, values in table.items() if len(values) > 1}:
        with pytest.raises(InputError) as error:
            join(tmp_path, lefts, rights, spec, cells, batch)
        named = {k for k in several if f" {sum(k == key for key, _ in right)} rows with key {k!r}," in str(error.value)}
        assert len(named) == 1
        return
    want = [(*row, *table.get(row[0], {None})) for row in left if how == "left" or row[0] in table]
    assert join(tmp_path, lefts, rights, spec, cells, batch).rows() == want


def test_order_is_kept_over_a_million_rows_and_many_blocks(tmp_path):
    n, keys = 1_200_000, 50_000
    rows = pl.int_range(n, eager=True)
    left = pl.DataFrame({"hadm_id": (rows * 7919) % (keys + 1000), "row": rows})
    right = pl.DataFrame({"hadm_id": pl.int_range(keys, eager=True).reverse()}).with_columns(x=pl.col("hadm_id") * 3)
    matches = {cells: Matches() for cells in (IN_MEMORY, 20_000)}
    got = [
        join(tmp_path, left, right, a_join(["x"]), cells, batch=60_000, matches=counts)
        for cells, counts in matches.items()
    ]
    assert_frame_equal(got[0], left.with_columns(x=pl.when(pl.col("hadm_id") < keys).then(pl.col("hadm_id") * 3)))
    assert_frame_equal(*got)
    assert len({counts.unmatched for counts in matches.values()}) == 1


def test_many_rows_with_the_same_key(tmp_path, cells):
    n = 300_000
    left = pl.DataFrame({"hadm_id": ["1"] * n, "row": range(n)})
    right = pl.DataFrame({"hadm_id": ["1"] * n, "x": range(n)})
    columns = {"first": Column("x", "first"), "last": Column("x", "last"), "sum": Column("x", "sum")}
    got = join(tmp_path, left, right, a_join(columns), cells, batch=50_000)
    assert_frame_equal(got.select("hadm_id", "row"), left)
    assert got.select("first", "last", "sum").unique().rows() == [(0, n - 1, n * (n - 1) // 2)]


def test_temporary_files_go_when_the_result_is_not_taken_to_its_end(tmp_path):
    found = joined(
        batches(LABS, 2), a_join(["subject_id"]), iter([ADMISSIONS]), ADMISSIONS.schema, tmp_path, Matches(), IN_PARTS
    )
    next(found)
    assert [path.name[:6] for path in tmp_path.iterdir()] == [".join-"]
    found.close()
    assert list(tmp_path.iterdir()) == []
