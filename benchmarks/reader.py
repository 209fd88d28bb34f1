r"""Reads a cohort of tensors for training, item by item in random order, with several readers in turns.

    python benchmarks/reader.py --small data/tensors-0.1 \
        --peer numpy=/opt/torch/bin:data/tensors --peer torch=/opt/torch/bin:data/tensors \
        --peer meds-torch-data=/opt/mtd/bin:data/mtd

A peer is `numpy` or `torch`, which are this package, or `meds-torch-data`; the folder of its Python; and its tensors of
one and the same dataset. `--small` has tensors of a smaller dataset, which the peers of this package read likewise.
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from describe import machine
from measure import CommandError, measured
from peers import in_turns
from read_items import READERS

HERE = Path(__file__).parent.absolute()
WINDOWS = ("random-measurements", "last-measurements", "random-events")
FIGURES = {
    "items_per_s": "items per second",
    "items_per_cpu_s": "items per CPU second",
    "first_items_per_s": "items per second, first epoch",
    "start_s": "start, s",
    "import_s": "import, s",
    "peak_mib": "peak memory, MiB",
    "own_mib": "memory of its own, MiB",
}
RATIOS = ("items_per_s", "items_per_cpu_s", "peak_mib", "own_mib")
NOTES = (
    "Medians (range); a ratio is the median of the ratios turn by turn.",
    "Memory of its own: without pages of files, and beyond what `import torch`, or `import numpy`, takes.",
)
SMALL = ", small"
"""What is added to the name of a peer that reads the smaller dataset."""
NEAR = 0.05
"""Normalized values may differ by so many deviations: sums of 32-bit floats depend on the order of adding."""


@dataclass(frozen=True)
class Peer:
    """A reader, the Python that has it, and the tensors that it reads."""

    kind: str
    python: Path
    tensors: Path

    @classmethod
    def parse(cls, text: str) -> "Peer":
        """KIND=DIR:TENSORS."""
        kind, _, rest = text.partition("=")
        folder, _, tensors = rest.partition(":")
        if kind not in READERS or not tensors:
            raise argparse.ArgumentTypeError(f"must be KIND=DIR:TENSORS with one of {', '.join(READERS)}, not {text!r}")
        return cls(kind, Path(folder).absolute() / "python", Path(tensors).absolute())


def child(peer: Peer, log: Path, window: str, n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a reader printed, and what its process took."""
    command = [str(peer.python), str(HERE / "read_items.py"), peer.kind, str(peer.tensors), window, str(n)]
    took = measured(command, log)
    return json.loads(log.read_text().splitlines()[-1]), asdict(took)


def runs(args: argparse.Namespace, peers: dict[str, Peer]) -> Iterator[dict[str, Any]]:
    """Every peer once per turn and window, every second turn in reverse."""
    for turn, name in in_turns(peers, args.repeat):
        for window in WINDOWS:
            figures, took = child(peers[name], args.work / f"{name}.log", window, args.items)
            run = {"turn": turn, "peer": name, "window": window, **figures, "peak_mib": took["peak_process_mib"]}
            print(
                turn + 1, name, window, *(f"{run[f]:.4g} {label}" for f, label in FIGURES.items()), sep="  ", flush=True
            )
            yield run


def with_small(args: argparse.Namespace) -> dict[str, Peer]:
    """The peers by name; those of this package twice, if there is a smaller dataset."""
    found = {}
    for peer in args.peer:
        found[peer.kind] = peer
        if args.small and peer.kind != "meds-torch-data":
            found[f"{peer.kind}{SMALL}"] = Peer(peer.kind, peer.python, args.small.absolute())
    return found


def differences(args: argparse.Namespace) -> list[str]:
    """How the last measurements of a sample of subjects differ between the first peer and the others."""
    samples = [child(peer, args.work / f"{peer.kind}.log", "sample", args.sample)[0] for peer in args.peer]
    return [
        f"{peer.kind}: {sum(not is_same(sample.get(subject), wanted) for subject, wanted in samples[0].items())}"
        f" of {len(samples[0])} subjects have other measurements than with {args.peer[0].kind}"
        for peer, sample in zip(args.peer[1:], samples[1:], strict=True)
    ]


def is_same(found: list[list[Any]] | None, wanted: list[list[Any]]) -> bool:
    """Whether two readers give the same codes in the same order, the same days, and values that are near.

    The days of the first measurement are left out: where a window begins within an event, some have 0 there.
    """
    if found is None or len(found) != len(wanted):
        return False
    (codes, values, days), (other_codes, other_values, other_days) = zip(*found, strict=True), zip(*wanted, strict=True)
    return codes == other_codes and days[1:] == other_days[1:] and all(map(is_near, values, other_values))


