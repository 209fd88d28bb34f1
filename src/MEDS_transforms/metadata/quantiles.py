"""Quantiles of a code's values: exact for few distinct values, else by a mergeable sketch.

A shard's part of a code is its distinct values with their weights, how often they occur. With at most `CAPACITY`
distinct values in each shard this is all there is to know, and quantiles are exact. Of more, `CAPACITY` of equal weight
stay: values at evenly spaced ranks. This is the COLLAPSE of Manku, Rajagopalan and Lindsay ("Approximate Medians
and other Quantiles in One Pass and with Limited Memory", SIGMOD 1998), applied once to each shard, whose parts merge
by putting them together. A part's ranks are off by at most half of its weight / `CAPACITY`, so that the rank of a
quantile among n values of all shards is off by at most n / (2 * `CAPACITY`), one hundred-thousandth, and one per shard.
"""

from collections.abc import Sequence

import polars as pl

from ..dataset.schema import NUMERIC_VALUE, VALUES_QUANTILE, VALUES_QUANTILES

CAPACITY = 50_000
"""Most values of a code that a shard's part keeps."""

_WEIGHT = "__weight"
_UP_TO = "__up_to"
_TOTAL = "__total"


def quantile_part(rows: pl.DataFrame, key: Sequence[str], capacity: int = CAPACITY) -> pl.DataFrame:
    """A shard's part: the key and `values/quantiles`, a list of values with their weights.

    Args:
        rows: the key and `numeric_value` (Float32, null where there is none).
        key: the columns that tell codes apart.
        capacity: most values of a code to keep.
    """
    weighted = (
        rows.select(*key, NUMERIC_VALUE)
        .filter(pl.col(NUMERIC_VALUE).is_not_null())
        .group_by(*key, NUMERIC_VALUE)
        .agg(pl.len().cast(pl.Int64).alias(_WEIGHT))
        .sort(*key, NUMERIC_VALUE)
    )
    kept = _collapse(weighted, key, capacity).select(*key, pl.struct(NUMERIC_VALUE, _WEIGHT).alias(VALUES_QUANTILES))
    return kept.group_by(key, maintain_order=True).agg(VALUES_QUANTILES)


def _collapse(weighted: pl.DataFrame, key: Sequence[str], capacity: int) -> pl.DataFrame:
    """Of codes with more than `capacity` distinct values, those at evenly spaced ranks, with equal weights.

    The ranks are cut into `capacity` pieces of equal length. A value stays if the middle of a piece lies in its
    ranks, and its new weight is the length of those pieces.
    """
    up_to, total = pl.col(_UP_TO), pl.col(_TOTAL)

    def n_middles_below(rank: pl.Expr) -> pl.Expr:
        return (2 * rank * capacity + total - 1) // (2 * total)

    def start(piece: pl.Expr) -> pl.Expr:
        return piece * total // capacity

    first, last = n_middles_below(up_to - pl.col(_WEIGHT)), n_middles_below(up_to)
    n_distinct = pl.len().over(key)
    many = weighted.with_columns(n_distinct.alias(_TOTAL)).filter(pl.col(_TOTAL) > capacity).drop(_TOTAL)
    if many.is_empty():
        return weighted
    few = weighted.filter(n_distinct <= capacity)
    # Filtered first: what tells which values stay follows from their old weights.
    collapsed = _ranked(many, key).filter(last > first).with_columns((start(last) - start(first)).alias(_WEIGHT))
    return pl.concat([few, collapsed.select(weighted.columns)]).sort(*key, NUMERIC_VALUE)


def merge_quantiles(parts: pl.DataFrame, key: Sequence[str], quantiles: Sequence[float]) -> pl.DataFrame:
    """The key and the struct `values/quantiles` of the codes that have values.

    A quantile is the value at the rank nearest to `q * (n - 1)` of n values, counted from 0; of two that are equally
    near the upper one.

    Args:
        parts: the parts of all shards, one below the other.
        key: the columns that tell codes apart.
        quantiles: each at least 0 and at most 1.
    """
    weighted = (
        parts.select(*key, VALUES_QUANTILES)
        .filter(pl.col(VALUES_QUANTILES).list.len() > 0)
        .explode(VALUES_QUANTILES, empty_as_null=False)
        .unnest(VALUES_QUANTILES)
        .group_by(*key, NUMERIC_VALUE)
        .agg(pl.col(_WEIGHT).sum())
        .sort(*key, NUMERIC_VALUE)
    )

    def at(quantile: float) -> pl.Expr:
        rank = ((pl.col(_TOTAL) - 1) * quantile + 0.5).floor()
        return pl.col(NUMERIC_VALUE).filter(pl.col(_UP_TO) > rank).first().alias(f"{VALUES_QUANTILE}{quantile}")

    by_rank = _ranked(weighted, key).group_by(key, maintain_order=True).agg(at(q) for q in quantiles)
    return by_rank.select(*key, pl.struct(pl.exclude(key)).alias(VALUES_QUANTILES))


def _ranked(weighted: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Adds how many values of the code there are, and how many up to each."""
    weight = pl.col(_WEIGHT)
    return weighted.with_columns(weight.cum_sum().over(key).alias(_UP_TO), weight.sum().over(key).alias(_TOTAL))
