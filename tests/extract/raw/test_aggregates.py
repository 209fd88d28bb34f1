"""What the rows of a key become: which values, of which dtype, and which are refused."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from MEDS_transforms.errors import InputError
from MEDS_transforms.extract.raw.aggregates import AGGREGATIONS, MATCHED, Column, RightSide


def aggregated(values, aggregation, n_batches=2):
    """The value for key 1, whose rows are in several batches; key 2 has only nulls."""
    right = pl.DataFrame({"k": ["1"] * len(values) + ["2"], "x": [*values, None]}, schema_overrides={"x": values.dtype})
    side = RightSide("t", ["k"], {"x": Column("x", aggregation)}, right.schema, "labs.join")
    states = (side.states(right[i::n_batches]) for i in range(n_batches))
    held, are_all = side.gathered(states, 0)
    rest = [side.reduced([held, *states])] if not are_all else [held]
    return side.finished(*rest).sort(side.keys).drop(side.keys, MATCHED).to_series()


@pytest.mark.parametrize(
    ("values", "dtype", "aggregation", "want", "of_nulls", "wanted_dtype"),
    [
        ([3, None, 1], pl.Int8, "min", 1, None, pl.Int8),
        ([3, None, 1], pl.Int8, "max", 3, None, pl.Int8),
        ([100, 100], pl.Int8, "sum", 200, None, pl.Int64),
        ([2**62, -(2**62), 2**62], pl.Int64, "sum", 2**62, None, pl.Int64),
        ([2**62, 2**62, 2**62], pl.Int64, "mean", float(2**62), None, pl.Float64),
        ([True, True, None], pl.Boolean, "sum", 2, None, pl.Int64),
        ([True, False, None], pl.Boolean, "max", True, None, pl.Boolean),
        ([True, False], pl.Boolean, "mean", 0.5, None, pl.Float64),
        ([0.5, 1.0], pl.Float32, "sum", 1.5, None, pl.Float64),
        ([0.5, None, 1.0], pl.Float32, "mean", 0.75, None, pl.Float64),
        ([Decimal("0.5"), Decimal("1")], pl.Decimal(10, 2), "mean", 0.75, None, pl.Float64),
        ([Decimal("0.5"), Decimal("1")], pl.Decimal(10, 2), "max", Decimal("1"), None, pl.Decimal(10, 2)),
        ([timedelta(1), timedelta(2)], pl.Duration("us"), "sum", timedelta(3), None, pl.Duration("us")),
        ([date(2020, 1, 1), date(1999, 1, 1)], pl.Date, "min", date(1999, 1, 1), None, pl.Date),
        ([datetime(2020, 1, 1), datetime(1999, 1, 1)], pl.Datetime("ms"), "max", datetime(2020, 1, 1), None, None),
        (["a", None, "b"], pl.String, "count", 2, 0, pl.Int64),
        ([["a"], None], pl.List(pl.String), "count", 1, 0, pl.Int64),
        ([None, None], pl.Null, "sum", None, None, pl.Int64),
        ([None, None], pl.Null, "max", None, None, pl.Null),
        (["2020-01-02", "2020-01-01 23:00", "2020-01-02 00:00:01.5"], pl.String, "min", "2020-01-01 23:00", None, None),
        (["2020-01-02", "2020-01-01T23:00", "2020-01-02T00:01"], pl.String, "max", "2020-01-02T00:01", None, None),
        (["2020/01/02", "2019/12/31"], pl.String, "min", "2019/12/31", None, None),
        (["2020-01-02", "2019-12-31"], pl.Categorical, "min", "2019-12-31", None, pl.String),
        (["2020-01-02", "2019-12-31"], pl.Categorical(pl.Categories("named")), "min", "2019-12-31", None, pl.String),
    ],
)  # fmt: skip
@pytest.mark.parametrize("n_batches", [1, 2, 4])
def test_values(values, dtype, aggregation, want, of_nulls, wanted_dtype, n_batches):
    got = aggregated(pl.Series(values, dtype=dtype), aggregation, n_batches)
    assert got.to_list() == [want, of_nulls]
    assert got.dtype == (wanted_dtype or dtype)


@pytest.mark.parametrize(("aggregation", "want"), [("first", [None, 1]), ("last", [3, None])])
def test_first_and_last_are_of_a_row_null_or_not(aggregation, want):
    right = pl.DataFrame({"k": [1, 1, 1], "x": [None, 2, 3], "y": [1, 2, None]})
    side = RightSide("t", ["k"], {n: Column(n, aggregation) for n in "xy"}, right.schema, "join")
    got = side.finished(side.reduced([side.states(right[:2]), side.states(right[2:])]))
    assert [*got.select("x", "y").row(0)] == want


@pytest.mark.parametrize("aggregation", ["min", "max"])
@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["10", "9"], "10"),
        (["02.01.2020", "01.02.2020"], "02.01.2020"),
        (["2020-01-01 9:00", "2020-01-01 10:00"], "2020-01-01 9:00"),
        (["2020-01-01T05:00", "2020-01-01 23:00"], "2020-01-01 23:00"),
        (["2020-01-01", "2020/01/01"], "2020/01/01"),
        (["2020-01-01T05:00Z"], "2020-01-01T05:00Z"),
        (["low", "high"], "low"),
        ([""], ""),
    ],
)
def test_text_that_does_not_sort_as_what_it_stands_for_is_refused(aggregation, values, shown):
    with pytest.raises(InputError) as error:
        aggregated(pl.Series(values), aggregation)
    assert f"the {aggregation} of the column 'x' is not that of text" in str(error.value)
    assert "take first or last" in str(error.value)
    assert repr(shown) in str(error.value)


@pytest.mark.parametrize(
    ("dtype", "refused"),
    [
        (pl.String, "sum mean"),
        (pl.Date, "sum mean"),
        (pl.Datetime("us"), "sum mean"),
        (pl.Duration("us"), "mean"),
        (pl.Binary, "sum mean min max"),
        (pl.List(pl.Int64), "sum mean min max"),
        (pl.Int64, ""),
    ],
    ids=str,
)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_aggregations_without_meaning_are_refused_up_front(dtype, refused, aggregation):
    schema = {"k": pl.String(), "x": pl.DataFrame(schema={"x": dtype}).schema["x"]}
    if aggregation in refused.split():
        with pytest.raises(InputError, match=f"there is no {aggregation} of the column 'x', which is"):
            RightSide("t", ["k"], {"x": Column("x", aggregation)}, schema, "labs.join")
    else:
        RightSide("t", ["k"], {"x": Column("x", aggregation)}, schema, "labs.join")


def test_a_sum_that_does_not_fit_is_an_error():
    with pytest.raises(InputError, match="a sum of the column 'x' is 9223372036854775808, which does not fit 64 bits"):
        aggregated(pl.Series([2**62, 2**62]), "sum")
