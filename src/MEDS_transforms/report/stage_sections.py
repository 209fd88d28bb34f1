"""The sections of a report that are about the stages: what became of rows, time and memory, settings and versions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ..work.provenance import FILES, Record
from . import charts
from .charts import COUNT, GROUP, HIGH, LOW, NAME
from .dataset import Dataset
from .parts import Chart, Charts, Details, Part, Section, Share, Table, Text, counted, shown
from .stage_accounts import EventAccount, Flow, StageNotes
from .usage import Span, Usage

KEPT, REMOVED, ADDED = "kept", "removed", "added"
_OF_EVENTS = ("Table", "Event", "Rows", "Measurements", "Of the rows")
_MOST_BARS = 300
"""With more workers and stages than that, the timeline has a bar for each stage."""
_MOST_TEXT = 12_000
"""Characters of a stage's settings that are shown."""
_MIB = 2**20


def stage_sections(dataset: Dataset, notes: StageNotes, usage: Usage) -> list[Section]:
    """The sections about the stages."""
    return [
        Section("rows", "What became of the rows", [*_rows(notes)]),
        Section("usage", "Time and memory", [*_usage(usage)]),
        Section("settings", "Settings and provenance", [*_settings(dataset, notes)]),
    ]


def _rows(notes: StageNotes) -> Iterator[Part]:
    if not notes.accounts:
        yield Text(
            "Nothing is known of that: there are no files in metadata/accounting, which the stages of MEDS_transforms "
            "write."
        )
        return
    if flows := notes.flows:
        yield Charts([Chart("Rows by stage", _flow_words(flows), _flow_chart(flows))], wide=True)
        rows = [[f.stage, f.read, f.written, f.removed, f.added, f.subjects, f.codes] for f in flows]
        headings = ["Stage", "Rows read", "Rows written", "Removed", "Added", "Subjects", "Codes"]
        yield Table("Rows of each stage", headings, rows)
    if events := notes.events:
        yield event_table(events)
        yield Text(
            "A row counts once for each event of its table, here and for convert_to_sharded_events: one that has a "
            "birth and no death gives the first, and is dropped for the second."
        )
    if warnings := notes.warnings:
        found = [[stage, one.get("kind"), one.get("where"), one.get("figure")] for stage, one in warnings]
        yield Table("What stages warned of", ["Stage", "Kind", "Where", "Figure"], found)
        yield Text("The messages, with examples, are in metadata/accounting; they have values of the data in them.")


def _flow_words(flows: Sequence[Flow]) -> str:
    last = f"{flows[-1].stage} writes {shown(flows[-1].written)} rows"
    return f"Bar chart of rows kept, removed and added by {counted(len(flows), 'stage')}; {last}."


def _flow_chart(flows: Sequence[Flow]) -> dict[str, Any]:
    groups = (KEPT, REMOVED, ADDED)
    rows = [
        {NAME: flow.stage, GROUP: group, COUNT: n}
        for flow in flows
        for group, n in zip(groups, (flow.kept, flow.removed, flow.added), strict=True)
    ]
    return charts.stacked(rows, groups, "Rows")


def event_table(events: Sequence[EventAccount]) -> Table:
    """What became of the rows of each event: how many were dropped for which cause, and the values that were lost."""
    kinds = {
        "Dropped": [event.dropped for event in events],
        "Lost": [event.lost for event in events],
        "Kept as text": [event.kept_as_text for event in events],
    }
    there = {heading: figures for heading, figures in kinds.items() if any(map(_in_words, figures))}
    rows = [
        [
            event.table,
            event.event,
            event.rows,
            event.measurements,
            Share(event.measurements / event.rows) if event.rows else None,
            *(_in_words(figures[n]) for figures in there.values()),
        ]
        for n, event in enumerate(events)
    ]
    return Table("What became of the rows of each event", [*_OF_EVENTS, *there], rows)


def _in_words(figures: Mapping[str, int]) -> str:
    """Figures with what they count, the greatest first, but for those that are 0."""
    ordered = sorted(figures.items(), key=lambda item: -item[1])
    return ", ".join(f"{_words(name)} {shown(n)}" for name, n in ordered if n)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _usage(usage: Usage) -> Iterator[Part]:
    if not usage.spans:
        yield Text("Nothing is known of that: no stage has noted its time and memory (.logs/usage).")
        return
    if usage.paused:
        yield Text(f"Pauses between runs, {seconds(usage.paused)} in all, are left out.")
    spans = usage.spans if len(usage.spans) <= _MOST_BARS else [_together(usage, stage) for stage in usage.stages]
    if len(spans) < len(usage.spans):
        yield Text(
            f"{shown(len(usage.spans))} workers and stages are too many to show: a bar is all workers of a stage."
        )
    in_all = seconds(max(span.end for span in usage.spans))
    words = f"Timeline of {counted(len(usage.stages), 'stage')}, {in_all} in all."
    memory = [{NAME: stage, COUNT: round(_together(usage, stage).peak_memory / _MIB, 1)} for stage in usage.stages]
    peak = "Bar chart of the greatest memory of a worker, by stage."
    yield Charts([Chart("Stages and workers", words, charts.timeline([_bar(span) for span in spans]))], wide=True)
    yield Charts([Chart("Peak memory of a worker", peak, charts.by_name(memory, "Stage", "MiB"))], wide=True)
    yield usage_table(usage)


