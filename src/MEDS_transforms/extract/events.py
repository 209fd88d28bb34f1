"""Rows of a raw table to measurements: pure functions on frames."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import polars as pl

from ..dataset.columns import INTERNAL, column, columns, internal
from ..dataset.dtypes import TEXT_DTYPES
from ..dataset.schema import BOOLEAN_VALUE, CATEGORICAL_VALUE, CODE, NUMERIC_VALUE, SUBJECT_ID, TEXT_VALUE, TIME
from ..dataset.subjects import subject_ids
from ..errors import InputError, Problems, listed, nearest
from .event_config import CodePart, Event, Table

logger = logging.getLogger(__name__)

CODE_SEPARATOR = "//"
UNKNOWN = "UNK"

_FURTHEST = 8 * 10**12
"""Limit, in seconds before or after 1970: about 250,000 years, within 64-bit microseconds and what polars can show."""
_UNITS = {"ms": ("milliseconds", 10**3), "us": ("microseconds", 10**6), "ns": ("nanoseconds", 10**9)}

_TRUE, _FALSE = ["true", "t", "yes", "y", "1"], ["false", "f", "no", "n", "0"]
_ZONE = re.compile(r"%[:#]*z|%\+")
_HAS_TIME_OF_DAY = re.compile(r"%[-_0]?[HIklMSTRrsXcpP+]")


def extract_event(
    rows: pl.DataFrame, event: Event, keep: Iterable[str], dedup_text: bool, ids: str = SUBJECT_ID
) -> pl.DataFrame:
    """The measurements that rows of a table give for one event, in the order of the rows.

    Args:
        rows: the raw rows, and a column of subject ids (Int64).
        event: what to make of them.
        keep: columns of `rows` that come along.
        dedup_text: make a `text_value` null that only repeats the `numeric_value`.
        ids: the column of subject ids; by default `subject_id`.

    Returns:
        the columns `keep`, `subject_id`, `code` (String), `time` (Datetime[us]), then the event's own. Rows
        without a time give no measurement unless the event is static, nor rows whose code begins with a column
        that is null.

    Raises:
        ValueError: a column is missing or has a dtype that its use does not allow.
    """
    _check_columns(rows, event)
    columns = {
        **{name: column(name) for name in keep},
        SUBJECT_ID: column(ids),
        CODE: code_expr(map(part_expr, event.code)),
        TIME: time_expr(event, rows.schema),
        **{out: value_expr(event, out, source, rows.schema[source]) for out, source in event.values.items()},
    }
    wanted = pl.col(CODE).is_not_null()
    if event.time is not None:
        wanted &= pl.col(TIME).is_not_null()
    measurements = rows.lazy().select(expr.alias(name) for name, expr in columns.items()).filter(wanted)
    if dedup_text and {TEXT_VALUE, NUMERIC_VALUE} <= event.values.keys():
        measurements = measurements.with_columns(_text_that_is_no_number())
    # NOTE: the streaming engine parses times and texts on all cores and keeps the order of these operations.
    return measurements.collect(engine="streaming")


def wrong_dtypes(table: Table, schema: pl.Schema) -> list[str]:
    """What is wrong with the dtypes of a table's columns for what its events make of them."""

    def attempts() -> Iterator[Callable[[], object]]:
        ids = pl.Series(table.subject_id_col, [], dtype=schema[table.subject_id_col])
        yield lambda: subject_ids(ids, f"Table {table.name}, column {table.subject_id_col}")
        for event in table.events:
            yield partial(time_expr, event, schema)
            for out, source in event.values.items():
                yield partial(value_expr, event, out, source, schema[source])

    problems = []
    for attempt in attempts():
        try:
            attempt()
        except InputError as error:
            problems.append(str(error))
    return problems


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
    return column(part.text).cast(pl.String) if part.is_column else pl.lit(part.text, dtype=pl.String)


