"""How far the stages at work are: units done of all, rows, time, memory.

All of it is what the workers note for the runner anyway (`work.journal`), and what this computer says of their memory.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..work.following import Followed, workers_in
from ..work.memory import resident_memory
from .segments import Segment

RUNNING, DONE, FAILED, SKIPPED = "running", "done", "failed", "skipped"
LONGEST_SHARE = 0.02
"""Which part of the time is spent on looks, at most: on a slow file system they are fewer."""


@dataclass(frozen=True)
class Figures:
    """How far a stage is; what is not known is None.

    `done` of `all` units are done (0 of 0, before the workers have noted any, or where they do not). `rows` are those
    in the units that were made in this run, `seconds` the time since the stage began, and the rates are those since its
    workers did. `memory` is what the processes at work hold, in bytes, and `workers` their number.
    """

    stage: str
    number: int
    of: int
    state: str = RUNNING
    together: tuple[str, ...] = ()
    """The stages that share a pass, this one among them."""
    done: int = 0
    all: int = 0
    rows: int | None = None
    seconds: float = 0.0
    rows_per_second: int | None = None
    seconds_left: float | None = None
    memory: int | None = None
    workers: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same for a line of JSON, in which `pass` are the stages that share a pass."""
        return {"pass" if key == "together" else key: value for key, value in asdict(self).items()}

    def at_the_end(self, state: str) -> "Figures":
        """The last figures of a stage: of one that is done, all units are, whoever could still note it."""
        left = 0.0 if state == DONE else None
        return replace(self, state=state, done=self.all if state == DONE else self.done, seconds_left=left)


class Looks:
    """Looks at the stages of a segment, one after the other or in shared passes.

    Args:
        segment: the stages.
        numbers: the number of each in the pipeline.
        of: how many stages the pipeline has.
        pids: gives the processes that the runner has started.
    """

    def __init__(self, segment: Segment, numbers: dict[str, int], of: int, pids: Callable[[], Iterable[int]]) -> None:
        self.numbers, self.of, self.pids = numbers, of, pids
        self.followed = {stage.name: Followed(segment.notes_of(stage)) for stage in segment.stages}
        self.began: dict[str, float] = {}
        self.worked_since: dict[str, float] = {}
        """When the workers of a stage began at the earliest: they may have waited in a queue before."""
        self._last_look = float("-inf")
        self.ended: set[str] = set()
        self.workers: dict[str, None] = {}
        self.passes: dict[str, tuple[str, ...]] = {}
        self.alone = threading.RLock()
        """Held by whoever looks, until what it saw is shown: what is shown of a stage never goes back."""

    def begin(self, stage: str) -> None:
        """Starts the clock of a stage, unless it has been seen at work."""
        with self.alone:
            self.began.setdefault(stage, time.monotonic())

    def look(self) -> list[Figures]:
        """How far the stages at work are, in order: those of one pass, or a single one."""
        with self.alone:
            return [self._figures(stage) for stage in self._at_work()]

    def end(self, stage: str, state: str) -> Figures:
        """The last figures of a stage."""
        with self.alone:
            self._at_work()
            figures = self._figures(stage).at_the_end(state)
            self.ended.add(stage)
            return figures

    def _at_work(self) -> list[str]:
        """Reads what is new; gives the stages that have begun and not ended.

        NOTE: all stages of a segment have the same workers, so that one folder is listed, not that of every stage.
        """
        left = [stage for stage in self.followed if stage not in self.ended]
        begun = [stage for stage in left if stage in self.began]
        now = time.monotonic()
        for worker in workers_in(self.followed[begun[0] if begun else left[0]].folder) if left else ():
            self.workers[worker] = None
        for stage in left:
            has_begun = stage in self.began or self.followed[stage].folder.is_dir()
            for worker in self.workers if has_begun else ():
                self.followed[stage].read_on(worker)
            if self.followed[stage].planned:  # it began with the first one of its pass
                began = self.began.setdefault(stage, self.began[begun[0]] if begun else now)
                self.worked_since.setdefault(stage, max(began, self._last_look))
        self._last_look = now
        at_work = [stage for stage in left if stage in self.began]
        for stage in at_work:
            self.passes[stage] = max(self.passes.get(stage, ()), tuple(at_work), key=len)
        return at_work

    def _figures(self, stage: str) -> Figures:
        noted, seconds = self.followed[stage], time.monotonic() - self.began.get(stage, time.monotonic())
        held = self._memory()
        left = len(noted.planned - noted.done)
        figures = Figures(
            stage, self.numbers[stage], self.of, together=self.passes.get(stage, (stage,)),
            done=len(noted.planned) - left, all=len(noted.planned), rows=noted.rows, seconds=round(seconds, 3),
            memory=sum(held) or None, workers=len(held),
        )  # fmt: skip
        if noted.made and (worked := time.monotonic() - self.worked_since[stage]):
            rate = round(noted.rows / worked) if noted.rows is not None else None
            figures = replace(figures, rows_per_second=rate, seconds_left=round(left * worked / noted.made, 1))
        return figures

    def _memory(self) -> Sequence[int]:
        """What each process at work holds: on this computer just now, elsewhere when it had made its last unit."""
        here, noted = socket.gethostname(), {w: m for f in self.followed.values() for w, m in f.memory.items()}
        held = []
        for host, _, pid in (worker.rpartition("-") for worker in self.workers):
            known = noted.get(f"{host}-{pid}")
            held.append(resident_memory(pid) if host == here and Path("/proc/self").exists() else known)
        held = held or [resident_memory(pid) for pid in self.pids()]
        return [memory for memory in held if memory]


class Watch:
    """Looks about once a second, in a thread of its own, and shows what it sees."""

    def __init__(self, looks: Looks, show: Callable[[Sequence[Figures]], object], every: float) -> None:
        self.looks, self.show, self.every = looks, show, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        pause = self.every
        while not self._stop.wait(pause):
            began = time.monotonic()
            with self.looks.alone:
                self.show(self.looks.look())
            pause = max(self.every, (time.monotonic() - began) / LONGEST_SHARE)
