"""Tables whose chunks are not kept: their rows are read from the tables' own files, when they are made into events.

Before that, the subject ids of all rows must be known. So a table is gone through once for its ids alone, and it is
noted where each chunk is in its files. Where rows cannot be found again without those before them, as in compressed
text, or others are joined to them, chunks are written after all.

All this is in a hidden folder (see `work.freeing.interim_folder`): what one worker finds, others read there. Where it
is lost, the next run of the stage finds it again.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.io import write_parquet
from ..errors import InputError, MissingInputError
from ..work.accounts import Account
from ..work.files import lock_path, make_folder, scratch_folder, try_lock
from .chunks import Chunk, find_chunks
from .cutting import account_of, cut
from .raw.spans import Located, Span, spans_of_chunks
from .table_rows import TableRows

_NOTES, _IDS = "table.json", "ids.parquet"
_HELD_IDS = 2_000_000
"""How many ids are held before those that repeat are left out."""
_PARTS_OF_BATCH = 4
"""In how many parts a batch is read, so that its rows are not in memory as text all at once."""


@dataclass(frozen=True, eq=False)
class UnwrittenTable:
    """A table whose chunks are not kept.

    Args:
        rows: its rows.
        row_chunksize: how many of them a chunk has.
        folder: what is found out of it, or its chunks.
    """

    rows: TableRows
    row_chunksize: int
    folder: Path

    def prepare(self, wait: bool = True) -> Account | None:
        """Sees to it that the places and ids of its rows are known; gives what is to be told of the rows.

        None where another worker is at it, and this one is not to wait.

        Raises:
            InputError: a file cannot be read, or has a value or a row that it should not have, or no row.
        """
        if not self._is_prepared:
            make_folder(self.folder.parent)
            with try_lock(lock_path(self.folder), wait=wait) as ours:
                if not ours:
                    return None
                if not self._is_prepared:  # another worker was faster
                    self._prepare()
                lock_path(self.folder).unlink(missing_ok=True)
        account: Account = self._notes()["account"]
        return account

    def chunks(self) -> list[Chunk]:
        """Its chunks, in order.

        Raises:
            FileNotFoundError: all that reads them has ended.
        """
        notes = self._notes()
        if notes["chunks"] is None:
            return find_chunks(self.folder)
        spans = [[Span(**span) for span in chunk] for chunk in notes["chunks"]]
        ends = accumulate((sum(span.rows for span in chunk) for chunk in spans), initial=0)
        return [
            UnwrittenChunk(start, end, self.rows.raw.parts[chunk[0].part].path, self.rows, chunk, notes["files"])
            for (start, end), chunk in zip(pairwise(ends), spans, strict=True)
        ]

    def ids(self) -> pl.Series | None:
        """The distinct subject ids of its rows, as they are there; None where its chunks have to tell."""
        path = self.folder / _IDS
        return pl.read_parquet(path).to_series() if path.is_file() else None

    @property
    def _is_prepared(self) -> bool:
        return (self.folder / _NOTES).is_file()

    def _notes(self) -> Any:
        """NOTE: a worker that comes late finds nothing, once others have read all of it."""
        try:
            return json.loads((self.folder / _NOTES).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MissingInputError(
                f"It is not known any more where the chunks of {self.rows.table.name} are, which are not kept. Run the "
                "pipeline again: the runner finds them again if they are needed."
            ) from None

    def _prepare(self) -> None:
        with scratch_folder(self.folder) as scratch:
            made = scratch / self.folder.name
            made.mkdir()
            notes: dict[str, Any] = {"files": _state_of(self.rows), "chunks": None}
            if self.rows.has_places(self.row_chunksize):
                ids = _Ids()
                chunks = [*spans_of_chunks(ids.of(self.rows.of_subjects().located()), self.row_chunksize)]
                notes["chunks"] = [[asdict(span) for span in chunk] for chunk in chunks]
                notes["account"] = account_of(self.rows, ids.rows, len(chunks), {})
                if ids.rows:
                    write_parquet(ids.distinct().to_frame(), made / _IDS)
            else:
                notes["account"] = cut(self.rows, self.row_chunksize, made)
            (made / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
            made.rename(self.folder)


@dataclass(frozen=True, order=True)
class UnwrittenChunk(Chunk):
    """A chunk that is read from the files of its table; `files` is the state in which they were when it was found."""

    table: TableRows = field(compare=False)
    spans: Sequence[Span] = field(compare=False)
    files: Any = field(compare=False)

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows, a part of a batch at a time, so that events are made of some while others are read.

        Raises:
            InputError: a file cannot be read, or has a value or a row that it should not have, or has changed.
        """
        self._check_files()
        yield from _parts_of_batches(self._all_rows(), self.batch_rows)
        self._check_files()

    def _all_rows(self) -> Iterator[pl.DataFrame]:
        missing = self.end - self.start
        for rows in self.table.frames_of(self.spans, self.start):
            missing -= rows.height
            yield rows
        if missing:
            raise _changed(self.table)

    def _check_files(self) -> None:
        if self.files != _state_of(self.table):
            raise _changed(self.table)


class _Ids:
    """The distinct subject ids of rows that pass by."""

    def __init__(self) -> None:
        self.rows = self._n_held = 0
        self._held: list[pl.Series] = []

    def of(self, located: Iterable[Located]) -> Iterator[Located]:
        """The same rows."""
        for one in located:
            ids = one.rows.to_series().unique()
            self.rows += one.rows.height
            self._n_held += ids.len()
            self._held.append(ids)
            if self._n_held > _HELD_IDS and len(self._held) > 1:
                self._held = [self.distinct()]
                self._n_held = 0  # of the distinct ones there may be more than are held
            yield one

    def distinct(self) -> pl.Series:
        """Those so far, sorted."""
        return pl.concat(self._held).unique().sort()


def _parts_of_batches(frames: Iterable[pl.DataFrame], batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of frames, a part of a batch at a time."""
    held, n_held, in_batch, part_rows = list[pl.DataFrame](), 0, 0, -(-batch_rows // _PARTS_OF_BATCH)
    for frame in frames:
        while frame.height:
            fitting = frame.head(min(part_rows - n_held, batch_rows - in_batch))
            frame = frame.slice(fitting.height)
            held.append(fitting)
            n_held, in_batch = n_held + fitting.height, in_batch + fitting.height
            if n_held == part_rows or in_batch == batch_rows:
                yield _together(held)
                n_held, in_batch = 0, in_batch % batch_rows
    if held:
        yield _together(held)


def _together(held: list[pl.DataFrame]) -> pl.DataFrame:
    """The frames as one; empties the list, so that nothing but the result stays in memory."""
    rows = pl.concat(held)
    held.clear()
    return rows


def _state_of(rows: TableRows) -> list[list[int]]:
    """What changes when files of a table are written to."""
    found = [path.stat() for path in rows.files]
    return [[file.st_size, file.st_mtime_ns] for file in found]


def _changed(rows: TableRows) -> InputError:
    return InputError(
        f"The table {rows.table.name} ({rows.raw.path}) has changed while it was read: run the pipeline again once "
        "nobody writes to it."
    )
