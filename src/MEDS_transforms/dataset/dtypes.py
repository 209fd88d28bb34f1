"""Common dtypes for columns of several frames."""

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from ..errors import InputError, listed
from .schema import NUMERIC_VALUE


def is_text(dtype: pl.DataType | None) -> bool:
    """Whether values of a dtype are texts, also where they are categories: those of a name equal no `pl.Categorical`.

    >>> is_text(pl.String()), is_text(pl.Categorical(pl.Categories("units"))), is_text(pl.Int64())
    (True, True, False)
    """
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


WIDE_INTEGERS = (pl.Int128, pl.UInt128)
"""Integers that polars has, and parquet has not."""

LARGEST_FLOAT32 = 3.4028235677973366e38
"""Halfway from the largest 32-bit float to the next power of two: numbers from here on become infinite when cast."""

_NO_TEXT = (pl.Binary, pl.Duration, pl.Object)

_REMEDY = "Give the column the same dtype everywhere, or another name where it is something else."


def has_text(dtype: pl.DataType) -> bool:
    """Whether values of a dtype are written as text in one way that everybody knows.

    >>> has_text(pl.Date()), has_text(pl.Duration()), has_text(pl.List(pl.String))
    (True, False, False)
    """
    return not (dtype.is_nested() or dtype in _NO_TEXT)


def common_dtype(dtypes: Collection[pl.DataType]) -> pl.DataType | None:
    """The common dtype of columns of these dtypes; None if there is none.

    Null takes that of the others, and text wins over numbers and times. Numbers take a wider dtype; integers that only
    a float or more than 64 bits would hold take Int64 (see `cast_exactly`).

    >>> common_dtype([pl.Int8(), pl.UInt8()]), common_dtype([pl.Int64(), pl.UInt64()])
    (Int16, Int64)
    >>> common_dtype([pl.Float64(), pl.String()]), common_dtype([pl.Null(), pl.Date()])
    (String, Date)
    """
    found = [dtype for dtype in dict.fromkeys(dtypes) if dtype != pl.Null]
    if len(found) < 2:
        return found[0] if found else pl.Null()
    if any(is_text(dtype) for dtype in found):
        return None if any(dtype.is_nested() for dtype in found) else pl.String()
    if len({dtype.is_temporal() for dtype in found}) > 1:
        return None  # polars would take a time for a number
    empty = [pl.DataFrame(schema={"": dtype}) for dtype in found]
    try:
        common = pl.concat(empty, how="vertical_relaxed").schema[""]
    except pl.exceptions.PolarsError:
        return None
    # NOTE: for UInt64 beside Int64 polars chooses Float64, in which large numbers become equal, or 128 bits.
    too_wide = common.is_float() or common in WIDE_INTEGERS
    return pl.Int64() if too_wide and all(dtype.is_integer() for dtype in found) else common


def concat_with_common_dtypes(
    frames: Sequence[pl.DataFrame], what: str = "the tables", only_numbers: bool = False
) -> pl.DataFrame:
    """The frames one below the other; a column has the common dtype of all frames, null where a frame lacks it.

    See `with_common_dtypes`.
    """
    return pl.concat(with_common_dtypes(frames, what, only_numbers), how="diagonal")


def with_common_dtypes(
    frames: Sequence[pl.DataFrame], what: str = "the tables", only_numbers: bool = False
) -> list[pl.DataFrame]:
    """The frames with the common dtype of all frames in every column.

    Args:
        frames: with any columns.
        what: the frames, for messages.
        only_numbers: whether only numeric columns may have several dtypes.

    Raises:
        ValueError: a column has incompatible dtypes, or a number would not be the same in the common dtype.
    """
    dtypes: dict[str, list[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            if dtype not in dtypes.setdefault(name, []):
                dtypes[name].append(dtype)
    changed = {}
    for name, found in dtypes.items():
        common = _of_numbers(name, found) or common_dtype(found)
        others = {*found} - {pl.Null(), common}
        if common is None or (only_numbers and others and not all(dtype.is_numeric() for dtype in (*others, common))):
            raise InputError(f"Column {name!r} has incompatible dtypes in {what}: {listed(found)}. {_REMEDY}")
        if len(found) > 1:
            changed[name] = common
    return [cast_columns(frame, changed, what) for frame in frames]


def _of_numbers(name: str, dtypes: Sequence[pl.DataType]) -> pl.DataType | None:
    """The common dtype of numbers in `numeric_value`: a float, since Float32 is what they end as."""
    if name != NUMERIC_VALUE or len(dtypes) < 2 or not all(dtype.is_numeric() for dtype in dtypes):
        return None
    return pl.Float64()


def cast_columns(frame: pl.DataFrame, dtypes: Mapping[str, pl.DataType], what: str) -> pl.DataFrame:
    """The frame with some columns in other dtypes; see `cast_exactly`. `numeric_value` may lose digits."""
    others = [frame[name] for name, dtype in frame.schema.items() if dtype != dtypes.get(name, dtype)]
    if not others:
        return frame  # to change nothing would take a query all the same
    return frame.with_columns(
        values.cast(dtypes[values.name])
        if values.name == NUMERIC_VALUE
        else cast_exactly(values, dtypes[values.name], what)
        for values in others
    )


def cast_exactly(values: pl.Series, dtype: pl.DataType, what: str) -> pl.Series:
    """The values as another dtype.

    Raises:
        ValueError: an integer would not be the same number; the message shows it.
    """
    if not (values.dtype.is_integer() and dtype.is_numeric()):
        return values.cast(dtype)
    cast = values.cast(dtype, strict=False)
    if (bad := (cast.cast(values.dtype, strict=False) != values).fill_null(True) & values.is_not_null()).any():
        raise InputError(
            f"Column {values.name!r} has incompatible dtypes in {what}: {values.filter(bad)[0]} ({values.dtype}) is "
            f"not the same number in {dtype}, the dtype that would hold the others. {_REMEDY}"
        )
    return cast


def common_dtypes(
    key: Sequence[str], data: Mapping[str, pl.DataType], code_metadata: Mapping[str, pl.DataType]
) -> dict[str, pl.DataType]:
    """Dtypes for the key's columns that hold the values of both the data and the code metadata.

    As `common_dtype`, and categories become text.

    Raises:
        ValueError: a column has incompatible dtypes.
    """
    types = {}
    for column in key:
        found = [schema[column] for schema in (data, code_metadata)]
        common = common_dtype([pl.String() if is_text(dtype) else dtype for dtype in found])
        if common is None:
            raise InputError(
                f"The column {column} is {found[0]} in the data and {found[1]} in the code metadata: give it the same "
                "dtype in both."
            )
        types[column] = common
    return types
