"""A report on the screen: what events will yield, what will be done, and the remarks."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import counted
from ..remarks import Severity, print_remarks
from .report import EventYield, Report, StagePlan

_NARROWEST = 160
_ACTIONS = {"run": "runs", "skip": "is done", "refuse": "will not run"}


def print_report(report: Report) -> None:
    """Prints a report."""
    console = Console(highlight=False)
    if not console.is_terminal:  # lines that other programs read are not to be torn
        console = Console(highlight=False, width=_NARROWEST)
    if report.events:
        console.print(events_table(report.events))
        console.print()
    if report.stages:
        console.print(stages_table(report.stages))
        console.print()
    print_remarks(console, report.remarks)
    console.print(Text(verdict(report)))


def verdict(report: Report) -> str:
    """How many errors, warnings and notes there are."""
    numbers = {one: sum(remark.severity is one for remark in report.remarks) for one in Severity}
    shown = ", ".join(counted(number, severity.value) for severity, number in numbers.items() if number)
    return shown or "Nothing found."


def events_table(events: Sequence[EventYield]) -> Table:
    """What each event will yield. NOTE: values come from users' files, so that nothing in them is taken for markup."""
    table = Table(title="What the events will yield", title_justify="left", box=None, pad_edge=False)
    for column in ("event", "sampled rows", "measurements", "dropped", "why", "lost", "code", "time"):
        right = column in ("sampled rows", "measurements", "dropped")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for one in events:
        all_rows = "all " if one.is_whole else ""
        about = "" if one.is_whole else "about "
        why = ", ".join(f"{cause.replace('_', ' ')} {number:,}" for cause, number in one.dropped.items())
        cells = (
            f"{one.table}.{one.event}",
            f"{all_rows}{one.sampled_rows:,}",
            f"{about}{one.estimated_measurements:,}",
            f"{100 * one.share_dropped:.3g} %",
            *(why, _lost(one), one.code or "", (one.time or "").replace("T", " ")),
        )
        table.add_row(*map(Text, cells))
    return table


def _lost(one: EventYield) -> str:
    """Which values are lost, or kept as text, with their shares."""
    shares = [
        f"{column.replace('_', ' ')} {100 * number / values.given:.3g} %{words}"
        for column, values in one.values.items()
        for number, words in ((values.lost, ""), (values.kept_as_text, " kept as text"))
        if number
    ]
    return ", ".join(shares)


def stages_table(stages: Sequence[StagePlan]) -> Table:
    """What will be done, stage by stage."""
    table = Table(title="What the runner will do", title_justify="left", box=None, pad_edge=False)
    for column in ("stage", "", "workers", "process", "data", "why"):
        table.add_column(column, justify="right" if column in ("workers", "process") else "left", overflow="fold")
    for stage in stages:
        kept = {None: "", True: "kept", False: "not kept"}[stage.keeps]
        process = "" if stage.process is None else str(stage.process)
        workers = str(stage.workers) if stage.action == "run" else ""
        table.add_row(*map(Text, (stage.name, _ACTIONS[stage.action], workers, process, kept, stage.why)))
    return table