def time_expr(event: Event, schema: pl.Schema) -> pl.Expr:
    """The time of an event as Datetime[us] without a zone; null where it does not parse.

    Raises:
        ValueError: the column's dtype is not a time and the event has no format to read it with.
    """
    if event.time is None:
        return pl.lit(None, dtype=pl.Datetime("us"))
    dtype, times = schema[event.time], column(event.time)
    if dtype == pl.Null:
        return times.cast(pl.Datetime("us"))
    if dtype == pl.Date:
        return times.cast(pl.Datetime("us"))
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone:
            logger.warning("%s.time: times with the zone %s are converted to UTC", event.path, dtype.time_zone)
        return _without_zone(times.cast(pl.Datetime("us", dtype.time_zone)), bool(dtype.time_zone))
    if dtype not in TEXT_DTYPES and not dtype.is_numeric():
        raise InputError(
            f"{event.path}.time: the column {event.time!r} has the dtype {dtype}, which is not a time. Name a column "
            "of dates, times, text or numbers."
        )
    if not event.time_formats:
        raise InputError(
            f"{event.path}.time: the column {event.time!r} has the dtype {dtype}; give a time_format to read it, "
            'such as "%Y-%m-%d %H:%M:%S".'
        )
    text = _as_text(times, dtype)
    parsed = _parse(text, event.time_formats[0], event)
    for time_format in event.time_formats[1:]:
        # Only what is left is tried: polars skips nulls.
        left = pl.when(parsed.is_null()).then(text)
        parsed = parsed.fill_null(_parse(left, time_format, event))
    return parsed


