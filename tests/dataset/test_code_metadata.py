"""The table of codes: looking codes up, mean and deviation, and the join with what was known before."""

import logging
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import measurements
from MEDS_transforms.dataset import code_metadata
from MEDS_transforms.dataset.code_metadata import Lookup, join_former, to_smallest_unsigned, with_mean_and_std
from MEDS_transforms.dataset.io import scan_parquet

T = datetime(2020, 1, 1)
N, SUM, SUM_SQD, MEAN, STD = (f"values/{name}" for name in ("n_occurrences", "sum", "sum_sqd", "mean", "std"))


def codes(**columns):
    return pl.DataFrame(columns)


def look_up(df, metadata, modifiers=None, **columns):
    return Lookup(metadata, modifiers, columns or {"code/n_subjects": "n"})(df.lazy()).collect()


def test_lookup_adds_columns_under_their_new_names():
    df = measurements((1, T, "B"), (1, T, "absent"), (1, T, "A"))
    metadata = codes(**{"code": ["A", "B"], "code/n_subjects": [1, 2], "other": ["x", "y"]})
    got = Lookup(metadata, None, {"code/n_subjects": "n", "other": "o"})(df.lazy()).collect()
    assert got.columns == [*df.columns, "n", "o"]
    assert got.select("n", "o").rows() == [(2, "y"), (None, None), (1, "x")]


def test_lookup_with_modifiers_of_which_nulls_are_equal():
    df = measurements(*((1, T, "A", i) for i in range(4))).with_columns(
        unit=pl.Series(["x", None, "y", None]), kind=pl.Series([1, 1, None, None], dtype=pl.Int32)
    )
    metadata = codes(code=["A"] * 3, unit=["x", None, None], kind=[1, 1, None], **{"code/n_subjects": [7, 8, 9]})
    assert look_up(df, metadata, ["unit", "kind"])["n"].to_list() == [7, 8, None, 9]


def test_lookup_where_a_shard_has_only_null_modifiers_and_no_type_for_them():
    df = measurements((1, T, "A")).with_columns(unit=pl.lit(None))
    metadata = codes(code=["A", "A"], unit=["x", None], **{"code/n_subjects": [7, 8]})
    assert look_up(df, metadata, ["unit"])["n"].to_list() == [8]


def test_lookup_where_modifiers_have_another_type_in_the_metadata():
    df = measurements((1, T, "A"), (1, T, "A")).with_columns(unit=pl.Series(["x", None]))
    metadata = codes(code=["A"], unit=[None], **{"code/n_subjects": [8]})
    assert look_up(df, metadata, ["unit"])["n"].to_list() == [None, 8]
    df, metadata = df.with_columns(unit=pl.Series([1.5, 1.0])), metadata.with_columns(unit=pl.lit(1))
    assert look_up(df, metadata, ["unit"])["n"].to_list() == [None, 8]
    df = df.with_columns(unit=pl.Series([300, 1]))
    assert look_up(df, metadata.cast({"unit": pl.Int8}), ["unit"])["n"].to_list() == [None, 8]
    df = df.with_columns(unit=pl.Series(["kg", "1"], dtype=pl.Categorical))
    assert look_up(df, metadata, ["unit"])["n"].to_list() == [None, 8]


def test_one_lookup_serves_shards_whose_modifiers_have_different_types(monkeypatch):
    checked = []
    monkeypatch.setattr(code_metadata, "check_unique", lambda known, key: checked.append(known[key].dtypes))
    find = Lookup(codes(code=["A", "A"], unit=["1", None], n=[7, 8]), ["unit"], {"n": "found"})
    df = measurements((1, T, "A"), (1, T, "A"))
    for units, expected in [([1, None], [7, 8]), (["1", "x"], [7, None]), ([None, None], [8, 8]), ([None, 1], [8, 7])]:
        assert find(df.with_columns(unit=pl.Series(units)).lazy()).collect()["found"].to_list() == expected
    assert len(checked) == 1


def test_codes_that_the_metadata_lack_are_not_kept_in_mind(monkeypatch):
    """Else a lookup would take more time and memory from shard to shard."""
    numbered, numberer = [], code_metadata.numberer
    monkeypatch.setattr(code_metadata, "numberer", lambda known: numbered.append(known.height) or numberer(known))
    find = Lookup(codes(code=["A"], n=[7]), None, {"n": "found"})
    for shard in range(3):
        df = measurements((1, T, "A"), *((1, T, f"{shard}/{i}") for i in range(50)))
        assert find(df.lazy()).collect()["found"].drop_nulls().to_list() == [7]
    assert numbered == [1]


