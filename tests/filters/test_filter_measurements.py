"""Which codes stay, with and without modifiers."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from helpers import Preprocessing, measurements, write_shards
from MEDS_transforms.dataset.io import scan_parquet
from MEDS_transforms.filters.filter_measurements import filter_measurements

T = datetime(2020, 1, 1)
CODES = pl.DataFrame(
    {
        "code": ["A", "B(", "C.*", "D", None],
        "code/n_subjects": pl.Series([3, 2, 1, None, 9], dtype=pl.UInt8),
        "code/n_occurrences": pl.Series([3, 5, 9, 9, 99], dtype=pl.UInt8),
    }
)
SHARD = measurements(*((1, T, code) for code in ["C.*", "A", "B(", "absent", "D", "Cxx", "A", None]))


def kept(df=SHARD, codes=CODES, modifiers=None, **limits):
    block = {f"min_{key}_per_code": value for key, value in limits.items()}
    return filter_measurements(block, codes, modifiers)(df.lazy()).lazy().collect()


@pytest.mark.parametrize(
    ("limits", "codes"),
    [
        ({}, ["C.*", "A", "B(", "absent", "D", "Cxx", "A", None]),
        ({"subjects": None, "occurrences": None}, ["C.*", "A", "B(", "absent", "D", "Cxx", "A", None]),
        ({"subjects": 0}, ["C.*", "A", "B(", "A"]),
        ({"subjects": 2}, ["A", "B(", "A"]),
        ({"occurrences": 5}, ["C.*", "B(", "D"]),
        ({"subjects": 2, "occurrences": 5}, ["B("]),
        ({"subjects": 10}, []),
    ],
)
@pytest.mark.parametrize("modifiers", [None, ["unit"]])
def test_limits(limits, codes, modifiers):
    """Codes that the metadata does not have, or has no count for, go; a summary row is no code."""
    df = SHARD.with_columns(unit=pl.lit("u"))
    got = kept(df, CODES.with_columns(unit=pl.lit("u")), modifiers, **limits)
    assert got["code"].to_list() == codes
    assert got.columns == df.columns


@pytest.mark.parametrize("modifiers", [None, ["unit"]])
@pytest.mark.parametrize("limits", [{"subjects": 2}, {"occurrences": 3}, {}])
@pytest.mark.parametrize("make", [pl.DataFrame.lazy, lambda df: df])
def test_a_shard_that_keeps_all_rows_is_given_back_itself(make, limits, modifiers):
    """So that a caller can see that nothing changed."""
    df = make(SHARD.filter(pl.col("code").is_in(["A", "B("])).with_columns(unit=pl.lit("u")))
    block = {f"min_{key}_per_code": value for key, value in limits.items()}
    codes = CODES.with_columns(unit=pl.lit("u"))
    assert filter_measurements(block, codes, modifiers)(df) is df


def test_categories_become_text_also_where_all_rows_are_kept():
    df = SHARD.filter(code="A")
    got = filter_measurements({"min_subjects_per_code": 2}, CODES, None)(df.cast({"code": pl.Categorical}).lazy())
    assert got.lazy().collect().equals(df)


def test_null_modifiers_are_equal():
    """In release 0.1 rows with a null modifier vanished."""
    codes = pl.DataFrame(
        {"code": ["A", "A", "A"], "unit": ["x", None, "y"], "kind": [1, None, 1], "code/n_subjects": [1, 5, 5]}
    )
    df = measurements(*((1, T, "A", i) for i in range(5)))
    df = df.with_columns(unit=pl.Series([None, "x", "y", "z", None]), kind=pl.Series([None, 1, 1, 1, 1]))
    assert kept(df, codes, ["unit", "kind"], subjects=5)["numeric_value"].to_list() == [0, 2]


@pytest.mark.slow
@pytest.mark.parametrize("modifiers", [None, ["unit"]])
def test_rows_keep_their_order_in_more_than_a_million_rows(tmp_path, modifiers):
    """Smaller shards do not show it: only there do joins of polars leave the order of rows."""
    n, rng = 1_200_000, np.random.default_rng(1)
    df = pl.DataFrame({"code": pl.Series([f"C{i}" for i in range(500)]).gather(rng.integers(0, 500, n)), "n": range(n)})
    df = df.with_columns(unit=pl.Series([None, "u"]).gather(rng.integers(0, 2, n)))
    write_shards(tmp_path, {"0": df})
    codes = df.group_by("code", *(modifiers or [])).len("code/n_occurrences").with_row_index("code/n_subjects")
    got = kept(scan_parquet(tmp_path / "0.parquet"), codes, modifiers, subjects=100)["n"]
    assert got.is_sorted()
    assert got.len() == codes.filter(pl.col("code/n_subjects") >= 100)["code/n_occurrences"].sum()


@pytest.mark.parametrize("limit", [1.5, "2", True])
@pytest.mark.parametrize("key", ["subjects", "occurrences"])
def test_a_limit_that_is_no_integer_is_an_error(key, limit):
    with pytest.raises(TypeError, match=f"min_{key}_per_code"):
        kept(**{key: limit})


def test_metadata_without_counts_names_the_stage_to_run_before():
    with pytest.raises(ValueError, match=r"no code/n_subjects. Run count_code_occurrences") as info:
        kept(codes=CODES.select("code"), subjects=1, occurrences=1)
    assert "code/n_occurrences" in str(info.value)
    kept(codes=CODES.drop("code/n_occurrences"), subjects=1)


def test_several_rows_of_metadata_for_one_code_are_an_error():
    with pytest.raises(ValueError, match=r"several rows[\s\S]*'A', 2"):
        kept(codes=pl.concat([CODES, CODES.head(1)]), subjects=1)


def test_modifiers_that_are_missing_are_an_error():
    with pytest.raises(ValueError, match="The data has no column unit"):
        kept(SHARD, CODES.with_columns(unit=pl.lit("u")), ["unit"], subjects=1)
    with pytest.raises(ValueError, match=r"code metadata lacks[\s\S]*unit"):
        kept(SHARD.with_columns(unit=pl.lit("u")), CODES, ["unit"], subjects=1)


@pytest.mark.parametrize("modifiers", [None, ["numeric_value"]])
def test_empty_shards(modifiers):
    codes = CODES.with_columns(numeric_value=pl.lit(1.0))
    assert kept(SHARD.clear(), codes, modifiers, subjects=1).equals(SHARD.clear())


def test_codes_that_are_numbers_are_an_error():
    with pytest.raises(ValueError, match="code must be a String"):
        kept(SHARD.with_columns(code=pl.lit(1)), subjects=1)


def test_the_stage_with_match_and_revise(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"train/0": SHARD, "tuning/0": SHARD.clear()}, CODES)
    entries = [{"_matcher": {"code": "A"}, "min_subjects_per_code": 4}, {"_matcher": {"code": {"regex": "^C"}}}]
    shards = x.run("filter_measurements", min_subjects_per_code=1, _match_revise=entries)
    assert shards["train/0"]["code"].to_list() == ["C.*", "B(", "absent", "D", None]
    assert shards["tuning/0"].is_empty()
