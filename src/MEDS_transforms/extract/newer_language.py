"""The event language of the newer line (MEDS_extract 0.7): what its files say of tables, events, joins and codes.

This module reads such a file into plain values; it computes nothing. Every value in the file is an expression (see
`expressions.formulas`): `$column`, `f"LAB//{$name}"`, a bare word for itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..dataset.schema import CATEGORICAL_VALUE, CODE, DESCRIPTION, SUBJECT_ID, TEXT_VALUE, TIME
from ..errors import Problem, Problems, listed, nearest, problems_in
from ..expressions import Expression
from ..expressions.formulas import Formula, formula, key_column
from ..settings.newer_signs import CODE_TEMPLATE, DEFAULTS, METADATA, OLDER_KEYS, OTHER_PROGRAMS, TABLE
from .event_file.model import Metadata
from .raw.aggregates import TOTAL, Column
from .raw.joins import LEFT, Join

SELF = "_self"
"""The metadata table that is the event's own table."""
SOURCE_BLOCK = "source_block"
AGGREGATIONS = ("min", "max", "sum", "mean", "count")


@dataclass(frozen=True)
class NewerEvent:
    """One kind of measurement that rows of a table give: those with a code, and with a time unless it is static.

    `components` are the columns that make the code, as keys of metadata.
    """

    name: str
    code: Expression
    code_template: str
    time: Expression | None
    values: Mapping[str, Expression]
    components: Mapping[str, Expression]
    metadata: tuple[Metadata, ...] = ()
    formulas: Mapping[str, Formula] = field(default_factory=dict)


@dataclass(frozen=True)
class NewerTable:
    """A table of the input and the events that its rows give.

    `before_join` and `after_join` are further columns, in an order in which each has what it reads. Columns of the join
    replace those of the same name. Where it aggregates none, a row becomes as many as it has matches. `hashed_ids` says
    that the subjects' ids are texts, to be numbered. `formulas` and `subject_formula` are for messages.
    """

    name: str
    subject_id: Expression
    hashed_ids: bool
    before_join: Mapping[str, Expression]
    join: Join | None
    after_join: Mapping[str, Expression]
    events: tuple[NewerEvent, ...]
    formulas: Mapping[str, str]
    subject_formula: str


def read_newer(raw: Mapping[str, Any], problems: Problems) -> dict[str, NewerTable]:
    """The tables of an event file by name, in the order of the file; what is wrong with it is added to the problems."""
    default = _default_subject(raw.get(DEFAULTS), None, DEFAULTS, problems)
    blocks = {name: block for name, block in raw.items() if name not in (DEFAULTS, *OTHER_PROGRAMS)}
    if not blocks:
        problems.add("it names no table", "event_conversion_config_fp")
    tables = {str(name): _table(str(name), block, default, problems) for name, block in blocks.items()}
    return {name: table for name, table in tables.items() if table is not None}


def _formula(value: Any, where: str, problems: Problems) -> Formula:
    """The formula at a place; where it cannot be parsed, null, after a note of the problem."""
    try:
        return formula(value, where)
    except ValueError as error:
        problems.found += problems_in(error)
        return formula(None, where)


def _default_subject(block: Any, default: Any, where: str, problems: Problems) -> Any:
    if block is None:
        return default
    if not isinstance(block, dict) or block.keys() - {SUBJECT_ID}:
        problems.add(f"must be a mapping with the key {SUBJECT_ID}, not {block!r}", where)
        return default
    return block.get(SUBJECT_ID, default)


