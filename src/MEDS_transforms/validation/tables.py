"""Opens files of a dataset; those that cannot be read become findings."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import first_line
from ..work.files import is_complete_parquet_file
from .findings import Findings
from .shard_rows import UNREADABLE


@contextmanager
def readable(path: Path, where: str, findings: Findings) -> Iterator[None]:
    """Adds a finding where a file cannot be read inside."""
    try:
        yield
    except UNREADABLE as error:
        findings.add("unreadable", where, f"It cannot be read: {why_unreadable(path, error)}")


def why_unreadable(path: Path, error: Exception) -> str:
    """Why a parquet file cannot be read: in the same words for all files of which it is the same."""
    if isinstance(error, UnicodeEncodeError):
        return "its name, or that of a folder, is not UTF-8; rename it"
    if path.is_symlink() and not path.exists():
        return "it is a link to nothing"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # the words of pyarrow have the path
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as refused:
        return str(refused.strerror or refused)
    if not begins:
        return "it has no bytes"
    if begins != b"PAR1":
        return "it is no parquet file"
    if not is_complete_parquet_file(path):
        return "its end is missing; it is truncated, or just being written"
    return f"it is damaged ({first_line(str(error)).rstrip('.')})"


def read_schema(path: Path) -> tuple[pa.Schema, int]:
    """The arrow schema of a parquet file, and the number of its rows."""
    with pq.ParquetFile(path) as file:
        return file.schema_arrow, file.metadata.num_rows


def read_columns(
    path: Path, wanted: Callable[[pa.Schema], Sequence[str]], where: str, findings: Findings
) -> pl.DataFrame | None:
    """Some columns of a parquet file, which depend on its schema; None if there are none or they cannot be read."""
    with readable(path, where, findings), pq.ParquetFile(path) as file:
        names = wanted(file.schema_arrow)
        if names:
            found = file.read(columns=[*names])
            found.validate(full=True)  # that text is UTF-8, which polars takes for granted
            # Without metadata, which polars reads as well, and which may be damaged.
            return pl.DataFrame(pa.table({name: found[name] for name in names}))
    return None
