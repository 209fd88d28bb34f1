"""Fills the page on speed with tables and plots of the records in benchmarks/results.

mkdocs calls `on_page_markdown` for every page; in the page on speed it replaces each comment `speed: …` by what the
records say about it, or by a hint if there are none. Plots are SVG within the page, so that the site needs no other
host, and take the colour of the text.
"""

import importlib
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
RESULTS = BENCHMARKS / "results"
PAGE = "explanation/speed.md"
MARK = re.compile(r"^<!-- speed: (\w+) -->$", re.MULTILINE)
MISSING = "There is no record of this yet: `benchmarks/README.md` says how to make one."
TEXT_COLOUR = "#123456"  # stands for the text's colour, which depends on the reader's settings
COLOURS = ("#5b8ff9", "#f6903d", "#5ad8a6", "#e8684a")
FIRST_STAGE = {"shard_events": "extraction", "filter_subjects": "preprocessing"}
TARGET_ROWS = (10**7, 10**8, 10**9)
TARGET_WORKERS = (1, 4, 16, 64)
CORES_PER_WORKER = 4

Record = dict[str, Any]
Lines = list[dict[str, Any]]


def module(name: str) -> Any:
    """A module of the benchmarks.

    NOTE: mkdocs takes back what a hook adds to the path while it is loaded.
    """
    if str(BENCHMARKS) not in sys.path:
        sys.path.append(str(BENCHMARKS))
    return importlib.import_module(name)


def benchmark_of(record: Record) -> str | None:
    """Which benchmark a record is of; older ones do not say, but their stages do."""
    stages = record["runs"][0].get("stages", ()) if record["runs"] else ()
    return record.get("benchmark") or next((FIRST_STAGE[stage] for stage in stages if stage in FIRST_STAGE), None)


