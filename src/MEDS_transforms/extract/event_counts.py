"""What became of the rows of a table, event by event: counts by cause, and examples. Pure functions on frames.

For every event `rows` = `measurements` + the sum of `dropped`. A row counts once for each shard that its subject is in,
as it gives a measurement in each, and once for each of the values that `each` gives. It is dropped for the first of
these causes:

- `no_subject`: the subject id is null;
- `in_no_shard`: the subject is in no shard;
- `not_chosen`: the event has a matcher (`where`), which does not match;
- `time_null`: the event has a time, and it is null;
- `time_not_parsed`: there is something where the time is, which no format reads;
- `code_null`: the first part of the code is null;
- `duplicate`: an earlier row of the chunk gave the same measurement in the same shard.

`lost` are the values of measurements, duplicates too, that are null though there is text that is not blank, or a number
that Float32 cannot hold; `kept_as_text` are numbers of which this is so while `text_value` has the text.

NOTE: nothing is looked at twice unless something is missing: that is seen by the null counts of columns.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from typing import Any

import polars as pl

from ..dataset.columns import INTERNAL, column
from ..dataset.schema import BOOLEAN_VALUE, CODE, NUMERIC_VALUE, TEXT_VALUE, TIME
from ..expressions.forms import as_written
from ..work.accounts import MOST_EXAMPLES, Account, some_examples
from .event_file.model import Event, Table
from .event_times import time_expr

ROWS, MEASUREMENTS, DROPPED, LOST, EXAMPLES, SEEN = "rows", "measurements", "dropped", "lost", "examples", "seen"
NO_SUBJECT, IN_NO_SHARD, TIME_NULL, DUPLICATE = "no_subject", "in_no_shard", "time_null", "duplicate"
NOT_CHOSEN, TIME_NOT_PARSED, CODE_NULL = "not_chosen", "time_not_parsed", "code_null"
CAUSES = (NO_SUBJECT, IN_NO_SHARD, NOT_CHOSEN, TIME_NULL, TIME_NOT_PARSED, CODE_NULL, DUPLICATE)

KEPT = "kept_as_text"
CODES, LATE_DAY, DAYS, EITHER_WAY = "codes", "late_day", "days", "either_way"
READ, SOURCES = "read", "sources"
"""What is seen of an event's measurements: some of its codes; whether any day is beyond the 12th; if none is, the days
with their months; times that formats read differently; of the columns in `lost`, how many values could be read, and the
columns of the table that these are of."""

_HEAD = 1000
_LONGEST_EXAMPLE = 60
_DAY, _MONTH = re.compile(r"%[-_0]?[de]"), re.compile(r"%[-_0]?m")


class TableCounts:
    """Counts what becomes of the rows of a table, or of a chunk of it, a batch at a time."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.events = {event.name: EventCounts(event) for event in table.events}
        self.read = self.repeated = 0

    def rows(self, read: int, repeated: int, no_subject: int, in_no_shard: int) -> None:
        """Takes in a batch: the rows that were read, and those that subjects in several shards add to them."""
        self.read += read
        self.repeated += repeated
        for counts in self.events.values():
            counts.rows += read + repeated
            counts.dropped[NO_SUBJECT] += no_subject
            counts.dropped[IN_NO_SHARD] += in_no_shard

    def account(self) -> Account:
        """The account of all rows so far."""
        rows = {ROWS: self.read, "repeated_for_shards": self.repeated}
        events = {name: counts.account() for name, counts in self.events.items()}
        return {"tables": {self.table.name: rows}, "events": {self.table.name: events}}