def test_former_codes_join_where_a_modifier_has_another_type():
    new = codes(code=["A", "A"], unit=[None, None], n=[1, 2]).with_columns(unit=pl.Series([1, None], dtype=pl.Int8))
    former = codes(code=["A", "A"], unit=["1", "kg"], x=[5, 6])
    assert join_former(new, former, ["unit"])["x"].to_list() == [5, None]
    untyped = new.with_columns(unit=pl.lit(None))
    assert join_former(untyped.head(1), former, ["unit"])["x"].to_list() == [None]


def test_modifiers_with_incompatible_dtypes_are_named():
    df = measurements((1, T, "A")).with_columns(unit=pl.lit([1]))
    with pytest.raises(ValueError, match=r"The column unit is List\(.*\) in the data and Boolean in the code metadata"):
        look_up(df, codes(code=["A"], unit=[True], **{"code/n_subjects": [8]}), ["unit"])


def test_a_row_without_a_code_is_not_the_row_of_all_codes():
    metadata = codes(**{"code": [None, "A"], "code/n_subjects": [9, 1]})
    assert look_up(measurements((1, T, None), (1, T, "A")), metadata)["n"].to_list() == [None, 1]


def test_lookup_of_an_empty_shard():
    assert look_up(measurements(), codes(**{"code": ["A"], "code/n_subjects": [1]})).shape == (0, 5)


@given(st.lists(st.text(max_size=2) | st.none()), st.lists(st.text(max_size=2), unique=True), st.booleans())
def test_lookup_by_code_alone_finds_what_a_dictionary_finds(data, known, is_categorical):
    """Of any text, also where nothing is known, where the data has categories, and where it is in several chunks."""
    df = measurements(*((1, T, code) for code in data))
    df = df.cast({"code": pl.Categorical}) if is_categorical else pl.concat([df[:2], df[2:]], rechunk=False)
    metadata = codes(**{"code": pl.Series([None, *known], dtype=pl.String), "code/n_subjects": range(len(known) + 1)})
    number = dict(zip(known, range(1, len(known) + 1), strict=True))
    got = look_up(df, metadata)
    assert got["n"].to_list() == [number.get(code) for code in data]
    assert got.drop("n").equals(df)


@pytest.mark.slow
@pytest.mark.parametrize("modifiers", [None, ["unit"]])
@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_lookup_keeps_the_order_of_a_million_rows(tmp_path, modifiers, engine):
    n = 1_000_000
    row = np.arange(n)
    df = pl.DataFrame({"row": row, "code": pl.Series(row * 7919 % 3000).cast(pl.String), "unit": "u"})
    df.write_parquet(tmp_path / "0.parquet", row_group_size=50_000)
    metadata = codes(code=[str(i) for i in range(2000)], unit=["u"] * 2000, **{"code/n_subjects": range(2000)})
    got = Lookup(metadata, modifiers, {"code/n_subjects": "n"})(scan_parquet(tmp_path / "0.parquet"))
    got = got.collect(engine=engine)
    assert (got["row"] == pl.Series(row)).all()
    known = row * 7919 % 3000
    assert (got["n"].fill_null(-1) == pl.Series(np.where(known < 2000, known, -1))).all()


@pytest.mark.parametrize(
    ("metadata", "modifiers", "message"),
    [
        (codes(code=["A"]), None, r"no code/n_subjects\. Run count_code_occurrences before this stage"),
        (codes(**{"code/n_subjects": [1]}), None, r"there is no code\. This is not code metadata"),
        (codes(**{"code": ["A"], "code/n_subjects": [1]}), ["unit"], r"there is no unit\. Correct code_modifiers"),
        (
            codes(**{"code": ["A", "A", "B"], "unit": ["x"] * 3, "code/n_subjects": [1, 2, 3]}),
            ["unit"],
            r"(?s)several rows for one \(code, unit\).*\('A', 'x', 2\)",
        ),
        (
            codes(**{"code": ["A"], "uint": ["x"], "code/n_subjects": [1]}),
            ["uint"],
            r"The data has no column uint \(did you mean 'unit'\?\)",
        ),
    ],
)
def test_lookup_says_what_is_wrong(metadata, modifiers, message):
    df = measurements((1, T, "A")).with_columns(unit=pl.lit("x"))
    with pytest.raises(ValueError, match=message):
        look_up(df, metadata, modifiers)


