"""The dtypes in which columns of several frames meet."""

from collections.abc import Mapping, Sequence

import polars as pl

from ..errors import listed

TEXT_DTYPES = (pl.String, pl.Categorical, pl.Enum)


def concat_meeting(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """The frames one below the other; columns of one name meet in their common supertype, and text wins."""
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
        raise ValueError(f"The column {name!r} has dtypes that cannot meet: {listed(dtypes)}.") from None
    # Signed and unsigned 64-bit integers: some versions of polars go to 128 bits, which parquet cannot store.
    return pl.Float64() if met == pl.Int128 else met


def meeting_types(
    key: Sequence[str], data: Mapping[str, pl.DataType], code_metadata: Mapping[str, pl.DataType]
) -> dict[str, pl.DataType]:
    """The dtypes in which the key's columns in the data and in the code metadata hold the values of both.

    A column without a dtype takes the other's; numbers meet in a wider dtype, categories and numbers with text in text.

    Raises:
        ValueError: a column has dtypes that do not meet.
    """
    types = {}
    for column in key:
        found = [schema[column] for schema in (data, code_metadata)]
        plain = [pl.String() if dtype in (pl.Categorical, pl.Enum) else dtype for dtype in found]
        empty = [pl.DataFrame(schema={column: dtype}) for dtype in plain]
        try:
            types[column] = pl.concat(empty, how="vertical_relaxed").schema[column]
        except pl.exceptions.PolarsError as error:
            raise ValueError(
                f"The column {column} is {found[0]} in the data and {found[1]} in the code metadata: give it the same "
                "dtype in both."
            ) from error
    return types