class EventCounts:
    """Counts what becomes of rows for one event."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.rows = self.measurements = 0
        self.dropped = dict.fromkeys(CAUSES, 0)
        self.lost = dict.fromkeys((out for out in event.values if out in (NUMERIC_VALUE, BOOLEAN_VALUE)), 0)
        self.kept: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}
        self.seen: Account = {}
        self._has_columns = any(part.is_column for part in event.code)
        self._numeric_dates = any(_has_day_and_month(one) for one in event.time_formats)
        self._swapped = swapped_formats(event.time_formats)

    def choose(self, added: int, left_out: int) -> None:
        """Takes in the rows that `each` adds to those of a batch, and how many of all `where` leaves out."""
        self.rows += added
        self.dropped[NOT_CHOSEN] += left_out

    def look(self, rows: pl.DataFrame, made: pl.DataFrame) -> None:
        """Takes in a batch of rows of subjects in shards, and what the event makes of each, measurement or not."""
        timeless = self._timeless(rows, made)
        codeless = made[CODE].is_null() if made[CODE].null_count() else None
        if codeless is not None and timeless is not None:
            codeless &= ~timeless
        self.dropped[CODE_NULL] += _number(codeless)
        unmeasured = timeless if codeless is None else codeless if timeless is None else timeless | codeless
        self.measurements += made.height - _number(unmeasured)
        for out in self.lost:
            self._look_for_lost(out, _column(rows, self.event.values[out]), made, unmeasured)
        if self._has_columns and len(self.seen.get(CODES, [])) < 2:
            self._look_at_codes(made[CODE] if unmeasured is None else made[CODE].filter(~unmeasured))
        if self._numeric_dates and self.event.time and not rows.schema[self.event.time].is_temporal():
            self._look_at_days(rows, made[TIME])

    def repeats(self, number: int) -> None:
        """Takes out measurements that repeat others."""
        self.measurements -= number
        self.dropped[DUPLICATE] += number

    def account(self) -> Account:
        """The account of all rows so far."""
        counted = {ROWS: self.rows, MEASUREMENTS: self.measurements, DROPPED: dict(self.dropped)}
        more: dict[str, Account] = {LOST: self.lost, KEPT: self.kept, EXAMPLES: self.examples, SEEN: self.seen}
        return counted | {name: dict(some) for name, some in more.items() if some}

    def _timeless(self, rows: pl.DataFrame, made: pl.DataFrame) -> pl.Series | None:
        """Which rows lack the time that the event needs; None if none does."""
        if self.event.time is None or not made[TIME].null_count():
            return None
        source, timeless = self._time_source(rows), made[TIME].is_null()
        not_parsed = timeless & source.is_not_null()
        self.dropped[TIME_NULL] += _number(timeless) - _number(not_parsed)
        self.dropped[TIME_NOT_PARSED] += _number(not_parsed)
        self._exemplify(TIME_NOT_PARSED, source, not_parsed)
        return timeless

    def _time_source(self, rows: pl.DataFrame) -> pl.Series:
        """What times are made of: where an expression makes them, what it reads, null if any of that is."""
        name = self.event.time or ""
        read = sorted(self.event.computed[name].columns) if name in self.event.computed else []
        if not read:
            return _column(rows, name)
        if len(read) == 1:
            return _column(rows, as_written(read[0]) if as_written(read[0]) in rows.columns else read[0])
        texts = [column(one).cast(pl.String) for one in read]
        return rows.select(pl.concat_str(texts, separator=", ").alias("source")).to_series()

    def _look_for_lost(self, out: str, source: pl.Series, made: pl.DataFrame, unmeasured: pl.Series | None) -> None:
        value = made[out]
        self._look_at_values(out, value, unmeasured)
        if value.null_count() == source.null_count():
            return
        lost = value.is_null() & (source.cast(pl.String).str.strip_chars() != "").fill_null(False)
        if unmeasured is not None:
            lost &= ~unmeasured
        if out == NUMERIC_VALUE and TEXT_VALUE in made.columns:
            kept = lost & made[TEXT_VALUE].is_not_null()
            self.kept[out] = self.kept.get(out, 0) + _number(kept)
            self._exemplify(KEPT, source, kept)
            lost &= ~kept
        self.lost[out] += _number(lost)
        self._exemplify(out, source, lost)

    def _look_at_values(self, out: str, value: pl.Series, unmeasured: pl.Series | None) -> None:
        known = value.len() - value.null_count()
        read = known if unmeasured is None else _number(value.is_not_null() & ~unmeasured)
        so_far = self.seen.setdefault(READ, {})
        so_far[out] = so_far.get(out, 0) + read
        if not self.event.values[out].startswith(INTERNAL):
            self.seen.setdefault(SOURCES, {})[out] = [self.event.values[out]]

    def _exemplify(self, what: str, source: pl.Series, where: pl.Series) -> None:
        known = self.examples.get(what, [])
        if len(known) < MOST_EXAMPLES and where.any():
            new = source.filter(where).cast(pl.String).unique(maintain_order=True).head(MOST_EXAMPLES)
            self.examples[what] = some_examples([*known, *map(_shortened, new)])

    def _look_at_codes(self, codes: pl.Series) -> None:
        """NOTE: as a rule the first rows have two codes, and the others need not be looked at."""
        known = self.seen.get(CODES, [])
        for some in (codes.head(_HEAD), codes.slice(_HEAD)):
            if len(known) < 2 and some.len():
                others = some.filter(~some.is_in(known))
                first = others.head(1).to_list()
                known = [*known, *first, *others.filter(others != first[0]).head(1).to_list()][:2] if first else known
        if known:
            self.seen[CODES] = known

    def _look_at_days(self, rows: pl.DataFrame, times: pl.Series) -> None:
        if self._swapped:
            self._look_for_times_read_differently(rows)
        if LATE_DAY in self.seen:
            return
        for some in (times.head(_HEAD), times.slice(_HEAD)):
            if (some.dt.day().max() or 0) > 12:  # type: ignore[operator]
                self.seen[LATE_DAY] = 1
                self.seen.pop(DAYS, None)
                return
        counted = self.seen.setdefault(DAYS, {})
        for day, number in times.drop_nulls().dt.strftime("%m-%d").value_counts().sort(times.name).iter_rows():
            counted[day] = counted.get(day, 0) + number

    def _look_for_times_read_differently(self, rows: pl.DataFrame) -> None:
        source = _column(rows, self.event.time or "")
        differ = pl.repeat(False, rows.height, eager=True)
        for pair in self._swapped:
            one, other = (self._read_by(time_format, rows) for time_format in pair)
            differ |= (one != other).fill_null(False)
        self.seen[EITHER_WAY] = self.seen.get(EITHER_WAY, 0) + _number(differ)
        self._exemplify(EITHER_WAY, source, differ)

    def _read_by(self, time_format: str, rows: pl.DataFrame) -> pl.Series:
        event = replace(self.event, time_formats=(time_format,))
        return rows.select(time_expr(event, rows.schema).alias(TIME)).to_series()


def _column(rows: pl.DataFrame, name: str) -> pl.Series:
    """A column under another name: methods of series are expressions in polars, which take some names for patterns."""
    return rows.get_column(name).alias("source")


def _has_day_and_month(time_format: str) -> bool:
    return bool(_DAY.search(time_format) and _MONTH.search(time_format))


def swapped_formats(formats: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of formats that differ at least in the order of day and month.

    >>> swapped_formats(["%d/%m/%Y", "%Y-%m-%d", "%m/%d/%Y %H:%M"])
    [('%d/%m/%Y', '%m/%d/%Y %H:%M')]
    """
    with_both = [one for one in dict.fromkeys(formats) if _has_day_and_month(one) and not one.startswith("%Y")]
    return [pair for pair in combinations(with_both, 2) if _day_first(pair[0]) != _day_first(pair[1])]


def _day_first(time_format: str) -> bool:
    day, month = _DAY.search(time_format), _MONTH.search(time_format)
    return day is not None and month is not None and day.start() < month.start()


def _number(mask: pl.Series | None) -> int:
    return 0 if mask is None else int(mask.sum())


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_EXAMPLE else f"{text[: _LONGEST_EXAMPLE - 1]}…"
