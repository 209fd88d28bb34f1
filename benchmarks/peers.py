"""Common parts of the benchmarks: runs the stages of peers in turns and collects the results in one record.

A benchmark defines its stages, their arguments and their input; everything else is here.
"""

import argparse
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

import report
from measure import CommandError, as_record, compile_modules, machine, measured, n_rows, versions

HERE = Path(__file__).parent
TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".par")
READ_BYTES = 2**22

Peers = dict[str, Path]
Record = dict[str, object]
Commands = Callable[[argparse.Namespace, Path, Path], Mapping[str, list[str]]]
"""Makes the command of each stage from the arguments, a peer's folder and a cohort's folder."""


def in_turns(peers: Peers, n: int) -> Iterator[tuple[int, str]]:
    """The order of runs: each peer once per turn, every second turn in reverse.

    >>> list(in_turns({"a": Path(), "b": Path()}, 2))
    [(0, 'a'), (0, 'b'), (1, 'b'), (1, 'a')]
    """
    for turn in range(n):
        for name in list(peers) if turn % 2 == 0 else reversed(peers):
            yield turn, name


def overrides_for_workers(args: argparse.Namespace, stage: str) -> list[str]:
    """The overrides that make a stage's script start several workers; none for one worker."""
    if args.workers == 1:
        return []
    # These go first: Hydra does not accept overrides on both sides of an option.
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={args.workers}"]
    # A reducer may pause for `polling_time`, minutes by default, which would hide everything else.
    return ["--multirun", f"stage={stage}", f"worker=range(0,{args.workers})", *launcher, "polling_time=1"]


def staged_run(args: argparse.Namespace, name: str, turn: int, commands: Commands, counted: str) -> Record:
    """One run of all stages into a new folder, `<benchmark>-<peer>`; rows are counted in its cohort's `counted`."""
    folder = args.work / f"{args.benchmark}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()  # otherwise this run would wait for data that the previous one has written
    stages = {}
    for stage, command in commands(args, args.peer[name], folder / "cohort").items():
        stages[stage] = as_record(measured(command, folder / f"{stage}.log"))
    n = n_rows(args.peer[name] / "python", folder / "cohort" / counted)
    wall = sum(stage["wall_s"] for stage in stages.values())
    peak = max(stage["peak_mib"] for stage in stages.values())
    print(f"turn {turn + 1}  {name:<12} {wall:8.1f} s  {peak:8.0f} MiB  {n:,} measurements", flush=True)
    return {"turn": turn, "peer": name, "n_measurements": n, "stages": stages}


def read_tables(folder: Path) -> dict[str, int]:
    """The tables below a folder and their sizes in bytes; reads them all, so that every peer finds them in memory."""
    sizes = {}
    for file in sorted(file for file in folder.rglob("*") if file.name.endswith(TABLE_SUFFIXES)):
        sizes[str(file.relative_to(folder))] = file.stat().st_size
        with file.open("rb", buffering=0) as table:
            while table.read(READ_BYTES):
                pass
    return sizes


def record(args: argparse.Namespace, settings: tuple[str, ...], tables: Path) -> Record:
    """The record before the first run: machine, versions, settings, input."""
    for peer in args.peer.values():
        compile_modules(peer / "python")
    return {
        "name": args.name,
        "date": date.today().isoformat(),
        "machine": machine(),
        "peers": {name: versions(peer / "python") for name, peer in args.peer.items()},
        "settings": {key: getattr(args, key) for key in (*settings, "workers", "repeat", "override")},
        "POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS"),
        "tables_bytes": read_tables(tables) if args.repeat else {},
        "startup": [],
        "runs": [],
    }


def peer_with(scripts: list[str]) -> Callable[[str], tuple[str, Path]]:
    """A parser of `NAME=DIR`, an installation and its name, which checks that its Python and scripts exist."""

    def peer(text: str) -> tuple[str, Path]:
        name, _, folder = text.partition("=")
        if not re.fullmatch(r"[\w.+-]+", name) or not folder:
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR with a NAME of letters, digits and . + -")
        # Not resolved: the link `python` of a virtual environment must stay what it is.
        bin_folder = Path(folder).absolute()
        if missing := [s for s in ("python", *scripts) if not (bin_folder / s).is_file()]:
            raise argparse.ArgumentTypeError(f"{bin_folder} has no {', '.join(missing)}")
        return name, bin_folder

    return peer


def argument_parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """A parser with the arguments of every benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--work", type=Path, default=HERE / "data/runs", help="for cohorts and logs [data/runs]")
    add("--results", type=Path, default=HERE / "results", help="for the record [results]")
    add("--name", default=name, help=f"of the record [{name}]")
    add("--repeat", type=int, default=3, help="runs per peer, 0 for none [3]")
    add("--override", action="append", default=[], metavar="KEY=VALUE", help="more for every script")
    parser.set_defaults(peer=[], benchmark=name)
    return parser


def add_peers(parser: argparse.ArgumentParser, scripts: list[str]) -> None:
    """Adds the arguments of a benchmark that compares installations."""
    add, peer = parser.add_argument, peer_with(scripts)
    add("--peer", type=peer, action="append", required=True, metavar="NAME=DIR", help="folder with its scripts")
    add("--workers", type=int, default=1, help="above 1: with the joblib launcher [1]")


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with `peer` as a mapping and the folder of runs as an absolute path."""
    args = parser.parse_args()
    args.peer = dict(args.peer)
    args.work = args.work.absolute()
    args.record = args.results / f"{date.today().isoformat()}-{args.name}.json"
    if args.record.exists():
        parser.error(f"{args.record} exists: give another --name or remove it")
    return args


def conclude(args: argparse.Namespace, measure: Callable[[], Record]) -> None:
    """Measures, then prints and writes the results."""
    try:
        found = measure()
    except CommandError as error:
        raise SystemExit(str(error)) from None
    args.results.mkdir(parents=True, exist_ok=True)
    args.record.write_text(json.dumps(found, indent=1) + "\n")
    args.record.with_suffix(".md").write_text(report.markdown(found))
    report.show(found)
    print(f"Written: {args.record} and {args.record.with_suffix('.md').name}")