def usage_table(usage: Usage) -> Table:
    """Time and memory of each stage."""
    rows = []
    for stage in usage.stages:
        all_of_it, n = _together(usage, stage), sum(span.stage == stage for span in usage.spans)
        wall = all_of_it.end - all_of_it.begin
        rate = all_of_it.rows / wall if all_of_it.rows and wall else None
        figures = (round(wall, 2), round(all_of_it.cpu_seconds, 2), round(all_of_it.peak_memory / _MIB))
        rows.append([stage, n, *figures, all_of_it.units, all_of_it.rows, rate and round(rate)])
    headings = ["Stage", "Workers", "Seconds", "CPU seconds", "Peak MiB", "Units of work", "Rows", "Rows per second"]
    return Table("Time and memory of each stage", headings, rows)


def _together(usage: Usage, stage: str) -> Span:
    """All workers of a stage as one: their times and rows added up, the greatest of their memory."""
    spans = [span for span in usage.spans if span.stage == stage]
    begin, end = min(span.begin for span in spans), max(span.end for span in spans)
    rows = [span.rows for span in spans if span.rows is not None]
    return Span(
        stage,
        f"{len(spans)} workers",
        begin,
        end,
        end - begin,
        sum(span.cpu_seconds for span in spans),
        max(span.peak_memory for span in spans),
        sum(span.units for span in spans),
        sum(rows) if rows else None,
        spans[0].together,
    )


def _bar(span: Span) -> dict[str, Any]:
    others = [stage for stage in span.together if stage != span.stage]
    return {
        NAME: span.stage,
        GROUP: span.worker,
        LOW: round(span.begin, 3),
        HIGH: round(span.end, 3),
        "wall": seconds(span.wall_seconds),
        "cpu": seconds(span.cpu_seconds),
        "memory": f"{span.peak_memory / _MIB:,.0f} MiB",
        "units": shown(span.units),
        "rows": shown(span.rows) or "not counted",
        "together": ", ".join(others) or "none",
    }


def seconds(number: float) -> str:
    """A time in words.

    >>> seconds(0.5), seconds(61), seconds(7200)
    ('0.5 s', '1 min 1 s', '2 h 0 min')
    """
    if number < 60:
        return f"{number:.3g} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _settings(dataset: Dataset, notes: StageNotes) -> Iterator[Part]:
    if said := dataset.description():
        yield Table("What dataset.json says", ["Key", "Value"], [[key, _plain(value)] for key, value in said.items()])
    else:
        yield Text("There is no metadata/dataset.json, which says what the dataset is called and what made it.")
    if not notes.records:
        yield Text("Nothing is known of settings: there are no records of stages of MEDS_transforms (.provenance).")
        return
    rows = [_record_row(stage, record) for stage, record in notes.records.items()]
    yield Table(
        "What made the outputs", ["Stage", "Version", "Input files", "Input MiB", "Files", "MiB", "Rows", ""], rows
    )
    yield Text("Values of environment variables, which may be secrets, are checksums.")
    for stage, record in notes.records.items():
        text = settings_text(record.made_by.settings)
        yield Details(stage, text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}\n… The rest is in its record.")


def settings_text(settings: Mapping[str, Any]) -> str:
    """The settings of a stage, as YAML."""
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=100) if settings else "(none)"


def _record_row(stage: str, record: Record) -> list[Any]:
    inputs = [file for role in record.made_by.inputs.values() for file in (role.get(FILES) or {}).values() if file]
    outputs = [*record.files.values()]
    rows = [file.rows for file in outputs if file.rows is not None]
    sizes = (_mib(file[0] for file in inputs), _mib(file.size for file in outputs))
    kept = "not kept" if record.freed else ""
    n_rows = sum(rows) if rows else None
    return [stage, record.made_by.version, len(inputs), sizes[0], len(outputs), sizes[1], n_rows, kept]


def _mib(sizes: Any) -> float:
    return float(f"{sum(sizes) / _MIB:.2g}")


def _plain(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("\n...")
    )
