"""What a look before a run finds: remarks, what each event will yield, and what will be done stage by stage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import problems_in
from ..remarks import Remark, Severity, errors_in

CONFIGURATION, MISSING, UNUSABLE = "configuration", "missing", "unusable"
"""Kinds of remarks that are made of messages: by the settings, of files that are not there, of others."""


@dataclass(frozen=True)
class Values:
    """What becomes of the values of a column: of so many that are `given`, some are null, or kept as text."""

    given: int
    lost: int
    kept_as_text: int


@dataclass(frozen=True)
class EventYield:
    """What rows of a table give for one event, by a sample of them.

    Args:
        table: the table.
        event: the name of the event.
        sampled_rows: how many rows were looked at, those that `each` adds among them.
        is_whole: whether these are all rows of the table.
        measurements: how many of them give a measurement.
        estimated_measurements: how many measurements all rows give; exact where the sample is the whole table.
        dropped: why the others give none, with their numbers.
        code: an example of a code; None if there is none.
        time: an example of a time (ISO 8601); None if there is none, or the event is static.
        values: what becomes of the values that are to be numbers or booleans, by column of the measurements.
    """

    table: str
    event: str
    sampled_rows: int
    is_whole: bool
    measurements: int
    estimated_measurements: int
    dropped: Mapping[str, int]
    code: str | None = None
    time: str | None = None
    values: Mapping[str, Values] = field(default_factory=dict)

    @property
    def share_dropped(self) -> float:
        """The fraction of the sampled rows that give no measurement."""
        return 1 - self.measurements / self.sampled_rows if self.sampled_rows else 0.0


@dataclass(frozen=True)
class StagePlan:
    """What will be done about a stage.

    Args:
        name: the stage.
        action: `run`, `skip` (it is done), or `refuse` (something must be corrected first).
        why: words for that; empty where it just runs.
        workers: how many share it.
        process: the number of the process, or processes, in which it runs, counted from 1; stages with the same number
            share them. None if it does not run.
        keeps: whether its data stay; None where it makes no data that only later stages read.
    """

    name: str
    action: str
    why: str = ""
    workers: int = 1
    process: int | None = None
    keeps: bool | None = None


@dataclass
class Inspection:
    """Collects remarks, and what events yield."""

    remarks: list[Remark] = field(default_factory=list)
    events: list[EventYield] = field(default_factory=list)
    bytes_made: int = 0
    """About how much each of the stages will write that hand on all data."""

    def error(self, kind: str, where: str, what: str, remedy: str = "") -> None:
        """Notes what makes the run fail, or lose data, for sure."""
        self.remarks.append(Remark(Severity.ERROR, kind, where, what, remedy))

    def warning(self, kind: str, where: str, what: str, remedy: str = "") -> None:
        """Notes what is likely a mistake."""
        self.remarks.append(Remark(Severity.WARNING, kind, where, what, remedy))

    def note(self, kind: str, where: str, what: str, remedy: str = "") -> None:
        """Notes what is good to know."""
        self.remarks.append(Remark(Severity.NOTE, kind, where, what, remedy))

    def add_problems(self, problems: Iterable[str], where: str, kind: str, severity: Severity = Severity.ERROR) -> None:
        """Notes problems, each once; `where` is the place of those that name none themselves."""
        new = (Remark.of(severity, kind, problem, where) for problem in problems)
        self.remarks += [remark for remark in dict.fromkeys(new) if remark not in self.remarks]

    def add_error(self, error: Exception, where: str, kind: str = "", severity: Severity = Severity.ERROR) -> None:
        """Notes what an exception lists; its kind by default is that of a missing file, or of what cannot be used."""
        self.add_problems(problems_in(error), where, kind or kind_of(error), severity)

    def add(self, other: "Inspection") -> None:
        """Takes in what another inspection has found, each remark once."""
        self.remarks += [remark for remark in dict.fromkeys(other.remarks) if remark not in self.remarks]
        self.events += other.events
        self.bytes_made = max(self.bytes_made, other.bytes_made)


def kind_of(error: Exception) -> str:
    """The kind of what an exception is about: a file that is not there, or something else that cannot be used."""
    return MISSING if isinstance(error, FileNotFoundError) else UNUSABLE


@dataclass(frozen=True)
class Report:
    """All that a look before a run has found."""

    remarks: Sequence[Remark]
    events: Sequence[EventYield] = ()
    stages: Sequence[StagePlan] = ()

    @property
    def is_ok(self) -> bool:
        """Whether nothing must be corrected."""
        return not errors_in(self.remarks)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON has it; the guide on checks describes it."""
        return {
            "ok": self.is_ok,
            "remarks": [remark.as_json() for remark in self.remarks],
            "events": [asdict(one) | {"share_dropped": round(one.share_dropped, 6)} for one in self.events],
            "stages": [asdict(stage) for stage in self.stages],
        }
