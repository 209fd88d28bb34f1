"""Integers that are large, or of a dtype that files cannot hold, stay the numbers that they are through all stages."""

import polars as pl
import pytest

LARGE = 2**60 + 1


def table(values, dtype):
    return pl.DataFrame({"id": [1, 2], "v": pl.Series(values, dtype=dtype)})


def extract(x, values, **tables):
    """Extracts tables, whose column v becomes the columns that `values` says; gives the finished measurements."""
    x.events({"subject_id_col": "id", **{name: {"e": {"code": name, "time": None, **values}} for name in tables}})
    for name, content in tables.items():
        x.table(f"{name}.parquet", content)
    fractions = "split_and_shard_subjects.split_fracs={train: 1, tuning: null, held_out: null}"
    x.run_until("finalize_MEDS_data", fractions)
    return x.shard("data", "train/0")


def test_with_and_without_sign(x):
    a, b = table([LARGE, LARGE + 2], pl.UInt64), table([LARGE + 4, -7], pl.Int64)
    got = extract(x, {"x": "v"}, a=a, b=b)
    assert got["x"].to_list() == [LARGE, LARGE + 4, LARGE + 2, -7]


def test_beyond_what_both_can_hold(x):
    with pytest.raises(ValueError, match=f"Column .x. has incompatible dtypes in the tables: {2**63}"):
        extract(x, {"x": "v"}, a=table([2**63, 1], pl.UInt64), b=table([1, 2], pl.Int64))


def test_numeric_values_of_both_kinds(x):
    got = extract(x, {"numeric_value": "v"}, a=table([2**63, 1], pl.UInt64), b=table([LARGE, 2], pl.Int64))
    assert got["numeric_value"].to_list() == [float(2**63), float(2**60), 1.0, 2.0]


def test_of_128_bits(x):
    """They are read as text, as those of a csv are."""
    got = extract(x, {"numeric_value": "v", "x": "v"}, a=table([2**100, 3], pl.Int128))
    assert got["numeric_value"].to_list() == [float(2**100), 3.0]
    assert got["x"].to_list() == [str(2**100), "3"]
