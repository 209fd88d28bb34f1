"""The event conversion file: which rows of which tables become which measurements."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.schema import BOOLEAN_VALUE, CATEGORICAL_VALUE, CODE, NUMERIC_VALUE, SUBJECT_ID, TEXT_VALUE, TIME
from ..errors import InputError, MissingInputError, Problems
from ..parser import cfg_to_expr, is_col_field, parse_col_field
from ..settings.names import wrong_names
from ..settings.yaml_file import read_yaml

logger = logging.getLogger(__name__)

SUBJECT_ID_KEY = "subject_id_col"
TIME_FORMAT_KEY = "time_format"
METADATA_KEY = "_metadata"
META_KEYS = {TIME_FORMAT_KEY, METADATA_KEY}
"""The keys of an event that are not columns of its measurements."""

_KNOWN_KEYS = (TIME_FORMAT_KEY, METADATA_KEY, NUMERIC_VALUE, TEXT_VALUE, CATEGORICAL_VALUE, BOOLEAN_VALUE)
_NEWER_LANGUAGE = re.compile(r"""^\$\w|^f["']|\{\$""")

DEFAULT_SUBJECT_ID = SUBJECT_ID


@dataclass(frozen=True)
class CodePart:
    """A part of a code: a text that is always the same, or the values of a column."""

    text: str
    is_column: bool


@dataclass(frozen=True)
class Event:
    """One kind of measurement that rows of a table give.

    `values` are output columns with the input columns they come from; `metadata` are tables that describe the
    event's codes, with the expressions of their columns.
    """

    table: str
    name: str
    code: tuple[CodePart, ...]
    time: str | None
    time_formats: tuple[str, ...]
    values: Mapping[str, str]
    metadata: Mapping[str, Mapping[str, Any]]

    @property
    def path(self) -> str:
        """Where the event stands in its file, for messages."""
        return f"{self.table}.{self.name}"

    @property
    def columns(self) -> dict[str, str]:
        """The input columns the event needs, each with the key that asks for it."""
        wanted = {part.text: CODE for part in self.code if part.is_column}
        if self.time is not None:
            wanted[self.time] = TIME
        return {column: key for key, column in self.values.items()} | wanted


@dataclass(frozen=True)
class Table:
    """A table of the input and the events its rows give."""

    name: str
    subject_id_col: str
    events: tuple[Event, ...] = field(default_factory=tuple)

    @property
    def columns(self) -> list[str]:
        """The columns that some event needs, each once, the subject's first."""
        return list(dict.fromkeys([self.subject_id_col, *(c for e in self.events for c in e.columns)]))


