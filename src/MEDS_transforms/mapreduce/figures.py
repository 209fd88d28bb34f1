"""How many measurements, subjects and codes there are in the shards that a stage reads, or has written."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.footers import rows_in
from ..dataset.io import few_at_a_time, scan_parquet
from ..dataset.schema import CODE, SUBJECT_ID
from ..work.accounts import Account

FILES, ROWS, SUBJECTS, CODES = "files", "rows", "subjects", "codes"

_SUFFIX = ".parquet"


def count_data(paths: Sequence[Path]) -> Account:
    """The files, rows, distinct subjects and distinct codes of some shards; what their columns cannot tell is left out.

    Of tokenized shards only files and subjects: to read codes that are in lists takes longer than the rest of it.

    NOTE: two queries take less time than one with both counts.
    """
    scans = [scan_parquet(path) for path in paths if path.suffix == _SUFFIX]
    schemas = [scan.collect_schema() for scan in scans]
    dtypes = {name: _dtypes(schemas, name) for name in (SUBJECT_ID, CODE)}
    figures: Account = {FILES: len(scans)}
    if not any(isinstance(dtype, pl.List) for dtype in dtypes[CODE]):
        figures[ROWS] = sum(rows_in(path) for path in paths if path.suffix == _SUFFIX)
    for figure, name in ((SUBJECTS, SUBJECT_ID), (CODES, CODE)):
        if dtypes[name] and not any(dtype.is_nested() for dtype in dtypes[name]):
            column = pl.col(name) if len(dtypes[name]) == 1 else pl.col(name).cast(pl.String)
            values = [scan.select(column) for scan in scans]
            if name == SUBJECT_ID:
                values = [_without_runs(frame, name) for frame in values]
            found = [few.unique().collect(engine="streaming") for few in few_at_a_time(values)]
            figures[figure] = int(pl.concat(found).select(_distinct(name)).item())
    return dict(in_order(figures))


def _without_runs(frame: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """The rows whose value is another one than in the row before: of sorted ids few, so that they are soon counted."""
    return frame.filter(pl.col(name).ne_missing(pl.col(name).shift(1)))


def _dtypes(schemas: Sequence[pl.Schema], name: str) -> set[pl.DataType]:
    """The dtypes of a column; nothing where a shard lacks it."""
    return {schema[name] for schema in schemas} if all(name in schema for schema in schemas) else set()


def count_rows(paths: Sequence[Path]) -> Account:
    """The files and rows of some shards, by their footers alone."""
    return {FILES: len(paths), ROWS: sum(map(rows_in, paths))}


def in_order(figures: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Figures with their names, in the same order always."""
    yield from ((name, figures[name]) for name in (FILES, ROWS, SUBJECTS, CODES) if name in figures)


def count_codes(codes: pl.DataFrame) -> Account:
    """The rows and distinct codes of a table of code metadata."""
    return {ROWS: codes.height, CODES: codes.select(_distinct(CODE)).item()}


def _distinct(column: str) -> pl.Expr:
    """The number of distinct values that are not null. NOTE: without the nulls taken out first, which takes longer."""
    return pl.col(column).n_unique() - (pl.col(column).null_count() > 0)
