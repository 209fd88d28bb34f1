r"""Runs the seven extraction stages with one or several installations side by side, and measures every stage.

    python benchmarks/extraction.py --raw benchmarks/data/raw-csv-1 \
        --peer 0.1=/opt/meds-0.1/bin --peer new=.venv/bin --repeat 5 --startup 15 --name csv

The first peer is the baseline of all ratios. The peers take turns run by run, every second turn in reverse:
a machine that slows down meanwhile slows all of them. Results go to the terminal and to
`benchmarks/results/<date>-<name>.json` and `.md`. README.md says what is measured and how to read it.
"""

import argparse
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import report
from measure import CommandError, as_record, machine, measured, n_measurements, versions

STAGES = (
    "shard_events",
    "split_and_shard_subjects",
    "convert_to_sharded_events",
    "merge_to_MEDS_cohort",
    "extract_code_metadata",
    "finalize_MEDS_metadata",
    "finalize_MEDS_data",
)
STARTUP_SCRIPT = "MEDS_extract-shard_events"
HERE = Path(__file__).parent
TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".par")
READ_BYTES = 2**22

Peers = dict[str, Path]
Record = dict[str, object]


def overrides(args: argparse.Namespace, stage: str, cohort: Path) -> list[str]:
    """What a stage's script is told, the same for every peer."""
    told = [
        f"event_conversion_config_fp={args.raw / 'event_cfgs.yaml'}",
        f"input_dir={args.raw}",
        f"cohort_dir={cohort}",
        f"stage_configs.shard_events.row_chunksize={args.row_chunksize}",
        f"stage_configs.split_and_shard_subjects.n_subjects_per_shard={args.n_subjects_per_shard}",
        "etl_metadata.dataset_name=synthetic",
        "etl_metadata.dataset_version=1",
    ]
    if args.workers > 1:
        # A reducer may look again only after `polling_time`: minutes by default, and nothing else would show.
        told += ["polling_time=1", f"stage={stage}", f"worker=range(0,{args.workers})"]
        told += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={args.workers}"]
        # Before all else: Hydra takes no overrides on both sides of an option.
        told.insert(0, "--multirun")
    return [*told, *args.override]


def in_turns(peers: Peers, n: int) -> Iterator[tuple[int, str]]:
    """Who runs when: each peer once per turn, every second turn in reverse.

    >>> list(in_turns({"a": Path(), "b": Path()}, 2))
    [(0, 'a'), (0, 'b'), (1, 'b'), (1, 'a')]
    """
    for turn in range(n):
        for name in list(peers) if turn % 2 == 0 else reversed(peers):
            yield turn, name


def extraction_run(args: argparse.Namespace, name: str, turn: int) -> Record:
    """One extraction into a new cohort folder, stage by stage."""
    folder = args.work / f"cohort-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()  # or else this run would wait for the disk on behalf of the one before
    stages = {}
    for stage in STAGES:
        script = str(args.peer[name] / f"MEDS_extract-{stage}")
        command = [script, *overrides(args, stage, folder / "cohort")]
        stages[stage] = as_record(measured(command, folder / f"{stage}.log"))
    n = n_measurements(args.peer[name] / "python", folder / "cohort")
    wall = sum(stage["wall_s"] for stage in stages.values())
    peak = max(stage["peak_mib"] for stage in stages.values())
    print(f"turn {turn + 1}  {name:<12} {wall:8.1f} s  {peak:8.0f} MiB  {n:,} measurements", flush=True)
    return {"turn": turn, "peer": name, "n_measurements": n, "stages": stages}


def startup_runs(args: argparse.Namespace) -> list[Record]:
    """`--help` of a stage's script, the peers in turns after one run each that is not counted."""
    args.work.mkdir(parents=True, exist_ok=True)
    log = args.work / "startup.log"
    for peer in args.peer.values():
        measured([str(peer / STARTUP_SCRIPT), "--help"], log)
    return [
        {
            "turn": turn,
            "peer": name,
            **as_record(measured([str(args.peer[name] / STARTUP_SCRIPT), "--help"], log)),
        }
        for turn, name in in_turns(args.peer, args.startup)
    ]


