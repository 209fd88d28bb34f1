"""Reads how long each stage took on each worker, and how much memory: `.logs/usage/*.jsonl` below a cohort."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..work.usage import USAGE_DIR

_PAUSE = 0.1
"""A pause between stages is left out of the timeline if it is longer than this fraction of the time of all work."""
_SHORT = 5.0
"""Seconds that are never taken for a pause between two runs."""


@dataclass(frozen=True)
class Span:
    """The work of one worker on one stage; times in seconds, from the begin of the first, without pauses."""

    stage: str
    worker: str
    begin: float
    end: float
    wall_seconds: float
    cpu_seconds: float
    peak_memory: int
    units: int
    rows: int | None
    together: tuple[str, ...] = ()


@dataclass(frozen=True)
class Usage:
    """The work on all stages, in the order in which it began, and the seconds of pauses that are left out."""

    spans: tuple[Span, ...] = ()
    paused: float = 0.0

    @property
    def stages(self) -> list[str]:
        """The stages, in the order in which they began."""
        return [*dict.fromkeys(span.stage for span in self.spans)]


def read_usage(root: Path | None) -> Usage:
    """What the workers of a cohort noted; lines that cannot be read are left out."""
    lines = [line for path in sorted((root / USAGE_DIR).glob("*.jsonl")) for line in _lines(path)] if root else []
    lines.sort(key=lambda line: (line["begin"], line["stage"]))
    if not lines:
        return Usage()
    pauses = _pauses(lines)
    start: float = lines[0]["begin"]

    def at(time: float) -> float:
        return time - start - sum(end - begin for begin, end in pauses if begin < time)

    spans = tuple(_span(line, at(line["begin"]), at(line["end"])) for line in lines)
    return Usage(spans, sum(end - begin for begin, end in pauses))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            line = dict(json.loads(text))
            times = {key: datetime.fromisoformat(line[key]).timestamp() for key in ("begin", "end")}
            yield line | times | {"stage": str(line["stage"])}


def _span(line: dict[str, Any], begin: float, end: float) -> Span:
    worker = line.get("worker")
    seconds = {key: float(line.get(key) or 0) for key in ("wall_seconds", "cpu_seconds")}
    return Span(
        stage=line["stage"],
        worker=f"process {line.get('pid')}" if worker is None else str(worker),
        begin=begin,
        end=end,
        **seconds,
        peak_memory=int(line.get("peak_memory") or 0),
        units=int(line.get("units") or 0),
        rows=line.get("rows"),
        together=tuple(map(str, line.get("pass") or ())),
    )


def _pauses(lines: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """The times in which no worker was at work, where they are long: between runs, of a pipeline that went on later."""
    gaps, until = [], lines[0]["end"]
    for line in lines:
        if line["begin"] > until:
            gaps.append((until, line["begin"]))
        until = max(until, line["end"])
    busy = until - lines[0]["begin"] - sum(end - begin for begin, end in gaps)
    return [(begin, end) for begin, end in gaps if end - begin > max(_SHORT, _PAUSE * busy)]
