"""The times of events, from columns of any dtype, and what is said where they cannot be."""

import logging
from functools import partial

import polars as pl

from ..dataset.columns import column, named
from ..dataset.dtypes import is_text
from ..dataset.schema import TIME
from ..errors import ONCE_CUT, InputError, Problems
from ..expressions.forms import as_written, number_as_text
from ..expressions.times import has_zone, parsed
from .event_file.model import Event, TableOptions

logger = logging.getLogger(__name__)

_FURTHEST = 8 * 10**12
"""Limit, in seconds before or after 1970: about 250,000 years, within 64-bit microseconds and what polars can show."""
_UNITS = {"ms": ("milliseconds", 10**3), "us": ("microseconds", 10**6), "ns": ("nanoseconds", 10**9)}


def time_expr(event: Event, schema: pl.Schema) -> pl.Expr:
    """The time of an event as Datetime[us] without a zone; null where it does not parse.

    Raises:
        ValueError: the column's dtype is not a time and the event has no format to read it with.
    """
    if event.time is None:
        return pl.lit(None, dtype=pl.Datetime("us"))
    name = as_written(event.time) if as_written(event.time) in schema else event.time
    dtype, times = schema[name], column(name)
    if dtype == pl.Null:
        return times.cast(pl.Datetime("us"))
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return _moments(times, dtype, event)
    if event.is_newer:
        text = event.formulas[TIME].text
        what = f"{text} is {dtype}, which is no time"
        raise InputError(what, f"{event.path}.{TIME}", f'Write ({text}) as "%Y-%m-%d"')
    if not is_text(dtype) and not dtype.is_numeric():
        raise InputError(
            f"{named(event.time)} has the dtype {dtype}, which is not a time",
            f"{event.path}.{TIME}",
            "Name a column of dates, times, text or numbers.",
        )
    if not event.time_formats:
        raise InputError(
            f"{named(event.time)} has the dtype {schema[event.time]}",
            f"{event.path}.{TIME}",
            'Give a time_format to read it, such as "%Y-%m-%d %H:%M:%S".',
        )
    if zoned := [text for text in event.time_formats if has_zone(text)]:
        _tell_of_zone(event, zoned[0])
    return parsed(number_as_text(times, dtype), event.time_formats, partial(_of_dataset, event.options))


def _moments(times: pl.Expr, dtype: pl.DataType, event: Event) -> pl.Expr:
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    moments = times.cast(pl.Datetime("us", zone))
    if zone:
        _tell_of_zone(event, zone)
        moments = moments.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return _of_dataset(event.options, moments, bool(zone))


def _tell_of_zone(event: Event, found: str) -> None:
    target = event.options.time_zone if event.options.dataset_times == "local" else "UTC"
    if found != target:
        logger.warning("%s.time: times with a zone (%s) are converted to %s", event.path, found, target)


def _of_dataset(options: TableOptions, times: pl.Expr, is_utc: bool) -> pl.Expr:
    """Times as the dataset has them, of times in UTC, or of local ones.

    NOTE: a local time that is there twice, when clocks are turned back, is taken for the first of the two; one that is
    skipped, when they are turned forward, for the moment at which the clock would have shown it unturned.
    """
    zone = options.time_zone
    if zone is None or is_utc == (options.dataset_times == "utc"):
        return times
    if is_utc:
        return times.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    local, later = (
        moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        for moment in (times, times + pl.duration(hours=1))
    )
    return pl.coalesce(local, later).dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def check_range(rows: pl.DataFrame, event: Event, first_row: int | None) -> None:
    """Raises an error for the first time, in a column of times, that Datetime[us] cannot hold; polars would panic.

    `first_row` is the number of the first of the rows in their table; None if they are not those of the table.
    """
    dtype = rows.schema.get(event.time or "")
    if event.time is None or not (dtype == pl.Date or isinstance(dtype, pl.Datetime)):
        return
    unit, per_second = _UNITS[dtype.time_unit] if isinstance(dtype, pl.Datetime) else ("days", 1 / 86_400)
    times, limit = rows.get_column(event.time).to_physical(), min(int(_FURTHEST * per_second), 2**63 - 1)
    too_far = (times < -limit) | (times > limit)
    if too_far.any():
        row = too_far.arg_true()[0]
        place = "" if first_row is None else f", row {first_row + row + 1}"
        raise InputError(
            f"in the table {event.table}, {named(event.time)}{place}: there is a time beyond the years that MEDS can "
            f"hold: {times[row]} {unit} since 1970",
            f"{event.path}.{TIME}",
            f"Correct the table, or remove such rows. {ONCE_CUT}",
        )


class TimeCheck:
    """Watches whether the times of each event parse at all, over all the batches of a chunk."""

    def __init__(self) -> None:
        self._parsed: set[str] = set()
        self._examples: dict[str, tuple[Event, list[str]]] = {}

    def look(self, event: Event, rows: pl.DataFrame, measurements: pl.DataFrame) -> None:
        """Notes what became of a batch of rows, whose computed columns are there.

        Only one that gave no measurement costs a second look.
        """
        if event.time is None or event.path in self._parsed:
            return
        if measurements.height:
            self._parsed.add(event.path)
            return
        given = rows.filter(column(event.time).is_not_null())
        times = given.lazy().select(time_expr(event, rows.schema).alias(TIME)).collect().to_series()
        if times.null_count() < times.len():
            self._parsed.add(event.path)
        elif given.height:
            shown = given.get_column(event.time).unique(maintain_order=True).head(3)
            self._examples.setdefault(event.path, (event, [repr(value) for value in shown]))

    def raise_if_none_parsed(self) -> None:
        """Raises a ValueError that shows examples if an event had times and none of them parsed."""
        problems = Problems("Times cannot be read; correct the time_format in the event conversion file")
        for path, (event, examples) in self._examples.items():
            if path not in self._parsed:
                problems.add(
                    f"none of the times in {named(event.time or '')} fits the time_format "
                    f"{' or '.join(map(repr, event.time_formats))}; they look like {', '.join(examples)}",
                    f"{path}.{TIME}",
                )
        problems.raise_if_any()