def _by_numbers(path: Path) -> list[int | str]:
    """The name in parts, so that release 0.2.10 comes after 0.2.9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.stem)]


def record_of(benchmark: str, results: Path) -> Record | None:
    """The record to show: one that has kinds of contenders, then the largest input, then the newest."""
    found = []
    for path in sorted(results.glob("*.json"), key=_by_numbers):
        record = json.loads(path.read_text(encoding="utf-8"))
        if benchmark_of(record) == benchmark and len(record["peers"]) > 1:
            size = round(sum(record["tables_bytes"].values()), -8)
            found.append(("kinds" in record, size, record["date"], len(found), record))
    return max(found)[-1] if found else None


def comparison(benchmark: str, results: Path) -> str:
    """A plot of whole runs, a table of them, and what was compared on which machine."""
    record = record_of(benchmark, results)
    if record is None:
        return MISSING
    report = module("record_tables")
    notes = "\n".join(f"- {note}" for note in report.notes(record))
    shown = f"{record['date']}, {len({run['turn'] for run in record['runs']})} turns, medians (range)"
    table = report.markdown_table(report.overview(record))
    return f"{bars(record)}\n\n{table}\n\n{shown}; a ratio is the median of the ratios turn by turn.\n\n{notes}"


def bars(record: Record) -> str:
    """Bars of time and memory for each contender."""
    whole = module("record_tables").whole
    runs = [(run["peer"], whole(run["stages"])) for run in record["runs"]]
    names = list(record["peers"])[::-1]
    figure, panels = new_figure(2, height=0.7 + 0.38 * len(names))
    titles = {"wall_s": "wall time, s", "peak_mib": "peak memory, MiB"}
    for panel, (key, title), colour in zip(panels, titles.items(), COLOURS, strict=False):
        values = [median(figures[key] for peer, figures in runs if peer == name) for name in names]
        drawn = panel.barh(names, values, color=colour)
        panel.bar_label(drawn, fmt=lambda value: f"{value:,.3g}" if value < 100 else f"{value:,.0f}", padding=3)
        panel.set_title(title)
        panel.margins(x=0.18)
    panels[1].set_yticklabels([])
    return as_html(figure, f"Wall time and peak memory of {', '.join(names)}")


def scale(results: Path) -> str:
    """Time and memory over the number of rows, a line for each number of shards and workers."""
    lines = scale_lines(results)
    if not lines:
        return MISSING
    return "\n\n".join(scale_plot(name, found) for name, found in lines.items())


def scale_lines(results: Path) -> dict[str, Lines]:
    """The lines of scale.py by pipeline, of runs with all files and all cores."""
    model = module("cost_model")
    return model.by_pipeline(model.read_lines(sorted(results.glob("*.jsonl"))), "runner")


def scale_plot(name: str, lines: Lines) -> str:
    """The plot of one pipeline, with doubly logarithmic scales."""
    most = max(line["cores"] for line in lines)
    figure, panels = new_figure(2, height=3.2)
    groups = sorted({(line["n_shards"], line["workers"]) for line in lines})
    for panel, (key, title) in zip(
        panels, {"wall_s": "wall time, s", "peak_mib": "peak memory, MiB"}.items(), strict=True
    ):
        for group, colour in zip(groups, COLOURS * len(groups), strict=False):
            chosen = [line for line in lines if (line["n_shards"], line["workers"], line["cores"]) == (*group, most)]
            points = sorted((line["rows"], line[key]) for line in chosen)
            label = f"{group[0]} shards, {group[1]} worker{'s' * (group[1] > 1)}"
            panel.plot(*zip(*points, strict=True), marker="o", color=colour, label=label) if points else None
        sizes = sorted({line["rows"] for line in lines})
        panel.set(title=f"{name}: {title}", xscale="log", xlabel="raw rows")
        panel.set_xticks(sizes, [f"{size / 1e6:.3g} M" for size in sizes], minor=False)
        panel.set_xticks([], minor=True)
    panels[0].set_yscale("log")
    panels[0].yaxis.set_major_formatter("{x:g}")
    panels[0].yaxis.set_minor_formatter("")
    panels[1].set_ylim(bottom=0)
    panels[0].legend(frameon=False, labelcolor=TEXT_COLOUR)
    return as_html(figure, f"Time and memory of the {name} over the number of raw rows")


def costs(results: Path) -> str:
    """How long sizes take with numbers of workers, by the model of the lines of scale.py, and its factors."""
    parts = [cost_table(name, lines) for name, lines in scale_lines(results).items()]
    return "\n\n".join(parts) or MISSING


def cost_table(name: str, lines: Lines) -> str:
    """The table of one pipeline."""
    model = module("cost_model")
    head = [f"{name}: raw rows", *(f"{n} worker{'s' * (n > 1)}" for n in TARGET_WORKERS)]
    time = model.models(lines)["wall_s"]
    rows = [head]
    for n_rows in TARGET_ROWS:
        n_shards, n_stages = n_rows / model.DEFAULT_ROWS_PER_SHARD, lines[0]["n_stages"]
        cases = [model.Case(n_rows, n_shards, n, n * CORES_PER_WORKER, n_stages) for n in TARGET_WORKERS]
        rows.append([f"{n_rows:,}", *(model.duration(time(case, model.TIME)) for case in cases)])
    _, *factors = model.report(lines, cases[0])
    shown = "\n".join(f"- {factor.strip()}" for factor in factors)
    about = f"With {CORES_PER_WORKER} cores per worker and a million rows per shard. The factors:"
    return f"{module('record_tables').markdown_table(rows)}\n\n{about}\n\n{shown}"


def new_figure(n_panels: int, height: float) -> tuple[Any, Sequence[Any]]:
    """An empty figure with panels side by side, in the colour of the text."""
    import matplotlib as mpl

    mpl.use("svg")
    coloured = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor")
    mpl.rcParams.update(dict.fromkeys(coloured, TEXT_COLOUR))
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "speed", "font.size": 9})
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    panels = figure.subplots(1, n_panels)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def as_html(figure: Any, description: str) -> str:
    """The figure as part of a page: SVG without blank lines, which would end it in Markdown."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(TEXT_COLOUR, "currentColor")
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', f'role="img" aria-label="{description}"', svg, count=1)
    svg = svg.replace("*{stroke-", "figure svg *{stroke-")  # the style of a page is for all of it
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return "<figure>\n" + "\n".join(line for line in svg.splitlines() if line.strip()) + "\n</figure>"


def filled(markdown: str, results: Path = RESULTS) -> str:
    """The page with tables and plots in place of its marks."""
    made = {
        "extraction": lambda: comparison("extraction", results),
        "preprocessing": lambda: comparison("preprocessing", results),
        "scale": lambda: scale(results),
        "costs": lambda: costs(results),
    }
    return MARK.sub(lambda mark: made[mark[1]](), markdown)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fills the page on speed; an event of mkdocs."""
    return filled(markdown) if page.file.src_uri == PAGE else markdown