def raw_tables(folder: Path) -> dict[str, int]:
    """The raw tables and their sizes in bytes; reads them all, so that they are in memory for every peer."""
    sizes = {}
    for file in sorted(file for file in folder.rglob("*") if file.name.endswith(TABLE_SUFFIXES)):
        sizes[str(file.relative_to(folder))] = file.stat().st_size
        with file.open("rb", buffering=0) as table:
            while table.read(READ_BYTES):
                pass
    return sizes


def record(args: argparse.Namespace) -> Record:
    """Everything that one call of this benchmark found."""
    found: Record = {
        "name": args.name,
        "date": date.today().isoformat(),
        "machine": machine(),
        "peers": {name: versions(peer / "python") for name, peer in args.peer.items()},
        "settings": {
            key: getattr(args, key)
            for key in ("row_chunksize", "n_subjects_per_shard", "workers", "repeat", "startup", "override")
        },
        "POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS"),
        "raw_tables_bytes": raw_tables(args.raw) if args.repeat else {},
    }
    found["startup"] = startup_runs(args)
    found["runs"] = [extraction_run(args, name, turn) for turn, name in in_turns(args.peer, args.repeat)]
    return found


def peer(text: str) -> tuple[str, Path]:
    """`NAME=DIR`: an installation under a name, whose scripts and Python must be there."""
    name, _, folder = text.partition("=")
    if not re.fullmatch(r"[\w.+-]+", name) or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR with a NAME of letters, digits and . + -")
    # Not resolved: the link `python` of a virtual environment must stay what it is.
    scripts = Path(folder).absolute()
    missing = [s for s in ("python", *(f"MEDS_extract-{s}" for s in STAGES)) if not (scripts / s).is_file()]
    if missing:
        raise argparse.ArgumentTypeError(f"{scripts} has no {', '.join(missing)}")
    return name, scripts


def arguments() -> argparse.Namespace:
    """The command line, with `peer` as a mapping and the folders absolute."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--peer",
        type=peer,
        action="append",
        required=True,
        metavar="NAME=DIR",
        help="folder with its scripts",
    )
    add("--raw", type=Path, default=HERE / "data/raw-csv-1", help="the raw tables [data/raw-csv-1]")
    add("--work", type=Path, default=HERE / "data/runs", help="for cohorts and logs [data/runs]")
    add("--results", type=Path, default=HERE / "results", help="for the record [results]")
    add("--name", default="extraction", help="of the record [extraction]")
    add("--repeat", type=int, default=3, help="extractions per peer, 0 for none [3]")
    add("--startup", type=int, default=0, help="starts of a script with --help per peer [0]")
    add("--workers", type=int, default=1, help="above 1: with the joblib launcher [1]")
    add("--row-chunksize", type=int, default=1_000_000, help="rows [1,000,000]")
    add("--n-subjects-per-shard", type=int, default=2_500, help="subjects [2,500]")
    add("--override", action="append", default=[], metavar="KEY=VALUE", help="more for every script")
    args = parser.parse_args()
    args.peer = dict(args.peer)
    args.raw, args.work = args.raw.absolute(), args.work.absolute()
    args.record = args.results / f"{date.today().isoformat()}-{args.name}.json"
    if args.repeat and not (args.raw / "event_cfgs.yaml").is_file():
        parser.error(f"{args.raw} has no event_cfgs.yaml: make tables with synthetic_tables.py or give --raw")
    if args.record.exists():
        parser.error(f"{args.record} exists: give another --name or remove it")
    return args


def main() -> None:
    """Measures, prints and writes."""
    args = arguments()
    try:
        found = record(args)
    except CommandError as error:
        raise SystemExit(str(error)) from None
    args.results.mkdir(parents=True, exist_ok=True)
    args.record.write_text(json.dumps(found, indent=1) + "\n")
    args.record.with_suffix(".md").write_text(report.markdown(found))
    report.show(found)
    print(f"Written: {args.record} and {args.record.with_suffix('.md').name}")


if __name__ == "__main__":
    main()
