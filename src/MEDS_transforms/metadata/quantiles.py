"""Quantiles of a code's values: exact for few distinct values, otherwise from a mergeable sketch.

For each code, a shard's part has its distinct values with their weights, the numbers of their occurrences. With at most
`CAPACITY` distinct values in each shard, quantiles are exact. Of more values, `CAPACITY` of equal weight are kept:
those at evenly spaced ranks. This is the COLLAPSE of Manku, Rajagopalan and Lindsay ("Approximate Medians
and other Quantiles in One Pass and with Limited Memory", SIGMOD 1998), applied once to each shard; parts are merged by
concatenation. A part's ranks are off by at most half of its weight / `CAPACITY`, so the rank of a quantile among the n
values of all shards is off by at most n / (2 * `CAPACITY`), which is n / 100,000, plus one per shard.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from ..dataset.columns import internal
from ..dataset.schema import NUMERIC_VALUE, VALUES_QUANTILE, VALUES_QUANTILES

CAPACITY = 50_000
"""How many values of a code a shard's part keeps at most."""

WEIGHT = internal("weight")
"""The column with the number of a value's occurrences."""
_UP_TO = internal("up_to")
_TOTAL = internal("total")


def quantile_part(rows: pl.DataFrame, key: Sequence[str], capacity: int = CAPACITY) -> pl.DataFrame:
    """A shard's part: the key and `values/quantiles`, a list of values with their weights.

    Args:
        rows: the key and `numeric_value` (Float32, null if there is no value).
        key: the columns that identify a code.
        capacity: how many values of a code to keep at most.
    """
    kept = collapse(weighted_values(rows, key), key, capacity).select(
        *key, pl.struct(NUMERIC_VALUE, WEIGHT).alias(VALUES_QUANTILES)
    )
    return kept.group_by(key, maintain_order=True).agg(VALUES_QUANTILES)


def weighted_values(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The distinct values of each code that are not null, sorted, each with its weight."""
    return (
        rows.select(*key, NUMERIC_VALUE)
        .filter(pl.col(NUMERIC_VALUE).is_not_null())
        .group_by(*key, NUMERIC_VALUE)
        .agg(pl.len().cast(pl.Int64).alias(WEIGHT))
        .sort(*key, NUMERIC_VALUE)
    )


def merge_weighted(parts: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The distinct values of each code, sorted, each with the sum of its weights in some parts."""
    return parts.group_by(*key, NUMERIC_VALUE).agg(pl.col(WEIGHT).sum()).sort(*key, NUMERIC_VALUE)


def collapse(weighted: pl.DataFrame, key: Sequence[str], capacity: int) -> pl.DataFrame:
    """Reduces codes with more than `capacity` distinct values to those at evenly spaced ranks, with equal weights.

    The ranks are cut into `capacity` pieces of equal length. A value is kept if its ranks include the middle of a
    piece, and its new weight is the total length of these pieces.
    """
    up_to, total = pl.col(_UP_TO), pl.col(_TOTAL)

    def n_middles_below(rank: pl.Expr) -> pl.Expr:
        return (2 * rank * capacity + total - 1) // (2 * total)

    def start(piece: pl.Expr) -> pl.Expr:
        return piece * total // capacity

    first, last = n_middles_below(up_to - pl.col(WEIGHT)), n_middles_below(up_to)
    n_distinct = pl.len().over(key)
    many = weighted.with_columns(n_distinct.alias(_TOTAL)).filter(pl.col(_TOTAL) > capacity).drop(_TOTAL)
    if many.is_empty():
        return weighted
    few = weighted.filter(n_distinct <= capacity)
    # Filtered first, because the filter needs the old weights.
    collapsed = _ranked(many, key).filter(last > first).with_columns((start(last) - start(first)).alias(WEIGHT))
    return pl.concat([few, collapsed.select(weighted.columns)]).sort(*key, NUMERIC_VALUE)


def merge_quantiles(parts: pl.DataFrame, key: Sequence[str], quantiles: Mapping[str, float]) -> pl.DataFrame:
    """The key and the quantiles of the codes that have values.

    A quantile is the value at the rank nearest to `q * (n - 1)` of n values, counted from 0; of two equally near ranks
    the upper one.

    Args:
        parts: the concatenated parts of all shards.
        key: the columns that identify a code.
        quantiles: numbers from 0 to 1, by the columns that they are to be in.
    """
    exploded = (
        parts.select(*key, VALUES_QUANTILES)
        .filter(pl.col(VALUES_QUANTILES).list.len() > 0)
        .explode(VALUES_QUANTILES, empty_as_null=False)
        .unnest(VALUES_QUANTILES)
    )
    weighted = merge_weighted(exploded, key)

    def at(quantile: float) -> pl.Expr:
        rank = ((pl.col(_TOTAL) - 1) * quantile + 0.5).floor()
        return pl.col(NUMERIC_VALUE).filter(pl.col(_UP_TO) > rank).first()

    return _ranked(weighted, key).group_by(key, maintain_order=True).agg(at(q).alias(n) for n, q in quantiles.items())


def dtype_of_quantiles(quantiles: Sequence[float]) -> pl.DataType:
    """The dtype of `values/quantiles`.

    >>> dtype_of_quantiles([0.5])
    Struct({'values/quantile/0.5': Float32})
    """
    return pl.Struct({f"{VALUES_QUANTILE}{quantile}": pl.Float32() for quantile in quantiles})


def _ranked(weighted: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Adds the number of values of the code, and of those up to each value."""
    weight = pl.col(WEIGHT)
    return weighted.with_columns(weight.cum_sum().over(key).alias(_UP_TO), weight.sum().over(key).alias(_TOTAL))