def read_event_config(path: str | Path) -> dict[str, Table]:
    """The tables of an event conversion file by name, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML, repeats a key, or has invalid entries; the message lists all that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(
            f"There is no event conversion file {path}. Set event_conversion_config_fp to the YAML file that says "
            "which rows become which events."
        )
    try:
        raw = read_yaml(path)
    except ValueError as error:
        raise InputError(f"The event conversion file cannot be read: {error}") from None
    problems = Problems(f"The event conversion file {path} cannot be used")
    tables = _parse_file(raw, problems)
    problems.raise_if_any()
    return tables


def event_file_content(path: str | Path) -> Any:
    """What an event conversion file says, to compare with what it said before; comments do not matter."""
    return read_yaml(Path(path))


def metadata_tables(tables: Mapping[str, Table]) -> dict[str, list[Event]]:
    """The tables that describe codes, each with the events whose codes it describes, in order."""
    found: dict[str, list[Event]] = {}
    for table in tables.values():
        for event in table.events:
            for name in event.metadata:
                found.setdefault(name, []).append(event)
    return found


def _parse_file(raw: Any, problems: Problems) -> dict[str, Table]:
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        problems.add(f"it must be a mapping from tables to events, not {raw!r}")
        return {}
    default = _subject_id_col(raw, "", problems) or DEFAULT_SUBJECT_ID
    problems.found += wrong_names((n for n, block in raw.items() if not _is_subject_key(n, block)), "table")
    tables = {
        str(name): _parse_table(str(name), block, default, problems)
        for name, block in raw.items()
        if not _is_subject_key(name, block)
    }
    if not tables:
        problems.add("it names no table")
    return tables


def _is_subject_key(key: Any, value: Any) -> bool:
    """Whether a key names the column of subject ids; `subject_id` is the older spelling."""
    return key == SUBJECT_ID_KEY or (key == SUBJECT_ID and isinstance(value, str))


def _subject_id_col(block: Mapping[Any, Any], where: str, problems: Problems) -> str | None:
    given = [(key, value) for key, value in block.items() if _is_subject_key(key, value)]
    if len(given) > 1:
        problems.add(f"{where}{SUBJECT_ID_KEY}: also given as {SUBJECT_ID}; keep one of the two")
    for key, value in given:
        if not isinstance(value, str) or not value:
            problems.add(f"{where}{key}: must be the name of a column, not {value!r}")
            return None
        return _column_name(value, f"{where}{key}")
    return None


def _parse_table(name: str, block: Any, default_subject_id: str, problems: Problems) -> Table:
    if not isinstance(block, dict):
        problems.add(f"{name}: must be a mapping from events to their settings, not {block!r}")
        return Table(name, default_subject_id)
    subject_id_col = _subject_id_col(block, f"{name}.", problems) or default_subject_id
    events = tuple(
        _parse_event(name, str(key), value, problems) for key, value in block.items() if not _is_subject_key(key, value)
    )
    if not events:
        problems.add(f"{name}: has no events")
    return Table(name, subject_id_col, events)


def _parse_event(table: str, name: str, block: Any, problems: Problems) -> Event:
    where = f"{table}.{name}"
    if not isinstance(block, dict):
        problems.add(f"{where}: must be a mapping with the keys `code` and `time`, not {block!r}")
        return Event(table, name, (), None, (), {}, {})
    for key in (CODE, TIME):
        if key not in block:
            problems.add(f"{where}.{key}: is missing" + (" (null makes a static event)" if key == TIME else ""))
    return Event(
        table=table,
        name=name,
        code=_parse_code(block.get(CODE, "missing"), f"{where}.{CODE}", problems),
        time=_parse_time(block.get(TIME), f"{where}.{TIME}", problems),
        time_formats=_parse_formats(block.get(TIME_FORMAT_KEY), f"{where}.{TIME_FORMAT_KEY}", problems),
        values=_parse_values(block, where, problems),
        metadata=_parse_metadata(block.get(METADATA_KEY), f"{where}.{METADATA_KEY}", problems),
    )


def _parse_code(code: Any, where: str, problems: Problems) -> tuple[CodePart, ...]:
    parts = code if isinstance(code, list) else [code]
    if not parts or any(isinstance(p, bool) or not isinstance(p, str | int | float) for p in parts):
        problems.add(f"{where}: must be text, col(name), or a list of these, not {code!r}")
        return ()
    texts = [str(p) for p in parts]
    if newer := [text for text in texts if _NEWER_LANGUAGE.search(text)]:
        problems.add(
            f"{where}: {newer[0]!r} uses the event syntax of later releases (`$column`, f-strings), which is not "
            "supported here. Write the parts as a list, columns as col(name): [GENDER, col(gender)]"
        )
        return ()
    return tuple(
        CodePart(parse_col_field(text), True) if is_col_field(text) else CodePart(text, False) for text in texts
    )


def _parse_time(time: Any, where: str, problems: Problems) -> str | None:
    if time is None:
        return None
    if isinstance(time, str) and is_col_field(time):
        return parse_col_field(time)
    hint = f"; did you mean col({time})?" if isinstance(time, str) else ""
    problems.add(f"{where}: must be null (a static event) or col(name), not {time!r}{hint}")
    return None


def _parse_formats(formats: Any, where: str, problems: Problems) -> tuple[str, ...]:
    if formats is None:
        return ()
    listed = formats if isinstance(formats, list) else [formats]
    if not listed or not all(isinstance(f, str) and "%" in f for f in listed):
        problems.add(f'{where}: must be a format such as "%Y-%m-%d", or a list of formats, not {formats!r}')
        return ()
    if unknown := [f for f in listed if not _can_be_read(f)]:
        problems.add(
            f"{where}: {unknown[0]!r} has an unknown directive, such as %Q. Known are %Y %m %d %H %M %S %.f %z "
            "and the others of https://docs.rs/chrono/latest/chrono/format/strftime; a percent sign is %%"
        )
        return ()
    return tuple(listed)


def _can_be_read(time_format: str) -> bool:
    """Whether polars knows all directives of a format.

    NOTE: it says so only where it writes times; where it reads them, an unknown directive makes all of them null.
    """
    moment = pl.Series([datetime(2020, 1, 1, tzinfo=UTC)])
    try:
        moment.dt.strftime(time_format.replace("%#z", "%z"))  # the former is for reading alone
    except pl.exceptions.ComputeError:
        return False
    return True


def _names_that_are_text(block: Mapping[Any, Any], where: str, problems: Problems) -> dict[str, Any]:
    """A block without the keys that YAML has read as something else, which are noted."""
    for key in block:
        if not isinstance(key, str):
            problems.add(f"{where}: the name {key!r} is not text as it stands in the file; put it in quotes")
    return {key: value for key, value in block.items() if isinstance(key, str)}


def _parse_values(block: Mapping[Any, Any], where: str, problems: Problems) -> dict[str, str]:
    values = {}
    _warn_of_near_keys(block, where, problems)
    for key, value in _names_that_are_text(block, where, problems).items():
        if key in (CODE, TIME) or key in META_KEYS:
            continue
        if key == SUBJECT_ID:
            problems.add(f"{where}.{key}: an event cannot set it; it comes from the table's {SUBJECT_ID_KEY}")
        elif not isinstance(value, str):
            problems.add(f"{where}.{key}: must be the name of an input column, not {value!r}")
        else:
            values[key] = _column_name(value, f"{where}.{key}")
    return values


def _warn_of_near_keys(block: Mapping[Any, Any], where: str, problems: Problems) -> None:
    """Every key may be a column of the user's; but one that is nearly a key of the language is seldom meant so."""
    for key, value in block.items():
        near = get_close_matches(str(key), _KNOWN_KEYS, n=1, cutoff=0.85)
        if key in _KNOWN_KEYS or not near or len(str(key)) < 6:
            continue
        if near[0] == TIME_FORMAT_KEY and "%" in str(value):
            problems.add(f"{where}.{key}: there is no such key; did you mean {near[0]!r}?")
        else:
            logger.warning("%s.%s becomes a column of that name; did you mean %r?", where, key, near[0])


