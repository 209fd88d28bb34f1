"""Turns the record of a benchmark into tables, for the terminal and in markdown.

Every figure is a median over a peer's runs. A ratio is the median, over the turns, of the peer's figure
divided by the baseline's in the same turn; below 1 the peer takes less.
"""

from statistics import median

from rich.console import Console
from rich.table import Table

WHOLE = "all stages"
NOTHING = "–"
FIGURES = {
    "wall_s": ("wall time, s", 2),
    "cpu_s": ("CPU time, s", 2),
    "peak_mib": ("peak memory, MiB", 0),
    "read_mib": ("read, MiB", 0),
    "written_mib": ("written, MiB", 0),
}
PEAKS = {"peak_mib", "peak_process_mib", "peak_tree_mib"}

Stage = dict[str, float]
Record = dict
Rows = list[list[str]]


def whole(stages: dict[str, Stage]) -> Stage:
    """The figures of a whole run: the sums of times and bytes, and the largest peak of memory."""
    figures = dict.fromkeys(figure for stage in stages.values() for figure in stage)
    return {f: (max if f in PEAKS else sum)(stage[f] for stage in stages.values()) for f in figures}


def by_stage(record: Record) -> dict[str, dict[str, list[Stage]]]:
    """Measurements by stage and peer, in order of the turns; what a peer does as a whole is in `WHOLE` only."""
    found: dict[str, dict[str, list[Stage]]] = {}
    wholes: dict[str, list[Stage]] = {}
    for run in sorted(record["runs"], key=lambda run: run["turn"]):
        for stage, figures in run["stages"].items():
            if len(run["stages"]) > 1:
                found.setdefault(stage, {}).setdefault(run["peer"], []).append(figures)
        wholes.setdefault(run["peer"], []).append(whole(run["stages"]))
    found[WHOLE] = wholes
    if record["startup"]:
        found["--help"] = {
            peer: [start for start in record["startup"] if start["peer"] == peer] for peer in record["peers"]
        }
    return {stage: measured for stage, measured in found.items() if any(measured.values())}


def ratio(of: list[Stage], to: list[Stage], figure: str) -> float:
    """The median ratio of two peers, each turn's figures against each other; NaN where there is nothing to divide by.

    >>> ratio([{"wall_s": 2}, {"wall_s": 9}], [{"wall_s": 4}, {"wall_s": 6}], "wall_s")
    1.0
    """
    pairs = [(a[figure], b[figure]) for a, b in zip(of, to, strict=True) if b[figure]]
    return median(a / b for a, b in pairs) if pairs else float("nan")


def figures_of(record: Record) -> list[str]:
    """The figures that the record has: older ones know nothing of reading and writing."""
    stages = [stage for run in record["runs"] for stage in run["stages"].values()]
    return [figure for figure in FIGURES if all(figure in stage for stage in stages)]


def cell(values: list[float], digits: int) -> str:
    """A median with its range."""
    if not values:
        return NOTHING
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def overview(record: Record) -> Rows:
    """A line per contender for its whole runs, with the ratios of its figures to the first one's; headings first."""
    figures = figures_of(record)
    wholes = by_stage(record).get(WHOLE, {})
    baseline = next(iter(record["peers"]))
    titles = [FIGURES[figure][0] for figure in figures]
    ratios = [f"{title.partition(',')[0]} / {baseline}" for title in titles]
    lines = [["contender", *titles, *ratios]]
    for peer, runs in wholes.items():
        line = [peer, *(cell([run[figure] for run in runs], FIGURES[figure][1]) for figure in figures)]
        lines.append([*line, *(f"{ratio(runs, wholes[baseline], figure):.2f}" for figure in figures)])
    return lines


def stage_rows(record: Record, figure: str) -> Rows:
    """A line per stage for the contenders with several commands: medians, ranges and ratios; headings first."""
    measured = by_stage(record)
    names = [stage for stage in measured if stage != WHOLE]
    peers = [peer for peer in record["peers"] if any(peer in measured[stage] for stage in names)]
    if not peers:
        return []
    baseline, *others = peers
    lines = [["stage", *peers, *(f"{peer} / {baseline}" for peer in others)]]
    for stage in [*names, WHOLE]:
        runs = {peer: measured.get(stage, {}).get(peer, []) for peer in peers}
        line = [stage, *(cell([run[figure] for run in runs[peer]], FIGURES[figure][1]) for peer in peers)]
        both = {peer: runs[peer] and runs[baseline] for peer in others}
        ratios = (f"{ratio(runs[p], runs[baseline], figure):.2f}" if both[p] else NOTHING for p in others)
        lines.append([*line, *ratios])
    return lines


def notes(record: Record) -> list[str]:
    """What a reader needs besides the figures: machine, versions, settings, and whether the peers agree."""
    size = sum(record["tables_bytes"].values()) / 1e9
    settings = ", ".join(f"{key} {value}" for key, value in record["settings"].items() if value not in ([], None))
    lines = ["Machine: " + ", ".join(f"{key} {value}" for key, value in record["machine"].items())]
    for peer, versions in record["peers"].items():
        kind = record.get("kinds", {}).get(peer)
        present = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        lines.append(f"{peer}: {present}" + (f"; {kind}" if kind else ""))
    lines.append(f"Settings: {settings}; input {size:.2f} GB")
    lines += [f"{peer} is left out: {reason}" for peer, reason in record.get("failed", {}).items()]
    for peer, differences in record.get("differences", {}).items():
        lines.append(
            f"The result of {peer} and of {next(iter(record['peers']))}: {'; '.join(differences) or 'the same'}"
        )
    counts = {
        peer: {run["n_measurements"] for run in record["runs"] if run["peer"] == peer} for peer in record["peers"]
    }
    if len(set().union(*counts.values())) > 1:
        lines.append(f"WARNING: the cohorts differ in their number of measurements: {counts}")
    return lines


def tables(record: Record) -> dict[str, Rows]:
    """The tables of the summary by their titles."""
    found = {"Whole runs": overview(record)} if record["runs"] else {}
    for figure in figures_of(record):
        title = FIGURES[figure][0]
        found[f"{title[0].upper()}{title[1:]}, by stage"] = stage_rows(record, figure)
    return {title: lines for title, lines in found.items() if lines}


def markdown_table(lines: Rows) -> str:
    """Lines as a table, the first as its head."""
    head, *others = lines
    rule = "|---" + "|--:" * (len(head) - 1) + "|"
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in others)])


def markdown(record: Record) -> str:
    """The summary as a markdown page."""
    parts = [f"# {record['name']}, {record['date']}", "", *(f"- {note}" for note in notes(record))]
    for title, lines in tables(record).items():
        parts += ["", f"## {title}", "", markdown_table(lines)]
    return "\n".join([*parts, "", "Medians (range); a ratio is the median of the ratios turn by turn.", ""])


def show(record: Record) -> None:
    """Prints the summary to the terminal."""
    console = Console()
    for title, (head, *others) in tables(record).items():
        table = Table(title=title)
        for place, heading in enumerate(head):
            table.add_column(heading, justify="right" if place else "left")
        for line in others:
            table.add_row(*line)
        console.print(table)
    for note in notes(record):
        console.print(note, highlight=False, markup=False)
