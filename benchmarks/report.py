"""Turns the record of a benchmark into tables, for the terminal and in markdown.

Every figure is a median over a peer's runs. A ratio is the median, over the turns, of the peer's figure
divided by the baseline's in the same turn; below 1 the peer takes less.
"""

from statistics import median

from rich.console import Console
from rich.table import Table

WHOLE = "all stages"
FIGURES = {"wall_s": ("wall time, s", 2), "cpu_s": ("CPU time, s", 2), "peak_mib": ("peak memory, MiB", 0)}

Stage = dict[str, float]
Record = dict
Rows = list[list[str]]


def whole(stages: dict[str, Stage]) -> Stage:
    """The figures of a whole run: the sum of the times, and the largest peak of memory."""
    return {
        figure: (max if figure == "peak_mib" else sum)(stage[figure] for stage in stages.values()) for figure in FIGURES
    }


def by_stage(record: Record) -> dict[str, dict[str, list[Stage]]]:
    """Measurements by stage and peer, in order of the turns."""
    found: dict[str, dict[str, list[Stage]]] = {}
    for run in sorted(record["runs"], key=lambda run: run["turn"]):
        for stage, figures in {**run["stages"], WHOLE: whole(run["stages"])}.items():
            found.setdefault(stage, {}).setdefault(run["peer"], []).append(figures)
    if record["startup"]:
        found["--help"] = {
            peer: [start for start in record["startup"] if start["peer"] == peer] for peer in record["peers"]
        }
    return found


def ratio(of: list[Stage], to: list[Stage], figure: str) -> float:
    """The median ratio of two peers, each turn's figures against each other.

    >>> ratio([{"wall_s": 2}, {"wall_s": 9}], [{"wall_s": 4}, {"wall_s": 6}], "wall_s")
    1.0
    """
    return median(a[figure] / b[figure] for a, b in zip(of, to, strict=True))


def rows(record: Record, figure: str) -> Rows:
    """A line per stage: each peer's median with its range, and the other peers' ratio to the first."""
    baseline, *others = record["peers"]
    digits = FIGURES[figure][1]
    lines = []
    for stage, measured in by_stage(record).items():
        line = [stage]
        for peer in record["peers"]:
            values = [run[figure] for run in measured[peer]]
            line.append(f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})")
        line += [f"{ratio(measured[peer], measured[baseline], figure):.2f}" for peer in others]
        lines.append(line)
    return lines


def headings(record: Record) -> list[str]:
    """The headings of the columns of `rows`."""
    baseline, *others = record["peers"]
    return ["stage", *record["peers"], *(f"{peer} / {baseline}" for peer in others)]


def notes(record: Record) -> list[str]:
    """What a reader needs besides the figures: machine, versions, settings, and whether the peers agree."""
    size = sum(record["tables_bytes"].values()) / 1e9
    settings = ", ".join(f"{key} {value}" for key, value in record["settings"].items() if value not in ([], None))
    lines = ["Machine: " + ", ".join(f"{key} {value}" for key, value in record["machine"].items())]
    for peer, versions in record["peers"].items():
        lines.append(f"{peer}: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    lines.append(f"Settings: {settings}; input {size:.2f} GB")
    counts = {
        peer: {run["n_measurements"] for run in record["runs"] if run["peer"] == peer} for peer in record["peers"]
    }
    if len(set().union(*counts.values())) > 1:
        lines.append(f"WARNING: the cohorts differ in their number of measurements: {counts}")
    return lines


def markdown(record: Record) -> str:
    """The summary as a markdown page."""
    head = headings(record)
    parts = [f"# {record['name']}, {record['date']}", "", *(f"- {note}" for note in notes(record))]
    for figure, (title, _) in FIGURES.items():
        parts += [
            "",
            f"## {title[0].upper()}{title[1:]}",
            "",
            f"| {' | '.join(head)} |",
            "|---" + "|--:" * (len(head) - 1) + "|",
        ]
        parts += [f"| {' | '.join(line)} |" for line in rows(record, figure)]
    return "\n".join([*parts, "", "Medians (range); a ratio is the median of the ratios turn by turn.", ""])


def show(record: Record) -> None:
    """Prints the summary to the terminal."""
    console = Console()
    for figure, (title, _) in FIGURES.items():
        table = Table(title=title)
        for place, heading in enumerate(headings(record)):
            table.add_column(heading, justify="right" if place else "left")
        for line in rows(record, figure):
            table.add_row(*line)
        console.print(table)
    for note in notes(record):
        console.print(note, highlight=False, markup=False)
