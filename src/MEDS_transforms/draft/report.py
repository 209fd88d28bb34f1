"""Shows what was drafted: the tables and their events, what is doubtful, and what to do next."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .model import Draft, TableDraft


def print_draft(console: Console, draft: Draft, event_file: Path, pipeline_file: Path) -> None:
    """Shows a draft that has been written.

    NOTE: names come from users' files, so that nothing in them is taken for markup.
    """
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("table", "rows looked at", "events"):
        shown.add_column(head, overflow="fold")
    for table in draft.tables:
        shown.add_row(Text(table.name), table.looked_at, Text(_events_in_words(table, draft)))
    _print_without_margin(console, shown)
    for sentence in draft.passed_over:
        console.print(f"\n{sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    unsure = [*draft.unsure]
    if unsure:
        console.print(f"\nUnsure, {len(unsure)}; look for 'unsure:' in {event_file}", style="yellow", markup=False)
    for place, doubt in unsure:
        console.print(Text.assemble("  ", (place, "bold"), f": {doubt}"), soft_wrap=True)
    console.print(Text(f"\nWritten: {event_file}, {pipeline_file}. Read them, then"), soft_wrap=True)
    for command in ("check", "run"):
        console.print(Text(f"  MEDS_transforms {command} {pipeline_file}", "cyan"), soft_wrap=True)


def _print_without_margin(console: Console, shown: Table) -> None:
    """Shows a table without the blanks after its last column, in which pages that quote it would differ."""
    with console.capture() as captured:
        console.print(shown)
    for line in captured.get().splitlines():
        console.out(line.rstrip(), highlight=False)


def _events_in_words(table: TableDraft, draft: Draft) -> str:
    if table.events:
        return ", ".join(event.name for event in table.events)
    described = [other.name for other in draft.tables if other.describes == table.name]
    return f"describes the codes of {', '.join(described)}" if described else table.note
