"""Cuts the raw tables into chunks of consecutive rows, keeping only the columns that some event needs.

Every table of the event conversion file is read once, from first to last row, in memory that depends neither on
its size nor on that of the chunks. Row order stays. Workers share the tables.

Input: tables (`.parquet`, `.par`, `.csv`, `.csv.gz`) below `data_input_dir`, which is `input_dir` unless set.
Output: `<output_dir>/<table>/[<start>-<end>).parquet` with the rows `start` (included) to `end` (not included).
The dtypes of a csv's columns are inferred.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..cli.script import stage_script
from ..dataset.columns import INTERNAL, column, columns, internal
from ..dataset.dtypes import WIDE_INTEGERS
from ..dataset.io import is_complete_parquet_file, write_parquet
from ..errors import InputError, MissingInputError, Problems, listed, nearest
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import shuffle_shards
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import config_value
from ..work.claims import Staged, Unit
from ..work.outputs import StageOutputs
from ..work.sources import Source
from .chunks import chunk_name, find_chunks
from .event_config import META_KEYS, Table, metadata_tables, read_event_config
from .events import wrong_dtypes
from .tables import READERS, empty_table, find_tables, get_supported_fp, is_csv, reading, scan_csv

__all__ = ["META_KEYS", "main", "run"]

logger = logging.getLogger(__name__)

_BATCH_ROWS = 250_000
_HELD_ROWS = 1_000_000


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where event conversion file and tables show that they cannot become measurements."""
    stage_cfg = cfg["stage_cfg"]
    tables = read_event_config(config_value(cfg, "event_conversion_config_fp"))
    input_dir, rows = Path(stage_cfg["data_input_dir"]), stage_cfg["infer_schema_length"]
    frames = open_tables(tables, input_dir, Path(cfg["cohort_dir"]), rows)
    problems = Problems("Tables cannot become measurements")
    for name, (_, frame) in frames.items():
        problems.found += wrong_dtypes(tables[name], frame.collect_schema())
    problems.raise_if_any()


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg = cfg["stage_cfg"]
    input_dir, output_dir = Path(stage_cfg["data_input_dir"]), Path(stage_cfg["output_dir"])
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    tables = read_event_config(event_config_fp)
    frames = open_tables(tables, input_dir, Path(cfg["cohort_dir"]), stage_cfg["infer_schema_length"])
    sources = {"tables": Source.of_files(*(path for path, _ in frames.values()))}
    columns = {"columns": {name: table.columns for name, table in tables.items()}}
    outputs = stage_outputs(cfg, sources, own_folder=output_dir, settings=columns, watched=[event_config_fp])
    units = {
        name: _table_unit(name, frame, path, outputs, output_dir / name, stage_cfg["row_chunksize"])
        for name, (path, frame) in frames.items()
    }
    with outputs.being_made([*units.values()]):
        map_units([units[name] for name in shuffle_shards(list(units), cfg)])


def open_tables(
    tables: Mapping[str, Table], input_dir: Path, cohort_dir: Path, infer_schema_length: int | None
) -> dict[str, tuple[Path, pl.LazyFrame]]:
    """The file of every table and a lazy frame of the columns that its events need.

    Raises:
        FileNotFoundError: a table is missing, or there is none at all.
        ValueError: tables lack columns, are empty or cannot be read; the message lists them all.
    """
    there = find_tables(input_dir, [cohort_dir])
    if skipped := there - set(tables) - set(metadata_tables(tables)):
        logger.warning("Not in the event conversion file, skipped: %s", listed(skipped))
    missing, problems = (
        Problems("Tables of the event conversion file are missing"),
        Problems("Tables cannot be used"),
    )
    frames = {}
    for name, table in tables.items():
        try:
            path, scan = get_supported_fp(input_dir, name)
            with reading(name, path):
                frame = _scan_typed_csv(path, infer_schema_length) if is_csv(path) else scan(path)
                _check_columns(table, path, frame.collect_schema().names(), problems)
            frames[name] = (path, frame.select(columns(table.columns)))
        except MissingInputError as error:
            missing.add(str(error))
        except InputError as error:
            problems.add(str(error))
    if not there and not frames:
        raise MissingInputError(f"There are no tables ({', '.join(READERS)}) below {input_dir}. Check input_dir.")
    missing.raise_if_any(MissingInputError)
    problems.raise_if_any()
    return frames


def _scan_typed_csv(path: Path, infer_schema_length: int | None) -> pl.LazyFrame:
    """NOTE: whole numbers of more than 64 bits make polars infer Int128, which no file can hold; they stay text."""
    frame = scan_csv(path, infer_schema_length=infer_schema_length)
    too_wide = [name for name, dtype in frame.collect_schema().items() if dtype in WIDE_INTEGERS]
    if not too_wide:
        return frame
    as_text = dict.fromkeys(too_wide, pl.String)
    return scan_csv(path, infer_schema_length=infer_schema_length, schema_overrides=as_text)


