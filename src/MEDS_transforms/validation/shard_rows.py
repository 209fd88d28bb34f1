"""Reads a few rows of shards, by their numbers, to show them; and shows times."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..dataset.schema import CODE, SUBJECT_ID, TIME

UNREADABLE = (OSError, pa.ArrowException, UnicodeError)
"""What pyarrow raises where a parquet file cannot be read."""

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Row:
    """A row of a shard: its file, its number from 0 on, and its values; None where they cannot be read."""

    file: str
    row: int
    subject_id: Any = None
    time: str | None = None
    code: str | None = None

    def __str__(self) -> str:
        when = "static" if self.time is None else self.time
        code = self.code if self.code is None or self.code.isprintable() else repr(self.code)
        return f"{self.file} row {self.row}: subject {self.subject_id}, {when}, {code}"


def read_rows(root: Path, places: Iterable[tuple[str, int]]) -> Iterator[Row]:
    """The rows at these places: files below the root, and numbers of rows."""
    for file, row in places:
        values = {}
        with suppress(*UNREADABLE):  # of a damaged file
            values = _values(root / file, row)
        yield Row(file, row, values.get(SUBJECT_ID), values.get(TIME), values.get(CODE))


def _values(path: Path, row: int) -> dict[str, Any]:
    """The values of a row, of which only the part of the file around it is read."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < rows:
                return _in_group(file, group, row)
            row -= rows
    return {}


def _in_group(file: pq.ParquetFile, group: int, row: int) -> dict[str, Any]:
    names = [name for name in (SUBJECT_ID, TIME, CODE) if name in file.schema_arrow.names]
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names):
        if row < batch.num_rows:
            return {name: _python(batch.column(name)[row]) for name in names}
        row -= batch.num_rows
    return {}


def _python(value: pa.Scalar) -> Any:
    if not pa.types.is_timestamp(value.type) or not value.is_valid:
        return value.as_py()
    return time_text(value.cast(pa.timestamp("us", value.type.tz), safe=False).value)


def time_text(microseconds: int) -> str:
    """A time, given in microseconds since 1970, as text.

    >>> time_text(0), time_text(2**60)  # Python itself knows no year after 9999
    ('1970-01-01 00:00:00', '38504-08-17 21:30:06.846976')
    """
    try:
        return str(datetime(1970, 1, 1) + timedelta(microseconds=microseconds))
    except OverflowError:
        return str(np.datetime64(microseconds, "us")).replace("T", " ").removeprefix("+")
