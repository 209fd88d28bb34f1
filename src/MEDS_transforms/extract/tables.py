"""Finds and reads the raw tables."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ..dataset.columns import column
from ..dataset.dtypes import WIDE_INTEGERS
from ..dataset.io import scan_parquet
from ..errors import InputError, MissingInputError, UserError, listed, nearest
from ..settings.layout import TABLE_SUFFIXES
from ..work.files import files_below

logger = logging.getLogger(__name__)

ScanFn = Callable[..., pl.LazyFrame]


def scan_csv(path: Path, **options: object) -> pl.LazyFrame:
    """A lazy scan of a csv file, compressed or not."""
    return pl.scan_csv(path, glob=False, **options)  # type: ignore[arg-type]


def scan_table(path: Path) -> pl.LazyFrame:
    """A lazy scan of a parquet file. NOTE: integers of more than 64 bits, which only polars can read, become text."""
    frame = scan_parquet(path)
    too_wide = [name for name, dtype in frame.collect_schema().items() if dtype in WIDE_INTEGERS]
    return frame.with_columns(column(name).cast(pl.String) for name in too_wide) if too_wide else frame


READERS: dict[str, ScanFn] = {
    suffix: scan_csv if suffix.startswith(".csv") else scan_table for suffix in TABLE_SUFFIXES
}
"""The reader of each format."""


def get_supported_fp(root_dir: Path, file_prefix: str | Path) -> tuple[Path, ScanFn]:
    """The file of a table below `root_dir` and the function that scans it.

    Raises:
        FileNotFoundError: there is no such table in a supported format; the message names the folder and the most
            similar table.
    """
    root_dir = Path(root_dir)
    stem = root_dir / file_prefix
    found = [suffix for suffix in READERS if stem.with_name(stem.name + suffix).is_file()]
    if not found:
        there = find_tables(root_dir)
        formats, near = ", ".join(READERS), nearest(str(file_prefix), there)
        raise MissingInputError(
            f"There is no table {file_prefix} ({formats}) below {root_dir}{near}. Tables there: {listed(there)}."
        )
    if len(found) > 1:
        logger.warning("%s: %s is read, %s skipped", file_prefix, found[0], listed(found[1:]))
    return stem.with_name(stem.name + found[0]), READERS[found[0]]


def find_tables(root_dir: Path, apart_from: Iterable[Path] = ()) -> set[str]:
    """The names of all tables below a folder: their paths without suffix. Folders in `apart_from` are skipped."""
    names = set()
    for path in files_below(root_dir, apart_from):
        if suffix := next((s for s in READERS if path.name.endswith(s)), None):
            names.add(path.relative_to(root_dir).as_posix().removesuffix(suffix))
    return names


def is_csv(path: Path) -> bool:
    """Whether a table is text, whose dtypes are inferred."""
    return READERS[next(s for s in READERS if path.name.endswith(s))] is scan_csv


@contextmanager
def reading(name: str, path: Path, misfit: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Turns what polars raises for an unreadable table into a ValueError that says what to do.

    `misfit` looks for the value that polars could not read, and says what is wrong with it. What the system refuses,
    such as permission, passes as it is.
    """
    try:
        yield
    except pl.exceptions.NoDataError:
        raise InputError(empty_table(name, path)) from None
    except pl.exceptions.PolarsError as error:
        raise InputError(misfit() or unreadable_table(name, path, error)) from None
    except OSError as error:
        # NOTE: polars raises a bare OSError for a compressed file that is truncated or has a wrong checksum.
        if error.errno is not None or isinstance(error, UserError):
            raise
        raise InputError(unreadable_table(name, path, error)) from None


def empty_table(name: str, path: Path) -> str:
    """The message for a table without rows, header or bytes."""
    return f"The table {name} ({path}) is empty. If that is intended, remove it from the event conversion file."


def unreadable_table(name: str, path: Path, error: Exception) -> str:
    """The message for a table that polars cannot read."""
    first_line = str(error).split("\n")[0].rstrip(".")
    remedy = "Quote fields that contain commas or line breaks, or correct the row."
    if path.stat().st_size == 0:
        return empty_table(name, path)
    if isinstance(error, OSError) or not is_csv(path):
        remedy = "The file is damaged, truncated or in another format: get a new copy."
    elif "utf-8" in first_line.lower():
        remedy = "Save the file as UTF-8."
    return f"The table {name} ({path}) cannot be read: {first_line}. {remedy}"
