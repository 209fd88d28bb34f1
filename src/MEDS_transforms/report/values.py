"""Distributions of the values of each code: distinct values with their weights, in bounded memory.

As long as a code has few distinct values all of them are kept, and quantiles are exact. Of more, some are kept that
stand for the others (see `metadata.quantiles`), more of them for codes with many values; then ranks are off by a known
fraction.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from ..dataset.columns import internal
from ..dataset.schema import CODE, NUMERIC_VALUE
from ..metadata.quantiles import WEIGHT, collapse, merge_weighted, weighted_values

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PENDING = 800_000
"""How many distinct values are collected before they are reduced."""
_MANY, _N_WITH_MANY = 4096, 100
"""How many values are kept of each of the codes with most values, and how many codes these are."""
_OTHERS = 400_000
"""How many values are kept of all other codes together, shared equally."""
_MOST_OF_OTHERS, _LEAST_OF_OTHERS = 256, 4

_N = internal("n")

MOST_BINS = 40
_TAIL = 0.005
"""The fraction of values at either end for which a histogram need not have room."""
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


class Values:
    """The values of every code: `add` them, then ask for those `of` a code."""

    def __init__(self, pending: int = _PENDING, many: int = _MANY) -> None:
        self._parts: list[pl.DataFrame] = []
        self._n_pending = 0
        self._pending, self._many = pending, many
        self._off: dict[str, tuple[float, int]] = {}
        """By how many values ranks may be off, and how many values there were then."""

    def add(self, part: pl.DataFrame) -> None:
        """Adds weighted values, as `values_in` has them."""
        self._parts.append(part)
        self._n_pending += part.height
        if self._n_pending > self._pending:
            self._reduce()

    def _reduce(self) -> None:
        merged = merge_weighted(pl.concat(self._parts), [CODE])
        in_order = merged.group_by(CODE).agg(pl.col(WEIGHT).sum(), pl.len().alias(_N))
        in_order = in_order.sort(WEIGHT, CODE, descending=[True, False])
        few = min(max(_OTHERS // max(in_order.height, 1), _LEAST_OF_OTHERS), _MOST_OF_OTHERS, self._many)
        is_often = pl.col(CODE).is_in(in_order[CODE].head(_N_WITH_MANY).implode())
        self._parts = []
        for capacity, chosen in ((self._many, is_often), (few, ~is_often)):
            self._parts.append(collapse(merged.filter(chosen), [CODE], capacity))
            for code, n in in_order.filter(chosen, pl.col(_N) > capacity).select(CODE, WEIGHT).iter_rows():
                self._off[code] = self._off.get(code, (0.0, n))[0] + 0.5 * n / capacity, n
        self._n_pending = 0

    def error(self, code: str) -> float:
        """By how much ranks of the code's values may be off, as a fraction of their number; 0: exact."""
        off, n = self._off.get(code, (0.0, 1))
        return off / n

    def of(self, codes: Sequence[str]) -> dict[str, "Distribution"]:
        """The distributions of some codes, as far as they have values."""
        if not self._parts:
            return {}
        wanted = pl.col(CODE).is_in(pl.Series(codes, dtype=pl.String).implode())
        merged = merge_weighted(pl.concat([part.filter(wanted) for part in self._parts]), [CODE])
        return {
            str(key[0]): Distribution(rows[NUMERIC_VALUE].cast(pl.Float64).to_numpy(), rows[WEIGHT].to_numpy())
            for key, rows in merged.partition_by(CODE, as_dict=True).items()
        }


def values_in(rows: pl.DataFrame) -> pl.DataFrame:
    """The finite values of the codes in some rows, each with its weight."""
    return weighted_values(rows.filter(pl.col(NUMERIC_VALUE).is_finite()), [CODE])


class Distribution:
    """Values, sorted, with their weights."""

    def __init__(self, values: Floats, weights: Ints) -> None:
        self.values, self.weights = values, weights
        self._up_to = np.cumsum(weights)

    def quantile(self, q: float) -> float:
        """The value at the rank nearest to `q * (n - 1)` of n values, the upper one of two equally near ranks."""
        rank = np.floor((self._up_to[-1] - 1) * q + 0.5)
        return float(self.values[np.searchsorted(self._up_to, rank, side="right")])

    def counts(self, edges: Floats) -> Ints:
        """How many values are in each bin; the last bin has its upper edge as well."""
        return np.histogram(self.values, edges, weights=self.weights)[0].astype(np.int64)

    def share_below(self, x: float) -> float:
        """The fraction of values that are less than `x`."""
        return float(self.weights[self.values < x].sum() / self._up_to[-1])


def bin_edges(*distributions: Distribution) -> Floats:
    """Edges of bins for histograms of some distributions, of one width, which is a round number.

    Outliers do not widen them: up to 0.5 % of the values of each may lie outside, at either end. Where values lie on a
    grid, whole numbers say, each bin has equally many of its points.
    """
    low = min(d.quantile(_TAIL) for d in distributions)
    high = max(d.quantile(1 - _TAIL) for d in distributions)
    if low == high:
        half = 0.5 * max(abs(low) * 0.01, 1.0) if low else 0.5
        return np.array([low - half, low + half])
    grid = _grid(np.unique(np.concatenate([d.values[(d.values >= low) & (d.values <= high)] for d in distributions])))
    width = _round_up((high - low) / MOST_BINS)
    if grid * 4 * MOST_BINS >= high - low:
        width = max(1, np.ceil((high - low) / MOST_BINS / grid - 1e-6)) * grid
        start = low - grid / 2
    else:
        start = np.floor(low / width) * width
    edges = start + width * np.arange(np.floor((high - start) / width) + 2)
    return np.asarray(edges[:-1] if edges[-2] >= high else edges, dtype=np.float64)


def _grid(values: Floats) -> float:
    """The least distance between values, in four digits, as 32-bit floats have not many more."""
    return float(f"{np.diff(values).min():.4g}")


def _round_up(x: float) -> float:
    power = 10.0 ** np.floor(np.log10(x))
    return float(next(nice * power for nice in _NICE if nice * power >= x * (1 - 1e-9)))
