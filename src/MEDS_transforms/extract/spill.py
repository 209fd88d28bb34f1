"""Rows on disk for a while: written a batch at a time, each as groups of rows, and read a group at a time.

A batch is one file of Arrow's IPC format, with a record batch for each group. A parquet file for each group takes
several times as long to write and to read.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ..dataset.columns import column
from ..dataset.dtypes import is_text

if TYPE_CHECKING:
    import pyarrow as pa


class Spill:
    """Batches of rows in a folder.

    NOTE: pyarrow is imported where it is needed: most chunks are written at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schema = pl.Schema()
        """The columns of all groups."""
        self.paths: list[Path] = []

    def write(self, groups: Iterable[pl.DataFrame]) -> None:
        """Writes a batch; its groups have the same columns and dtypes, as have those of the other batches.

        NOTE: a file holds one dictionary for each column, so that categories become text.
        """
        import pyarrow as pa

        path = self.folder / f"{len(self.paths)}.arrow"
        with ExitStack() as opened:
            writer: pa.ipc.RecordBatchFileWriter | None = None
            for rows in groups:
                self.schema = rows.schema
                texts = [name for name, dtype in rows.schema.items() if is_text(dtype)]  # not as categories
                table = _with_dtypes(rows, dict.fromkeys(texts, pl.String())).to_arrow()
                if writer is None:
                    options = pa.ipc.IpcWriteOptions(compression="lz4")
                    writer = opened.enter_context(pa.ipc.new_file(path, table.schema, options=options))
                for batch in table.combine_chunks().to_batches() or [_nothing(table.schema)]:
                    writer.write_batch(batch)
        self.paths.append(path)

    def groups(self) -> Iterator[pl.DataFrame]:
        """The rows of each group, those of all batches one after the other."""
        import pyarrow as pa

        with ExitStack() as opened:
            files = [opened.enter_context(pa.OSFile(str(path))) for path in self.paths]
            readers = [pa.ipc.open_file(file) for file in files]
            for group in range(readers[0].num_record_batches):
                rows = pl.from_arrow(pa.Table.from_batches([reader.get_batch(group) for reader in readers]))
                assert isinstance(rows, pl.DataFrame)
                yield _with_dtypes(rows, self.schema)


def _with_dtypes(rows: pl.DataFrame, dtypes: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The rows with some columns in other dtypes. NOTE: to change none would take a query all the same."""
    changed = [column(name).cast(dtype) for name, dtype in dtypes.items() if rows.schema[name] != dtype]
    return rows.with_columns(changed) if changed else rows


def _nothing(schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
