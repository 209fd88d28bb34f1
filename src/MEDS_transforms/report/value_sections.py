"""The section of a report about the values of codes: a histogram and quantiles for each."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from ..dataset.schema import CODE, DESCRIPTION
from . import charts
from .charts import COUNT, HIGH, LABEL, LOW, SHARE
from .names import GREATEST, LEAST, MEASUREMENTS, TOTAL, UNIT, VALUES
from .parts import Choice, Part, Picker, Share, Text, shown
from .summary import Summary
from .values import Distribution, Floats, bin_edges

MOST_DISTRIBUTIONS = 50
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Those of the values of each code."""


def values_of_codes(summary: Summary) -> Iterator[Part]:
    """Histograms and quantiles of the values of the codes that have most."""
    names = summary.codes_with_values(MOST_DISTRIBUTIONS)
    if not names:
        yield Text("No code that is shown has a number.")
        return
    n_all = summary.codes.filter(pl.col(VALUES) > 0).height
    most = f" Those {len(names)} that have most are shown." if n_all > len(names) else ""
    yield Text(
        f"Codes with numbers: {shown(n_all)}.{most} The unit is the one that the code implies, unless the code "
        "metadata says it. Missing is what has no finite number; values that are text are not shown."
    )
    of_code = {row[CODE]: row for row in summary.codes.filter(pl.col(CODE).is_in(names)).to_dicts()}
    found = summary.values.of(names)
    choices = [_choice(summary, of_code[name], found[name]) for name in names]
    yield Picker("Code", "Histogram of the values of the chosen code.", charts.histogram(), choices)


def _choice(summary: Summary, row: Mapping[str, Any], values: Distribution) -> Choice:
    edges = bin_edges(values)
    counts, n = values.counts(edges), row[VALUES]
    outside = (
        Share(values.share_below(edges[0])),
        Share(max(0.0, 1 - counts.sum() / n - values.share_below(edges[0]))),
    )
    quantiles = {f"{q:.0%}": _short(values.quantile(q)) for q in QUANTILES}
    ends = {} if summary.hides_few else {"Least": _short(row[LEAST]), "Greatest": _short(row[GREATEST])}
    facts = (
        {"Values": n, "Missing": Share(1 - n / row[MEASUREMENTS]), "Mean": _short(row[TOTAL] / n)} | ends | quantiles
    )
    notes = [row[DESCRIPTION] or ""]
    if sum(outside):
        notes.append(
            f"Not in the chart: {shown(outside[0])} of the values, which are less, and {shown(outside[1])}, greater."
        )
    notes.append(precision(row[CODE], summary))
    unit = row[UNIT] and f"Value in {row[UNIT]}"
    bars = histogram_rows(edges, counts, n)
    return Choice(row[CODE], bars, {"x": unit or "Value"}, [*facts], [[*facts.values()]], " ".join(filter(None, notes)))


def precision(code: str, *summaries: Summary) -> str:
    """Says how far off the quantiles of a code may be in some datasets; nothing where they are exact."""
    if error := max(summary.values.error(code) for summary in summaries):
        return f"Quantiles are approximate: their ranks are off by at most {shown(Share(error))}."
    return ""


def histogram_rows(edges: Floats, counts: Any, n: int) -> list[dict[str, Any]]:
    """The bars of a histogram of n values."""
    return [
        {LOW: _short(low), HIGH: _short(high), LABEL: f"{low:.5g} to {high:.5g}", COUNT: int(c), SHARE: round(c / n, 6)}
        for low, high, c in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _short(value: float) -> float:
    """Six digits, as 32-bit floats have not many more."""
    return float(f"{value:.6g}")
