"""Reads feather files, which are arrow's files or streams, one batch of rows after the other.

NOTE: polars maps such a file into memory, so that what is read of it counts as memory of the process.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa

from ...dataset.columns import columns

_BATCH_ROWS = 250_000
_FILE = b"ARROW1"
"""What a file begins with, unlike a stream."""


def feather_schema(path: Path) -> dict[str, pl.DataType]:
    """The columns of a file and their dtypes."""
    try:
        with _opened(path) as reader:
            return dict(_frame(reader.schema.empty_table()).schema)
    except pa.ArrowNotImplementedError:
        return dict(pl.scan_ipc(path, glob=False).collect_schema())


def feather_frames(path: Path, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some columns of a file, some rows at a time: not more than there are in a batch of the file."""
    try:
        with _opened(path) as reader:
            there = reader.schema.names
        fields = sorted(there.index(name) for name in names)
        with _opened(path, fields) as reader:
            for batch in _batches(reader):
                yield from _frame(batch).select(columns(names)).iter_slices(_BATCH_ROWS)
    except pa.ArrowNotImplementedError:  # integers of more than 64 bits, which polars alone knows
        scan = pl.scan_ipc(path, glob=False).select(columns(names))
        yield from scan.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True)


@contextmanager
def _opened(path: Path, fields: Sequence[int] | None = None) -> Iterator[pa.ipc.RecordBatchReader]:
    options = pa.ipc.IpcReadOptions(included_fields=fields)
    with pa.OSFile(str(path)) as file:
        is_file = file.read(len(_FILE)) == _FILE
        file.seek(0)
        yield (pa.ipc.open_file if is_file else pa.ipc.open_stream)(file, options=options)


def _batches(reader: pa.ipc.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        return map(reader.get_batch, range(reader.num_record_batches))
    return iter(reader)


def _frame(data: pa.RecordBatch | pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(data)
    assert isinstance(frame, pl.DataFrame)
    return frame
