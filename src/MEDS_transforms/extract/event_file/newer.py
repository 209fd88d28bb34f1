"""Makes of what a file in the newer line's language says (see `newer_language`) what any event file says."""

from collections.abc import Mapping
from typing import Any

from ...dataset.columns import internal
from ...dataset.schema import CODE, SUBJECT_ID, TIME
from ...errors import Problems, listed
from ...expressions.forms import Expression
from ...settings.names import wrong_names
from ...settings.newer_signs import DEFAULTS
from ..newer_language import NewerEvent, NewerTable, read_newer
from .model import CodePart, Event, EventFile, Table, TableOptions


def newer_event_file(raw: Mapping[str, Any], problems: Problems) -> EventFile:
    """The tables of an event file in the newer line's language; what is wrong with it is noted."""
    found = read_newer(raw, problems)
    problems.found += wrong_names(found, "table")
    hashed = [name for name, table in found.items() if table.hashed_ids]
    if hashed and (others := found.keys() - hashed):
        what = f"subject ids are hash(…) in {listed(hashed)}, not in {listed(others)}"
        problems.add(what, f"{DEFAULTS}.{SUBJECT_ID}", "Make all the same")
    options = TableOptions(subject_ids="hash" if hashed else "integer")
    tables = {name: _table(table, options) for name, table in found.items() if table.events}
    return EventFile(tables, default=options)


def _table(table: NewerTable, options: TableOptions) -> Table:
    subject, after = internal(SUBJECT_ID), dict(table.after_join)
    after[subject] = table.subject_id
    return Table(
        table.name,
        subject,
        tuple(_event(table.name, event, options) for event in table.events),
        options,
        (table.join,) if table.join else (),
        table.before_join,
        after,
        {**table.formulas, subject: table.subject_formula},
    )


def _event(table: str, event: NewerEvent, options: TableOptions) -> Event:
    expressions: dict[str, Expression] = {CODE: event.code, **event.values}
    if event.time is not None:
        expressions[TIME] = event.time
    names = {key: internal(f"{table}.{event.name}.{key}") for key in expressions}
    return Event(
        table=table,
        name=event.name,
        code=(CodePart(names[CODE], True),),
        time=names.get(TIME),
        time_formats=(),
        values={key: names[key] for key in event.values},
        metadata={described.table: {} for described in event.metadata if described.table is not None},
        computed={names[key]: expression for key, expression in expressions.items()},
        options=options,
        is_newer=True,
        formulas=event.formulas,
        code_template=event.code_template,
        components=event.components,
        described_by=event.metadata,
    )
