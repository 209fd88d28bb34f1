"""The sections of a comparison that are about the stages: rows, settings and versions, time and memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..work.differences import differences
from .data_comparison import compared
from .dataset import Dataset
from .parts import Part, Section, Table, Text
from .stage_accounts import EventAccount, StageNotes
from .stage_sections import usage_table
from .usage import Usage

Two = tuple[str, str]


def stage_comparison(
    names: Two,
    datasets: tuple[Dataset, Dataset],
    notes: tuple[StageNotes, StageNotes],
    usages: tuple[Usage, Usage],
) -> list[Section]:
    """The sections about the stages."""
    return [
        Section("rows", "What became of the rows", [*_rows(names, *notes)]),
        Section("settings", "Settings and versions", [*_settings(names, datasets, *notes)]),
        Section("usage", "Time and memory", [*_usage(names, *usages)]),
    ]


def _rows(names: Two, a: StageNotes, b: StageNotes) -> Iterator[Part]:
    if missing := [name for name, one in zip(names, (a, b), strict=True) if not one.accounts]:
        yield Text(f"Nothing is known of that of {' and '.join(missing)}: there are no files in metadata/accounting.")
        return
    flows = [{flow.stage: flow for flow in one.flows} for one in (a, b)]
    rows = []
    for stage in dict.fromkeys([*flows[0], *flows[1]]):
        for figure in ("read", "written", "removed", "added") if all(stage in of for of in flows) else ("written",):
            values = [getattr(of.get(stage), figure, None) for of in flows]
            if values[0] != values[1]:
                rows.append(compared(f"{stage}: {figure}", *values))
    yield from _table_or_text("Rows of stages that differ", ["Stage", *names, "Difference", "Ratio"], rows)
    yield from _table_or_text(
        "Events that differ", ["Event", *names, "Difference", "Ratio"], [*_event_rows(a.events, b.events)]
    )


def _event_rows(a: Sequence[EventAccount], b: Sequence[EventAccount]) -> Iterator[list[Any]]:
    of_a, of_b = ({f"{e.table}.{e.event}": _figures(e) for e in events} for events in (a, b))
    for event in dict.fromkeys([*of_a, *of_b]):
        here, there = of_a.get(event), of_b.get(event)
        if here is None or there is None:
            n = [of["measurements"] if of else None for of in (here, there)]
            yield compared(f"{event}: measurements", *n)
            continue
        for figure in dict.fromkeys([*here, *there]):
            if here.get(figure, 0) != there.get(figure, 0):
                yield compared(f"{event}: {figure}", here.get(figure, 0), there.get(figure, 0))


def _figures(event: EventAccount) -> dict[str, int]:
    parts: Mapping[str, Mapping[str, int]] = {
        "dropped": event.dropped,
        "lost": event.lost,
        "kept as text": event.kept_as_text,
    }
    named = {f"{what}: {key.replace('_', ' ')}": n for what, counts in parts.items() for key, n in counts.items()}
    return {"rows": event.rows, "measurements": event.measurements} | named


def _settings(names: Two, datasets: tuple[Dataset, Dataset], a: StageNotes, b: StageNotes) -> Iterator[Part]:
    said = [dataset.description() for dataset in datasets]
    keys = [key for key in dict.fromkeys([*said[0], *said[1]]) if said[0].get(key) != said[1].get(key)]
    rows = [[key, *(_text(one.get(key)) for one in said)] for key in keys]
    yield from _table_or_text("dataset.json, as far as it differs", ["Key", *names], rows)
    if missing := [name for name, one in zip(names, (a, b), strict=True) if not one.records]:
        yield Text(f"Nothing is known of the settings of {' and '.join(missing)}: there are no records (.provenance).")
        return
    versions = [_text(", ".join(one.versions)) for one in (a, b)]
    yield Table("Versions", ["", *names], [["Made by", *versions]])
    yield from _table_or_text("Stages whose settings differ", ["Stage", "Setting: first -> second"], [*_changes(a, b)])


def _changes(a: StageNotes, b: StageNotes) -> Iterator[list[str]]:
    for stage in dict.fromkeys([*a.records, *b.records]):
        here, there = a.records.get(stage), b.records.get(stage)
        if here is None or there is None:
            yield [stage, "(no such stage) -> (there)" if here is None else "(there) -> (no such stage)"]
            continue
        for line in differences(here.made_by.settings, there.made_by.settings):
            yield [stage, line]


def _usage(names: Two, *usages: Usage) -> Iterator[Part]:
    for name, usage in zip(names, usages, strict=True):
        if usage.spans:
            table = usage_table(usage)
            yield Table(f"{table.caption}: {name}", table.headings, table.rows)
        else:
            yield Text(f"Nothing is known of that of {name}: no stage has noted its time and memory (.logs/usage).")


def _table_or_text(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[Part]:
    yield Table(caption, headings, rows) if rows else Text(f"{caption}: none.")


def _text(value: Any) -> str:
    return "(none)" if value in (None, "") else str(value)
