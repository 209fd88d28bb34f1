"""What the workers of a stage note of their work, so that the runner can tell what is missing, and why.

The runner names a folder in the environment (`JOURNAL`). Each worker appends lines of JSON to a file of its own in it:
which units of work there are, which it began, and how each ended. What a killed worker had noted stays. Without a
runner nothing is noted. Of a worker that runs several stages, the notes of each are in a subfolder (see `turn`).

NOTE: this module imports nothing heavy; the runner reads what the workers write.
"""

import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import first_line
from .environment import JOURNAL
from .files import is_claimed, make_folder
from .memory import peak_memory, resident_memory
from .turn import stage_at_work

PLANNED, BEGUN, MADE, DONE, FAILED = "planned", "begun", "made", "done", "failed"
ERROR, REFUSED = "error", "refused"

_ENDED = "ended"


def note_ended() -> None:
    """Notes that all of the stage is done, and recorded."""
    if folder := os.environ.get(JOURNAL):
        with suppress(OSError):
            make_folder(Path(folder, stage_at_work()))
            Path(folder, stage_at_work(), _ENDED).touch()


def is_noted_as_ended(stage: str) -> bool:
    """Whether a worker of this run has noted that all of a stage is done; not without a runner, who keeps the notes."""
    return JOURNAL in os.environ and has_ended(Path(os.environ[JOURNAL], stage))


def has_ended(folder: Path) -> bool:
    """Whether a worker has noted in the folder of a stage's notes that all of it is done."""
    return (folder / _ENDED).exists()


def note_plan(out_fps: Iterable[Path]) -> None:
    """Notes all units of work of the stage, by the path that names each, whoever will do them."""
    _note(PLANNED, [str(out_fp) for out_fp in out_fps])


def note_begun(out_fp: Path) -> None:
    """Notes that this worker begins a unit."""
    _note(BEGUN, str(out_fp))


def note_done(out_fp: Path) -> None:
    """Notes that a unit is done, by this worker or another."""
    _note(DONE, str(out_fp))


def note_made(out_fp: Path, rows: int | None) -> None:
    """Notes that this worker has made a unit, with so many rows, where that is known, and the memory that it holds."""
    if JOURNAL in os.environ:
        _note(MADE, [str(out_fp), rows, resident_memory() or peak_memory()])


def note_failed(out_fp: Path, why: str) -> None:
    """Notes that a unit has failed in this worker."""
    _note(FAILED, [str(out_fp), why])


def note_refused(why: str) -> None:
    """Notes that all units are done, and the stage fails all the same, as it would another time."""
    _note(REFUSED, why)


def note_error(why: str) -> None:
    """Notes the error with which this worker ends, in a unit or elsewhere."""
    _note(ERROR, why)


def _note(what: str, content: object) -> None:
    """NOTE: a stage does not fail because a note cannot be written, on a full disk say."""
    if folder := os.environ.get(JOURNAL):
        with suppress(OSError):
            path = Path(folder, stage_at_work()) / f"{socket.gethostname()}-{os.getpid()}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([what, content]) + "\n")


@dataclass
class Work:
    """How far a stage is, by the notes of all its workers. Units go by the path that names them."""

    planned: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    begun: dict[str, str] = field(default_factory=dict)
    """The unit and the worker that began it last."""
    failed: dict[str, list[str]] = field(default_factory=dict)
    """The unit and why it failed, each time."""
    errors: list[str] = field(default_factory=list)
    """With which errors workers ended."""
    refused: list[str] = field(default_factory=list)
    """Why what was made is not good enough."""

    @property
    def missing(self) -> list[str]:
        """The units that are planned and not done, sorted."""
        return sorted(self.planned - self.done)

    @property
    def held(self) -> list[str]:
        """The missing units that a worker holds, one that outlived its launcher for instance."""
        return [unit for unit in self.missing if is_claimed(Path(unit))]

    @property
    def has_failed(self) -> bool:
        """Whether a worker has ended with an error, or a unit that is missing has failed."""
        return bool(self.errors or self.refused or self.failed.keys() & {*self.missing})

    @property
    def would_fail_again(self) -> bool:
        """Whether it would be the same another time.

        Workers ended with an error before there was any work, or what they made was refused, or a missing unit has
        failed more than once, in different workers as a rule.
        """
        before_work = bool(self.errors) and not self.planned
        return before_work or bool(self.refused) or any(len(self.failed.get(unit, ())) > 1 for unit in self.missing)

    def why(self, unit: str) -> str:
        """Why a unit is missing, in a line."""
        if unit in self.failed:
            return first_line(self.failed[unit][-1])
        if unit in self.begun:
            return f"its worker was lost ({self.begun[unit]})"
        return "no worker started it"


def read_journal(folder: Path) -> Work:
    """What all workers of a stage have noted; a line that a killed worker left half-written does not count."""
    work = Work()
    for path in sorted(folder.glob("*.jsonl")):
        host, _, pid = path.stem.rpartition("-")
        for what, content in _lines(path):
            if what == PLANNED:
                work.planned.update(content)
            elif what == BEGUN:
                work.begun[content] = f"process {pid} on {host}"
            elif what == DONE:
                work.done.add(content)
            elif what == MADE:
                work.done.add(content[0])
            elif what == FAILED:
                work.failed.setdefault(content[0], []).append(content[1])
            elif what == ERROR:
                work.errors.append(content)
            elif what == REFUSED:
                work.refused.append(content)
    return work


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            yield json.loads(line)
