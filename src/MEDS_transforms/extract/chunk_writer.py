"""Writes consecutive rows as chunks of a table: files of so many rows each."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..dataset.io import write_parquet
from .chunks import chunk_name

_HELD_ROWS = 1_000_000


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
