"""What is likely a mistake in data or configuration: a warning, or, beyond a limit of the pipeline, an error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, Problem, Problems
from ..settings.plain import plain

LIMITS = "limits"
TIMES_NOT_PARSED, VALUES_LOST, ROWS_DROPPED, DUPLICATES = (
    "times_not_parsed",
    "values_lost",
    "rows_dropped",
    "duplicates",
)
ROWS_UNMATCHED = "rows_unmatched"
NO_MEASUREMENTS, NO_MATCH = "events_without_measurements", "metadata_without_match"
ONE_CODE, DAY_MONTH, NO_NUMBERS = "one_code", "day_month", "no_numbers"

FRACTIONS = (TIMES_NOT_PARSED, VALUES_LOST, ROWS_DROPPED, DUPLICATES, ROWS_UNMATCHED)
"""Limits that are a fraction of the rows of one event, table, or stage; the others are a number of findings."""

_WARN_ABOVE = {
    TIMES_NOT_PARSED: 0.01,
    ROWS_UNMATCHED: 0,
    NO_MEASUREMENTS: 0,
    NO_MATCH: 0,
    ONE_CODE: 0,
    DAY_MONTH: 0,
    NO_NUMBERS: 0,
}


@dataclass(frozen=True)
class Finding:
    """Something that may be a mistake: what kind, where, how much (of what is counted: 1), and words with examples.

    `key`: the key of the event that it is about, where it is about one. `remedy`: what to do, if the words do not say.
    """

    kind: str
    where: str
    figure: float
    words: str
    key: str = ""
    remedy: str = ""

    @property
    def place(self) -> str:
        """Where it is, with the key."""
        return f"{self.where}.{self.key}" if self.key else self.where

    @property
    def text(self) -> Problem:
        """The words, and what to do."""
        return Problem(self.words, remedy=self.remedy)

    @property
    def message(self) -> Problem:
        """The words with the place, and what to do."""
        return Problem(self.words, self.place, self.remedy)


def is_beyond(finding: Finding, among: Sequence[Finding], limit: float | None) -> bool:
    """Whether a finding, or for what is counted the number of its kind, is more than a limit; never without one."""
    if limit is None:
        return False
    figure = finding.figure if finding.kind in FRACTIONS else sum(other.kind == finding.kind for other in among)
    return figure > limit


def warnings_of(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that are worth a warning."""
    return [finding for finding in findings if is_beyond(finding, findings, _WARN_ABOVE.get(finding.kind))]


def limits_of(cfg: Mapping[str, Any]) -> dict[str, float]:
    """The limits that a configuration sets."""
    given = plain(cfg.get(LIMITS)) or {}
    return {kind: float(limit) for kind, limit in given.items() if limit is not None}


def check_limits(findings: Sequence[Finding], limits: Mapping[str, float]) -> None:
    """Raises an InputError that lists all findings beyond the limits of the pipeline."""
    problems = Problems(
        "The outputs are made, but limits of the pipeline are exceeded, so that the stage does not count as done. "
        "Correct what is wrong, or raise the limit and run the same command again, which computes nothing anew"
    )
    for finding in findings:
        if is_beyond(finding, findings, limits.get(finding.kind)):
            problems.add(f"{finding.message} {shown_limit(finding, limits)}")
    problems.raise_if_any(InputError)


def shown_limit(finding: Finding, limits: Mapping[str, float]) -> str:
    """The limit that a finding is beyond, as it stands in the pipeline."""
    limit = limits[finding.kind]
    shown = f"{limit:g}" if finding.kind in FRACTIONS else f"{limit:.0f}"
    return f"[{LIMITS}.{finding.kind}: {shown}]"


def percent(part: int, whole: int) -> str:
    """Words for a part of a whole.

    >>> percent(1, 3)
    '1 of 3 (33 %)'
    """
    share = 100 * part / whole if whole else 0.0
    return f"{part:,} of {whole:,} ({share:.2g} %)" if share < 10 else f"{part:,} of {whole:,} ({share:.0f} %)"
