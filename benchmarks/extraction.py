r"""Runs the seven extraction stages with one or more installations in turns, and measures every stage.

    python benchmarks/extraction.py --raw benchmarks/data/raw-csv-1 \
        --peer 0.1=/opt/meds-0.1/bin --peer new=.venv/bin --repeat 5 --startup 15 --name csv

The first peer is the baseline of all ratios. The peers take turns run by run, every second turn in reverse order, so
that a machine that slows down slows all of them. Results are written to the terminal and to
`benchmarks/results/<date>-<name>.json` and `.md`. README.md explains what is measured and how to read it.
"""

import argparse
from pathlib import Path

from measure import as_record, measured
from peers import (
    HERE,
    Record,
    add_peers,
    argument_parser,
    conclude,
    in_turns,
    overrides_for_workers,
    parsed,
    record,
    staged_run,
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


def overrides(args: argparse.Namespace, cohort: Path) -> list[str]:
    """The overrides for every peer."""
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


def commands(args: argparse.Namespace, peer: Path, cohort: Path) -> dict[str, list[str]]:
    """The command of each stage: the same overrides for every peer."""
    told = overrides(args, cohort)
    return {s: [str(peer / script), *overrides_for_workers(args, s), *told] for s, script in SCRIPTS.items()}


def startup_runs(args: argparse.Namespace) -> list[Record]:
    """Measures `--help` of a stage's script, the peers in turns, after one run each that does not count."""
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


def measure(args: argparse.Namespace) -> Record:
    """The record of one call of this benchmark."""
    found = record(args, ("row_chunksize", "n_subjects_per_shard", "startup"), args.raw)
    found["startup"] = startup_runs(args)
    found["runs"] = [staged_run(args, name, t, commands, "data") for t, name in in_turns(args.peer, args.repeat)]
    return found


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
    add_peers(parser, list(SCRIPTS.values()))
    parser.add_argument("--startup", type=int, default=0, help="starts of a script with --help per peer [0]")
    return parsed_with_tables(parser)


if __name__ == "__main__":
    args = arguments()
    conclude(args, lambda: measure(args))
