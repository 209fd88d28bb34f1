"""Which columns of a table no event has, and why."""

import re
from collections.abc import Iterable, Iterator

from ..dataset.schema import CODE
from ..parser import is_col_field, parse_col_field
from .events import Parts
from .model import EventDraft
from .profiles import Column
from .times import TimeRoles
from .values import is_identifier, is_personal, is_place


def unused(parts: Parts, events: Iterable[EventDraft]) -> Iterator[Column]:
    """The columns that no event has."""
    used = {name for event in events for entry in event.entries for name in _named_in(entry.value, entry.key == CODE)}
    return (c for name, c in parts.profile.columns.items() if name not in used and name != parts.subject)


def _named_in(value: object, in_code: bool) -> Iterator[str]:
    """The columns that the value of a key names; of a code, plain words are none."""
    if isinstance(value, dict):
        yield from value
        yield from (name for inner in value.values() for name in _named_in(inner, False))
    elif isinstance(value, list):
        yield from (name for inner in value for name in _named_in(inner, in_code))
    elif is_col_field(str(value)):
        yield parse_col_field(str(value))
    elif not in_code:
        yield from (str(value), *re.findall(r"\{([^{}]+)\}", str(value)))


def why_left_out(column: Column, roles: TimeRoles) -> tuple[str, bool]:
    """Why no event has a column, and whether a line in one would add it."""
    if column.is_empty:
        return "no value in the rows looked at", False
    if column.is_time:
        return roles.left.get(column.name, "the same is taken from another column or table"), False
    if column.is_clock:
        return f"times of day, {column.distinct:,} distinct", True
    if is_place(column):
        return "a place in an order, by its name", True
    if is_identifier(column):
        return f"ids, {column.distinct:,} distinct", True
    if is_personal(column, is_static=roles.main is None):
        return "it may tell who somebody is, by its name", True
    if column.is_number:
        return f"numbers, {column.distinct:,} distinct", True
    if column.is_category:
        return f"categories, {column.distinct:,} distinct", True
    return f"texts, {column.distinct:,} distinct, {column.length:.0f} characters on average", True
