"""Who computes what: any number of workers, anywhere on one shared file system, each output once.

A worker claims an output by locking a hidden file beside it (`.<name>.lock`). The operating system holds the
lock, so it dies with its process, however that ends; nobody waits for, or is kept out by, a worker that is
gone.
"""

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from ..errors import explain
from .environment import RUN_STARTED
from .files import clear_scratch, is_complete, lock_path, publish, scratch_path, try_lock
from .journal import note_begun, note_done, note_failed

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RUN_PREFIX = ".run."
_CLOCK = "clock"
_REMOVAL = 0.1  # seconds: longer than a worker holds the file of a dead one to remove it


@contextmanager
def claim(out_fp: Path) -> Iterator[bool]:
    """Tries to claim an output; gives whether it is ours. Never waits."""
    out_fp.parent.mkdir(parents=True, exist_ok=True)
    with try_lock(lock_path(out_fp)) as ours:
        yield ours


@dataclass(frozen=True)
class Unit:
    """A piece of work of one worker: what it is called, whether it is done, and how it is done.

    `out_fp` names the claim; it is also the output where there is only one, and else, if it is an output at all, the
    one that is published last: only beside that does `compute_once` clear away what a dead worker left of it.
    """

    out_fp: Path
    is_done: Callable[[], bool]
    work: Callable[[], object]

    def compute_once(self) -> bool:
        """Does the work, unless it is done or another worker does it.

        Returns:
            True if this call did the work, False if it was done or another worker holds the claim.

        NOTE: two races are closed here. Another worker may finish between our look and our claim: look again
        once the claim is ours. And a lock file may be removed while others hold it open, so that two workers
        hold locks on two files of the same name: it is removed only once the output is published, and whoever
        locks the new file looks again and finds the work done.
        """
        if self.is_done():
            self._clear_away()
            note_done(self.out_fp)
            return False
        with claim(self.out_fp) as ours:
            if not ours:
                return False
            done_meanwhile = self.is_done()
            if not done_meanwhile:
                self._work()
            lock_path(self.out_fp).unlink(missing_ok=True)
        note_done(self.out_fp)
        return not done_meanwhile

    def _work(self) -> None:
        note_begun(self.out_fp)
        try:
            self.work()
        except Exception as error:
            note_failed(self.out_fp, explain(error))
            raise

    def _clear_away(self) -> None:
        """Removes what a dead worker left beside an output that is there; a live worker keeps what it holds."""
        if not (scratch_path(self.out_fp).exists() or lock_path(self.out_fp).exists()):
            return
        with claim(self.out_fp) as ours:
            if ours:
                clear_scratch(self.out_fp)
                lock_path(self.out_fp).unlink(missing_ok=True)


def publish_once(path: Path, content: bytes) -> None:
    """Writes a small file, the same for all workers, unless it is there already or another worker writes it."""

    def is_done() -> bool:
        return path.is_file() and path.read_bytes() == content

    Unit(path, is_done, lambda: publish(path, lambda scratch: scratch.write_bytes(content))).compute_once()


def is_current(out_fp: Path, since: float | None, checker: Callable[[Path], bool] = is_complete) -> bool:
    """Whether an output is there and, where `since` is given, was made at that time or later."""
    if not checker(out_fp):
        return False
    return since is None or out_fp.stat().st_mtime >= since


def shard_unit(
    in_fp: Path,
    out_fp: Path,
    read_fn: Callable[[Path], T],
    write_fn: Callable[[Any, Path], None],
    compute_fn: Callable[[T], Any],
    since: float | None = None,
    checker: Callable[[Path], bool] = is_complete,
) -> Unit:
    """The unit of work that reads one input, computes and publishes one output.

    An output that was made before the time `since` counts as not there. What reading, computing or writing
    raises comes with the paths as a note.
    """

    def work() -> None:
        started = time.monotonic()
        try:
            result = compute_fn(read_fn(in_fp))
            publish(out_fp, lambda scratch: write_fn(result, scratch))
        except Exception as error:
            error.add_note(f"This happened while {out_fp} was made from {in_fp}.")
            raise
        logger.info("%s: written in %.1f s", out_fp, time.monotonic() - started)

    return Unit(out_fp, lambda: is_current(out_fp, since, checker), work)


def rwlock_wrap(
    in_fp: Path,
    out_fp: Path,
    read_fn: Callable[[Path], T],
    write_fn: Callable[[Any, Path], None],
    compute_fn: Callable[[T], Any],
    do_overwrite: bool = False,
    out_fp_checker: Callable[[Path], bool] = is_complete,
) -> bool:
    """Reads `in_fp`, computes, and writes `out_fp`, unless that is done or another worker does it.

    `write_fn(result, path)` writes to a file of the same name in a hidden scratch folder, which is then moved.
    `do_overwrite` computes even where `out_fp` is there.

    Returns:
        True if this call computed it, False if it was there or another worker holds it.

    Raises:
        Exception: what reading, computing or writing raised, with the input's path as a note; the claim is let
            go and `out_fp` is as it was before.
    """
    since = math.inf if do_overwrite else None
    return shard_unit(in_fp, out_fp, read_fn, write_fn, compute_fn, since, out_fp_checker).compute_once()


@contextmanager
def overwriting_run(output_dir: Path, do_overwrite: bool) -> Iterator[float | None]:
    """The time since which outputs count as made by this run of a stage; None where what is there stays.

    All workers that overlap in time are one run, and so are those that one launcher started (`RUN_STARTED`):
    it began when the first of them came. Each worker holds the lock of a hidden file whose name tells that
    time, so that a worker that comes later learns it; a file nobody holds belongs to a dead worker and is
    removed.
    """
    if not do_overwrite:
        _live_runs(output_dir)  # removes what dead workers of an earlier run left
        yield None
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    started = min([_file_system_time(output_dir), *_launched(), *_live_runs(output_dir)])
    own = _mark(output_dir, repr(started))
    with FileLock(own):
        try:
            # Two workers that start at once may both have seen nobody: look again, now that each can be seen.
            yield min([started, *_live_runs(output_dir, apart_from=own)])
        finally:
            own.unlink(missing_ok=True)


def _launched() -> list[float]:
    return [float(os.environ[RUN_STARTED])] if RUN_STARTED in os.environ else []


def _file_system_time(folder: Path) -> float:
    """The time by the clock that stamps files, which on a network file system is not this machine's."""
    probe = _mark(folder, _CLOCK)
    with FileLock(probe):
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)


def _mark(folder: Path, what: str) -> Path:
    """A hidden file of this process; once nobody holds its lock, `_live_runs` removes it."""
    return folder / f"{_RUN_PREFIX}{what}@{socket.gethostname()}-{os.getpid()}"


def _live_runs(output_dir: Path, apart_from: Path | None = None) -> list[float]:
    """The starts of the runs that other live workers belong to; what dead ones left is removed.

    NOTE: a worker that comes at the same time may hold a dead one's file just while it removes it, so that one
    look is not enough to call the other alive.
    """
    marks = [path for path in output_dir.glob(f"{_RUN_PREFIX}*") if path != apart_from]
    if held := [path for path in marks if not _remove_unless_held(path)]:
        time.sleep(_REMOVAL)
    live = [path.name for path in held if path.exists() and not _remove_unless_held(path)]
    starts = [name.removeprefix(_RUN_PREFIX).partition("@")[0] for name in live]
    return [float(start) for start in starts if start != _CLOCK]


def _remove_unless_held(path: Path) -> bool:
    with try_lock(path) as ours:
        if ours:
            path.unlink(missing_ok=True)
        return ours
