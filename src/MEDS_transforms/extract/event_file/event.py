"""Reads the block of an event: its code, its time, its values, and what describes its codes."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import polars as pl

from ...dataset.columns import INTERNAL, internal
from ...dataset.schema import (
    BOOLEAN_VALUE,
    CATEGORICAL_VALUE,
    CODE,
    NUMERIC_VALUE,
    SUBJECT_ID,
    TEXT_VALUE,
    TIME,
)
from ...errors import InputError, Problems, nearest, warn_of
from ...expressions import calculations as calculations  # which adds its kinds
from ...expressions.columns import expression, text, texts
from ...expressions.forms import Expression
from ...expressions.matchers import matcher
from ...expressions.times import wrong_formats
from ...parser import cfg_to_expr, is_col_field, parse_col_field
from ...settings.names import wrong_names
from .model import (
    EACH_KEY,
    JOIN_KEY,
    META_KEYS,
    METADATA_KEY,
    SUBJECT_ID_KEY,
    TIME_FORMAT_KEY,
    WHERE_KEY,
    CodePart,
    Event,
    TableOptions,
)

logger = logging.getLogger(__name__)

_KNOWN_KEYS = (TIME_FORMAT_KEY, METADATA_KEY, NUMERIC_VALUE, TEXT_VALUE, CATEGORICAL_VALUE, BOOLEAN_VALUE)
_NEARLY_COLUMN = re.compile(r"\s*col\s*\((.*?)\)?\s*")
_NEWER_LANGUAGE = re.compile(r"""^\$\w|^f["']|\{\$""")


@dataclass
class _Block:
    """The block of an event while it is read.

    `computed` are the expressions that were found in it, by the names of the columns that they make.
    """

    where: str
    content: Mapping[str, Any]
    problems: Problems
    computed: dict[str, Expression] = field(default_factory=dict)

    def add(self, key: str, what: str, remedy: str = "") -> None:
        self.problems.add(what, f"{self.where}.{key}", remedy)

    def compute(self, key: str, cfg: Any, kind: Any) -> str:
        """Notes an expression; returns the name of the column that it makes."""
        try:
            found = kind(cfg, f"{self.where}.{key}")
        except InputError as error:
            self.problems.found += error.problems
            found = Expression(pl.lit(None))
        name = internal(f"{self.where}.{key}")
        self.computed[name] = found
        return name


def read_event(table: str, name: str, content: Any, options: TableOptions, problems: Problems) -> Event:
    """The event of a block; what is wrong with it is noted."""
    where = f"{table}.{name}"
    if not isinstance(content, dict):
        near = nearest(name, [*options.reading, JOIN_KEY])
        problems.add(f"must be a mapping with the keys `code` and `time`, not {content!r}{near}", where)
        return Event(table, name, (), None, (), {}, {})
    for key in (CODE, TIME):
        if key not in content:
            hint = _misspelt(key, content) or (" (null makes a static event)" if key == TIME else "")
            problems.add(f"is missing{hint}", f"{where}.{key}")
    block = _Block(where, content, problems)
    return Event(
        table=table,
        name=name,
        code=_code(block),
        time=_time(block),
        time_formats=_formats(block),
        values=_values(block),
        metadata=_metadata(block),
        computed=block.computed,
        each=_each(block),
        where=_where(block),
        options=options,
    )


def _misspelt(key: str, content: Mapping[Any, Any]) -> str:
    """A hint that names the key of an event that is much like a missing one; empty where none is."""
    similar = get_close_matches(key, [str(name) for name in content if name not in _KNOWN_KEYS], n=1)
    return f": there is {similar[0]!r}; did you mean {key!r}?" if similar else ""


