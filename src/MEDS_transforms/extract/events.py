"""Rows of a raw table to measurements: pure functions on frames."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import polars as pl

from ..dataset.columns import INTERNAL, column, columns, internal
from ..dataset.dtypes import has_text, is_text
from ..dataset.schema import CODE, MANDATORY_COLUMNS, NUMERIC_VALUE, SUBJECT_ID, TEXT_VALUE, TIME
from ..dataset.subjects import subject_ids
from ..errors import InputError, Problem, listed, nearest
from ..expressions.forms import as_written, number_as_text, text_of
from .event_file.model import CodePart, Event, Table
from .event_times import time_expr
from .event_values import inexact_text, text_that_is_no_number, value_expr
from .subject_numbers import ids_as_text

CODE_SEPARATOR = "//"
UNKNOWN = "UNK"


def extract_event(
    rows: pl.DataFrame,
    event: Event,
    keep: Iterable[str],
    dedup_text: bool,
    ids: str = SUBJECT_ID,
    look: Callable[[pl.DataFrame, pl.DataFrame], None] | None = None,
) -> pl.DataFrame:
    """The measurements that rows of a table give for one event, in the order of the rows.

    Args:
        rows: the rows that give measurements (see `event_rows`), and a column of subject ids (Int64).
        event: what to make of them.
        keep: columns of `rows` that come along.
        dedup_text: make a `text_value` null that only repeats the `numeric_value`.
        ids: the column of subject ids; by default `subject_id`.
        look: called with the rows and what is made of each, before those without a time or a code are left out.

    Returns:
        the columns `keep`, `subject_id`, `code` (String), `time` (Datetime[us]), then the event's own. Rows
        without a time give no measurement unless the event is static, nor rows whose code begins with a column
        that is null.

    Raises:
        ValueError: a column has a dtype that its use does not allow.
    """
    columns = _measurement(event, rows.schema, {**{name: column(name) for name in keep}, SUBJECT_ID: column(ids)})
    measurements = rows.lazy().select(expr.alias(name) for name, expr in columns.items())
    if dedup_text and {TEXT_VALUE, NUMERIC_VALUE} <= columns.keys():
        no_number = text_that_is_no_number(pl.col(TEXT_VALUE), pl.col(NUMERIC_VALUE), event.options)
        measurements = measurements.with_columns(no_number.alias(TEXT_VALUE))
    # NOTE: the streaming engine parses times and texts on all cores and keeps the order of these operations.
    try:
        made = measurements.collect(engine="streaming")
    except pl.exceptions.PolarsError as error:  # shard_events has looked at the dtypes; without it nobody has
        raise InputError(f"{event.path}: its rows cannot be converted: {str(error).splitlines()[0]}") from None
    if look:
        look(rows, made)
    needed = [CODE] if event.time is None else [CODE, TIME]
    return made.drop_nulls(needed) if any(made[name].null_count() for name in needed) else made


def _measurement(event: Event, schema: pl.Schema, before: dict[str, pl.Expr]) -> dict[str, pl.Expr]:
    """The columns of the measurements, those that come before first."""
    columns = {**before, CODE: code_expr(map(part_expr, event.code)), TIME: time_expr(event, schema)}
    for out, source in event.values.items():
        columns[out] = value_expr(event, out, source, schema[source])
    number = event.values.get(NUMERIC_VALUE, "")
    if event.options.numbers == "lenient" and TEXT_VALUE not in columns and is_text(schema.get(number)):
        columns[TEXT_VALUE] = inexact_text(text_of(number), event.options)
    return columns


def event_rows(rows: pl.DataFrame, event: Event, choose: Callable[[int, int], None] | None = None) -> pl.DataFrame:
    """The rows that give measurements of an event, with the columns that it computes: one row for each measurement.

    `choose` is called with the rows that `each` adds, and with those that `where` leaves out.

    Raises:
        ValueError: a column is missing, lists of values of a row are not of one length, or an expression cannot be
            computed.
    """
    _check_columns(rows, event)
    before = rows.height
    as_read = event.options.infer_code_dtypes or event.is_newer
    rows = with_floats_as_written(rows, () if as_read else event.columns_as_text)
    try:
        if event.each:
            rows = _several(rows, event)
        spread = rows.height
        if event.where:
            rows = rows.filter(event.where.expr)
        if choose:
            choose(spread - before, spread - rows.height)
        if event.computed:
            made = [expression.expr.alias(name) for name, expression in event.computed.items()]
            rows = rows.lazy().with_columns(made).collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        misfits = [why for formula in event.formulas.values() for why in formula.misfits(rows)]
        why = "; ".join(misfits) or str(error).splitlines()[0]
        raise InputError(f"{event.path}: its expressions cannot be computed: {why}") from None
    return rows


def with_floats_as_written(rows: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """The rows with floats also as text (see `as_written`), where whole numbers are digits alone."""
    floats = [name for name in names if rows.schema.get(name, pl.Null()).is_float()]
    new = [name for name in floats if as_written(name) not in rows.columns]
    return rows.with_columns(number_as_text(column(n), rows.schema[n]).alias(as_written(n)) for n in sorted(new))


def _several(rows: pl.DataFrame, event: Event) -> pl.DataFrame:
    """A row for each value in the columns `each`, the others repeated, in the order of the rows.

    Lists that are null are taken for one value that is null; empty ones give no row.
    """
    made = {internal(name): pl.concat_list([one.expr for one in several]) for name, several in event.each.items()}
    values = [
        pl.when(lists.is_null()).then(pl.concat_list(pl.lit(None))).otherwise(lists).alias(name)
        for name, lists in made.items()
    ]
    with_lists = rows.with_columns(values)
    lists = with_lists.select(columns(made))  # NOTE: of literals alone, `select` makes one row
    _check_lengths(lists, f"{event.path}.each")
    exploded = with_lists.explode(lists.columns, empty_as_null=False)
    named = [exploded[name].alias(name.removeprefix(INTERNAL)) for name in made]
    exploded = exploded.drop(made).with_columns(named)
    return exploded if event.options.infer_code_dtypes else with_floats_as_written(exploded, event.each)


def _check_lengths(lists: pl.DataFrame, where: str) -> None:
    first, *others = lists.select(pl.all().list.len()).get_columns()
    for other in others:
        if (uneven := first != other).any():
            row = uneven.arg_true()[0]
            names = " and ".join(values.name.removeprefix(INTERNAL) for values in (first, other))
            raise InputError(
                f"{names} have {first[row]} and {other[row]} values in one row: {lists.row(row)}",
                where,
                "Give them the same number.",
            )


def wrong_dtypes(table: Table, schema: pl.Schema) -> list[Problem]:
    """What is wrong with the dtypes of a table's columns for what its events make of them."""

    def attempts() -> Iterator[Callable[[], object]]:
        ids = pl.Series(table.subject_id_col, [], dtype=schema[table.subject_id_col])
        number = ids_as_text if table.has_text_ids else subject_ids
        yield lambda: number(ids, f"Table {table.name}, column {table.subject_id_col}")
        for event in table.events:
            try:
                made = event_rows(pl.DataFrame(schema=schema), event).schema
            except InputError as error:
                problems.extend(error.problems)
                continue
            problems.extend(_no_texts(event, made))
            yield partial(time_expr, event, made)
            for out, source in event.values.items():
                yield partial(value_expr, event, out, source, made[source])

    problems: list[Problem] = []
    for attempt in attempts():
        try:
            attempt()
        except InputError as error:
            problems.extend(error.problems)
    return problems