def _table(name: str, block: Any, default: Any, problems: Problems) -> NewerTable | None:
    if not isinstance(block, dict):
        problems.add(f"must be a mapping from events to what they are, not {block!r}", name)
        return None
    subject = _default_subject(block.get(DEFAULTS), default, f"{name}.{DEFAULTS}", problems)
    ids = _formula(f"${SUBJECT_ID}" if subject is None else subject, f"{name}.{DEFAULTS}.{SUBJECT_ID}", problems)
    join, before, after = _table_block(block.get(TABLE), f"{name}.{TABLE}", problems)
    events = {key: value for key, value in block.items() if key not in (DEFAULTS, TABLE)}
    return NewerTable(
        name,
        (ids.hashed.written() if ids.hashed else ids.value()),
        ids.hashed is not None,
        {column: found.value() for column, found in before.items()},
        join,
        {column: found.value() for column, found in after.items()},
        tuple(event for key, value in events.items() if (event := _event(name, str(key), value, problems))),
        {column: f"{TABLE}.cols.{column}: {found.text}" for column, found in {**before, **after}.items()},
        f"{DEFAULTS}.{SUBJECT_ID}: {ids.text}",
    )


def _table_block(
    block: Any, where: str, problems: Problems
) -> tuple[Join | None, dict[str, Formula], dict[str, Formula]]:
    """The join of a table, and its further columns before and after it."""
    if block is None:
        return None, {}, {}
    if not isinstance(block, dict) or block.keys() - {"join", "cols"}:
        problems.add(f"must be a mapping with the keys join and cols, not {block!r}", where)
        return None, {}, {}
    join = _join(block["join"], f"{where}.join", problems) if "join" in block else None
    cols = block.get("cols") or {}
    if not isinstance(cols, dict):
        problems.add(f"must be a mapping from columns to expressions, not {cols!r}", f"{where}.cols")
        return join, {}, {}
    formulas = {str(key): _formula(value, f"{where}.cols.{key}", problems) for key, value in cols.items()}
    ordered = _ordered(formulas, f"{where}.cols", problems)
    joined = set(join.columns) if join else set()
    later: set[str] = set()
    for name, found in ordered.items():
        if found.columns & (joined | later):
            later.add(name)
    return join, {n: f for n, f in ordered.items() if n not in later}, {n: ordered[n] for n in ordered if n in later}


def _ordered(formulas: Mapping[str, Formula], where: str, problems: Problems) -> dict[str, Formula]:
    """Columns in an order in which each comes after those that it reads."""
    ordered: dict[str, Formula] = {}
    left = dict(formulas)
    while ready := [name for name, found in left.items() if not found.columns & left.keys()]:
        ordered |= {name: left.pop(name) for name in ready}
    if left:
        problems.add(f"{listed(left)} read themselves or each other; give new columns names of their own", where)
    return ordered


def _join(block: Any, where: str, problems: Problems) -> Join | None:
    if not isinstance(block, dict) or len(block) != 1:
        problems.add(f"must be a mapping with one table, not {block!r}", where)
        return None
    [(table, spec)] = block.items()
    where = f"{where}.{table}"
    if not isinstance(spec, dict) or "cols" not in spec or spec.keys() - {"key", "left_on", "right_on", "cols"}:
        problems.add(f"must be a mapping with key (or left_on and right_on) and cols, not {spec!r}", where)
        return None
    left, right = (_names(spec.get(side, spec.get("key"))) for side in ("left_on", "right_on"))
    columns = _columns(spec["cols"], f"{where}.cols", problems)
    if not left or len(left) != len(right) or ("key" in spec and spec.keys() & {"left_on", "right_on"}):
        problems.add(f"needs either key, or as many columns as left_on as there are as right_on, not {spec!r}", where)
    fans_out = all(column.aggregation is None for column in columns.values())
    return Join(str(table), left, right, LEFT, columns, where, fans_out, replaces=True)


