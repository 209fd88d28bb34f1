r"""Extracts raw tables with one or more contenders in turns, and measures every command of theirs.

    python benchmarks/extraction.py --raw benchmarks/data/raw-csv-1 \
        --peer floor:floor=.venv/bin --peer 0.1=/opt/meds-0.1/bin --peer new=.venv/bin --peer runner:runner=.venv/bin \
        --repeat 5 --startup 15 --name csv

The first peer is the baseline of all ratios. The peers take turns run by run, every second turn in reverse order, so
that a machine that slows down slows all of them. Results are written to the terminal and to
`benchmarks/results/<date>-<name>.json` and `.md`. README.md explains what is measured and how to read it.
"""

import argparse
import os
import sys
from pathlib import Path

from contenders import DEFAULT_KIND, HERE, PIPELINES, Kind, add_contenders, runner_kinds, script_kind
from measure import as_record, measured
from peers import (
    Record,
    all_runs,
    argument_parser,
    conclude,
    in_turns,
    overrides_for_workers,
    parsed,
    record,
)

STAGES = (
    "shard_events",
    "split_and_shard_subjects",
    "convert_to_sharded_events",
    "merge_to_MEDS_cohort",
    "extract_code_metadata",
    "finalize_MEDS_metadata",
    "finalize_MEDS_data",
)
SCRIPTS = {stage: f"MEDS_extract-{stage}" for stage in STAGES}
STARTUP_SCRIPT = SCRIPTS["shard_events"]
PIPELINE = PIPELINES / "extraction.yaml"
NEWER_EVENTS = PIPELINES / "newer_events.yaml"


def overrides(args: argparse.Namespace, cohort: Path) -> list[str]:
    """The overrides for every stage, and for the runner."""
    return [
        f"event_conversion_config_fp={args.raw / 'event_cfgs.yaml'}",
        f"input_dir={args.raw}",
        f"cohort_dir={cohort}",
        f"stage_configs.shard_events.row_chunksize={args.row_chunksize}",
        f"stage_configs.split_and_shard_subjects.n_subjects_per_shard={args.n_subjects_per_shard}",
        "etl_metadata.dataset_name=synthetic",
        "etl_metadata.dataset_version=1",
        *args.override,
    ]


def stages(args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
    """The command of each stage: the same overrides for all."""
    told = overrides(args, cohort)
    return {s: [str(folder / script), *overrides_for_workers(args, s), *told] for s, script in SCRIPTS.items()}


def newer(args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
    """MEDS-extract 0.7, with the same events in its language; it takes the size of shards from a file only."""
    events = cohort.parent / NEWER_EVENTS.name
    text = NEWER_EVENTS.read_text()
    events.write_text(text.replace("shard: 2500", f"shard: {args.n_subjects_per_shard}"))
    told = [f"spec={events}", f"input_dir={args.raw}", f"output_dir={cohort}", "do_download=false"]
    return {"pipeline": [str(folder / "meds-extract-run"), *told]}


def meds_etl(args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
    """meds_etl with its C++ backend, after a script that makes measurements of the tables, which it cannot."""
    unsorted, n = (
        str(cohort.parent / "unsorted"),
        str(len(os.sched_getaffinity(0))),
    )  # as many shards as cores: its advice
    script = str(HERE / "unsorted_measurements.py")
    options = ["--num_shards", n, "--num_proc", n, "--backend", "cpp"]
    return {
        "measurements": [sys.executable, script, str(args.raw), unsorted],
        "sort": [str(folder / "meds_etl_sort"), unsorted, str(cohort), *options],
    }


def floor_arguments(args: argparse.Namespace, cohort: Path) -> list[str]:
    """The arguments of the floor."""
    return [str(args.raw), str(cohort), str(args.n_subjects_per_shard)]


KINDS = {
    DEFAULT_KIND: Kind(stages, tuple(SCRIPTS.values()), "the seven stages, one command each"),
    **runner_kinds(PIPELINE, overrides),
    "floor": script_kind(HERE / "floor_extraction.py", floor_arguments, "one plain polars script in memory"),
    "newer": Kind(newer, ("meds-extract-run",), "MEDS-extract 0.7 and its pipeline"),
    "meds_etl": Kind(meds_etl, ("meds_etl_sort",), "meds_etl's C++ backend sorts what a polars script has made"),
}


def startup_runs(args: argparse.Namespace) -> list[Record]:
    """Measures `--help` of a stage's script, the peers in turns, after one run each that does not count."""
    args.work.mkdir(parents=True, exist_ok=True)
    log = args.work / "startup.log"
    scripts = {name: str(peer.folder / STARTUP_SCRIPT) for name, peer in args.peer.items() if peer.kind == DEFAULT_KIND}
    for script in scripts.values():
        measured([script, "--help"], log)
    return [
        {"turn": turn, "peer": name, **as_record(measured([scripts[name], "--help"], log))}
        for turn, name in in_turns(scripts, args.startup)
    ]


def measure(args: argparse.Namespace) -> Record:
    """The record of one call of this benchmark."""
    found = record(args, ("row_chunksize", "n_subjects_per_shard", "startup"), args.raw)
    found["startup"] = startup_runs(args)
    return all_runs(args, found)


def parsed_with_tables(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of a benchmark that begins with raw tables."""
    add = parser.add_argument
    add("--raw", type=Path, default=HERE / "data/raw-csv-1", help="the raw tables [data/raw-csv-1]")
    add("--row-chunksize", type=int, default=1_000_000, help="rows [1,000,000]")
    add("--n-subjects-per-shard", type=int, default=2_500, help="subjects [2,500]")
    args = parsed(parser)
    args.raw = args.raw.absolute()
    if args.repeat and not (args.raw / "event_cfgs.yaml").is_file():
        parser.error(f"{args.raw} has no event_cfgs.yaml: make tables with synthetic_tables.py or give --raw")
    return args


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__, "extraction")
    add_contenders(parser, KINDS)
    parser.add_argument("--startup", type=int, default=0, help="starts of a script with --help per peer [0]")
    return parsed_with_tables(parser)


if __name__ == "__main__":
    args = arguments()
    conclude(args, lambda: measure(args))