def mean_and_std(**columns):
    got = with_mean_and_std(pl.DataFrame({"code": ["A"] * len(next(iter(columns.values()))), **columns}))
    return got.select(MEAN, STD)


def test_mean_and_deviation_from_sums_in_32_bits():
    n, total, total_sqd = (pl.Series([v], dtype=t) for v, t in ((7, pl.UInt32), (10.1, pl.Float32), (20.2, pl.Float32)))
    got = mean_and_std(**{N: n, SUM: total, SUM_SQD: total_sqd})
    f = np.float32
    mean = f(10.1) / f(7)
    assert got.schema == {MEAN: pl.Float32, STD: pl.Float32}
    assert got.row(0) == (mean, np.sqrt(f(20.2) / f(7) - mean * mean))


def test_no_mean_where_a_code_has_no_values():
    sums = {SUM: pl.Series([0.0, None], dtype=pl.Float32), SUM_SQD: pl.Series([0.0, None], dtype=pl.Float32)}
    assert mean_and_std(**{N: [0, None], **sums}).rows() == [(None, None), (None, None)]


def test_given_mean_and_deviation_are_preferred():
    """Release 0.1 failed where the metadata had them."""
    sums = {N: [2, 2], SUM: [4.0, 4.0], SUM_SQD: [10.0, 10.0]}
    assert mean_and_std(**{MEAN: [7.0, None], STD: [3.0, None]}, **sums).rows() == [(7.0, 3.0), (2.0, 1.0)]
    assert mean_and_std(**{STD: [3.0, 0.0]}, **sums).rows() == [(2.0, 3.0), (2.0, 0.0)]
    assert mean_and_std(**{MEAN: [7.0], STD: [3.0]}).rows() == [(7.0, 3.0)]


@pytest.mark.parametrize("columns", [{}, {MEAN: [1.0]}, {N: [1], SUM: [1.0]}, {STD: [1.0], SUM_SQD: [1.0]}])
def test_metadata_without_statistics(columns):
    with pytest.raises(ValueError, match=r"(?s)lacks.*no values/\w+\. Run fit_normalization before this stage"):
        with_mean_and_std(pl.DataFrame({"code": ["A"], **columns}))


def test_the_former_metadata_of_the_codes_seen_follow(caplog):
    caplog.set_level(logging.INFO)
    new = codes(n=[1, 2, 3], code=[None, "A", "B"], x=["new", None, "new"])
    former = codes(y=[1, 2, 3], code=["B", "gone", None], x=["old"] * 3, z=[[1], [2], [3]])
    got = join_former(new, former, None)
    want = codes(code=[None, "A", "B"], n=[1, 2, 3], x=["new", None, "new"], y=[3, None, 1], z=[[3], None, [1]])
    assert_frame_equal(got, want)
    assert "1 of 3 codes of the former code metadata no longer occur; dropped" in caplog.text


def test_the_former_metadata_are_joined_by_the_modifiers_that_both_have():
    new = codes(code=["A"] * 3, unit=[None, "x", "y"], kind=[1, 1, 1], n=[1, 2, 3])
    former = codes(code=["A", "A"], unit=[None, "x"], y=[5, 6])
    assert join_former(new, former, ["unit", "kind"])["y"].to_list() == [5, 6, None]
    assert join_former(new, former.drop("unit").head(1), ["unit", "kind"])["y"].to_list() == [5, 5, 5]
    with pytest.raises(ValueError, match=r"(?s)several rows for one \(code\).*\('A', 2\).*code_modifiers"):
        join_former(new.drop("unit", "kind").head(1), former, None)


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(None, pl.UInt8), (0, pl.UInt8), (255, pl.UInt8), (256, pl.UInt16), (2**16, pl.UInt32), (2**32, pl.UInt64)],
)
def test_the_smallest_unsigned_type(largest, dtype):
    got = to_smallest_unsigned(pl.Series([0, largest], dtype=pl.Int64))
    assert got.dtype == dtype
    assert got.to_list() == [0, largest]
