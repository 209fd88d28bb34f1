"""Common parts of the benchmarks: runs contenders in turns and collects the results in one record.

A benchmark defines its kinds of contenders, their arguments and their input; everything else is here.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path

import record_tables
from contenders import HERE, Contender, Contenders
from describe import asked_script, compile_modules, machine, versions
from measure import CommandError, as_record, measured

TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".par")
READ_BYTES = 2**22

Record = dict[str, object]


def in_turns(names: Iterable[str], n: int) -> Iterator[tuple[int, str]]:
    """The order of runs: each contender once per turn, every second turn in reverse.

    >>> list(in_turns(["a", "b"], 2))
    [(0, 'a'), (0, 'b'), (1, 'b'), (1, 'a')]
    """
    for turn in range(n):
        for name in list(names) if turn % 2 == 0 else reversed(list(names)):
            yield turn, name


def overrides_for_workers(args: argparse.Namespace, stage: str) -> list[str]:
    """The overrides that make a stage's script start several workers; none for one worker."""
    if args.workers == 1:
        return []
    # These go first: Hydra does not accept overrides on both sides of an option.
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={args.workers}"]
    # A reducer may pause for `polling_time`, minutes by default, which would hide everything else.
    return ["--multirun", f"stage={stage}", f"worker=range(0,{args.workers})", *launcher, "polling_time=1"]


def cohort_of(args: argparse.Namespace, name: str) -> Path:
    """Where a contender's cohort goes."""
    return args.work / f"{args.benchmark}-{name}" / "cohort"


def run(args: argparse.Namespace, contender: Contender, turn: int) -> Record:
    """One run of all commands of a contender into a new folder."""
    cohort = cohort_of(args, contender.name)
    shutil.rmtree(cohort.parent, ignore_errors=True)
    cohort.parent.mkdir(parents=True)
    os.sync()  # otherwise this run would wait for data that the previous one has written
    stages = {}
    for stage, command in contender.commands(args, contender.folder, cohort).items():
        log = cohort.parent / f"{stage}.log"
        stages[stage] = as_record(measured(command, log, contender.folder, args.limit * 60))
    n = asked_script(Path(sys.executable), HERE / "agreement.py", "count", str(cohort / args.result))
    figures = record_tables.whole(stages)
    print(
        f"turn {turn + 1}  {contender.name:<18} {figures['wall_s']:8.1f} s  CPU {figures['cpu_s']:8.1f} s"
        f"  {figures['peak_mib']:8.0f} MiB  {n:,} measurements",
        flush=True,
    )
    return {"turn": turn, "peer": contender.name, "n_measurements": n, "stages": stages}


def all_runs(args: argparse.Namespace, found: Record) -> Record:
    """The record with all runs; a contender that fails is left out from then on, and the record says why."""
    for turn, name in in_turns(args.peer, args.repeat):
        if name in found["failed"]:
            continue
        try:
            found["runs"].append(run(args, args.peer[name], turn))
        except CommandError as error:
            if len(args.peer) == 1:
                raise
            found["failed"][name] = error.reason
            print(f"turn {turn + 1}  {name:<18} is left out:\n{error}", file=sys.stderr, flush=True)
    found["runs"] = [done for done in found["runs"] if done["peer"] not in found["failed"]]
    found["peers"] = {name: peer for name, peer in found["peers"].items() if name not in found["failed"]}
    return found


def agreements(args: argparse.Namespace, names: list[str]) -> dict[str, list[str]]:
    """How the cohort of each contender but the first differs from that of the first."""
    script, python = HERE / "agreement.py", Path(sys.executable)
    first, *others = (str(cohort_of(args, name) / args.result) for name in names)
    found = [asked_script(python, script, "compare", cohort, first) for cohort in others]
    return dict(zip(names[1:], found, strict=True))


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
    contenders: Contenders = args.peer
    for peer in contenders.values():
        compile_modules(peer.python)
    return {
        "name": args.name,
        "benchmark": args.benchmark,
        "date": date.today().isoformat(),
        "machine": machine(),
        "peers": {name: versions(peer.python) for name, peer in contenders.items()},
        "kinds": {name: peer.kind for name, peer in contenders.items()},
        "settings": {key: getattr(args, key) for key in (*settings, "workers", "repeat", "override")},
        "POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS"),
        "tables_bytes": read_tables(tables) if args.repeat else {},
        "startup": [],
        "failed": {},
        "runs": [],
    }


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
    add("--override", action="append", default=[], metavar="KEY=VALUE", help="more for every script of the suite")
    add("--limit", type=float, default=60, help="minutes after which a command is stopped [60]")
    add("--compare", action="store_true", help="also compare the cohorts of the last turn with the first peer's")
    parser.set_defaults(peer=[], benchmark=name, result=".")  # the folder in a cohort that is counted and compared
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with `peer` as a mapping and the folder of runs as an absolute path."""
    args = parser.parse_args()
    names = [peer.name for peer in args.peer]
    if twice := {name for name in names if names.count(name) > 1}:
        parser.error(f"--peer: the name {', '.join(sorted(twice))} is given twice")
    args.peer = {peer.name: peer for peer in args.peer}
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
    if args.compare and args.repeat:
        found["differences"] = agreements(args, list(found["peers"]))
    args.results.mkdir(parents=True, exist_ok=True)
    args.record.write_text(json.dumps(found, indent=1) + "\n")
    args.record.with_suffix(".md").write_text(record_tables.markdown(found))
    record_tables.show(found)
    print(f"Written: {args.record} and {args.record.with_suffix('.md').name}")
