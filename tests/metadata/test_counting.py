"""Counting by numbers of codes gives what grouping by codes gives."""

import math
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import measurements
from MEDS_transforms.metadata.aggregate_code_metadata import summarize
from MEDS_transforms.metadata.aggregations import KNOWN, Aggregations

T = datetime(2020, 1, 1)
EVERYTHING = Aggregations(tuple(KNOWN), (0.5,))


def by_grouping(df, aggregations):
    """With a modifier that is the same everywhere, so that codes alone are no key."""
    return summarize(df.with_columns(unit=pl.lit("u")), ["code", "unit"], aggregations).drop("unit")


def assert_same(df, aggregations):
    got, expected = summarize(df, ["code"], aggregations), by_grouping(df, aggregations)
    assert got.schema == expected.schema
    assert got.equals(expected)


values = st.none() | st.floats(width=32) | st.sampled_from([0.1, 1e10, math.nan, math.inf])
rows = st.lists(st.tuples(st.none() | st.integers(-2, 3), st.sampled_from([None, "A", "", "ü", "Z"]), values))


@given(rows, st.booleans(), st.lists(st.sampled_from(KNOWN), min_size=1, unique=True))
def test_any_rows(rows, is_sorted, names):
    """Also without a subject, which counts as one more."""
    df = measurements(*((subject, T, code, value) for subject, code, value in rows))
    quantiles = (0.5,) if "values/quantiles" in names else ()
    assert_same(df.sort("subject_id") if is_sorted else df, Aggregations(tuple(names), quantiles))


@pytest.mark.parametrize("n_codes", [30, 5_000])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_few_and_many_pairs_of_subject_and_code(n_codes, is_sorted):
    n, rng = 20_000, np.random.default_rng(1)
    df = pl.DataFrame(
        {
            "subject_id": rng.integers(0, 2_000, n),
            "time": T,
            "code": pl.Series(rng.integers(0, n_codes, n)).cast(pl.String),
            "numeric_value": pl.Series(rng.normal(size=n).astype(np.float32)).replace(0, None),
        }
    )
    assert_same(df.sort("subject_id", maintain_order=True) if is_sorted else df, EVERYTHING)


def test_other_categories_do_not_matter():
    """Numbers of categories go on from those of other columns."""
    df = measurements((1, T, "A", 1.0), (2, T, "B", None), (2, T, "A", 2.0))
    assert pl.Series([f"category {i}" for i in range(1_000)]).cast(pl.Categorical).len() == 1_000
    assert_same(df, EVERYTHING)
    assert_same(df.with_columns(pl.format("new {}", "code").alias("code")), EVERYTHING)
