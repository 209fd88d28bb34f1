"""The texts of a code: how many distinct ones there are, and which are the most frequent.

For each code, a shard's part has its distinct texts with their counts. Of a code with more than `LIMIT` of them, the
first `LIMIT + 1` are kept, which is enough to tell that there are more; what is said of such a code is just that. So
the memory for a code is bounded, and the result does not depend on how the rows are cut into shards.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from ..dataset.columns import column, internal
from ..dataset.dtypes import is_text
from ..dataset.schema import MANDATORY_TYPES, TEXT_MOST_FREQUENT, TEXT_N_DISTINCT
from ..errors import InputError, listed, nearest

LIMIT = 10_000
"""Up to how many distinct texts of a code are told apart."""

TEXT = internal("text")
"""The column with the texts while they are looked at."""
_COUNT = internal("count")


def text_or_null(schema: Mapping[str, pl.DataType], name: str) -> pl.Expr:
    """The text of a row in a column. One that MEDS makes optional counts as null where it is not there.

    Raises:
        InputError: another column is missing, or it has no text.
    """
    dtype = schema.get(name, pl.Null() if name in MANDATORY_TYPES else None)
    if dtype is None:
        raise InputError(
            f"The data has no column {name}{nearest(name, schema)}, whose texts are to be counted. It has: "
            f"{listed(schema)}. Correct `column` among the aggregations."
        )
    if not (is_text(dtype) or dtype == pl.Null):
        raise InputError(
            f"The column {name}, whose texts are to be counted, must be a String; it is {dtype}. Correct `column` "
            "among the aggregations."
        )
    return (column(name) if name in schema else pl.lit(None)).cast(pl.String)


def text_part(rows: pl.DataFrame, key: Sequence[str], limit: int = LIMIT) -> pl.DataFrame:
    """A shard's part: the key and `text_values/most_frequent`, a list of texts with their counts.

    Args:
        rows: the key and the texts (String, null if there is none).
        key: the columns that identify a code.
        limit: up to how many distinct texts of a code to tell apart.
    """
    texts = rows.select(*key, TEXT).filter(pl.col(TEXT).is_not_null())
    counted = texts.group_by(*key, TEXT).agg(pl.len().cast(pl.UInt64).alias(_COUNT)).sort(*key, TEXT)
    kept = pl.struct(TEXT, _COUNT).head(limit + 1).alias(TEXT_MOST_FREQUENT)
    return counted.group_by(key, maintain_order=True).agg(kept)


def merge_texts(parts: pl.DataFrame, key: Sequence[str], n: int, limit: int = LIMIT) -> pl.DataFrame:
    """The key, `text_values/n_distinct` and `text_values/most_frequent` of the codes that have texts.

    With more than `limit` distinct texts the number is `limit + 1`, and the most frequent are null. Of equally frequent
    ones those that are first in the order of text come first.

    Args:
        parts: the concatenated parts of all shards.
        key: the columns that identify a code.
        n: how many of the most frequent texts to give.
        limit: as in `text_part`.
    """
    exploded = (
        parts.select(*key, TEXT_MOST_FREQUENT)
        .filter(pl.col(TEXT_MOST_FREQUENT).list.len() > 0)
        .explode(TEXT_MOST_FREQUENT, empty_as_null=False)
        .unnest(TEXT_MOST_FREQUENT)
    )
    counted = exploded.group_by(*key, TEXT).agg(pl.col(_COUNT).sum()).sort(_COUNT, TEXT, descending=[True, False])
    first = pl.struct(pl.col(TEXT).alias("value"), pl.col(_COUNT).alias("count")).head(n)
    merged = counted.group_by(key, maintain_order=True).agg(
        pl.len().alias(TEXT_N_DISTINCT), first.alias(TEXT_MOST_FREQUENT)
    )
    n_distinct = pl.col(TEXT_N_DISTINCT)
    few = pl.when(n_distinct <= limit)
    return merged.with_columns(n_distinct.clip(upper_bound=limit + 1), few.then(TEXT_MOST_FREQUENT))
