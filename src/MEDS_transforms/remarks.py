"""Remarks: what a check finds in settings or data, each with its place and its remedy; on the screen, or as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from textwrap import indent
from typing import TYPE_CHECKING, Any

from .errors import Problem

if TYPE_CHECKING:
    from rich.console import Console


class Severity(StrEnum):
    """How much a remark matters: an error must be corrected, a warning is likely a mistake, a note is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


@dataclass(frozen=True)
class Remark:
    """One thing that a check has found.

    Args:
        severity: how much it matters.
        kind: a short name that does not change, by which other programs know it, such as `time_format`.
        where: the key path, file, or row that it is about.
        what: what was found there.
        remedy: what to do; empty where there is nothing to do.
    """

    severity: Severity
    kind: str
    where: str
    what: str
    remedy: str = ""

    @classmethod
    def of(cls, severity: Severity, kind: str, problem: str, where: str) -> "Remark":
        """A problem as a remark; `where` is the place of one that names none itself."""
        parts = Problem.of(problem)
        remedy = parts.remedy.removesuffix(".")
        return cls(severity, kind, parts.where or where, " ".join(parts.what.split()).rstrip(". "), remedy)

    @property
    def problem(self) -> Problem:
        """The remark as an item of a message."""
        return Problem(self.what, self.where, self.remedy)

    def as_json(self) -> dict[str, Any]:
        """The remark as JSON has it."""
        return asdict(self)


def errors_in(remarks: Iterable[Remark]) -> list[Remark]:
    """Those that must be corrected."""
    return [remark for remark in remarks if remark.severity is Severity.ERROR]


def print_remarks(console: "Console", remarks: Sequence[Remark]) -> None:
    """Shows remarks, errors first: where, below it what, and what to do.

    NOTE: paths and values come from users' files, so that nothing in them is taken for markup.
    """
    from rich.text import Text  # not above: --help is to be fast

    order = [*Severity]
    for remark in sorted(remarks, key=lambda remark: order.index(remark.severity)):
        console.print(Text.assemble((remark.severity, STYLES[remark.severity]), f"  {remark.where}"), soft_wrap=True)
        for text in filter(None, (remark.what, remark.remedy)):
            console.print(Text(indent(text, "    ")), soft_wrap=True)
