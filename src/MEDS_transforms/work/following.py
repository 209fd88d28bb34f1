"""What the workers of a stage note of their work, followed while they are at it: each line is read once."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .journal import DONE, MADE, PLANNED

JOURNALS = ".jsonl"
"""How the names of the files end in which workers note their work: a file for each, `<host>-<pid>.jsonl`."""


def workers_in(folder: Path) -> list[str]:
    """The workers that have noted anything in the folder of a stage's notes, as `<host>-<pid>`, sorted."""
    with suppress(OSError):
        return sorted(path.stem for path in folder.iterdir() if path.suffix == JOURNALS)
    return []


@dataclass
class Followed:
    """How far a stage is, by the notes in a folder."""

    folder: Path
    planned: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    made: int = 0
    """The units that were made in this run, and so were not there before."""
    rows: int | None = None
    """The rows in these; None where no unit has any."""
    memory: dict[str, int] = field(default_factory=dict)
    """The bytes that each worker held when it had made its last unit."""
    _read_to: dict[str, int] = field(default_factory=dict)

    def read_on(self, worker: str) -> None:
        """Takes in what a worker has noted since the last look, but for a line that is not whole yet."""
        with suppress(OSError), (self.folder / f"{worker}{JOURNALS}").open("rb") as file:
            start = file.seek(self._read_to.get(worker, 0))
            whole, end, _ = file.read().rpartition(b"\n")
            self._read_to[worker] = start + len(whole) + len(end)
            for line in whole.splitlines():
                with suppress(ValueError):  # of a worker that was killed as it wrote
                    self._take_in(worker, *json.loads(line))

    def _take_in(self, worker: str, what: str, content: Any) -> None:
        if what == PLANNED:
            self.planned.update(content)
        elif what == DONE:
            self.done.add(content)
        elif what == MADE:
            unit, rows, memory = content
            self.done.add(unit)
            self.made += 1
            self.rows = self.rows if rows is None else (self.rows or 0) + rows
            self.memory[worker] = memory
