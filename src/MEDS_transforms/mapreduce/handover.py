"""Frames on their way from one stage of a pass to the next, in memory, by the files that hold the same rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import polars as pl

from ..dataset.io import Frame

Makers = Mapping[Path, Callable[[], Frame]]


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

    def take(self, path: Path) -> Frame | None:
        """The rows of a file; None if they are not in memory, and it is written."""
        if path not in self.frames and path in self.makers:
            made = self.makers[path]().lazy()
            if self.reads[path] <= 1:
                return made
            self.frames[path] = made.collect()
        if self.reads[path] > 1:
            self.reads[path] -= 1
            return self.frames.get(path)
        return self.frames.pop(path, None)


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
    handover = _current.get()
    if handover is not None and handover.reads[path] > 0:
        handover.frames[path] = frame


def handed_over(path: Path) -> Frame | None:
    """The rows of a file, if they are in memory, or the file is not written; they count as read."""
    handover = _current.get()
    return None if handover is None else handover.take(path)
