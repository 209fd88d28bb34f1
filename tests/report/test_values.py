"""Distributions of values: quantiles, exact or within their bounds; bins."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import measurements
from MEDS_transforms.report.values import MOST_BINS, Distribution, Values, bin_edges, values_in


def distribution(*values: float) -> Distribution:
    of_code = Values()
    of_code.add(values_in(measurements(*((1, None, "A", value) for value in values))))
    return of_code.of(["A"])["A"]


def test_values_are_finite_and_of_their_code():
    values = Values()
    values.add(values_in(measurements((1, None, "A", 1.0), (1, None, "A", float("nan")), (1, None, "B", 2.0))))
    values.add(values_in(measurements((2, None, "A", 1.0), (2, None, "A", float("-inf")), (2, None, "A"))))
    found = values.of(["A", "C"])
    assert [*found] == ["A"]
    assert (found["A"].values.tolist(), found["A"].weights.tolist()) == ([1.0], [2])
    assert Values().of(["A"]) == {}


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles_of_few_values_are_exact(numbers: list[int], q: float):
    rank = int(np.floor((len(numbers) - 1) * q + 0.5))
    assert distribution(*numbers).quantile(q) == sorted(numbers)[rank]


@pytest.mark.parametrize("many", [64, 500])
def test_quantiles_of_many_values_are_within_their_bounds(many: int):
    rng = np.random.default_rng(0)
    values, numbers = Values(pending=3000, many=many), []
    for _ in range(12):
        drawn = rng.lognormal(3, 1, 2000).astype(np.float32)
        numbers.append(drawn)
        values.add(values_in(pl.DataFrame({"code": "A", "numeric_value": drawn})))
    everything = np.sort(np.concatenate(numbers))
    error, found = values.error("A"), values.of(["A"])["A"]
    assert 0 < error <= 12 / (2 * many)
    assert found.weights.sum() == everything.size
    assert len(found.values) < everything.size / 2
    for q in (0.01, 0.25, 0.5, 0.9, 0.99):
        ranks = np.searchsorted(everything, found.quantile(q), side="left") / everything.size
        assert abs(ranks - q) <= error + 1 / many


def test_codes_with_few_values_are_exact_beside_others():
    values = Values(pending=500, many=100)
    rng = np.random.default_rng(0)
    for _ in range(5):
        values.add(values_in(pl.DataFrame({"code": "A", "numeric_value": rng.random(400).astype(np.float32)})))
        values.add(values_in(measurements((1, None, "B", 1.0), (1, None, "B", 2.0))))
    assert values.error("A") > 0
    assert values.error("B") == 0
    assert values.of(["B"])["B"].weights.tolist() == [5, 5]


def test_the_bound_grows_with_each_reduction():
    values, rng = Values(pending=500, many=50), np.random.default_rng(0)
    for n in range(1, 4):
        values.add(values_in(pl.DataFrame({"code": "A", "numeric_value": rng.random(600).astype(np.float32)})))
        # Of 600, 1,200 and 1,800 values, each time by a hundredth of them.
        assert values.error("A") == pytest.approx(sum(range(1, n + 1)) / n / 100)


def test_few_values_are_kept_of_codes_that_are_rare():
    values, rng = Values(pending=100_000), np.random.default_rng(0)
    codes = pl.Series([f"C{n}" for n in range(3000)])
    for _ in range(4):
        drawn = codes.gather(np.minimum(rng.zipf(1.3, 150_000), 3000) - 1)
        values.add(values_in(pl.DataFrame({"code": drawn, "numeric_value": rng.random(150_000).astype(np.float32)})))
    found = values.of(codes.to_list())
    assert sum(one.weights.sum() for one in found.values()) == 600_000
    assert sum(len(one.values) for one in found.values()) < 450_000
    assert values.error("C0") < 0.001


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=200))
def test_bins_hold_all_but_the_tails(numbers: list[float]):
    found = distribution(*numbers)
    edges = bin_edges(found)
    assert 2 <= len(edges) <= 2 * MOST_BINS + 3
    assert (np.diff(edges) > 0).all()
    assert found.counts(edges).sum() >= len(numbers) - 2 * np.ceil(0.005 * len(numbers) + 0.5)


def test_outliers_do_not_widen_bins():
    edges = bin_edges(distribution(*np.linspace(0, 10, 1001), 1e9))
    assert edges[-1] < 12


def test_bins_have_equally_many_points_of_a_grid():
    counts = distribution(*range(100)).counts(bin_edges(distribution(*range(100))))
    assert {*counts[:-1].tolist()} == {3}
    whole = bin_edges(distribution(*[1, 2, 3] * 9))
    assert whole.tolist() == [0.5, 1.5, 2.5, 3.5]
