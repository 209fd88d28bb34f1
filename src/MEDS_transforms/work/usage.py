"""What each worker took for each stage: time, processor time and memory, a line of JSON each.

The lines are in `<cohort_dir>/.logs/usage/`, in a file for each process, which no other one writes to:

    stage, worker     the stage, and the number of the worker that this line is about (null: it has none)
    host, pid         the computer, and the process on it
    begin, end        when the worker began the stage and ended it, or the pass that the stage was in (UTC)
    wall_seconds      the seconds that the worker spent on the stage
    cpu_seconds       the processor time of the process meanwhile, in all of its threads
    peak_memory       the most bytes that the process held meanwhile
    units, rows       the units of work that the worker made, and the rows in them (null: these are not tables)
    pass              the stages that shared the pass, in order; this one alone, where none did
    version           the version of this package

Stages of a pass are at work at the same time: what the process took in the pass is shared out by the seconds that were
spent on each, and the memory is that of the whole pass. A stage that fails, or whose worker is killed, has no line.

NOTE: the system tells the most memory that a process has ever held. Where that was before the stage, the most counts
that it held whenever it had made a unit.
"""

import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from .files import make_folder
from .memory import peak_memory, resident_memory
from .turn import stage_at_work

logger = logging.getLogger(__name__)

USAGE_DIR = Path(".logs", "usage")
"""Where the lines are, below the folder of a cohort."""


class Made(NamedTuple):
    """What a worker has made: units of work, and the rows in them; None where these are not tables."""

    units: int = 0
    rows: int | None = None

    def with_unit(self, rows: int | None) -> "Made":
        """The same and one more unit."""
        return Made(self.units + 1, self.rows if rows is None else (self.rows or 0) + rows)


@dataclass
class Meter:
    """What this process takes from now on."""

    begin: str = field(default_factory=lambda: _now())
    seconds: dict[str, float] = field(default_factory=dict)
    """The stages that have ended, with the seconds that were spent on each."""
    ends: dict[str, str] = field(default_factory=dict)
    """When each has ended."""
    made: dict[str, Made] = field(default_factory=dict)
    """What was made of each stage, by the name under which it is at work (see `turn`)."""
    _started: float = field(default_factory=time.monotonic)
    _cpu: float = field(default_factory=time.process_time)
    _peak_before: int = field(default_factory=peak_memory)
    _seen: int = field(default_factory=lambda: resident_memory() or 0)
    _one_at_a_time: Lock = field(default_factory=Lock)

    def unit_made(self, rows: int | None) -> None:
        """Counts a unit of the stage at work, with its rows where they are known."""
        with self._one_at_a_time:
            self._seen = max(self._seen, resident_memory() or 0)
            self.made[stage_at_work()] = self.made.get(stage_at_work(), Made()).with_unit(rows)

    def ended(self, stage: str, seconds: float | None = None) -> None:
        """Notes that a stage has ended, after so many seconds that were spent on it; default: all since the start."""
        self.ends[stage] = _now()
        self.seconds[stage] = time.monotonic() - self._started if seconds is None else seconds

    def lines(self) -> list[dict[str, Any]]:
        """What there is to say of each stage that has ended, but for who says it."""
        cpu, peak = time.process_time() - self._cpu, peak_memory()
        memory = peak if peak > self._peak_before else max(self._seen, resident_memory() or 0)
        whole = sum(self.seconds.values())
        alone = [*self.made.values()] if len(self.seconds) == 1 else []
        return [
            {
                "stage": stage,
                "begin": self.begin,
                "end": self.ends[stage],
                "wall_seconds": seconds,
                "cpu_seconds": cpu * seconds / whole if whole else cpu,
                "peak_memory": memory,
                **(alone[0] if alone else self.made.get(stage, Made()))._asdict(),
                "pass": [*self.seconds],
            }
            for stage, seconds in self.seconds.items()
        ]


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered(cfg: Mapping[str, Any]) -> Iterator[Meter]:
    """Measures what runs inside; at the end, also of a failure, writes a line for each stage that has ended.

    Args:
        cfg: the configuration of a stage, for the folder of the cohort and the number of the worker.
    """
    meter = Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)
        _write(cfg, meter.lines())


def count_unit(rows: int | None) -> None:
    """Counts a unit that this worker has made, with its rows where they are known."""
    if meter := _meter.get():
        meter.unit_made(rows)


def _write(cfg: Mapping[str, Any], lines: list[dict[str, Any]]) -> None:
    """NOTE: a stage that is done does not fail because its line cannot be written."""
    from .. import __version__

    try:
        cohort_dir, worker = (cfg.get(key) for key in ("cohort_dir", "worker"))
        if not (cohort_dir and lines):
            return
        head = {"worker": worker if isinstance(worker, int) else None, "host": socket.gethostname(), "pid": os.getpid()}
        folder = Path(str(cohort_dir)) / USAGE_DIR
        make_folder(folder)
        with (folder / _file_name(os.getpid())).open("a", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps({"stage": line["stage"], **head, **line, "version": __version__}) + "\n")
    except Exception as error:
        logger.debug("What the stage took cannot be written down: %s", error)


@cache
def _file_name(pid: int) -> str:
    """The name of this process's file. NOTE: another one, in a container say, may have the same host and number."""
    return f"{socket.gethostname()}-{pid}-{secrets.token_hex(4)}.jsonl"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
