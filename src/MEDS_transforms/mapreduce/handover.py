"""Frames on their way from one stage of a pass to the next, in memory, by the files that hold the same rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Condition

import polars as pl

from ..dataset.categories import in_texts
from ..dataset.io import Frame, scan_parquet

MakeRows = Callable[..., Frame]
"""Makes the rows of a file. The keyword `columns`, if given, names all that are needed, whatever others there are."""
Makers = Mapping[Path, MakeRows]


class HandOver:
    """What the stages of a pass have made of the shards that are at work.

    Args:
        reads: the files that stages of the pass read, each as often as it is read. After its last read a frame goes.
        makers: what makes the rows of files that are not written: as a query, of which only what the one reader needs
            is computed; where there are several, it is computed once.
    """

    def __init__(self, reads: Iterable[Path] = (), makers: Makers | None = None) -> None:
        self.reads, self.makers = Counter(reads), makers or {}
        self.frames: dict[Path, pl.DataFrame] = {}
        self.same: dict[Path, Path] = {}
        """Files that are not written since they would be as others are, and these."""
        self.writing: dict[Path, Future[bool]] = {}
        """The units that are at work, by the file that they write."""
        self._changes = Condition()

    def give(self, path: Path, frame: pl.DataFrame) -> None:
        """Keeps the rows of a file, if a stage of the pass is to read it."""
        with self._changes:
            if self.reads[path] > 0:
                self.frames[path] = frame
                self._changes.notify_all()

    def take(self, path: Path) -> Frame | None:
        """The rows of a file; None if they are not in memory, and it is written."""
        if path in self.makers and not self.has(path):
            made = self.makers[path]().lazy()
            if self.reads[path] <= 1:
                return made
            self.give(path, made.collect())
        with self._changes:
            if self.reads[path] > 1:
                self.reads[path] -= 1
                return self.frames.get(path)
            return self.frames.pop(path, None)

    def has(self, path: Path) -> bool:
        """Whether the rows of a file are in memory."""
        with self._changes:
            return path in self.frames

    def wait_for(self, path: Path, maker: "Future[bool]") -> None:
        """Returns when the rows of a file are in memory, or whoever makes them has ended."""
        with self._changes:
            self._changes.wait_for(lambda: path in self.frames or maker.done())

    def tell(self, _: object) -> None:
        """Wakes those that wait."""
        with self._changes:
            self._changes.notify_all()

    def clear(self) -> None:
        """Forgets all, at once: futures and what they tell refer to each other, and would keep frames for a while."""
        self.frames.clear()
        self.writing.clear()

    def is_written(self, path: Path) -> bool:
        """Whether a file is there; waits while it is being written.

        Where that has failed, what is there may be of a former run.
        """
        writing = self.writing.get(path)
        return path.exists() if writing is None else writing.exception() is None and path.exists()


_current: ContextVar[HandOver | None] = ContextVar("hand over", default=None)


@contextmanager
def handing_over(handover: HandOver) -> Iterator[None]:
    """Inside, frames are handed over in this way."""
    token = _current.set(handover)
    try:
        yield
    finally:
        _current.reset(token)


def is_wanted(path: Path) -> bool:
    """Whether a stage of the pass is to read a file."""
    handover = _current.get()
    return handover is not None and handover.reads[path] > 0


def hand_over(path: Path, frame: pl.DataFrame) -> None:
    """Keeps the rows of a file, if a stage of the pass is to read it."""
    if handover := _current.get():
        handover.give(path, frame)


def is_same_as(path: Path, other: Path) -> None:
    """Says that a file that is not written would be as another one is."""
    if handover := _current.get():
        handover.same[path] = handover.same.get(other, other)


def file_of(path: Path) -> Path | None:
    """The file whose rows were handed over, or one that is as it would be; None if there is none, or will be none."""
    handover = _current.get() or HandOver()
    path = handover.same.get(path, path)
    return path if handover.is_written(path) else None


def scan_shard(path: Path) -> pl.LazyFrame:
    """The rows of a shard, from wherever they are; they count as read."""
    handed = in_texts(handed_over(path))
    return scan_parquet(path) if handed is None else handed.lazy()


def handed_over(path: Path) -> Frame | None:
    """The rows of a file, if they are in memory, or the file is not written; they count as read.

    Codes may be `categories`.
    """
    handover = _current.get()
    return None if handover is None else handover.take(path)
