"""The order of codes within a time."""

import re
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import Preprocessing, measurements, write_shards
from MEDS_transforms.dataset.io import scan_parquet
from MEDS_transforms.transforms.reorder_measurements import reorder_measurements

T = [datetime(2020, 1, 1), datetime(2021, 1, 1)]


def reordered(df, *patterns):
    return reorder_measurements({"ordered_code_patterns": [*patterns]})(df.lazy())


@pytest.mark.parametrize(
    ("patterns", "codes"),
    [
        (["^ADM", "LAB"], ["ADM//1", "LAB//a", "XLAB", "LAB//b", "DIAG", "READM", None]),
        (["LAB//b", "LAB", "ADM"], ["LAB//b", "LAB//a", "XLAB", "READM", "ADM//1", "DIAG", None]),
        (["^.*$", "LAB"], ["LAB//a", "DIAG", "READM", "XLAB", "ADM//1", "LAB//b", None]),
        (["nothing"], ["LAB//a", "DIAG", "READM", None, "XLAB", "ADM//1", "LAB//b"]),
        ([], ["LAB//a", "DIAG", "READM", None, "XLAB", "ADM//1", "LAB//b"]),
    ],
)
def test_earlier_patterns_first_others_last_ties_as_they_were(patterns, codes):
    df = measurements(*((1, T[0], c) for c in ["LAB//a", "DIAG", "READM", None, "XLAB", "ADM//1", "LAB//b"]))
    assert reordered(df, *patterns)["code"].to_list() == codes


def test_subjects_and_times_stay_apart_static_rows_too():
    keys = [(1, None, "BA"), (1, T[0], "B"), (1, T[1], "ABA"), (2, T[1], "BA")]
    rows = [(subject, time, code) for subject, time, codes in keys for code in codes]
    df = measurements(*((*row, n) for n, row in enumerate(rows, start=1)))
    assert reordered(df, "A")["numeric_value"].to_list() == [2, 1, 3, 4, 6, 5, 8, 7]


def test_codes_without_metadata_obey_the_patterns(tmp_path):
    """In release 0.1 they came first, whatever the patterns said."""
    x = Preprocessing(tmp_path)
    df = measurements((1, T[0], "Z"), (1, T[0], "B"), (1, T[0], "A"))
    x.write({"train/0": df, "tuning/0": df.clear()}, pl.DataFrame({"code": ["B", "A"]}))
    shards = x.run("reorder_measurements", ordered_code_patterns=["^A", "^B"])
    assert shards["train/0"]["code"].to_list() == ["A", "B", "Z"]
    assert shards["tuning/0"].equals(df.clear())


@pytest.mark.parametrize("patterns", ["A", 5, {"A": 1}, ["A", 5], [None], [["A"]], ["A("], ["(?=A)"]])
def test_what_is_no_list_of_patterns_is_an_error(patterns):
    with pytest.raises(ValueError, match="ordered_code_patterns"):
        reorder_measurements({"ordered_code_patterns": patterns})


def test_wrong_columns_are_an_error():
    with pytest.raises(ValueError, match="code must be a String"):
        reordered(measurements((1, T[0], "A")).with_columns(code=pl.lit(1)), "A")


rows = st.lists(st.tuples(st.integers(1, 2), st.sampled_from([None, *T]), st.sampled_from(["A", "AB", "B", "C."])))


@given(rows, st.lists(st.sampled_from(["A", "B", "^B", "AB", r"C\.", "[BC]"])))
def test_it_is_a_stable_sort(rows, patterns):
    def rank(code):
        return next((i for i, p in enumerate(patterns) if re.search(p, code)), len(patterns))

    df = measurements(*((*row, n) for n, row in enumerate(rows)))
    want = sorted(df.rows(), key=lambda row: (row[0], row[1] is not None, row[1] or T[0], rank(row[2])))
    got = reordered(df, *patterns)
    assert got.rows() == want
    assert reordered(got, *patterns).equals(got)


@pytest.mark.slow
def test_ties_keep_their_order_in_more_than_a_million_rows(tmp_path):
    n, rng = 1_200_000, np.random.default_rng(1)
    df = pl.DataFrame(
        {
            "subject_id": np.arange(n) // 5000,
            "time": pl.Series(np.arange(n) // 50).cast(pl.Datetime("us")),
            "code": pl.Series([f"{c}{i}" for i in range(1000) for c in "ABC"]).gather(rng.integers(0, 3000, n)),
            "n": np.arange(n),
        }
    )
    write_shards(tmp_path, {"0": df})
    got = reordered(scan_parquet(tmp_path / "0.parquet"), "^B", "^C")
    rank = df["code"].str.head(1).replace_strict({"B": 0, "C": 1, "A": 2}).to_numpy()
    assert np.array_equal(got["n"].to_numpy(), np.lexsort([rank, df["n"].to_numpy() // 50]))


def test_match_and_revise_orders_among_the_rows_of_one_kind(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": measurements((1, T[0], "A1"), (1, T[0], "B1"), (1, T[0], "B2"), (1, T[0], "A2"))})
    entries = [{"_matcher": {"code": {"regex": "^B"}}, "ordered_code_patterns": ["2"]}]
    shards = x.run("reorder_measurements", ordered_code_patterns=["A"], _match_revise=entries)
    assert shards["0"]["code"].to_list() == ["B2", "B1", "A1", "A2"]


def test_without_a_list_nothing_is_reordered_with_a_warning(tmp_path):
    x = Preprocessing(tmp_path)
    rows = measurements((1, T[0], "B"), (1, T[0], "A"))
    x.write({"0": rows})
    done = x.script("reorder_measurements")
    assert done.returncode == 0
    assert "WARNING" in done.stdout
    assert "ordered_code_patterns is not set" in done.stdout
    assert x.shards(x.cohort / "data")["0"].equals(rows)


def test_each_entry_of_match_and_revise_may_have_its_own_list(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": measurements((1, T[0], "A1"), (1, T[0], "B1"), (1, T[0], "B2"))})
    entries = '[{_matcher: {code: {regex: "^B"}}, ordered_code_patterns: ["2"]}]'
    done = x.script("reorder_measurements", f"+stage_configs.reorder_measurements._match_revise={entries}")
    assert done.returncode == 0, done.stderr
    assert x.shards(x.cohort / "data")["0"]["code"].to_list() == ["B2", "B1", "A1"]
