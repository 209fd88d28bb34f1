"""Quantiles by nearest rank: exact, or off by no more than is said."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.metadata.quantiles import CAPACITY, merge_quantiles, quantile_part

QUANTILES = [0, 0.1, 0.25, 0.5, 0.75, 1]


def rows(values, code="A"):
    columns = {"code": [code] * len(values), "numeric_value": values}
    return pl.DataFrame(columns, schema={"code": pl.String, "numeric_value": pl.Float32})


def quantiles(shards, capacity=CAPACITY, asked=QUANTILES):
    """The quantiles of the codes of several shards, by code."""
    parts = pl.concat([quantile_part(shard, ["code"], capacity) for shard in shards])
    merged = merge_quantiles(parts, ["code"], {str(q): q for q in asked})
    return {code: values for code, *values in merged.select("code", *map(str, asked)).rows()}


def nearest_rank(values, q):
    return float(np.sort(np.asarray(values, dtype=np.float32))[int((len(values) - 1) * q + 0.5)])


def rank_error(values, q, got):
    """How far the ranks of `got` among the values are from the nearest to the one that is asked for."""
    ordered, rank = np.sort(np.asarray(values, dtype=np.float32)), int((len(values) - 1) * q + 0.5)
    first, last = np.searchsorted(ordered, got, "left"), np.searchsorted(ordered, got, "right") - 1
    assert first <= last, "a value that was not observed"
    return max(0, first - rank, rank - last)


FLOATS = st.floats(width=32, allow_nan=False)


@given(st.lists(st.lists(FLOATS, max_size=12), min_size=1, max_size=4).filter(any))
def test_exact_whatever_the_shards(shards):
    values = [v for shard in shards for v in shard]
    want = [nearest_rank(values, q) for q in QUANTILES]
    assert quantiles([rows(shard) for shard in shards]) == {"A": want}
    assert quantiles([rows(shard) for shard in shards], capacity=12) == {"A": want}


@given(
    st.lists(st.lists(st.integers(-50, 50) | FLOATS, max_size=60), min_size=1, max_size=4).filter(any),
    st.integers(1, 20),
)
def test_beyond_the_capacity_the_rank_is_off_by_no_more_than_is_said(shards, capacity):
    values = [v for shard in shards for v in shard]
    got = quantiles([rows(shard) for shard in shards], capacity)["A"]
    for q, value in zip(QUANTILES, got, strict=True):
        assert rank_error(values, q, value) <= len(values) / (2 * capacity) + len(shards)


def test_a_million_values_in_three_shards():
    values = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    shards = np.split(values, [200_000, 500_000])
    parts = [quantile_part(rows(shard), ["code"]) for shard in shards]
    assert [part["values/quantiles"].list.len().item() for part in parts] == [CAPACITY] * 3
    got = quantiles([rows(shard) for shard in shards])["A"]
    errors = [rank_error(values, q, value) for q, value in zip(QUANTILES, got, strict=True)]
    assert max(errors) <= len(values) / (2 * CAPACITY) + 3


def test_codes_are_apart_and_one_with_few_values_stays_exact():
    few, many = [3.0, 1.0, 2.0], list(range(1000))
    both = pl.concat([rows(few, "few"), rows(many, "many"), rows([None], "none")])
    got = quantiles([both, both], capacity=10)
    assert got.keys() == {"few", "many"}
    assert got["few"] == [1, 1, 1, 2, 3, 3]
    assert max(rank_error(many, q, value) for q, value in zip(QUANTILES, got["many"], strict=True)) <= 51


def test_without_any_value():
    assert quantiles([rows([]), rows([None])]) == {}


@pytest.mark.parametrize("quantile", [0.5, 0, 1])
def test_infinities_are_values(quantile):
    values = [float("-inf"), 1.0, float("inf")]
    assert quantiles([rows(values)], asked=[quantile])["A"] == [values[int(2 * quantile)]]


def test_the_weights_that_values_get_do_not_decide_which_stay():
    values = [-50, -48, -48, -48, -47, *range(48)]
    assert rank_error(values, 0, quantiles([rows(values)], capacity=19)["A"][0]) <= 1


@pytest.mark.parametrize("values", [[0.0, -0.0, -1.0], [-0.0, 0.0, -1.0]])
def test_zeros_of_either_sign_are_one_value(values):
    (weighted,) = quantile_part(rows(values), ["code"])["values/quantiles"].to_list()
    assert [[*map(str, of_value.values())] for of_value in weighted] == [["-1.0", "1"], ["0.0", "2"]]