def _code(block: _Block) -> tuple[CodePart, ...]:
    code = block.content.get(CODE, "missing")
    parts = code if isinstance(code, list) else [code]
    if not parts or any(isinstance(p, bool) or not isinstance(p, str | int | float | dict) for p in parts):
        block.add(CODE, f"must be text, col(name), an expression, or a list of these, not {code!r}")
        return ()
    if newer := [part for part in parts if isinstance(part, str) and _NEWER_LANGUAGE.search(part)]:
        block.add(
            CODE,
            f"{newer[0]!r} uses the event syntax of later releases (`$column`, f-strings), which a file must use in "
            "all of its events",
            "Write the parts as a list, columns as col(name): [GENDER, col(gender)]",
        )
        return ()
    return tuple(_code_part(block, number, part) for number, part in enumerate(parts))


def _code_part(block: _Block, number: int, part: Any) -> CodePart:
    if isinstance(part, dict):
        return CodePart(block.compute(f"{CODE}[{number}]", part, text), True)
    written = str(part)
    if column := _misspelt_column(written):
        block.add(CODE, f"{written!r} is not col(name), and would be the code of all rows; did you mean {column}?")
    return CodePart(parse_col_field(written), True) if is_col_field(written) else CodePart(written, False)


def _time(block: _Block) -> str | None:
    time = block.content.get(TIME)
    if time is None:
        return None
    if isinstance(time, dict):
        return block.compute(TIME, time, expression)
    if isinstance(time, str) and is_col_field(time):
        return parse_col_field(time)
    hint = f"; did you mean {_misspelt_column(time) or f'col({time})'}?" if isinstance(time, str) else ""
    block.add(TIME, f"must be null (a static event), col(name) or an expression, not {time!r}{hint}")
    return None


def _misspelt_column(written: str) -> str | None:
    """What was meant by a text that is nearly `col(name)`, with a bracket missing, say; None for any other."""
    found = None if is_col_field(written) else _NEARLY_COLUMN.fullmatch(written)
    return f"col({found[1].strip()})" if found else None


def _formats(block: _Block) -> tuple[str, ...]:
    formats = block.content.get(TIME_FORMAT_KEY)
    if formats is None:
        return ()
    listed = formats if isinstance(formats, list) else [formats]
    if wrong := wrong_formats(listed):
        block.add(TIME_FORMAT_KEY, f"must be {wrong}, not {formats!r}")
        return ()
    return tuple(listed)


def _values(block: _Block) -> dict[str, str]:
    values = {}
    _warn_of_near_keys(block)
    for key, value in _names_that_are_text(block.content, block.where, block.problems).items():
        if key in (CODE, TIME) or key in META_KEYS or _is_steering(key, value):
            continue
        if key == SUBJECT_ID:
            block.add(key, f"an event cannot set it; it comes from the table's {SUBJECT_ID_KEY}")
        elif key.startswith(INTERNAL):
            block.add(key, "a column's name must not begin with U+E000, which this package reserves", "Rename it")
        elif isinstance(value, dict | list) and value:
            as_text = key in (TEXT_VALUE, CATEGORICAL_VALUE)
            values[key] = block.compute(key, value, text if as_text else expression)
        elif not isinstance(value, str):
            block.add(key, f"must be the name of an input column, or an expression, not {value!r}")
        else:
            values[key] = column_name(value, f"{block.where}.{key}")
    return values


def _is_steering(key: str, value: Any) -> bool:
    """Whether a key is `where` or `each`, and not a column of that name, as release 0.1 has it."""
    return key in (WHERE_KEY, EACH_KEY) and not isinstance(value, str)


def _where(block: _Block) -> Expression | None:
    cfg = block.content.get(WHERE_KEY)
    if cfg is None or not _is_steering(WHERE_KEY, cfg):
        return None
    try:
        return matcher(cfg, f"{block.where}.{WHERE_KEY}")
    except InputError as error:
        block.problems.found += error.problems
        return None