def _columns(block: Any, where: str, problems: Problems) -> dict[str, Column]:
    """The columns to take from the right: a list, or a mapping from columns to aggregations."""
    if isinstance(block, list) and block:
        return {str(name): Column(str(name)) for name in block}
    if not isinstance(block, dict) or not block:
        problems.add(f"must be a list of columns, or a mapping from columns to aggregations, not {block!r}", where)
        return {}
    for column, how in block.items():
        if how not in AGGREGATIONS:
            hint = nearest(str(how), AGGREGATIONS)
            problems.add(f"must be one of {', '.join(AGGREGATIONS)}, not {how!r}{hint}", f"{where}.{column}")
    return {str(column): Column(str(column), TOTAL if how == "sum" else how) for column, how in block.items()}


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _event(table: str, name: str, block: Any, problems: Problems) -> NewerEvent | None:
    where = f"{table}.{name}"
    if not isinstance(block, dict) or not {CODE, TIME} <= block.keys():
        problems.add(f"must be a mapping with code and time (null for events without one), not {block!r}", where)
        return None
    problems.found += [Problem(why, f"{where}.{key}") for key, why in _wrong_keys(block)]
    values = {str(k): v for k, v in block.items() if k not in (CODE, TIME, METADATA)}
    read = {CODE: block[CODE], TIME: block[TIME], **values}
    formulas = {key: _formula(value, f"{where}.{key}", problems) for key, value in read.items()}
    code = formulas[CODE]
    return NewerEvent(
        name,
        code.written(),
        code.text,
        None if block[TIME] is None else formulas[TIME].value(),
        {**{key: _value(key, formulas[key]) for key in values}, SOURCE_BLOCK: Expression(pl.lit(f"{table}/{name}"))},
        {column: key_column(column) for column in sorted(code.columns)},
        _metadata(block.get(METADATA), code, f"{where}.{METADATA}", problems),
        formulas,
    )


def _wrong_keys(block: Mapping[Any, Any]) -> Iterable[tuple[Any, str]]:
    for key in block:
        if key == SUBJECT_ID:
            yield key, f"the subject belongs to the table: write it as {DEFAULTS}: {{{SUBJECT_ID}: …}}"
        elif key == SOURCE_BLOCK:
            yield key, "the column of that name says which event a measurement comes from; give this one another name"
        elif key in OLDER_KEYS:
            yield key, 'in this language, a format is a part of the time: $column as "%Y-%m-%d"'
        elif str(key).startswith("_") and key != METADATA:
            yield key, f"no such key{nearest(str(key), [METADATA])}; names of columns must not begin with _"


def _value(key: str, found: Formula) -> Expression:
    return found.written() if key in (TEXT_VALUE, CATEGORICAL_VALUE) else found.value()


def _metadata(block: Any, code: Formula, where: str, problems: Problems) -> tuple[Metadata, ...]:
    if block is None:
        return ()
    if not isinstance(block, dict) or not all(isinstance(columns, dict) and columns for columns in block.values()):
        problems.add(f"must be a mapping from tables to mappings from columns to expressions, not {block!r}", where)
        return ()
    if not code.columns:
        problems.add(f"the code {code.text!r} is made of no column, so no table can describe it by columns", where)
        return ()
    found = []
    for table, columns in block.items():
        formulas = {str(c): _formula(value, f"{where}.{table}.{c}", problems) for c, value in columns.items()}
        problems.found += [Problem(why, f"{where}.{table}") for why in _wrong_metadata(table, formulas, code)]
        found.append(_described(None if table == SELF else str(table), formulas, code))
    return tuple(found)


def _described(table: str | None, formulas: Mapping[str, Formula], code: Formula) -> Metadata:
    keys = {column: found.key() for column, found in formulas.items() if column in code.columns}
    outputs = {column: found.written() for column, found in formulas.items() if column not in code.columns}
    if table is None:
        return Metadata(None, {}, outputs)
    return Metadata(table, *({c: e._replace(as_text=e.columns) for c, e in part.items()} for part in (keys, outputs)))


def _wrong_metadata(table: Any, formulas: Mapping[str, Formula], code: Formula) -> Iterable[str]:
    keys, outputs = formulas.keys() & code.columns, formulas.keys() - code.columns
    of_code = f"the code {code.text} is made of {listed(code.columns)}"
    if table == SELF and keys:
        yield f"{listed(keys)} must not be described: {of_code}"
    if table != SELF and not keys:
        yield f"one of its columns must be called like a column of the code, to match by it: {of_code}"
    if not outputs:
        yield f"it must have a column that describes codes, such as {DESCRIPTION}; {of_code}"
    for column in sorted(outputs & {CODE, CODE_TEMPLATE}):
        yield f"{column} is made from the event; give this column another name"
