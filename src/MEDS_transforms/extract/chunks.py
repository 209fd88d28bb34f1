"""The chunks that shard_events cuts a table into: `<table>/[<start>-<end>).parquet`."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import ClassVar

import polars as pl

from ..dataset.io import scan_parquet
from ..errors import MissingInputError, listed
from ..mapreduce.stage_outputs import count_rows
from ..settings.layout import CHUNKS_FILE
from ..work.expected import instead_of
from ..work.files import is_complete_parquet_file

_CHUNK_NAME = re.compile(r"\[(\d+)-(\d+)\)\.parquet")


@dataclass(frozen=True, order=True)
class Chunk:
    """The rows `start` (included) to `end` (not included) of a table, and the file that holds them."""

    start: int
    end: int
    path: Path
    batch_rows: ClassVar[int] = 1_000_000
    """How many rows, or what is made of them, are in memory at the same time, at most."""

    @property
    def rows(self) -> str:
        """The name of the chunk without suffix."""
        return chunk_name(self.start, self.end)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows, some at a time: a batch, or a part of one."""
        scan = scan_parquet(self.path)
        for start in range(0, self.end - self.start, self.batch_rows):
            yield scan.slice(start, self.batch_rows).collect()

    def ends_batch(self, row: int) -> bool:
        """Whether the rows before this one, of the table, are the last of a batch."""
        return row == self.end or (row - self.start) % self.batch_rows == 0


def chunk_name(start: int, end: int) -> str:
    """The name of the chunk with these rows. NOTE: by default polars takes such a name for a glob."""
    return f"[{start}-{end})"


def find_chunks(folder: Path) -> list[Chunk]:
    """The chunk files of one table, in row order; empty if there are none."""
    found = ((_CHUNK_NAME.fullmatch(path.name), path) for path in folder.glob("[[]*.parquet"))
    return sorted(Chunk(int(m[1]), int(m[2]), path) for m, path in found if m)


def complete_chunks(folder: Path, optional: bool = False) -> list[Chunk]:
    """The chunk files of one table, after a check that no rows are missing between them.

    Where shard_events did not write them since they are not kept, they are read from the table. Where another program
    made them, the parquet files of the folder are the chunks, in the order of their names.

    Raises:
        FileNotFoundError: there is no chunk, though the table is not optional, or rows are missing between two chunks.
    """
    if unwritten := instead_of(folder):
        return list(unwritten.chunks())
    chunks = find_chunks(folder) or _parts(folder)
    ends = [0, *(chunk.end for chunk in chunks)]
    for end, chunk in zip(ends, chunks, strict=False):
        if chunk.start != end:
            raise MissingInputError(
                f"In {folder} the rows from {end} to {chunk.start} are missing. Run the stage that writes them again."
            )
    if not chunks and not optional:
        raise MissingInputError(
            f"There are no chunks of the table in {folder}. Run the stage that writes them: shard_events for chunks of "
            "a raw table, convert_to_sharded_events for chunks of events."
        )
    return chunks


def _parts(folder: Path) -> list[Chunk]:
    """The parquet files of a folder as chunks, those that hold rows."""
    paths = sorted(folder.glob("*.parquet"))
    if damaged := [path for path in paths if not is_complete_parquet_file(path)]:
        raise MissingInputError(f"{listed(damaged)} cannot be read: damaged or truncated. Get a new copy.")
    ends = list(accumulate(count_rows(paths), initial=0))
    return [Chunk(start, end, path) for start, end, path in zip(ends[:-1], ends[1:], paths, strict=True) if start < end]


def list_chunks(folder: Path, names: Iterable[str]) -> None:
    """Writes the names of all chunks (`<table>/[<start>-<end>)`) to a folder that will hold pieces of each.

    From this list a later stage can tell whether all pieces are there.
    """
    (folder / CHUNKS_FILE).write_text(json.dumps(sorted(names)), encoding="utf-8")


def find_pieces(shard_dir: Path, tables: Mapping[str, bool], chunk_list: Path) -> list[Path]:
    """The pieces of a shard, in the order of the tables and of their rows; `tables` says which must have some.

    If there is a list of chunks, only their pieces count, not those of an earlier run with another chunk size.

    Raises:
        FileNotFoundError: a table has no pieces, or some are missing.
    """
    if not chunk_list.is_file():
        return [
            chunk.path for table, needed in tables.items() for chunk in complete_chunks(shard_dir / table, not needed)
        ]
    listed_names = json.loads(chunk_list.read_text(encoding="utf-8"))
    pieces, missing = [], []
    for table, needed in tables.items():
        names = [name for name in listed_names if name.rpartition("/")[0] == table]
        paths = [shard_dir / f"{name}.parquet" for name in names]
        pieces += sorted(paths, key=lambda path: int(path.name[1:].partition("-")[0]))
        missing += [name for name, path in zip(names, paths, strict=True) if not is_complete_parquet_file(path)]
        if not names and needed:
            missing.append(table)
    if missing:
        raise MissingInputError(
            f"In {shard_dir} the pieces of {listed(missing)} are missing. Finish convert_to_sharded_events first."
        )
    return pieces
