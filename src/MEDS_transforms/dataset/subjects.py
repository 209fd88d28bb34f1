"""Subject ids: those of raw tables, of any dtype, as 64-bit integers; those of a shard map as a table."""

from collections.abc import Mapping, Sequence

import polars as pl

from ..errors import InputError
from .schema import SUBJECT_ID

_ALWAYS_FIT = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)


def subject_ids(ids: pl.Series, where: str) -> pl.Series:
    """The ids as Int64, named `subject_id`; nulls stay null.

    Args:
        ids: whole numbers as integers, floats, decimals or text.
        where: the table and column, for messages.

    Raises:
        ValueError: an id is not a whole number of at most 64 bits; the message shows it.
    """
    # NOTE: methods of series are expressions in polars, which take the names of columns for patterns.
    ids, dtype = ids.alias(SUBJECT_ID), ids.dtype
    if dtype in _ALWAYS_FIT or dtype == pl.Null:
        return ids.cast(pl.Int64).alias(SUBJECT_ID)
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise InputError(f"{where}: subject ids must be integers, not {dtype}.")
    if dtype in (pl.Categorical, pl.Enum):
        ids = ids.cast(pl.String)
    numbers = ids.cast(pl.Int64, strict=False)
    bad = numbers.is_null() & ids.is_not_null()
    if ids.dtype.is_float() or ids.dtype.is_decimal():
        bad |= (numbers.cast(ids.dtype, strict=False) != ids).fill_null(False)
    if bad.any():
        raise InputError(
            f"{where}: subject ids must be whole numbers of at most 64 bits; {bad.sum()} of {ids.len()} are not, such "
            f"as {ids.filter(bad)[0]!r}. Correct them, or name another column as subject_id_col, and run shard_events "
            "again, with do_overwrite=True."
        )
    return numbers.alias(SUBJECT_ID)


def shard_numbers(shards: Mapping[str, Sequence[int]], name: str) -> pl.DataFrame:
    """The subjects of a shard map: `subject_id` (Int64), and in the column `name` (UInt32) the number of the shard.

    A subject in several shards has a row for each.

    >>> shard_numbers({"train/0": [7, 3], "held_out/0": [3]}, "shard").rows()
    [(7, 0), (3, 0), (3, 1)]
    """
    subjects = [subject for ids in shards.values() for subject in ids]
    numbers = [number for number, ids in enumerate(shards.values()) for _ in ids]
    return pl.DataFrame({SUBJECT_ID: subjects, name: numbers}, schema={SUBJECT_ID: pl.Int64, name: pl.UInt32})
