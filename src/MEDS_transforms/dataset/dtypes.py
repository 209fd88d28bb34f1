"""Common dtypes for columns of several frames."""

from collections.abc import Mapping, Sequence

import polars as pl

from ..errors import InputError, listed

TEXT_DTYPES = (pl.String, pl.Categorical, pl.Enum)


def concat_meeting(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Concatenates the frames; columns of the same name get their common supertype, or text if any of them is text."""
    dtypes: dict[str, list[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            if dtype not in dtypes.setdefault(name, []):
                dtypes[name].append(dtype)
    targets = {name: _meeting_dtype(name, found) for name, found in dtypes.items() if len(found) > 1}
    cast = [f.cast({n: t for n, t in targets.items() if n in f.columns}) for f in frames]
    return pl.concat(cast, how="diagonal")


def _meeting_dtype(name: str, dtypes: list[pl.DataType]) -> pl.DataType:
    if any(dtype in TEXT_DTYPES for dtype in dtypes) and not all(
        dtype in (pl.Categorical, pl.Null) for dtype in dtypes
    ):
        return pl.String()
    empty = [pl.DataFrame(schema={name: dtype}) for dtype in dtypes]
    try:
        met = pl.concat(empty, how="vertical_relaxed").schema[name]
    except pl.exceptions.SchemaError:
        raise InputError(f"The column {name!r} has dtypes that cannot be combined: {listed(dtypes)}.") from None
    # For signed and unsigned 64-bit integers some versions of polars choose 128 bits, which parquet cannot store.
    return pl.Float64() if met == pl.Int128 else met


def meeting_types(
    key: Sequence[str], data: Mapping[str, pl.DataType], code_metadata: Mapping[str, pl.DataType]
) -> dict[str, pl.DataType]:
    """Dtypes for the key's columns that hold the values of both the data and the code metadata.

    A column of dtype Null takes that of the other; numbers take a wider dtype; categories, and numbers with text,
    become text.

    Raises:
        ValueError: a column has dtypes that cannot be combined.
    """
    types = {}
    for column in key:
        found = [schema[column] for schema in (data, code_metadata)]
        plain = [pl.String() if dtype in (pl.Categorical, pl.Enum) else dtype for dtype in found]
        empty = [pl.DataFrame(schema={column: dtype}) for dtype in plain]
        try:
            types[column] = pl.concat(empty, how="vertical_relaxed").schema[column]
        except pl.exceptions.PolarsError as error:
            raise InputError(
                f"The column {column} is {found[0]} in the data and {found[1]} in the code metadata: give it the same "
                "dtype in both."
            ) from error
    return types
