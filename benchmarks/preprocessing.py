r"""Runs eleven pre-processing stages with one or more installations in turns, and measures every stage.

    python benchmarks/preprocessing.py --cohort benchmarks/data/runs/extraction-new/cohort \
        --peer 0.1=/opt/meds-0.1/bin --peer new=.venv/bin --repeat 3 --name preprocessing

The input is the folder of a finished MEDS dataset, for instance one that extraction.py has made. The first peer is the
baseline; turns, results and figures are as in extraction.py.
"""

import argparse
from pathlib import Path

from peers import (
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

AGGREGATION = "aggregate_code_metadata"
SCRIPT_OF = {
    "filter_subjects": "filter_subjects",
    "add_time_derived_measurements": "add_time_derived_measurements",
    "count_code_occurrences": AGGREGATION,
    "filter_measurements": "filter_measurements",
    "fit_outlier_detection": AGGREGATION,
    "occlude_outliers": "occlude_outliers",
    "fit_normalization": AGGREGATION,
    "fit_vocabulary_indices": "fit_vocabulary_indices",
    "normalization": "normalization",
    "tokenization": "tokenization",
    "tensorization": "tensorization",
}
"""The stages in order, and the script of each."""
SCRIPTS = {stage: f"MEDS_transform-{script}" for stage, script in SCRIPT_OF.items()}

SETTINGS = (
    "stage_configs.filter_subjects.min_events_per_subject=5",
    "stage_configs.filter_subjects.min_measurements_per_subject=20",
    "stage_configs.filter_measurements.min_subjects_per_code=2",
    "stage_configs.filter_measurements.min_occurrences_per_code=3",
)
"""Overrides for every peer, which give the filters something to do."""


def commands(args: argparse.Namespace, peer: Path, cohort: Path) -> dict[str, list[str]]:
    """The command of each stage: the same overrides for every peer."""
    told = [f"input_dir={args.cohort}", f"cohort_dir={cohort}", f"stages=[{','.join(SCRIPTS)}]", *SETTINGS]
    told += args.override
    return {
        stage: [str(peer / script), *(overrides_for_workers(args, stage) or [f"stage={stage}"]), *told]
        for stage, script in SCRIPTS.items()
    }


def measure(args: argparse.Namespace) -> Record:
    """The record of one call of this benchmark; counts the rows that become tensors."""
    found = record(args, (), args.cohort / "data")
    found["runs"] = [
        staged_run(args, name, turn, commands, "normalization") for turn, name in in_turns(args.peer, args.repeat)
    ]
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__, "preprocessing")
    add_peers(parser, sorted(set(SCRIPTS.values())))
    parser.add_argument("--cohort", type=Path, required=True, help="the folder of a finished MEDS dataset")
    args = parsed(parser)
    args.cohort = args.cohort.absolute()
    if missing := [name for name in ("data", "metadata/subject_splits.parquet") if not (args.cohort / name).exists()]:
        parser.error(f"{args.cohort} has no {' and no '.join(missing)}: make a dataset with extraction.py")
    return args


if __name__ == "__main__":
    args = arguments()
    conclude(args, lambda: measure(args))
