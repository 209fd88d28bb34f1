"""A run of a stage: which workers belong to it, and what they have made so far.

While a stage runs in a folder it keeps `<folder>/.provenance/<stage>.run/`. In it are

- `<n>.json`, the generations of the run: what makes the outputs, and which that were there count. The last one is in
  force; another begins where a run is given up for one with other settings, or with `do_overwrite`;
- `<token>.<host>-<pid>.jsonl`: the outputs that a worker made in the generation with that token, a line per unit of
  work, written before the outputs get their names, so that what is there and is not noted was not made by this run;
- `worker.<host>-<pid>`: a file that a worker keeps locked as long as it lives.

No clock decides anything, and nobody waits: a generation begins by making a file that must not be there yet.
"""

import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from .accounts import Account
from .files import make_folder, try_lock
from .provenance import Kept, Maker, OutputFile, Units, has_begun, run_path, units_from_json

_WORKER = "worker."
_SCRATCH = ".tmp."
_CLEARING = 0.1  # seconds: longer than a worker holds the mark of another just to see whether it lives


@dataclass(frozen=True)
class Generation:
    """What a run is to make: outputs by `made_by`, all of them (`overwrites`) or those that are not `kept`."""

    made_by: Maker
    overwrites: bool = False
    kept: Units = field(default_factory=dict)
    """Outputs that were there before the run and count."""
    origins: tuple[Kept, ...] = ()
    """Which of these something else made."""
    accounts: dict[str, Account] = field(default_factory=dict)
    """What became of the rows of units that are kept."""
    number: int = 1
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    def as_json(self) -> dict[str, Any]:
        """What its file holds."""
        return {
            "made_by": self.made_by.as_json(),
            "overwrites": self.overwrites,
            "kept": self.kept,
            "origins": [kept.as_json() for kept in self.origins],
            "accounts": self.accounts,
            "token": self.token,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any], number: int) -> "Generation":
        """The generation that a file holds."""
        made_by, kept = Maker.from_json(content["made_by"]), units_from_json(content["kept"])
        origins = tuple(map(Kept.from_json, content.get("origins", ())))
        accounts = content.get("accounts", {})
        return cls(made_by, content["overwrites"], kept, origins, accounts, number, content["token"])