def _column_name(value: str, where: str) -> str:
    if not is_col_field(value):
        return value
    logger.warning("%s: %s is read as the column %s; write just that", where, value, parse_col_field(value))
    return parse_col_field(value)


def _parse_metadata(block: Any, where: str, problems: Problems) -> dict[str, dict[str, Any]]:
    if block is None:
        return {}
    if not isinstance(block, dict) or not all(isinstance(columns, dict) and columns for columns in block.values()):
        problems.add(f"{where}: must be a mapping from tables to mappings from columns to expressions, not {block!r}")
        return {}
    problems.found += [f"{where}: {wrong}" for wrong in wrong_names(block, "metadata table")]
    for table, columns in block.items():
        if table == "codes":
            problems.add(f"{where}.codes: a metadata table of that name collides with the result; rename the file")
        for column, expression in _names_that_are_text(columns, f"{where}.{table}", problems).items():
            if column == CODE:
                problems.add(
                    f"{where}.{table}.{CODE}: the column of that name is the code itself, which the event's code parts "
                    "make; give this one another name"
                )
            try:
                cfg_to_expr(expression)
            except ValueError as error:
                problems.add(f"{where}.{table}.{column}: {error}")
    return {str(table): {str(c): e for c, e in columns.items()} for table, columns in block.items()}
