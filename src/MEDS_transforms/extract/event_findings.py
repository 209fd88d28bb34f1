"""What the counts of events show that is likely a mistake in the event conversion file, or in the tables."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..dataset.schema import NUMERIC_VALUE
from ..mapreduce import limits
from ..mapreduce.limits import Finding, percent
from ..work.accounts import Account
from .event_counts import (
    CODES,
    DAYS,
    DROPPED,
    DUPLICATE,
    EITHER_WAY,
    EXAMPLES,
    IN_NO_SHARD,
    KEPT,
    LATE_DAY,
    LOST,
    MEASUREMENTS,
    NO_SUBJECT,
    NOT_CHOSEN,
    READ,
    ROWS,
    SEEN,
    SOURCES,
    TIME_NOT_PARSED,
    TIME_NULL,
)
from .number_hints import number_hint

_FEW_ROWS = 20
_MOST, _NEARLY_ALL = 0.5, 0.99
_ENOUGH_DATES, _ENOUGH_DAYS = 24, 6


def find_in_events(account: Account) -> list[Finding]:
    """What is found in the account of all events."""
    events = {
        f"{table}.{event}": counts
        for table, of_table in account.get("events", {}).items()
        for event, counts in of_table.items()
    }
    return [finding for where, counts in events.items() for finding in _find(where, counts)]


def _find(where: str, counts: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _about_times(where, counts)
    yield from _about_values(where, counts)
    yield from _about_numbers(where, counts)
    yield from _about_rows(where, counts)
    yield from _about_codes(where, counts)
    yield from _about_days(where, counts)


def _about_times(where: str, counts: Mapping[str, Any]) -> Iterator[Finding]:
    bad, dropped = counts[DROPPED][TIME_NOT_PARSED], counts[DROPPED]
    if bad:
        given = counts[ROWS] - sum(dropped[cause] for cause in (NO_SUBJECT, IN_NO_SHARD, NOT_CHOSEN, TIME_NULL))
        words = (
            f"times that no time_format reads, so that their rows are dropped: {percent(bad, given)}"
            f"{_examples(counts, TIME_NOT_PARSED)}"
        )
        remedy = "Add a format, or correct the table"
        yield Finding(limits.TIMES_NOT_PARSED, where, bad / given, words, remedy=remedy)


def _about_values(where: str, counts: Mapping[str, Any]) -> Iterator[Finding]:
    all_made = counts[MEASUREMENTS] + counts[DROPPED][DUPLICATE]
    for column, lost in counts.get(LOST, {}).items():
        if lost:
            words = f"{column} is null though there is text: {percent(lost, all_made)}{_examples(counts, column)}"
            yield Finding(limits.VALUES_LOST, where, lost / all_made, words)


def _about_numbers(where: str, counts: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether most numbers are lost; or nearly all, where the event keeps them as text: such columns may mix both."""
    lost, kept = (counts.get(key, {}).get(NUMERIC_VALUE, 0) for key in (LOST, KEPT))
    seen = counts.get(SEEN, {})
    given = seen.get(READ, {}).get(NUMERIC_VALUE, 0) + lost + kept
    only_text = given >= _FEW_ROWS and lost + kept > _NEARLY_ALL * given
    if lost > _MOST * given or only_text:
        of = f" of {seen[SOURCES][NUMERIC_VALUE][0]!r}" if NUMERIC_VALUE in seen.get(SOURCES, {}) else ""
        some = f"{percent(lost + kept, given)} of the values{of} are no numbers"
        words = f"none of {given:,} values{of} is a number" if lost + kept == given else some
        what = NUMERIC_VALUE if lost else KEPT
        hint = number_hint(counts.get(EXAMPLES, {}).get(what, []))
        yield Finding(limits.NO_NUMBERS, where, 1, f"{words}{_examples(counts, what)}", NUMERIC_VALUE, hint)


def _about_rows(where: str, counts: Mapping[str, Any]) -> Iterator[Finding]:
    rows, repeats = counts[ROWS], counts[DROPPED][DUPLICATE]
    causes = {cause: n for cause, n in counts[DROPPED].items() if cause not in (DUPLICATE, NOT_CHOSEN) and n}
    if dropped := sum(causes.values()):
        shown = ", ".join(f"{cause} {n:,}" for cause, n in causes.items())
        words = f"rows that give no measurement: {percent(dropped, rows)}: {shown}"
        yield Finding(limits.ROWS_DROPPED, where, dropped / rows, words)
    if repeats:
        words = f"rows that repeat others: {percent(repeats, rows)}"
        yield Finding(limits.DUPLICATES, where, repeats / rows, words)
    if not counts[MEASUREMENTS]:
        words = f"none of {rows:,} rows gives a measurement"
        yield Finding(limits.NO_MEASUREMENTS, where, 1, words, remedy="Check the columns of the event")


def _about_codes(where: str, counts: Mapping[str, Any]) -> Iterator[Finding]:
    codes = counts.get(SEEN, {}).get(CODES, [])
    if len(codes) == 1 and counts[MEASUREMENTS] > _FEW_ROWS:
        words = f"the code has columns, but all {counts[MEASUREMENTS]:,} measurements have the same one, {codes[0]!r}"
        yield Finding(limits.ONE_CODE, where, 1, words, remedy="Check the columns of the code")


def _about_days(where: str, counts: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether day and month could be swapped.

    Either two formats of the event read some of its times differently. Or no day is beyond the 12th, although there are
    24 days of the year or more, with 6 days of the month or more: of dates as they come, 24 are all up to the 12th once
    in ten billion cases, while with day and month swapped all dates are that can be read.
    """
    seen = counts.get(SEEN, {})
    if number := seen.get(EITHER_WAY, 0):
        words = (
            f"day and month could be swapped in {number:,} times, which two of the formats read differently"
            f"{_examples(counts, EITHER_WAY)}. The first format counts"
        )
        yield Finding(limits.DAY_MONTH, where, 1, words, remedy="Keep one order")
        return
    days = seen.get(DAYS, {})
    if LATE_DAY not in seen and len(days) >= _ENOUGH_DATES and len({day[3:] for day in days}) >= _ENOUGH_DAYS:
        words = (
            f"day and month could be swapped: none of {sum(days.values()):,} times is after the 12th of its month"
            f"{_examples(counts, TIME_NOT_PARSED, 'those that no format reads look like')}"
        )
        yield Finding(limits.DAY_MONTH, where, 1, words, remedy="Check %d and %m")


def _examples(counts: Mapping[str, Any], what: str, words: str = "such as") -> str:
    examples = counts.get(EXAMPLES, {}).get(what, [])
    return f", {words} {', '.join(map(repr, examples))}" if examples else ""
