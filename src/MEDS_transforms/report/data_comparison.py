"""The sections of a comparison that are about the data: sizes, time, codes, values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ..dataset.schema import CODE, DESCRIPTION, SPLIT
from . import charts
from .charts import COUNT, GROUP, LABEL, LOW, SHARE
from .counting import Count
from .data_sections import MOST_CODES, apart, hidden, time_range, totals
from .names import MEASUREMENTS, STATIC, SUBJECTS, VALUES, YEAR
from .parts import Change, Chart, Charts, Choice, Part, Picker, Ratio, Section, Share, Table, Text, counted, shown
from .summary import Summary, sum_of
from .time_sections import NOT_SHOWN, first_day, sparse_ends_cut
from .value_sections import MOST_DISTRIBUTIONS, histogram_rows, precision
from .values import Distribution, bin_edges

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHIFT = "shift"
_SIZES = {STATIC: "Static rows"}
"""What sizes are called, where that is not the name of the figure."""


@dataclass(frozen=True)
class Pair:
    """Two datasets, and what to call them."""

    a: Summary
    b: Summary
    names: tuple[str, str]

    @property
    def both(self) -> tuple[Summary, Summary]:
        """The two datasets."""
        return self.a, self.b


def data_comparison(pair: Pair) -> list[Section]:
    """The sections about the data."""
    codes = _joined_codes(pair)
    return [
        Section("size", "Sizes", [*_sizes(pair)]),
        Section("time", "Over time", [*_over_time(pair)]),
        Section("codes", "Codes", [*_codes(pair, codes)]),
        Section("values", "Values", [*_values(pair, codes)]),
    ]


def compared(name: str, a: float | None, b: float | None) -> list[Any]:
    """A row of a table: a figure of both, the difference, and how many times as much it is in the second."""
    known = a is not None and b is not None
    return [name, a, b, Change(b - a) if known else None, Ratio(b / a) if known and a else None]  # type: ignore[operator]


def _sizes(pair: Pair) -> Iterator[Part]:
    headings = ["", *pair.names, "Difference", "Ratio"]
    of_a, of_b = totals(pair.a), totals(pair.b)
    rows = [compared(_SIZES.get(name, name.capitalize()), n, of_b[name]) for name, n in of_a.items()]
    rows.append(compared("Measurements with a number", pair.a.n_values, pair.b.n_values))
    rows.append(compared("Subjects without a birth", pair.a.n_without_birth, pair.b.n_without_birth))
    yield Table("Sizes", headings, rows)
    yield Table(
        "Time range, without births", ["", *pair.names], [["Years", *(time_range(one)[0] for one in pair.both)]]
    )
    splits = [{row[SPLIT]: row for row in one.by_split().to_dicts()} for one in pair.both]
    rows = [
        compared(f"{split}: {figure}", *(of.get(split, {}).get(figure, 0) for of in splits))
        for split in dict.fromkeys([*splits[0], *splits[1]])
        for figure in (SUBJECTS, MEASUREMENTS)
    ]
    yield Table("Sizes of the splits", headings, rows)
    for name, one in zip(pair.names, pair.both, strict=True):
        yield from apart(one, name)


def _over_time(pair: Pair) -> Iterator[Part]:
    years = [one.counts[Count.YEARS].filter(pl.col(SUBJECTS) >= one.min_count) for one in pair.both]
    if all(table.is_empty() for table in years):
        yield Text("No measurement has a time, so that there is nothing to show over time.")
        return
    of_both = pl.concat(years).group_by(YEAR).agg(pl.col(MEASUREMENTS).sum()).sort(YEAR)
    at = sparse_ends_cut(of_both)[YEAR]
    is_shown = pl.col(YEAR).is_in(at.implode())
    rows = [row for name, one in zip(pair.names, pair.both, strict=True) for row in _by_year(name, one, at)]
    for name, one, table in zip(pair.names, pair.both, years, strict=True):
        all_of_it, n_shown = (sum_of(of, MEASUREMENTS) for of in (one.counts[Count.YEARS], table.filter(is_shown)))
        if cut := all_of_it - n_shown:
            yield Text(f"{NOT_SHOWN}: {counted(cut, 'measurement')} of {name}.")
    words = f"Lines of the measurements by year of {pair.names[0]} and {pair.names[1]}."
    yield Charts(
        [Chart("Measurements by year, without births", words, charts.lines_over_time(rows, pair.names))], wide=True
    )


def _by_year(name: str, summary: Summary, at: pl.Series) -> Iterator[dict[str, Any]]:
    """The measurements of each year from the first to the last of some, but for years of too few subjects."""
    of_year = {row[YEAR]: row for row in summary.counts[Count.YEARS].to_dicts()}
    for year in range(at[0], at[-1] + 1):
        found = of_year.get(year, {SUBJECTS: summary.min_count, MEASUREMENTS: 0})
        if found[SUBJECTS] >= summary.min_count:
            yield {LOW: first_day(12 * year), LABEL: str(year), GROUP: name, COUNT: found[MEASUREMENTS]}


def _joined_codes(pair: Pair) -> pl.DataFrame:
    """All codes that are shown of either, with the figures of both: those of the second end in `_b`; null: none."""
    a, b = pair.a.codes, pair.b.codes
    joined = a.join(b, on=CODE, how="full", coalesce=True, suffix="_b")
    return joined.with_columns(pl.coalesce(DESCRIPTION, f"{DESCRIPTION}_b").alias(DESCRIPTION))


def _codes(pair: Pair, codes: pl.DataFrame) -> Iterator[Part]:
    for name, one in zip(pair.names, pair.both, strict=True):
        yield from hidden(one, name)
    for of, there, name in (("_b", "", pair.names[1]), ("", "_b", pair.names[0])):
        only = codes.filter(pl.col(f"{MEASUREMENTS}{there}").is_null()).sort(
            f"{MEASUREMENTS}{of}", CODE, descending=[True, False]
        )
        yield from _only_in(only, of, name)
    yield from _changed(pair, codes.drop_nulls([MEASUREMENTS, f"{MEASUREMENTS}_b"]))


def _only_in(codes: pl.DataFrame, of: str, name: str) -> Iterator[Part]:
    if codes.is_empty():
        yield Text(f"No code is only in {name}.")
        return
    top = codes.head(MOST_CODES)
    more = f" The {top.height} most frequent are shown." if top.height < codes.height else ""
    yield Text(f"Only in {name}: {counted(codes.height, 'code')}.{more}")
    rows = [[row[CODE], row[f"{MEASUREMENTS}{of}"], row[f"{SUBJECTS}{of}"], row[DESCRIPTION]] for row in top.to_dicts()]
    yield Table(
        f"Codes only in {name}", ["Code", "Measurements", "Subjects", "Description"], rows, searchable=len(rows) > 10
    )


def _changed(pair: Pair, codes: pl.DataFrame) -> Iterator[Part]:
    """The codes that occur more or less often, by what they add to the population stability index.

    Shares are those of the measurements whose code is in both.
    """
    a, b = (pl.col(f"{MEASUREMENTS}{of}") / pl.col(f"{MEASUREMENTS}{of}").sum() for of in ("", "_b"))
    index = (b - a) * (b / a).log()
    moved = codes.with_columns(a.alias(SHARE), b.alias(f"{SHARE}_b"), index.alias(_SHIFT))
    changed = moved.filter(pl.col(MEASUREMENTS) != pl.col(f"{MEASUREMENTS}_b"))
    yield Text(
        f"In both: {counted(codes.height, 'code')}, of which {shown(changed.height)} occur more or less often. The "
        f"population stability index of their shares of the measurements is {moved[_SHIFT].sum():.3g}."
    )
    if changed.is_empty():
        return
    top = changed.sort(_SHIFT, CODE, descending=[True, False]).head(MOST_CODES)
    rows = [
        [
            row[CODE],
            *compared("", row[MEASUREMENTS], row[f"{MEASUREMENTS}_b"])[1:],
            Share(row[SHARE]),
            Share(row[f"{SHARE}_b"]),
            row[SUBJECTS],
            row[f"{SUBJECTS}_b"],
            row[DESCRIPTION],
        ]
        for row in top.to_dicts()
    ]
    a_name, b_name = pair.names
    headings = ["Code", a_name, b_name, "Difference", "Ratio", f"Share: {a_name}", f"Share: {b_name}"]
    headings += [f"Subjects: {a_name}", f"Subjects: {b_name}", "Description"]
    yield Table("Measurements by code, greatest change of the share first", headings, rows, searchable=True)


def _values(pair: Pair, codes: pl.DataFrame) -> Iterator[Part]:
    n_values = pl.col(VALUES).fill_null(0), pl.col(f"{VALUES}_b").fill_null(0)
    with_values = codes.filter(pl.min_horizontal(*n_values) > 0).sort(sum(n_values), descending=True)
    names = with_values[CODE].head(MOST_DISTRIBUTIONS).to_list()
    found = [one.values.of(names) for one in pair.both]
    of_code = {row[CODE]: row for row in with_values.head(MOST_DISTRIBUTIONS).to_dicts()}
    shifts = {name: shift(found[0][name], found[1][name]) for name in names}
    names.sort(key=lambda name: (-shifts[name], name))
    if not names:
        yield Text("No code has numbers in both.")
        return
    yield Text(
        f"The {counted(len(names), 'code')} with most numbers in both, greatest shift first. The shift is the mean "
        "distance between the quantiles of the two, in units of the interquartile range of the first."
    )
    rows = [_shift_row(of_code[name], found[0][name], found[1][name], shifts[name]) for name in names]
    quantiles = [f"{q:.0%}: {name}" for q in _QUANTILES for name in pair.names]
    missing = [f"Missing: {name}" for name in pair.names]
    yield Table("Quantiles of values", ["Code", "Shift", *quantiles, *missing], rows, searchable=len(rows) > 10)
    choices = [_choice(pair, of_code[name], found[0][name], found[1][name]) for name in names]
    yield Picker(
        "Code", "Distributions of the values of the chosen code in both.", charts.two_histograms(pair.names), choices
    )


def shift(a: Distribution, b: Distribution) -> float:
    """The mean distance between quantiles of two distributions, in units of the first one's interquartile range.

    Where that is 0, its range from 5 % to 95 %, or else 1, is the unit.
    """
    of_a, of_b = (np.array([one.quantile(q) for q in _QUANTILES]) for one in (a, b))
    unit = of_a[3] - of_a[1] or of_a[4] - of_a[0] or 1.0
    return float(np.abs(of_b - of_a).mean() / unit)


def _shift_row(row: Mapping[str, Any], a: Distribution, b: Distribution, distance: float) -> list[Any]:
    quantiles = [float(f"{one.quantile(q):.5g}") for q in _QUANTILES for one in (a, b)]
    missing = [Share(1 - row[f"{VALUES}{of}"] / row[f"{MEASUREMENTS}{of}"]) for of in ("", "_b")]
    return [row[CODE], float(f"{distance:.3g}"), *quantiles, *missing]


def _choice(pair: Pair, row: Mapping[str, Any], a: Distribution, b: Distribution) -> Choice:
    edges = bin_edges(a, b)
    sizes = row[VALUES], row[f"{VALUES}_b"]
    bars: list[dict[str, Any]] = []
    for name, one, n in zip(pair.names, (a, b), sizes, strict=True):
        bars += [{**bar, GROUP: name} for bar in _closed(histogram_rows(edges, one.counts(edges), n))]
    rows = [
        [name, n, *(float(f"{one.quantile(q):.5g}") for q in _QUANTILES)]
        for name, one, n in zip(pair.names, (a, b), sizes, strict=True)
    ]
    headings = ["", "Values", *(f"{q:.0%}" for q in _QUANTILES)]
    notes = row[DESCRIPTION], precision(row[CODE], *pair.both)
    return Choice(row[CODE], bars, {}, headings, rows, " ".join(filter(None, notes)))


def _closed(bars: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The bars, and a last one without height, so that an outline comes down at its end."""
    return [*map(dict, bars), {**bars[-1], LOW: bars[-1][charts.HIGH], COUNT: 0, SHARE: 0.0}]