def _as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A number reads as its digits: a year that a null made a float is still `2020`, not `2020.0`."""
    if dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        return pl.when(whole.cast(dtype) == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))
    return column.cast(pl.String)


def _parse(text: pl.Expr, time_format: str, event: Event) -> pl.Expr:
    has_zone = bool(_ZONE.search(time_format))
    if has_zone:
        logger.warning("%s.time: times with a zone (%s) are converted to UTC", event.path, time_format)
    suffix, time_format = _completed(time_format)
    if suffix:
        text = text + suffix
    # Times of day are mostly distinct, and then polars' cache of what was parsed costs more than it saves.
    cache = not _HAS_TIME_OF_DAY.search(time_format)
    parsed = text.str.to_datetime(time_format, time_unit="us", strict=False, cache=cache)
    return _without_zone(parsed, has_zone)


def _completed(time_format: str) -> tuple[str, str]:
    """What to append to the text, and the format then: polars needs a day with a month, a minute with an hour."""
    directives = set(re.findall(r"%[-_0]?([a-zA-Z+])", time_format))
    suffix, added = "", ""
    if directives & set("mbBh") and not directives & set("deDFxcs"):
        suffix, added = suffix + " 01", added + " %d"
    if directives & set("HIkl") and not directives & set("MTRrXcs"):
        suffix, added = suffix + " 00", added + " %M"
    return suffix, time_format + added


def _without_zone(times: pl.Expr, has_zone: bool) -> pl.Expr:
    return times.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if has_zone else times


def value_expr(event: Event, out: str, source: str, dtype: pl.DataType) -> pl.Expr:
    """The output column `out`, made of the input column `source`.

    Raises:
        ValueError: the dtype does not suit this output.
    """
    value = column(source)
    if out == NUMERIC_VALUE and dtype in TEXT_DTYPES:
        return value.cast(pl.String).cast(pl.Float64, strict=False)
    if out in (TEXT_VALUE, CATEGORICAL_VALUE) and not dtype.is_nested():
        return value.cast(pl.String)
    if out == BOOLEAN_VALUE and dtype in TEXT_DTYPES:
        text = value.cast(pl.String).str.to_lowercase()
        return pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False)
    if out == BOOLEAN_VALUE and dtype.is_numeric():
        return value != 0
    if out == BOOLEAN_VALUE and dtype == pl.Null:
        return value.cast(pl.Boolean)
    if dtype.is_numeric() or dtype in TEXT_DTYPES or dtype in (pl.Boolean, pl.Null):
        return value
    raise InputError(
        f"{event.path}.{out}: the column {source!r} has the dtype {dtype}; a value must be a number, text, "
        "categorical or boolean."
    )


def _text_that_is_no_number() -> pl.Expr:
    text, number = pl.col(TEXT_VALUE), pl.col(NUMERIC_VALUE).cast(pl.Float32, strict=False)
    repeats = (text.cast(pl.Float32, strict=False) == number).fill_null(False)
    return pl.when(~repeats).then(text).alias(TEXT_VALUE)


def _check_columns(rows: pl.DataFrame, event: Event) -> None:
    for name, key in event.columns.items():
        if name not in rows.columns:
            there = [c for c in rows.columns if not c.startswith(INTERNAL)]
            raise InputError(
                f"{event.path}.{key}: there is no column {name!r}{nearest(name, there)}. The chunks have: "
                f"{listed(there)}. After a change of the event conversion file run shard_events again, with "
                "do_overwrite=True."
            )


def check_range(rows: pl.DataFrame, event: Event, first_row: int) -> None:
    """Raises an error for the first time, in a column of times, that Datetime[us] cannot hold; polars would panic.

    `first_row` is the number of the first of the rows in their table.
    """
    dtype = rows.schema.get(event.time or "")
    if event.time is None or not (dtype == pl.Date or isinstance(dtype, pl.Datetime)):
        return
    unit, per_second = _UNITS[dtype.time_unit] if isinstance(dtype, pl.Datetime) else ("days", 1 / 86_400)
    times, limit = rows.get_column(event.time).to_physical(), min(int(_FURTHEST * per_second), 2**63 - 1)
    too_far = (times < -limit) | (times > limit)
    if too_far.any():
        row = too_far.arg_true()[0]
        raise InputError(
            f"{event.path}.time: in the table {event.table}, column {event.time!r}, row {first_row + row + 1} has a "
            f"time beyond the years that MEDS can hold: {times[row]} {unit} since 1970. Correct the table, or remove "
            "such rows, and run shard_events again, with do_overwrite=True."
        )


class TimeCheck:
    """Watches whether the times of each event parse at all, over all the batches of a chunk."""

    def __init__(self) -> None:
        self._parsed: set[str] = set()
        self._examples: dict[str, tuple[Event, list[str]]] = {}

    def look(self, event: Event, rows: pl.DataFrame, measurements: pl.DataFrame) -> None:
        """Notes what became of a batch of rows. Only one that gave no measurement costs a second look."""
        if event.time is None or event.path in self._parsed:
            return
        if measurements.height:
            self._parsed.add(event.path)
            return
        given = rows.get_column(event.time).drop_nulls().to_frame()
        times = given.lazy().select(time_expr(event, rows.schema).alias(TIME)).collect().to_series()
        if times.null_count() < times.len():
            self._parsed.add(event.path)
        elif given.height:
            shown = given.to_series().unique(maintain_order=True).head(3)
            self._examples.setdefault(event.path, (event, [repr(value) for value in shown]))

    def raise_if_none_parsed(self) -> None:
        """Raises a ValueError that shows examples if an event had times and none of them parsed."""
        problems = Problems("Times cannot be read; correct the time_format in the event conversion file")
        for path, (event, examples) in self._examples.items():
            if path not in self._parsed:
                problems.add(
                    f"{path}.time: none of the times in the column {event.time!r} fits the time_format "
                    f"{' or '.join(map(repr, event.time_formats))}; they look like {', '.join(examples)}"
                )
        problems.raise_if_any()


def drop_duplicate_rows(df: pl.DataFrame, subset: list[str] | None = None) -> pl.DataFrame:
    """The frame without rows that repeat an earlier one in the columns `subset` (None: in all); order stays.

    NOTE: rows with a hash of their own cannot be repeats. Comparing only the others, which are few as a rule, is
    several times as fast as comparing all.
    """
    keys = df if subset is None else df.select(columns(subset))
    if not keys.width:
        return df
    hashes = keys.hash_rows()
    in_order = np.sort(hashes.to_numpy())
    repeated = pl.Series(np.unique(in_order[1:][in_order[1:] == in_order[:-1]]))
    if repeated.is_empty():
        return df
    suspects = hashes.is_in(repeated.implode()).arg_true()
    rows = keys[suspects]
    rows.columns = [internal(str(number)) for number in range(rows.width)]  # which `unique` takes literally
    first = rows.with_columns(suspects.alias(internal("row"))).unique(rows.columns, keep="first", maintain_order=True)
    keep = np.ones(df.height, dtype=bool)
    keep[suspects.to_numpy()] = False
    keep[first[internal("row")].to_numpy()] = True
    return df.filter(pl.Series(keep))
