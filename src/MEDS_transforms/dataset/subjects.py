"""Subject ids: those of raw tables, of any dtype, as 64-bit integers; those of a shard map as a table."""

from collections.abc import Mapping, Sequence

import polars as pl

from ..errors import ONCE_CUT, InputError
from .dtypes import is_text
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
    if not (dtype.is_numeric() or is_text(dtype)):
        raise InputError(f"subject ids must be integers, not {dtype}.", where)
    if is_text(dtype):
        ids = ids.cast(pl.String)
    numbers = _whole_numbers(ids)
    if (bad := numbers.is_null() & ids.is_not_null()).any():
        raise InputError(
            "subject ids must be whole numbers of at most 64 bits (53 bits where they are written as floats, which are "
            f"rounded beyond); {bad.sum():,} of {ids.len():,} are not, such as {ids.filter(bad)[0]!r}",
            where,
            "Correct them, name another column as subject_id_col, or number ids that are text (subject_ids in the "
            f"event conversion file). {ONCE_CUT}",
        )
    return numbers.alias(SUBJECT_ID)


def _whole_numbers(ids: pl.Series) -> pl.Series:
    """Ids as Int64, null where they are no whole numbers, or floats so large that others are rounded to them."""
    numbers = ids.cast(pl.Int64, strict=False)
    if ids.dtype == pl.String and numbers.null_count() > ids.null_count():
        whole = ids.str.extract(r"^([+-]?\d+)\.0*$").cast(pl.Int64, strict=False)
        return numbers.fill_null(_small(whole, pl.Float64()))
    if ids.dtype.is_float():
        numbers = _small(numbers, ids.dtype)
    if ids.dtype.is_float() or ids.dtype.is_decimal():
        same = (numbers.cast(ids.dtype, strict=False) == ids).fill_null(False)
        return numbers.set(~same, None)
    return numbers


def _small(numbers: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Numbers of which a float dtype holds all neighbours."""
    limit = 2**24 if dtype == pl.Float32 else 2**53
    return numbers.set((numbers.abs() > limit).fill_null(False), None)


def shard_numbers(shards: Mapping[str, Sequence[int]], name: str) -> pl.DataFrame:
    """The subjects of a shard map: `subject_id` (Int64), and in the column `name` (UInt32) the number of the shard.

    A subject in several shards has a row for each.

    >>> shard_numbers({"train/0": [7, 3], "held_out/0": [3]}, "shard").rows()
    [(7, 0), (3, 0), (3, 1)]
    """
    subjects = [subject for ids in shards.values() for subject in ids]
    numbers = [number for number, ids in enumerate(shards.values()) for _ in ids]
    return pl.DataFrame({SUBJECT_ID: subjects, name: numbers}, schema={SUBJECT_ID: pl.Int64, name: pl.UInt32})
