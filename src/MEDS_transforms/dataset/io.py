"""Reading and writing shards."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import polars as pl

from ..settings.layout import DATA_DIR, METADATA_DIR
from ..work.files import is_complete, is_complete_parquet_file, publish, scratch_path
from .columns import column, columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Frame",
    "codes_writer",
    "few_at_a_time",
    "is_complete",
    "is_complete_parquet_file",
    "publish",
    "scan_parquet",
    "scratch_path",
    "shard_writer",
    "write_arrow",
    "write_lazyframe",
    "write_parquet",
]

Frame: TypeAlias = pl.DataFrame | pl.LazyFrame

_ROW_GROUP_ROWS = 100_000
"""Rows per row group. Groups are encoded in parallel; polars' default of 262,144 leaves too few groups for that."""
_FILES_AT_A_TIME = 10
_ZSTD_LEVEL = 1
"""Takes five sixths of the time of polars' default, 3, for files that are a tenth larger."""


def scan_parquet(path: Path) -> pl.LazyFrame:
    """A lazy scan of one file. NOTE: by default polars takes names such as `[0-10).parquet` for globs."""
    return pl.scan_parquet(path, glob=False)


def few_at_a_time(frames: Sequence[pl.LazyFrame]) -> Iterator[pl.LazyFrame]:
    """Queries of one schema, each with the rows of a few of them: of 200 large files at once polars holds over 1 GB."""
    yield from (pl.concat(frames[at : at + _FILES_AT_A_TIME]) for at in range(0, len(frames), _FILES_AT_A_TIME))


def write_parquet(df: Frame, path: Path, fast: bool = False) -> None:
    """Writes a frame to `path`. `fast` is for files between stages: they are larger, and quicker to write.

    The same rows give the same bytes, however they are laid out in memory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(df.collect() if isinstance(df, pl.LazyFrame) else df, path, fast)


def write_parquets(frames: Mapping[Path, pl.DataFrame], fast: bool = False) -> None:
    """Writes frames as `write_parquet`, all at the same time: small ones take longer one after the other."""
    queries = []
    for path, df in frames.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        queries.append(_with_lists_anew(df).lazy().sink_parquet(path, **_options(fast), lazy=True))
    pl.collect_all(queries)


def encode(df: pl.DataFrame, target: Path | IO[bytes], fast: bool = False) -> None:
    """Writes a frame to a file as `write_parquet`; the folder is there."""
    _with_lists_anew(df).write_parquet(target, **_options(fast))


def _options(fast: bool) -> dict[str, Any]:
    codec, level = ("lz4", None) if fast else ("zstd", _ZSTD_LEVEL)
    return {
        "compression": codec,
        "compression_level": level,
        "statistics": not fast,
        "row_group_size": _ROW_GROUP_ROWS,
    }


def _with_lists_anew(df: pl.DataFrame) -> pl.DataFrame:
    """The frame with its nested columns copied.

    NOTE: polars cuts lists into pages by the memory that they take, and so where their chunks end, and where lists that
    were dropped have left their items. Other columns are the same bytes in any layout.
    """
    nested = [name for name, dtype in df.schema.items() if dtype.is_nested()]
    return df.with_columns(column(name).gather(pl.int_range(pl.len())) for name in nested) if nested else df


def write_lazyframe(df: Frame, out_fp: Path) -> None:
    """Writes a lazy or eager frame as parquet (zstd); creates the folder if needed."""
    write_parquet(df, Path(out_fp))


def shard_writer(folder: Path) -> Callable[[Frame, Path], None]:
    """How shards in a folder are written.

    Those of a finished dataset (`data/`): small, with the arrow types of MEDS. Those between stages: fast.
    """
    if folder.name != DATA_DIR:
        return partial(write_parquet, fast=True)
    from .arrow import write_measurements  # with it pyarrow, which no other folder needs

    return write_measurements


def codes_writer(folder: Path) -> Callable[[pl.DataFrame, Path], None]:
    """How `codes.parquet` is written in a folder: in that of a dataset (`metadata/`) with the arrow types of MEDS."""
    if folder.name != METADATA_DIR:
        return write_parquet
    from .arrow import write_codes  # as above

    return write_codes


def write_arrow(df: pl.DataFrame, schema: "pa.Schema", path: Path) -> None:
    """Writes a frame as parquet (zstd) with exactly this arrow schema.

    NOTE: by itself polars writes every text column as large_string. Both types have the same bytes on disk; the
    file's metadata tell an arrow reader which of them to use. If polars should ever not write these metadata as
    given, pyarrow's writer is used instead; it uses one core only and takes half as long again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # One chunk per column: the bytes on disk must not depend on how the frame is laid out in memory.
    df = _with_lists_anew(df.select(columns(schema.names))).rechunk()
    metadata = {"ARROW:schema": b64encode(schema.serialize()).decode()}
    df.write_parquet(
        path, compression="zstd", compression_level=_ZSTD_LEVEL, row_group_size=_ROW_GROUP_ROWS, metadata=metadata
    )
    if pl.read_parquet_metadata(path).get("ARROW:schema") != metadata["ARROW:schema"]:
        import pyarrow.parquet as pq

        pq.write_table(df.to_arrow().cast(schema), path, compression="zstd", compression_level=_ZSTD_LEVEL)