class Run:
    """The run of a stage in a folder, as one worker sees it."""

    def __init__(self, folder: Path, stage: str) -> None:
        self.path = run_path(folder, stage)
        self.me = f"{socket.gethostname()}-{os.getpid()}"
        self._last_read: tuple[tuple[int, ...], Generation] | None = None

    def generation(self) -> Generation | None:
        """The generation in force; None where the stage neither runs nor was interrupted.

        NOTE: its file, which is long where there are many inputs, and never changes, is read once, not for every unit.
        """
        if not (numbers := [int(path.stem) for path in _found(self.path, "*.json") if path.stem.isdigit()]):
            return None
        with suppress(FileNotFoundError), (self.path / f"{max(numbers)}.json").open(encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            state = (max(numbers), found.st_ino, found.st_mtime_ns)
            if not self._last_read or self._last_read[0] != state:
                self._last_read = state, Generation.from_json(json.load(file), max(numbers))
            return self._last_read[1]
        return None  # the run has ended meanwhile

    def is_in_force(self, generation: Generation) -> bool:
        """Whether a generation has neither been replaced by another nor ended."""
        in_force = self.generation()
        return in_force is not None and in_force.token == generation.token

    def begin(self, generation: Generation) -> bool:
        """Begins a generation; False if another worker was faster, or ended the run."""
        scratch = self.path / f"{_SCRATCH}{generation.token}"
        try:
            scratch.write_text(json.dumps(generation.as_json()), encoding="utf-8")
            os.link(scratch, self.path / f"{generation.number}.json")  # whole, and only if there is none
        except (FileExistsError, FileNotFoundError):
            return False
        finally:
            scratch.unlink(missing_ok=True)
        return True

    def end(self) -> None:
        """Removes the folder of the run; to others it is gone at once."""
        retired = self.path.with_name(f"{_SCRATCH}{self.path.name}.{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            self.path.rename(retired)
        self.clear_away()

    def clear_away(self) -> None:
        """Removes what a worker left that was killed while it ended a run."""
        for retired in self.path.parent.glob(f"{_SCRATCH}{self.path.name}.*"):
            shutil.rmtree(retired, ignore_errors=True)

    @property
    def takes_part(self) -> bool:
        """Whether this worker is seen by others: not where the run ended just when the worker came."""
        return (self.path / f"{_WORKER}{self.me}").exists()

    @contextmanager
    def taking_part(self) -> Iterator[None]:
        """Shows to others that this worker is alive, as long as it is; leaves no folder where nothing was begun."""
        mark = self.path / f"{_WORKER}{self.me}"
        with ExitStack() as held:
            while True:
                make_folder(self.path)
                with suppress(FileNotFoundError):  # another worker, which was refused, has removed the empty folder
                    # Waits, since another worker holds it for a moment to see whether this one lives.
                    held.enter_context(try_lock(mark, wait=True))
                    break
            try:
                yield
            finally:
                mark.unlink(missing_ok=True)
                if not has_begun(self.path):
                    self._clear_what_dead_workers_left()
                with suppress(OSError):
                    self.path.rmdir()

    def _clear_what_dead_workers_left(self) -> None:
        """Where no run was begun, removes the marks and unfinished files of workers that were killed as they came.

        NOTE: a worker that is just coming may lose its unfinished file; it finds that it began no run, and looks again.
        """
        for path in _found(self.path, "*"):
            if path.name.startswith(_WORKER):
                _removed(path)
            elif path.name.startswith(_SCRATCH):
                path.unlink(missing_ok=True)

    def others_at_work(self) -> list[str]:
        """The live workers of the run but this one, as `<host>-<pid>`.

        NOTE: a worker that looks at a dead one's mark holds it for a moment, so that one look is not enough to call
        that one alive.
        """
        marks = [path for path in _found(self.path, f"{_WORKER}*") if path.name != f"{_WORKER}{self.me}"]
        held = [path for path in marks if not _removed(path)]
        if held:
            time.sleep(_CLEARING)
        return [path.name.removeprefix(_WORKER) for path in held if path.exists() and not _removed(path)]

    def note(self, generation: Generation, unit: str, noted: "Noted") -> None:
        """Notes what this worker is about to publish for a unit.

        NOTE: the line begins with a line break, should a killed worker with the same number have left half a line.
        """
        with (self.path / f"{generation.token}.{self.me}.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps([unit, *noted]) + "\n")

    def notes(self, generation: Generation) -> "Notes":
        """What all workers have noted in a generation so far."""
        notes = Notes(self.path, f"{generation.token}.")
        notes.read_on()
        return notes

    def all_files(self) -> set[str]:
        """Every file that was noted or kept, in any generation."""
        notes = Notes(self.path, "")
        notes.read_on()
        files = {name for alternatives in notes.units.values() for noted in alternatives for name in noted.files}
        for path in _found(self.path, "*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                kept = json.loads(path.read_text(encoding="utf-8"))["kept"]
                files.update(name for made in kept.values() for name in made)
        return files


class Noted(NamedTuple):
    """What a worker noted of a unit: its files, what they were made from, and what became of the rows of that.

    `source` is one file or folder; empty for several.
    """

    files: dict[str, OutputFile]
    source: str = ""
    account: Account = {}  # noqa: RUF012 - never changed


class Notes:
    """What workers have noted; each line is read once. A line that a killed worker left half-written does not count.

    Threads may share it: whoever has read on knows all that was noted before.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder, self.prefix = folder, prefix
        self.units: dict[str, list[Noted]] = {}
        """What was noted of each unit: more than once, where its worker was killed before it published the outputs."""
        self._read_to: dict[str, int] = {}
        self._reading = Lock()

    def read_on(self) -> None:
        """Takes in what has been noted since the last look."""
        with self._reading, suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                if entry.name.startswith(self.prefix) and entry.name.endswith(".jsonl"):
                    self._read_file(Path(entry.path), entry.name)

    def _read_file(self, path: Path, name: str) -> None:
        start, lines = self._read_to.get(name, 0), b""
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(start)
            lines, _, _ = file.read().rpartition(b"\n")
            self._read_to[name] = start + len(lines) + bool(lines)
        for line in lines.splitlines():
            with suppress(ValueError, TypeError):
                unit, files, source, account = json.loads(line)
                self.units.setdefault(unit, []).append(Noted(units_from_json({unit: files})[unit], source, account))


def _removed(mark: Path) -> bool:
    """Whether a mark was a dead worker's, and so was removed."""
    with try_lock(mark) as ours:
        if ours:
            mark.unlink(missing_ok=True)
        return ours


def _found(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that another worker may remove at any moment, also while it is listed."""
    with suppress(FileNotFoundError):
        return list(folder.glob(pattern))
    return []
