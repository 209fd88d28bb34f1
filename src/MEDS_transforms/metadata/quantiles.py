"""Quantiles of a code's values: exact for few distinct values, otherwise from a mergeable sketch.

For each code, a shard's part has its distinct values with their weights, the numbers of their occurrences. With at most
`CAPACITY` distinct values in each shard, quantiles are exact. Of more values, `CAPACITY` of equal weight are kept:
those at evenly spaced ranks. This is the COLLAPSE of Manku, Rajagopalan and Lindsay ("Approximate Medians
and other Quantiles in One Pass and with Limited Memory", SIGMOD 1998), applied once to each shard; parts are merged by
concatenation. A part's ranks are off by at most half of its weight / `CAPACITY`, so the rank of a quantile among the n
values of all shards is off by at most n / (2 * `CAPACITY`), which is n / 100,000, plus one per shard.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from ..dataset.columns import internal
from ..dataset.schema import NUMERIC_VALUE, VALUES_QUANTILE, VALUES_QUANTILES

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CAPACITY = 50_000
"""How many values of a code a shard's part keeps at most."""

WEIGHT = internal("weight")
"""The column with the number of a value's occurrences."""
_CODE = internal("code")
_START, _END = internal("start"), internal("end")
_UP_TO = internal("up_to")
_TOTAL = internal("total")


def quantile_part(rows: pl.DataFrame, key: Sequence[str], capacity: int = CAPACITY) -> pl.DataFrame:
    """A shard's part: the key and `values/quantiles`, a list of values with their weights.

    Args:
        rows: the key and `numeric_value` (Float32, null if there is no value).
        key: the columns that identify a code.
        capacity: how many values of a code to keep at most.
    """
    codes, weighted = _weighted(rows, key)
    kept = collapse(weighted, [_CODE], capacity).select(_CODE, pl.struct(NUMERIC_VALUE, WEIGHT).alias(VALUES_QUANTILES))
    return codes.with_columns(kept.group_by(_CODE, maintain_order=True).agg(VALUES_QUANTILES)[VALUES_QUANTILES])


def weighted_values(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The distinct values of each code that are not null, sorted, each with its weight."""
    codes, weighted = _weighted(rows, key)
    return codes[weighted[_CODE]].with_columns(weighted[NUMERIC_VALUE], weighted[WEIGHT])


def _weighted(rows: pl.DataFrame, key: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The codes that have values, sorted, and the distinct values of each with their weights, sorted.

    The values have the numbers of their codes' rows. Zeros are positive: which sign comes first must not matter.
    """
    some = rows.select(*key, NUMERIC_VALUE).filter(pl.col(NUMERIC_VALUE).is_not_null())
    codes = some.group_by(key).agg(NUMERIC_VALUE).sort(key)
    n_values = codes[NUMERIC_VALUE].list.len().to_numpy()
    values = codes[NUMERIC_VALUE].explode(empty_as_null=False, keep_nulls=False).to_numpy() + 0.0
    for of_code in np.split(values, np.cumsum(n_values)[:-1]):
        of_code.sort()
    code = np.repeat(np.arange(codes.height), n_values)
    is_first = np.ones(len(values), bool)
    is_first[1:] = (values[1:] != values[:-1]) | (code[1:] != code[:-1])
    first = np.flatnonzero(is_first)
    weighted = pl.DataFrame(
        {
            _CODE: code[first],
            NUMERIC_VALUE: pl.Series(values[first], dtype=rows.schema[NUMERIC_VALUE]),
            WEIGHT: np.diff(first, append=len(values)),
        }
    )
    return codes.select(key), weighted.with_columns(pl.col(_CODE).set_sorted())


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
    lists = parts[VALUES_QUANTILES]
    weighted = lists.explode(empty_as_null=False, keep_nulls=False).struct.unnest()
    values, weights = weighted[NUMERIC_VALUE].to_numpy(), weighted[WEIGHT].to_numpy()
    n_values = lists.list.len().fill_null(0)
    ends = n_values.cum_sum()
    spans = parts.select(key).with_columns((ends - n_values).alias(_START), ends.alias(_END))
    codes = spans.filter(pl.col(_END) > pl.col(_START)).group_by(key).agg(_START, _END).sort(key)
    found = np.empty((codes.height, len(quantiles)), values.dtype)
    for row, of_parts in enumerate(codes.select(_START, _END).iter_rows()):
        places = [slice(*span) for span in zip(*of_parts, strict=True)]
        theirs, their_weights = (np.concatenate([numbers[at] for at in places]) for numbers in (values, weights))
        found[row] = _at_ranks(theirs, their_weights, [*quantiles.values()])
    return codes.select(key).with_columns(pl.Series(name, found[:, n]) for n, name in enumerate(quantiles))


def _at_ranks(values: Floats, weights: Ints, quantiles: Sequence[float]) -> Floats:
    """The quantiles of one code's values in any order."""
    in_order = np.argsort(values, kind="stable")  # fast, since the values of each part are sorted
    up_to = np.cumsum(weights[in_order])
    ranks = np.floor((up_to[-1] - 1) * np.array(quantiles) + 0.5)
    found: Floats = values[in_order[np.searchsorted(up_to, ranks, side="right")]]
    return found


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