def _no_texts(event: Event, schema: pl.Schema) -> Iterator[Problem]:
    """What is wrong with columns that are to be text in codes and expressions."""
    in_code = {part.text for part in event.code if part.is_column}
    of_lists = {name for several in event.each.values() for one in several for name in one.as_text}
    # Those of times and values have messages of their own.
    elsewhere = event.columns_as_text - of_lists - {event.time, *event.values.values()}
    for name in sorted(in_code | elsewhere):
        if not has_text(schema[name]):
            yield Problem(
                f"the column {name.removeprefix(INTERNAL)!r} has the dtype {schema[name]}, which is not written as "
                "text",
                event.path,
                "Name a column of text, numbers, booleans or times.",
            )


def code_expr(parts: Iterable[pl.Expr]) -> pl.Expr:
    """The code: its parts as text, joined by `//`.

    A null part reads `UNK`, but a code whose first part is null is null.
    """
    first, *others = parts
    if not others:
        return first
    return pl.concat_str([first, *(other.fill_null(UNKNOWN) for other in others)], separator=CODE_SEPARATOR)


def part_expr(part: CodePart) -> pl.Expr:
    """A part of a code as text."""
    return text_of(part.text) if part.is_column else pl.lit(part.text, dtype=pl.String)


def _check_columns(rows: pl.DataFrame, event: Event) -> None:
    for name, key in event.columns.items():
        if name not in rows.columns:
            there = [c for c in rows.columns if not c.startswith(INTERNAL)]
            raise InputError(
                f"there is no column {name!r}{nearest(name, there)}. The chunks have: {listed(there)}",
                f"{event.path}.{key}",
                "After a change of the event conversion file run shard_events again, with do_overwrite=True.",
            )


def drop_duplicate_rows(df: pl.DataFrame, subset: list[str] | None = None) -> pl.DataFrame:
    """The frame without rows that repeat an earlier one in the columns `subset` (None: in all); order stays."""
    repeats = repeated_rows(df, subset)
    return df if repeats is None else df.filter(~repeats)


def repeated_rows(df: pl.DataFrame, subset: list[str] | None = None) -> pl.Series | None:
    """Which rows repeat an earlier one in the columns `subset` (None: in all); None if none does.

    NOTE: rows that have a hash of their own, of the columns in which measurements differ as a rule, cannot be repeats.
    Comparing only the others, which are few, is several times as fast as comparing all.
    """
    keys = df if subset is None else df.select(columns(subset))
    if not keys.width:
        return None
    telling = [name for name in MANDATORY_COLUMNS if name in keys.columns] or keys.columns
    hashes = keys.select(columns(telling)).hash_rows()
    in_order = np.sort(hashes.to_numpy())
    repeated = pl.Series(np.unique(in_order[1:][in_order[1:] == in_order[:-1]]))
    if repeated.is_empty():
        return None
    suspects = hashes.is_in(repeated.implode()).arg_true()
    rows = keys[suspects]
    rows.columns = [internal(str(number)) for number in range(rows.width)]  # which `unique` takes literally
    first = rows.with_columns(suspects.alias(internal("row"))).unique(rows.columns, keep="first", maintain_order=True)
    if first.height == rows.height:
        return None
    repeats = np.zeros(df.height, dtype=bool)
    repeats[suspects.to_numpy()] = True
    repeats[first[internal("row")].to_numpy()] = False
    return pl.Series(repeats)
