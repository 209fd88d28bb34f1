"""Reading and writing shards."""

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import polars as pl

from ..work.files import is_complete, is_complete_parquet_file, publish, scratch_path

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Frame",
    "is_complete",
    "is_complete_parquet_file",
    "publish",
    "scan_parquet",
    "scratch_path",
    "write_arrow",
    "write_lazyframe",
    "write_parquet",
]

Frame: TypeAlias = pl.DataFrame | pl.LazyFrame

_ROW_GROUP_ROWS = 100_000
"""Row groups are encoded side by side, on all cores, if there are several: polars' default of 262,144 is too large."""


def scan_parquet(path: Path) -> pl.LazyFrame:
    """A lazy scan of one file. NOTE: names such as `[0-10).parquet` are globs to polars unless told otherwise."""
    return pl.scan_parquet(path, glob=False)


def write_parquet(df: Frame, path: Path, fast: bool = False) -> None:
    """Writes a frame to `path` as it is. `fast` is for files between stages: larger, and quicker to write."""
    if isinstance(df, pl.LazyFrame):
        df = df.collect()
    path.parent.mkdir(parents=True, exist_ok=True)
    codec: Literal["lz4", "zstd"] = "lz4" if fast else "zstd"
    df.write_parquet(path, compression=codec, statistics=not fast, row_group_size=_ROW_GROUP_ROWS)


def write_lazyframe(df: Frame, out_fp: Path) -> None:
    """Writes a lazy or eager frame as parquet (zstd), making the folder where there is none."""
    write_parquet(df, Path(out_fp))


def write_arrow(df: pl.DataFrame, schema: "pa.Schema", path: Path) -> None:
    """Writes a frame as parquet (zstd) with exactly this arrow schema.

    NOTE: polars alone writes every text column as large_string. The two types have the same bytes on disk; what
    an arrow reader makes of them is said in the file's metadata. There pyarrow's own writer, which needs one core
    alone and half as long again, stands in should polars ever not write what it is told.
    """
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    # One chunk per column: how a frame lies in memory must not show in the bytes on disk.
    df = df.select(schema.names).rechunk()
    metadata = {"ARROW:schema": b64encode(schema.serialize()).decode()}
    df.write_parquet(path, compression="zstd", row_group_size=_ROW_GROUP_ROWS, metadata=metadata)
    if not pq.read_schema(path).equals(schema):
        pq.write_table(df.to_arrow().cast(schema), path, compression="zstd")