def is_near(value: float | None, other: float | None) -> bool:
    """Whether both are missing, or neither is and they are near."""
    return value is other if value is None or other is None else math.isclose(value, other, abs_tol=NEAR, rel_tol=NEAR)


def summary(found: dict[str, Any]) -> str:
    """The record as a page."""
    lines = [f"# {found['name']}, {found['date']}", ""]
    lines += [f"- Machine: {words(found['machine'])}"]
    for name, about in found["peers"].items():
        lines += [
            f"- {name}: {about['n_subjects']:,} subjects; {', '.join(f'{k} {v}' for k, v in about['versions'].items())}"
        ]
    lines += [f"- Settings: {words(found['settings'])}"]
    lines += [f"- The same items: {difference}" for difference in found["differences"]]
    for window in WINDOWS:
        of_window = [run for run in found["runs"] if run["window"] == window]
        lines += ["", f"## {window.replace('-', ' ')}", "", *table(of_window, list(found["peers"]), found["baseline"])]
        lines += by_size(of_window, list(found["peers"]))
    return "\n".join([*lines, "", *NOTES, ""])


def words(about: dict[str, Any]) -> str:
    """Names and values in a line."""
    return ", ".join(f"{name} {value}" for name, value in about.items())


def table(found: list[dict[str, Any]], names: list[str], baseline: str) -> Iterator[str]:
    """A line for each peer, with ratios to the baseline."""
    of_baseline = [f"{FIGURES[figure].partition(',')[0]} / {baseline}" for figure in RATIOS]
    yield f"| reader | {' | '.join([*FIGURES.values(), *of_baseline])} |"
    yield f"|---|{'--:|' * (len(FIGURES) + len(RATIOS))}"
    for name in names:
        of_peer = [run for run in found if run["peer"] == name]
        base = {run["turn"]: run for run in found if run["peer"] == baseline}
        cells = [spread([run[figure] for run in of_peer]) for figure in FIGURES]
        cells += [f"{statistics.median(r[f] / base[r['turn']][f] for r in of_peer):.2f}" for f in RATIOS]
        yield f"| {name} | {' | '.join(cells)} |"


def by_size(found: list[dict[str, Any]], names: list[str]) -> Iterator[str]:
    """How much faster items of the smaller dataset come, a paragraph for each peer that reads it."""
    for name in names:
        of_small = {run["turn"]: run for run in found if run["peer"] == f"{name}{SMALL}"}
        of_whole = [run for run in found if run["peer"] == name and run["turn"] in of_small]
        ratios = {
            f: [of_small[run["turn"]][f] / run[f] for run in of_whole] for f in (*RATIOS[:2], "first_items_per_s")
        }
        if of_whole:
            said = "; ".join(f"{FIGURES[f]}: {statistics.median(many):.2f} times" for f, many in ratios.items())
            yield f"\n{name}, the smaller dataset against the whole: {said}"


def spread(numbers: list[float]) -> str:
    """The median, and the range."""
    return f"{shown(statistics.median(numbers))} ({shown(min(numbers))}–{shown(max(numbers))})"


def shown(number: float) -> str:
    """A number with three or four digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3f}"


def main() -> None:
    """Measures, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--peer", type=Peer.parse, action="append", required=True, metavar="KIND=DIR:TENSORS", help="the last: baseline"
    )
    add("--small", type=Path, help="tensors of a smaller dataset")
    add("--items", type=int, default=8000, help="that each run reads [8000]")
    add("--sample", type=int, default=200, help="subjects whose items are compared [200]")
    add("--repeat", type=int, default=3, help="turns [3]")
    add("--work", type=Path, default=HERE / "data/runs", help="for logs [data/runs]")
    add("--results", type=Path, default=HERE / "results", help="for the record [results]")
    add("--name", default="reader", help="of the record [reader]")
    args = parser.parse_args()
    record = args.results / f"{date.today().isoformat()}-{args.name}.json"
    if record.exists():
        parser.error(f"{record} exists: give another --name or remove it")
    for folder in (args.work, args.results):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        found = measure(args)
    except CommandError as error:
        raise SystemExit(str(error)) from None
    record.write_text(json.dumps(found, indent=1) + "\n")
    record.with_suffix(".md").write_text(summary(found))
    print(summary(found))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    found = {
        "name": args.name,
        "benchmark": "reader",
        "date": date.today().isoformat(),
        "machine": machine(),
        "settings": {"repeat": args.repeat, "items": args.items, "batch": 32, "window": 256, "sample": args.sample},
        "baseline": args.peer[-1].kind,
        "differences": differences(args),
        "runs": [*runs(args, with_small(args))],
    }
    about = {run["peer"]: {key: run.pop(key) for key in ("n_subjects", "versions")} for run in found["runs"]}
    return found | {"peers": {name: about[name] for name in with_small(args)}}


if __name__ == "__main__":
    main()
