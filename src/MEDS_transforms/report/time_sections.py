"""The sections of a report over calendar time, over age, and by subject."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ..errors import is_or_are
from . import charts
from .charts import COUNT, HIGH, LABEL, LOW, NAME
from .counting import OLDEST, YOUNGEST, Count
from .names import AGE, EVENTS, FIRST, LAST, MEASUREMENTS, MONTH, SUBJECTS, YEAR
from .parts import Chart, Charts, Part, Spec, Table, Text, counted, shown
from .summary import Summary, sum_of

Draw = Callable[[Sequence[Mapping[str, Any]], str], Spec]
"""Makes a chart of rows and the name of what is counted."""

MOST_BARS = 240
NOT_SHOWN = "Before or after what is shown, or in periods of too few subjects"
_MONTHS_UP_TO = 120
"""With more months than these, bars are years."""
_DAY = 24 * 3600 * 10**6
_SPANS = {
    "less than a day": 1,
    "a day to a week": 7,
    "a week to a month": 30,
    "1 to 6 months": 182,
    "6 to 12 months": 365,
    "1 to 2 years": 731,
    "2 to 5 years": 1826,
    "5 to 10 years": 3653,
    "10 to 20 years": 7305,
    "20 years and more": None,
}
"""Upper limits in days."""


def over_time(summary: Summary) -> Iterator[Part]:
    """Measurements, events and subjects by month, or by year where there are many months."""
    n = sum_of(summary.counts[Count.YEARS], MEASUREMENTS)
    if not n:
        yield Text("No measurement has a time, so that there is nothing to show over time.")
        return
    bars, words = _bars(summary)
    yield Text(f"By {words}. Births are left out.{_left_out(summary)}")
    if cut := n - sum_of(bars, MEASUREMENTS):
        yield Text(f"{NOT_SHOWN}: {counted(cut, 'measurement')}.")
    draw = charts.over_months if words == MONTH else charts.over_years
    yield from _charts_of(_dated(bars, words), draw, (MEASUREMENTS, EVENTS, SUBJECTS), f"by {words}")


def _bars(summary: Summary) -> tuple[pl.DataFrame, str]:
    """The years that are shown, or the months of these where they are not too many, and which of the two it is."""
    enough = pl.col(SUBJECTS) >= summary.min_count
    years = sparse_ends_cut(summary.counts[Count.YEARS].filter(enough))
    months = summary.counts[Count.MONTHS].filter(enough, (pl.col(MONTH) // 12).is_in(years[YEAR].implode()))
    few_months = not months.is_empty() and months[MONTH][-1] - months[MONTH][0] < _MONTHS_UP_TO
    return (months, MONTH) if few_months else (years, YEAR)


def sparse_ends_cut(bars: pl.DataFrame) -> pl.DataFrame:
    """At most `MOST_BARS` years in a row, those that hold most measurements: wrong times must not hide the rest."""
    at, n = bars[YEAR].to_numpy(), bars[MEASUREMENTS].to_numpy()
    if not len(at) or at[-1] - at[0] < MOST_BARS:
        return bars
    up_to = np.concatenate([[0], np.cumsum(n)])
    ends = np.searchsorted(at, at + MOST_BARS)
    best = int(np.argmax(up_to[ends] - up_to[:-1]))
    return bars[best : int(ends[best])]


def _dated(bars: pl.DataFrame, period: str) -> list[dict[str, Any]]:
    length, unnamed = (1, 1) if period == MONTH else (12, 2)
    return [
        {**row, LOW: first_day(row[period] * length), HIGH: first_day((row[period] + 1) * length)}
        | {LABEL: first_day(row[period] * length).rsplit("-", unnamed)[0]}
        for row in bars.to_dicts()
    ]


def first_day(month: int) -> str:
    """The first day of a month, counted from the year 0, in ISO 8601 as browsers read it.

    >>> first_day(2024 * 12 + 1), first_day(-12), first_day(12345 * 12)
    ('2024-02-01', '-000001-01-01', '+012345-01-01')
    """
    year = month // 12
    return f"{f'{year:04d}' if 0 <= year <= 9999 else f'{year:+07d}'}-{month % 12 + 1:02d}-01"


def _charts_of(rows: Sequence[Mapping[str, Any]], draw: Draw, figures: Sequence[str], by: str) -> Iterator[Part]:
    if not rows:
        yield Text("Nothing is left to show.")
        return
    yield Charts(
        [
            Chart(
                f"{name.capitalize()} {by}",
                f"Bar chart of {name} {by}, from {rows[0][LABEL]} to {rows[-1][LABEL]}; at most "
                f"{shown(max(row[name] for row in rows))}.",
                draw([_bar(row, row[name]) for row in rows], name.capitalize()),
            )
            for name in figures
        ]
    )


def _bar(row: Mapping[str, Any], n: int) -> dict[str, Any]:
    return {key: row[key] for key in (LOW, HIGH, LABEL)} | {COUNT: n}


def _left_out(summary: Summary) -> str:
    return f" Bars of fewer than {summary.min_count} subjects are left out." if summary.hides_few else ""


def by_age(summary: Summary) -> Iterator[Part]:
    """Measurements and subjects by year of age."""
    without = summary.n_without_birth
    ages = summary.counts[Count.AGES].filter(pl.col(SUBJECTS) >= summary.min_count)
    if without == summary.n_subjects:
        yield Text("No subject has a birth (MEDS_BIRTH), so that ages are not known.")
        return
    of_all = f"{shown(without)} of {counted(summary.n_subjects, 'subject')}"
    yield Text(f"{of_all} {is_or_are(without)} without a birth (MEDS_BIRTH).{_left_out(summary)}")
    if early := sum_of(ages.filter(pl.col(AGE) == YOUNGEST), MEASUREMENTS):
        yield Text(f"Before the subject's birth, and not shown: {counted(early, 'measurement')}.")
    rows = [
        {**row, LOW: row[AGE], HIGH: row[AGE] + 1, LABEL: f"{row[AGE]}{' and more' if row[AGE] == OLDEST else ''}"}
        for row in ages.filter(pl.col(AGE) > YOUNGEST).to_dicts()
    ]
    yield from _charts_of(rows, charts.over_age, (MEASUREMENTS, SUBJECTS), "by age")


def _rounded(figure: Any) -> float | int:
    """A figure as precise as people need it: of days, hours do not matter."""
    return figure if isinstance(figure, int) else round(figure, 1)


def by_subject(summary: Summary) -> Iterator[Part]:
    """How many measurements and events subjects have, and over which time."""
    subjects = summary.subjects
    if subjects.is_empty():
        yield Text("There are no subjects.")
        return
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    spans = (subjects[LAST] - subjects[FIRST]).dt.total_microseconds() / _DAY
    found = {"Measurements": subjects[MEASUREMENTS], "Events": subjects[EVENTS], "Days of record": spans.drop_nulls()}
    rows = [
        [name, *(_rounded(values.quantile(q, "nearest")) for q in quantiles), _rounded(values.mean())]
        for name, values in found.items()
        if len(values)
    ]
    yield Table("Quantiles over subjects", ["Of a subject", *(f"{q:.0%}" for q in quantiles), "Mean"], rows)
    if left_out := _left_out(summary):
        yield Text(left_out.strip())
    yield Charts([chart for chart in _subject_charts(summary, spans.drop_nulls()) if chart])
    if none := spans.null_count():
        yield Text(f"Without any time, apart from a birth: {counted(none, 'subject')}.")


def _subject_charts(summary: Summary, spans: pl.Series) -> Iterator[Chart]:
    for name in (MEASUREMENTS, EVENTS):
        rows = [row for row in _doubling(summary.subjects[name]) if row[COUNT] >= max(summary.min_count, 1)]
        if rows:
            title = f"{name.capitalize()} of a subject"
            yield Chart(title, f"Bar chart of subjects by their number of {name}.", charts.over_size(rows, title))
    upper = [limit for limit in _SPANS.values() if limit]
    counts = np.bincount(np.searchsorted(upper, spans.to_numpy(), side="right"), minlength=len(_SPANS))
    rows = [{NAME: name, COUNT: int(n)} for name, n in zip(_SPANS, counts, strict=True)]
    rows = [row for row in rows if row[COUNT] >= max(summary.min_count, 1)]
    if rows:
        words = "Bar chart of subjects by the time from their first to their last event, without the birth."
        yield Chart("Span of the record of a subject", words, charts.by_name(rows, "Span", "Subjects"))


def _doubling(numbers: pl.Series) -> list[dict[str, Any]]:
    """How many of some numbers are from 1 to below 2, 2 to below 4, and so on."""
    positive = numbers.filter(numbers > 0).to_numpy()
    powers = np.bincount(np.log2(positive).astype(np.int64)) if len(positive) else np.array([], dtype=np.int64)
    return [
        {
            LOW: 2**p,
            HIGH: 2 ** (p + 1),
            LABEL: shown(2**p) + (f" to {shown(2 ** (p + 1) - 1)}" if p else ""),
            COUNT: int(n),
        }
        for p, n in enumerate(powers)
    ]