def _each(block: _Block) -> dict[str, tuple[Expression, ...]]:
    cfg = block.content.get(EACH_KEY)
    if cfg is None or not _is_steering(EACH_KEY, cfg):
        return {}
    several = cfg if isinstance(cfg, list) else [cfg]
    if not several or not all(isinstance(one, dict) and one and one.keys() == several[0].keys() for one in several):
        block.add(EACH_KEY, f"must be a list of blocks with the same names, or one block, not {cfg!r}")
        return {}
    names = _names_that_are_text(several[0], f"{block.where}.{EACH_KEY}", block.problems)
    try:
        return {
            name: tuple(kind(one[name], f"{block.where}.{EACH_KEY}[{i}].{name}") for i, one in enumerate(several))
            for name, kind in ((name, texts if _is_text(name, block.content) else expression) for name in names)
        }
    except InputError as error:
        block.problems.found += error.problems
        return {}


def _is_text(name: str, content: Mapping[str, Any]) -> bool:
    """Whether an event wants a column as text alone, so that it is to be read as it is written."""
    code = content.get(CODE)
    in_code = f"col({name})" in (code if isinstance(code, list) else [code])
    in_text = name in (content.get(TEXT_VALUE), content.get(CATEGORICAL_VALUE))
    others = (value for key, value in content.items() if key not in (TEXT_VALUE, CATEGORICAL_VALUE, NUMERIC_VALUE))
    return (in_code or in_text) and content.get(TIME) != f"col({name})" and name not in others


def _names_that_are_text(content: Mapping[Any, Any], where: str, problems: Problems) -> dict[str, Any]:
    """A block without the keys that YAML has read as something else, which are noted."""
    for key in content:
        if not isinstance(key, str):
            problems.add(f"the name {key!r} is not text as it stands in the file", where, "Put it in quotes")
    return {key: value for key, value in content.items() if isinstance(key, str)}


def _warn_of_near_keys(block: _Block) -> None:
    """Every key may be a column of the user's; but one that is nearly a key of the language is seldom meant so."""
    for key, value in block.content.items():
        near = get_close_matches(str(key), _KNOWN_KEYS, n=1, cutoff=0.85)
        if key in _KNOWN_KEYS or not near or len(str(key)) < 6:
            continue
        if near[0] == TIME_FORMAT_KEY and "%" in str(value):
            block.add(key, f"there is no such key; did you mean {near[0]!r}?")
        else:
            what = f"becomes a column of that name; did you mean {near[0]!r}?"
            warn_of(logger, what, f"{block.where}.{key}")


def column_name(value: str, where: str) -> str:
    """The name of a column; written as `col(name)` it is taken, with a warning."""
    if not is_col_field(value):
        return value
    warn_of(logger, f"{value} is read as the column {parse_col_field(value)}", where, "Write just that")
    return parse_col_field(value)


def _metadata(block: _Block) -> dict[str, dict[str, Any]]:
    content, where = block.content.get(METADATA_KEY), f"{block.where}.{METADATA_KEY}"
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(c, dict) and c for c in content.values()):
        block.add(
            METADATA_KEY, f"must be a mapping from tables to mappings from columns to expressions, not {content!r}"
        )
        return {}
    block.problems.found += [wrong.below(where) for wrong in wrong_names(content, "metadata table")]
    for table, columns in content.items():
        if table == "codes":
            block.add(
                f"{METADATA_KEY}.codes", "a metadata table of that name collides with the result", "Rename the file"
            )
        for column, cfg in _names_that_are_text(columns, f"{where}.{table}", block.problems).items():
            _check_described(column, cfg, f"{where}.{table}.{column}", block.problems)
    return {str(table): {str(c): e for c, e in columns.items()} for table, columns in content.items()}


def _check_described(column: str, cfg: Any, where: str, problems: Problems) -> None:
    if column == CODE:
        what = "the column of that name is the code itself, which the event's code parts make"
        problems.add(what, where, "Give this one another name")
    try:
        cfg_to_expr(cfg)
    except ValueError as error:
        problems.add(str(error), where)