def _check_columns(table: Table, path: Path, there: list[str], problems: Problems) -> None:
    for event in table.events:
        for part in event.code:
            if not part.is_column and part.text in there:
                logger.warning(
                    "%s.code: %s is taken as literal text, but %s also has a column of that name; if you mean its "
                    "values, write col(%s)",
                    *(event.path, part.text, path, part.text),
                )
    wanted = [(f"{e.path}.{key}", name) for e in table.events for name, key in e.columns.items()]
    for key, name in [(f"{table.name}.subject_id_col", table.subject_id_col), *wanted]:
        if name.startswith(INTERNAL):
            problems.add(f"{key}: the column {name!r} starts with U+E000, which this package reserves; rename it")
        if name not in there:
            problems.add(
                f"{key}: the table {path} has no column {name!r}{nearest(name, there)}. It has: {listed(there)}"
            )


def _table_unit(
    name: str, frame: pl.LazyFrame, path: Path, outputs: StageOutputs, folder: Path, row_chunksize: int
) -> Unit:
    """The unit of work that cuts one table. How many chunks it gives is known only at its end."""

    def make(scratch: Path) -> Staged:
        rows = write_chunks(_batches(name, frame, path), row_chunksize, scratch)
        if rows == 0:
            raise InputError(empty_table(name, path))
        logger.info("%s: %d rows", name, rows)
        return {folder / chunk.path.name: chunk.path for chunk in find_chunks(scratch)}

    def existing() -> list[Path]:
        chunks = [chunk.path for chunk in find_chunks(folder)]
        return chunks if all(map(is_complete_parquet_file, chunks)) else []

    return outputs.unit(folder, make, path, existing)


def write_chunks(batches: Iterable[pl.DataFrame], row_chunksize: int, folder: Path) -> int:
    """Writes consecutive rows to files of `row_chunksize` rows each; returns how many rows there were."""
    writer = ChunkWriter(folder, row_chunksize)
    for batch in batches:
        writer.add(batch)
    return writer.close()


class ChunkWriter:
    """Takes rows as they come and writes a file for every `row_chunksize` of them.

    A chunk of up to a million rows is written at once, by polars, on all cores. A larger one is appended to a
    million rows at a time, so that memory does not grow with it.
    """

    def __init__(self, folder: Path, row_chunksize: int) -> None:
        self.open_fp = folder / "open.parquet"
        self.row_chunksize = row_chunksize
        self.start = self.end = 0
        self.held: list[pl.DataFrame] = []
        self.n_held = 0
        self.writer: pq.ParquetWriter | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Takes the next rows."""
        while rows.height:
            fitting = rows.head(min(self.row_chunksize - (self.end - self.start), _HELD_ROWS - self.n_held))
            rows = rows.slice(fitting.height)
            self.held.append(fitting)
            self.n_held += fitting.height
            self.end += fitting.height
            if self.end - self.start == self.row_chunksize:
                self._finish_chunk()
            elif self.n_held == _HELD_ROWS:
                self._append()

    def close(self) -> int:
        """Finishes the last chunk; returns how many rows there were."""
        if self.end > self.start:
            self._finish_chunk()
        return self.end

    def _take(self) -> pl.DataFrame:
        rows, self.held, self.n_held = pl.concat(self.held), [], 0
        return rows

    def _append(self) -> None:
        table = self._take().to_arrow().unify_dictionaries()
        self.writer = self.writer or _open_writer(self.open_fp, table.schema)
        self.writer.write_table(table)

    def _finish_chunk(self) -> None:
        if self.writer is None:
            write_parquet(self._take(), self.open_fp, fast=True)
        else:
            if self.held:
                self._append()
            self.writer.close()
        self.open_fp.rename(self.open_fp.with_name(f"{chunk_name(self.start, self.end)}.parquet"))
        self.start, self.writer = self.end, None


def _open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A file to which rows can be appended.

    NOTE: polars 1.x cannot read categorical columns unless all of their pages are dictionary-encoded. Several
    dictionaries in what is written at once would make arrow give that up.
    """
    categorical = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="lz4",
        use_dictionary=categorical,
        write_statistics=False,
    )


def _batches(name: str, frame: pl.LazyFrame, path: Path) -> Iterator[pl.DataFrame]:
    """The rows of a table in order, a few at a time; what polars says of bad ones is made clear."""
    with reading(name, path, misfit=lambda: _first_misfit(path, frame) if is_csv(path) else None):
        yield from frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True)


def _first_misfit(path: Path, frame: pl.LazyFrame) -> str | None:
    """The first value of a csv that does not fit its column's dtype in the frame, in words."""
    with suppress(pl.exceptions.PolarsError, OSError):
        schema = frame.collect_schema()
        texts = scan_csv(path, infer_schema=False).select(columns(schema.names())).with_row_index(internal("row"))
        for name, dtype in schema.items():
            if dtype == pl.String:
                continue
            text = column(name)
            fits = text.str.to_lowercase().is_in(["true", "false"]) if dtype == pl.Boolean else _fits(text, dtype)
            bad = texts.filter(text.is_not_null() & ~fits).select(internal("row"), text).head(1).collect()
            if bad.height:
                row, value = bad.row(0)
                return (
                    f"{path}, column {name!r}, row {row + 1} after the header: {value!r} does not fit {dtype}, the "
                    "dtype inferred from the preceding rows. Raise stage_configs.shard_events.infer_schema_length "
                    "above that row (null: all rows), or correct the value."
                )
    return None


def _fits(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return text.cast(dtype, strict=False).is_not_null()


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
