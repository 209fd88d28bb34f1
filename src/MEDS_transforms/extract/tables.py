"""The former functions for finding and scanning a raw table; the stages use `raw.table`."""

import logging
from collections.abc import Callable
from pathlib import Path

import polars as pl

from ..errors import MissingInputError, listed, nearest
from ..settings.layout import TABLE_SUFFIXES
from ..work.raw_tables import tables_to_name

logger = logging.getLogger(__name__)

ScanFn = Callable[..., pl.LazyFrame]


def scan_csv(path: Path, **options: object) -> pl.LazyFrame:
    """A lazy scan of a csv file, compressed or not."""
    return pl.scan_csv(path, glob=False, **options)  # type: ignore[arg-type]


def scan_table(path: Path) -> pl.LazyFrame:
    """A lazy scan of a parquet file."""
    return pl.scan_parquet(path, glob=False)


READERS: dict[str, ScanFn] = {
    suffix: scan_csv if suffix.startswith(".csv") else scan_table for suffix in TABLE_SUFFIXES
}
"""The reader of each format of release 0.1; if a table exists in several, the first of these is read."""


def get_supported_fp(root_dir: Path, file_prefix: str | Path) -> tuple[Path, ScanFn]:
    """The file of a table below `root_dir`, in a format of release 0.1, and the function that scans it.

    Raises:
        FileNotFoundError: there is no such table in a supported format; the message names the folder and the most
            similar table.
    """
    root_dir = Path(root_dir)
    stem = root_dir / file_prefix
    found = [suffix for suffix in READERS if stem.with_name(stem.name + suffix).is_file()]
    if not found:
        there = tables_to_name(root_dir)
        formats, near = ", ".join(READERS), nearest(str(file_prefix), there)
        raise MissingInputError(
            f"There is no table {file_prefix} ({formats}) below {root_dir}{near}. Tables there: {listed(there)}."
        )
    if len(found) > 1:
        logger.warning("%s: %s is read, %s skipped", file_prefix, found[0], listed(found[1:]))
    return stem.with_name(stem.name + found[0]), READERS[found[0]]
