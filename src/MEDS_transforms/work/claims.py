"""Who computes what: any number of workers, anywhere on one shared file system, each output once.

A worker claims an output by locking a hidden file beside it (`.<name>.lock`). The operating system holds the
lock, so it dies with its process, however that ends; nobody waits for, or is kept out by, a worker that is
gone.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..errors import explain
from .accounts import Account
from .faults import log_fault
from .files import clear_scratch, is_complete, lock_path, make_folder, scratch_folder, scratch_path, try_lock
from .journal import is_noted_as_ended, note_begun, note_done, note_failed, note_made
from .turn import stage_at_work
from .usage import count_unit

logger = logging.getLogger(__name__)

T = TypeVar("T")


def nothing() -> Sequence[Any]:
    """What is there where nothing is known to be: the default of functions that look."""
    return ()


@contextmanager
def claim(out_fp: Path) -> Iterator[bool]:
    """Tries to claim an output; gives whether it is ours. Never waits."""
    make_folder(out_fp.parent)
    with try_lock(lock_path(out_fp)) as ours:
        yield ours


@dataclass(frozen=True)
class Staged:
    """The outputs of a unit by the paths that they are to have, with where they lie finished in its scratch folder.

    `account` says what became of the rows that they were made from; see `accounts`.
    """

    files: Mapping[Path, Path]
    account: Account = field(default_factory=dict)


@dataclass(frozen=True)
class Unit:
    """A piece of work of one worker: what claims it, whether it is done, and how it is done.

    `claim_fp` names the claim; it is also the output, where there is only one. `make` writes the outputs to a scratch
    folder and gives them with the paths that they are to have. `note` is called just before they get those, and gives
    the rows in them, where that is known. `source` is what they are made from, for messages. `existing` gives the whole
    outputs that are there, whatever made them.
    """

    claim_fp: Path
    is_done: Callable[[], bool]
    make: Callable[[Path], Staged]
    source: object = None
    note: Callable[[Staged], int | None] | None = None
    existing: Callable[[], Sequence[Path]] = nothing

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
            self.clear_away()
            note_done(self.claim_fp)
            return False
        with claim(self.claim_fp) as ours:
            if not ours:
                return False
            done_meanwhile = self.is_done()
            rows = None if done_meanwhile else self._work()
            lock_path(self.claim_fp).unlink(missing_ok=True)
        if done_meanwhile:
            note_done(self.claim_fp)
            return False
        count_unit(rows)
        note_made(self.claim_fp, rows)
        return True

    def _work(self) -> int | None:
        """Makes and publishes the outputs; gives the rows in them, where that is known."""
        started, rows = time.monotonic(), None
        note_begun(self.claim_fp)
        try:
            with scratch_folder(self.claim_fp) as folder:
                staged = self.make(folder)
                if self.note:
                    rows = self.note(staged)
                for output, finished in staged.files.items():
                    make_folder(output.parent)
                    finished.replace(output)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic of polars is not an Exception
            if is_noted_as_ended(stage_at_work()):  # and its input freed, perhaps
                lock_path(self.claim_fp).unlink(missing_ok=True)
                raise
            error.add_note(f"This happened while making {self.claim_fp} from {self.source}.")
            note_failed(self.claim_fp, explain(error))
            log_fault(error)
            raise
        logger.info("%s: written in %.1f s", self.claim_fp, time.monotonic() - started)
        return rows

    def clear_away(self) -> None:
        """Removes what a dead worker left beside an output that is there; a live worker keeps what it holds."""
        if not any(map(os.path.exists, (scratch_path(self.claim_fp), lock_path(self.claim_fp)))):
            return
        with claim(self.claim_fp) as ours:
            if ours:
                clear_scratch(self.claim_fp)
                lock_path(self.claim_fp).unlink(missing_ok=True)


def staged_file(
    in_fp: Path,
    out_fp: Path,
    read_fn: Callable[[Path], T],
    write_fn: Callable[[Any, Path], None],
    compute_fn: Callable[[T], Any],
) -> Callable[[Path], Staged]:
    """The `make` of a unit that reads one input, computes and writes one output."""

    def make(folder: Path) -> Staged:
        finished = folder / out_fp.name
        write_fn(compute_fn(read_fn(in_fp)), finished)
        return Staged({out_fp: finished})

    return make


def rwlock_wrap(
    in_fp: Path,
    out_fp: Path,
    read_fn: Callable[[Path], T],
    write_fn: Callable[[Any, Path], None],
    compute_fn: Callable[[T], Any],
    do_overwrite: bool = False,
    out_fp_checker: Callable[[Path], bool] = is_complete,
) -> bool:
    """Reads `in_fp`, computes, and writes `out_fp`, unless that is there or another worker does it.

    `write_fn(result, path)` writes to a file of the same name in a hidden scratch folder, which is then moved.
    `do_overwrite` computes even where `out_fp` is there. Nothing is written down about what made the output.

    Returns:
        True if this call computed it, False if it was there or another worker holds it.

    Raises:
        Exception: what reading, computing or writing raised, with the input's path as a note; the claim is let
            go and `out_fp` is as it was before.
    """
    make = staged_file(in_fp, out_fp, read_fn, write_fn, compute_fn)
    return Unit(out_fp, lambda: not do_overwrite and out_fp_checker(out_fp), make, in_fp).compute_once()
