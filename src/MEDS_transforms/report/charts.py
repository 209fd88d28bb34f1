"""Specifications of charts. Each is as wide as its place on the page; its colours come from the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from .parts import Spec

Rows = Sequence[Mapping[str, Any]]

_FIT = alt.AutoSizeParams(type="fit-x", contains="padding")
_TIGHT = alt.Scale(zero=False, nice=False)
_HEIGHT = 190
_ROW_HEIGHT = 24
_COUNT_LABEL = "datum.value % 1 ? '' : format(datum.value, abs(datum.value) < 10000 ? ',' : '.3~s')"
"""NOTE: Vega has ticks between whole numbers where there is room, whatever the least step."""
_MOST_DATES = 6
"""How many labels an axis of dates has at most, unless it is longer than all steps between labels allow for."""
_YEARS = tuple(12 * years for years in (1, 2, 5, 10, 20, 50))
"""Steps between labels, in months, of an axis of years."""
_LABEL = 170
"""The most room, in pixels, for names beside a chart, so that it can be read on a small screen too."""

NAME, LABEL = "name", "label"
LOW, HIGH, COUNT, SHARE, GROUP = "low", "high", "count", "share", "group"
BINS = "bins"
"""What a chart calls the data that the page puts in."""


def _spec(chart: Any) -> Spec:
    """The chart as the page embeds it. NOTE: without the address of the schema, which nobody is to load."""
    spec: Spec = chart.properties(width="container", autosize=_FIT).configure_view(stroke=None).to_dict()
    del spec["$schema"]
    return spec


def _figures(title: str, field: str = COUNT) -> dict[str, Any]:
    """Upright bars from 0 to a figure. NOTE: with two ends on either axis, so that Vega-Lite need not guess which."""
    y = alt.Y(field, type="quantitative", title=title, axis=_counts(), scale=alt.Scale(zero=True))
    return {"y": y, "y2": alt.datum(0)}


def _counts() -> alt.Axis:
    return _axis(labelExpr=_COUNT_LABEL, tickCount=4, tickMinStep=1)


def _axis(**settings: Any) -> alt.Axis:
    """An axis whose labels do not touch each other, whatever the width."""
    fitting: dict[str, Any] = {"tickCount": 6, "labelOverlap": "greedy", "labelSeparation": 10}
    return alt.Axis(**(fitting | settings))


def _dates(rows: Rows, steps: Sequence[int], label: str) -> alt.Axis:
    """An axis with a few labels at the beginning of months or years, so that none is there twice.

    Args:
        rows: they have `low` (ISO dates).
        steps: how many months may be between labels, the least first.
        label: how dates are written.
    """
    dates = [row[LOW].rsplit("-", 2) for row in rows]
    months = [12 * int(year) + int(month) for year, month, _ in dates]
    span = max(months) - min(months) + 1
    step = next((step for step in steps if span <= _MOST_DATES * step), steps[-1])
    every = alt.TimeIntervalStep("year", step // 12) if step % 12 == 0 else alt.TimeIntervalStep("month", step)
    return _axis(format=label, labelFlush=False, tickCount=every)


def over_months(rows: Rows, title: str) -> Spec:
    """Bars over months; rows have `low` and `high` (ISO dates), `label`, `count`."""
    return _over_time(rows, title, _dates(rows, (1, 2, 3, 6, 12, 24), "%Y-%m"))


def over_years(rows: Rows, title: str) -> Spec:
    """Bars over years; rows as those of `over_months`."""
    return _over_time(rows, title, _dates(rows, _YEARS, "%Y"))


def _over_time(rows: Rows, title: str, axis: alt.Axis) -> Spec:
    return _spec(
        alt.Chart(alt.InlineData(values=list(rows)), height=_HEIGHT)
        .mark_rect(xOffset=0.5)
        .encode(
            x=alt.X(LOW, type="temporal", title="Time", scale=alt.Scale(type="utc"), axis=axis),
            x2=HIGH,
            **_figures(title),
            tooltip=[alt.Tooltip(LABEL, type="nominal", title="Time"), _tip(COUNT, title)],
        )
    )


def over_age(rows: Rows, title: str) -> Spec:
    """Bars over age; rows have `low` and `high` (years), `label`, `count`."""
    return _bars(rows, "Age in years", title, alt.Scale())


def over_size(rows: Rows, x: str, title: str = "Subjects") -> Spec:
    """Bars over a number from 1, on a logarithmic axis; rows as those of `over_age`."""
    return _bars(rows, x, title, alt.Scale(type="log", base=2, domainMin=1, nice=False))


def _bars(rows: Rows, x: str, y: str, scale: alt.Scale) -> Spec:
    axis = _axis(labelExpr=_COUNT_LABEL, grid=False)
    return _spec(
        alt.Chart(alt.InlineData(values=list(rows)), height=_HEIGHT)
        .mark_rect(xOffset=0.5, x2Offset=-0.5)
        .encode(
            x=alt.X(LOW, type="quantitative", title=x, scale=scale, axis=axis),
            x2=HIGH,
            **_figures(y),
            tooltip=[alt.Tooltip(LABEL, type="nominal", title=x), _tip(COUNT, y)],
        )
    )


def by_name(rows: Rows, y: str, x: str) -> Spec:
    """Horizontal bars, in the order of the rows; rows have `name`, `count`."""
    return _spec(
        alt.Chart(alt.InlineData(values=list(rows)), height=_height(rows))
        .mark_bar()
        .encode(
            y=_names(),
            x=alt.X(COUNT, type="quantitative", title=x, axis=_counts()),
            tooltip=[alt.Tooltip(NAME, type="nominal", title=y), _tip(COUNT, x)],
        )
    )


def histogram() -> Spec:
    """Bars over values, of data that the page puts in: `low`, `high`, `label`, `count`, `share`."""
    axis = _axis(grid=False)
    return _spec(
        alt.Chart(alt.NamedData(name=BINS), height=240)
        .mark_rect(xOffset=0.5, x2Offset=-0.5)
        .encode(
            x=alt.X(LOW, type="quantitative", title="Value", scale=_TIGHT, axis=axis),
            x2=HIGH,
            **_figures("Measurements"),
            tooltip=[
                alt.Tooltip(LABEL, type="nominal", title="Value"),
                _tip(COUNT, "Measurements"),
                alt.Tooltip(SHARE, type="quantitative", title="Share of values", format=".2%"),
            ],
        )
    )


def two_histograms(groups: Sequence[str]) -> Spec:
    """Outlines over values, one for each `group`; otherwise as `histogram`, by shares."""
    shares = _axis(format=".1%", tickCount=4)
    return _spec(
        alt.Chart(alt.NamedData(name=BINS), height=240)
        .mark_area(interpolate="step-after", line=True, fillOpacity=0.2)
        .encode(
            x=alt.X(LOW, type="quantitative", title="Value", scale=_TIGHT, axis=_axis(grid=False)),
            y=alt.Y(SHARE, type="quantitative", title="Share of values", stack=None, axis=shares),
            color=_legend(GROUP, groups),
            tooltip=[
                alt.Tooltip(GROUP, type="nominal", title="Dataset"),
                alt.Tooltip(LABEL, type="nominal", title="Value"),
                alt.Tooltip(SHARE, type="quantitative", title="Share of values", format=".2%"),
            ],
        )
    )


def lines_over_time(rows: Rows, groups: Sequence[str]) -> Spec:
    """Lines of measurements over years, one for each `group`; rows as those of `over_months`."""
    return _spec(
        alt.Chart(alt.InlineData(values=list(rows)), height=_HEIGHT)
        .mark_line(point=True)
        .encode(
            x=alt.X(LOW, type="temporal", title="Year", scale=alt.Scale(type="utc"), axis=_dates(rows, _YEARS, "%Y")),
            y=alt.Y(COUNT, type="quantitative", title="Measurements", axis=_counts()),
            color=_legend(GROUP, groups),
            tooltip=[
                alt.Tooltip(GROUP, type="nominal", title="Dataset"),
                alt.Tooltip(LABEL, type="nominal", title="Year"),
                _tip(COUNT, "Measurements"),
            ],
        )
    )


def stacked(rows: Rows, groups: Sequence[str], x: str) -> Spec:
    """Horizontal bars in parts; rows have `name`, `group`, `count`."""
    numbered = [{**row, "order": groups.index(row[GROUP])} for row in rows]
    return _spec(
        alt.Chart(alt.InlineData(values=numbered), height=_height(rows))
        .mark_bar()
        .encode(
            y=_names(),
            x=alt.X(COUNT, type="quantitative", title=x, axis=_counts()),
            color=_legend(GROUP, groups),
            order=alt.Order("order", type="quantitative"),
            tooltip=[
                alt.Tooltip(NAME, type="nominal", title="Stage"),
                alt.Tooltip(GROUP, type="nominal", title="Rows"),
                _tip(COUNT, x),
            ],
        )
    )


def timeline(rows: Rows) -> Spec:
    """Bars from begin to end; rows have `name` (stage), `group` (worker), `low`, `high` (seconds), and what to tell."""
    told = ("wall", "cpu", "memory", "units", "rows", "together")
    titles = ("Time", "CPU time", "Peak memory", "Units of work", "Rows", "In one pass with")
    tips = [alt.Tooltip(field, type="nominal", title=title) for field, title in zip(told, titles, strict=True)]
    at_least = 4 * len({row[GROUP] for row in rows}) + 12
    return _spec(
        alt.Chart(alt.InlineData(values=list(rows)), height=_height(rows, at_least))
        .mark_bar(minBandSize=3)
        .encode(
            y=_names(),
            yOffset=alt.YOffset(GROUP, type="nominal", sort=None),
            x=alt.X(LOW, type="quantitative", title="Seconds since the first stage began", axis=_axis()),
            x2=HIGH,
            tooltip=[
                alt.Tooltip(NAME, type="nominal", title="Stage"),
                alt.Tooltip(GROUP, type="nominal", title="Worker"),
                *tips,
            ],
        )
    )


def _height(rows: Rows, at_least: int = _ROW_HEIGHT) -> int:
    """The height of a chart with a line for each name."""
    return len({row[NAME] for row in rows}) * max(_ROW_HEIGHT, at_least)


def _names() -> alt.Y:
    return alt.Y(
        NAME, type="nominal", title=None, sort=None, axis=alt.Axis(labelLimit=_LABEL, ticks=False, domain=False)
    )


def _legend(field: str, groups: Sequence[str]) -> alt.Color:
    scale, legend = alt.Scale(domain=list(groups)), alt.Legend(orient="top")
    return alt.Color(field, type="nominal", title=None, sort=None, scale=scale, legend=legend)


def _tip(field: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(field, type="quantitative", title=title, format=",")
