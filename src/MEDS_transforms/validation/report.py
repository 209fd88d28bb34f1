"""Shows what validation found: tables, remarks and a verdict on the screen, or one JSON document."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..dataset.schema import SPLIT
from ..errors import counted
from ..remarks import Severity, print_remarks
from .shard_rows import time_text
from .validate import Advance, Counts, Report, validate
from .versions import MedsVersion

_WIDE = 200


def run(path: Path, asked: MedsVersion | None, as_json: bool) -> bool:
    """Validates a dataset and prints the result; gives whether it is valid."""
    with _progress() as progress:
        report = validate(path, asked, progress)
    if as_json:
        print(json.dumps(as_document(report), indent=1))  # noqa: T201
    else:
        print_report(report)
    return report.is_valid


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:

        def begin(total: int) -> Advance:
            task = bar.add_task("Reading shards", total=total)
            return lambda n: bar.update(task, completed=n)

        yield begin


def as_document(report: Report) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "path": str(report.root),
        "meds": {"version": report.standard.version, "why": report.why},
        "valid": report.is_valid,
        "what": report.what,
        "counts": _counts(report.counts),
        "splits": _splits(report.counts),
        "remarks": [finding.as_json() for finding in report.findings],
    }


def _counts(counts: Counts) -> dict[str, Any]:
    names = ("shards", "subjects", "measurements", "static", "events", "codes", "described_codes", "bytes")
    times = {"first_time": _time(counts.first), "last_time": _time(counts.last)}
    return {name: getattr(counts, name) for name in names} | times


def _splits(counts: Counts) -> dict[str, dict[str, int]]:
    rows = [] if counts.splits is None else counts.splits.to_dicts()
    rows.sort(key=lambda row: -row["subjects"])
    return {row[SPLIT]: {name: n for name, n in row.items() if name != SPLIT} for row in rows}


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else time_text(microseconds)


def print_report(report: Report) -> None:
    """Prints the counts, the remarks and the verdict."""
    console = Console()
    if not console.is_terminal:  # another program reads it, a line for a count
        console = Console(width=_WIDE)
    console.print(Text(f"{report.root}: MEDS {report.standard.version}, {report.why}"), soft_wrap=True)
    if report.what is None:
        console.print(_counts_table(report.counts))
        if splits := _splits(report.counts):
            console.print(_splits_table(splits))
    print_remarks(console, [finding.in_full() for finding in report.findings])
    console.print(_verdict(report), soft_wrap=True)


def _counts_table(counts: Counts) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    shown = {
        "subjects": f"{counts.subjects:,}",
        "measurements": f"{counts.measurements:,}",
        "  static": f"{counts.static:,}",
        "events": f"{counts.events:,}",
        "codes": f"{counts.codes:,}",
        "shards": f"{counts.shards:,}",
        "size": decimal(counts.bytes),
        "first time": _time(counts.first) or "none",
        "last time": _time(counts.last) or "none",
    }
    for name, value in shown.items():
        table.add_row(name, value)
    return table


def _splits_table(splits: dict[str, dict[str, int]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("split", "subjects", "measurements"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for split, counts in splits.items():
        table.add_row(Text(split), *(f"{n:,}" for n in counts.values()))
    return table


def _verdict(report: Report) -> Text:
    """The last line: whether the dataset is valid, and how many remarks there are."""
    severities = [finding.severity for finding in report.findings]
    found = [counted(severities.count(severity), severity) for severity in Severity if severity in severities]
    if report.is_valid:
        return Text(f"Valid MEDS {report.standard.version}{f', with {_and(found)}' if found else ''}.", "bold green")
    if report.what is not None:
        return Text("Not a MEDS dataset.", "bold red")
    return Text(f"Not valid MEDS {report.standard.version}: {_and(found)}.", "bold red")


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
