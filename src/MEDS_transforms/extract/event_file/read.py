"""Reads an event conversion file: its tables, with all that is wrong in it in one message."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...dataset.schema import SUBJECT_ID
from ...errors import InputError, MissingInputError, Problem, Problems, nearest
from ...settings.names import wrong_names
from ...settings.newer_signs import is_newer
from ...settings.yaml_file import read_yaml
from ..raw.join_blocks import read_join
from .event import column_name, read_event
from .model import JOIN_KEY, SUBJECT_ID_KEY, EventFile, Table, TableOptions
from .options import OPTIONS, is_event, is_option, is_subject_key, read_options

logger = logging.getLogger(__name__)


def read_event_file(path: str | Path) -> EventFile:
    """The tables of an event conversion file, in the order of the file, and how each is read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML, repeats a key, or has invalid entries; the message lists all that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(
            f"There is no event conversion file {path}",
            "event_conversion_config_fp",
            "Set event_conversion_config_fp to the YAML file that says which rows become which events.",
        )
    try:
        raw = read_yaml(path)
    except ValueError as error:
        what = f"The event conversion file cannot be read: {error}"
        raise InputError(what, "event_conversion_config_fp") from None
    problems = Problems(f"The event conversion file {path} cannot be used")
    event_file = _event_file(raw, problems)
    problems.raise_if_any()
    return event_file


def event_file_content(path: str | Path) -> Any:
    """What an event conversion file says, to compare with what it said before; comments do not matter."""
    return read_yaml(Path(path))


def _event_file(raw: Any, problems: Problems) -> EventFile:
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        problems.add(f"it must be a mapping from tables to events, not {raw!r}", "event_conversion_config_fp")
        return EventFile({})
    if is_newer(raw):
        from .newer import newer_event_file  # its library takes a while

        return newer_event_file(raw, problems)
    subject_id_col = _subject_id_col(raw, "", problems) or SUBJECT_ID
    default = read_options(raw, "", TableOptions(), problems)
    blocks = {
        name: block for name, block in raw.items() if not is_subject_key(name, block) and not is_option(name, block)
    }
    problems.found += wrong_names(blocks, "table")
    tables = [
        _table(str(name), block, Table(str(name), subject_id_col, (), default), problems)
        for name, block in blocks.items()
    ]
    event_file = EventFile(
        {table.name: table for table in tables if table.events},
        {table.name: table.options for table in tables},
        default,
    )
    if not blocks:
        problems.add("it names no table", "event_conversion_config_fp")
    named = {*event_file.metadata_tables, *event_file.joined_tables}
    problems.found += [
        Problem("has no events", table.name) for table in tables if not table.events and table.name not in named
    ]
    return event_file


def _table(name: str, block: Any, default: Table, problems: Problems) -> Table:
    if not isinstance(block, dict):
        near = nearest(name, [*OPTIONS, SUBJECT_ID_KEY])
        problems.add(f"must be a mapping from events to their settings, not {block!r}{near}", name)
        return default
    subject_id_col = _subject_id_col(block, f"{name}.", problems) or default.subject_id_col
    options = read_options(block, name, default.options, problems)
    is_join = JOIN_KEY in block and not is_event(block[JOIN_KEY])
    joins = read_join(block[JOIN_KEY], f"{name}.{JOIN_KEY}", problems) if is_join else []
    events = tuple(
        read_event(name, str(key), value, options, problems)
        for key, value in block.items()
        if not (is_subject_key(key, value) or is_option(key, value) or (is_join and key == JOIN_KEY))
    )
    return Table(name, subject_id_col, events, options, tuple(joins))


def _subject_id_col(block: Mapping[Any, Any], where: str, problems: Problems) -> str | None:
    given = [(key, value) for key, value in block.items() if is_subject_key(key, value)]
    if len(given) > 1:
        problems.add(f"also given as {SUBJECT_ID}", f"{where}{SUBJECT_ID_KEY}", "Keep one of the two")
    for key, value in given:
        if not isinstance(value, str) or not value:
            problems.add(f"must be the name of a column, not {value!r}", f"{where}{key}")
            return None
        return column_name(value, f"{where}{key}")
    return None
