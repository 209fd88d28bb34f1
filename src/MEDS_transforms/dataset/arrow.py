"""The files of a MEDS dataset as other tools read them: with the arrow types that the MEDS schemas ask for.

NOTE: polars alone writes every text column as large_string, where MEDS wants string for codes and descriptions.
"""

from pathlib import Path

import polars as pl
import pyarrow as pa

from .dtypes import is_text
from .io import Frame, write_arrow, write_parquet
from .measurements import with_meds_dtypes
from .schema import CODE, CODE_METADATA_TYPES, MANDATORY_COLUMNS, MANDATORY_TYPES, SPLIT_TYPES, SUBJECT_ID, TIME


def arrow_type(dtype: pl.DataType) -> pa.DataType:
    """The arrow type on disk of a column of MEDS.

    >>> arrow_type(pl.List(pl.String())), arrow_type(pl.Datetime("us"))
    (ListType(list<item: string>), TimestampType(timestamp[us]))
    """
    if isinstance(dtype, pl.List):
        return pa.list_(arrow_type(dtype.inner))  # type: ignore[arg-type]
    return pa.string() if dtype == pl.String else pl.Series(dtype=dtype).to_arrow().type


_MEASUREMENT_TYPES = {column: arrow_type(MANDATORY_TYPES[column]) for column in MANDATORY_COLUMNS}
_CODE_TYPES = {column: arrow_type(dtype) for column, dtype in CODE_METADATA_TYPES.items()}

SPLITS_SCHEMA = pa.schema([(column, arrow_type(dtype)) for column, dtype in SPLIT_TYPES.items()])
"""The columns of `subject_splits.parquet`."""


def meds_schema(schema: pa.Schema) -> pa.Schema:
    """The arrow schema on disk for measurements with these columns."""
    types = {f.name: pa.large_string() if f.type == pa.string() else f.type for f in schema} | _MEASUREMENT_TYPES
    return pa.schema([(name, types[name]) for name in schema.names])


def codes_schema(codes: pl.DataFrame) -> pa.Schema:
    """The arrow schema on disk for code metadata: string in the columns of MEDS, large_string in the others."""
    return pa.schema([(f.name, _CODE_TYPES.get(f.name, f.type)) for f in codes.head(0).to_arrow().schema])


def write_measurements(df: Frame, path: Path) -> None:
    """Writes a shard of a finished dataset: measurements with the types of MEDS, anything else as it is.

    Numbers instead of codes, as after normalization, are not measurements in the sense of MEDS.
    """
    df = df.lazy().collect()
    if not {SUBJECT_ID, TIME} <= {*df.columns} or not is_text(df.schema.get(CODE)):
        write_parquet(df, path)
        return
    write_meds_data(with_meds_dtypes(df), path)


def write_meds_data(df: pl.DataFrame, path: Path) -> None:
    """Writes measurements that have the dtypes of MEDS, with its arrow types."""
    write_arrow(df, meds_schema(df.head(0).to_arrow().schema), path)


def write_codes(codes: pl.DataFrame, path: Path) -> None:
    """Writes code metadata with the types of MEDS."""
    codes = codes.cast({column: dtype for column, dtype in CODE_METADATA_TYPES.items() if column in codes.columns})
    write_arrow(codes, codes_schema(codes), path)
