r"""Pre-processes a dataset with one or more contenders in turns, and measures every command of theirs.

    python benchmarks/preprocessing.py --cohort benchmarks/data/runs/extraction-new/cohort \
        --peer floor:floor=.venv/bin --peer 0.1=/opt/meds-0.1/bin --peer new=.venv/bin --repeat 3 --name preprocessing

The input is the folder of a finished MEDS dataset, for instance one that extraction.py has made. The first peer is the
baseline; turns, results and figures are as in extraction.py.
"""

import argparse
from pathlib import Path

from contenders import (
    DEFAULT_KIND,
    HERE,
    PIPELINES,
    RUNNER,
    Kind,
    add_contenders,
    runner_command,
    runner_kinds,
    script_kind,
)
from peers import Record, all_runs, argument_parser, conclude, overrides_for_workers, parsed, record

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
"""The stages in order, and the script of each; pipelines/preprocessing.yaml has the same."""
SCRIPTS = {stage: f"MEDS_transform-{script}" for stage, script in SCRIPT_OF.items()}
PIPELINE = PIPELINES / "preprocessing.yaml"
NEWER_PIPELINE = PIPELINES / "newer_preprocessing.yaml"
ALL_STEPS = HERE.parent / "configs" / "training.yaml"
VARIABLES = PIPELINES / "dataset.yaml"
SUBJECTS_PER_SHARD = 1500
"""In the pipeline of all steps, in which a subject has more than twice as many rows in the end as in the beginning."""

SETTINGS = (
    "stage_configs.filter_subjects.min_events_per_subject=5",
    "stage_configs.filter_subjects.min_measurements_per_subject=20",
    "stage_configs.filter_measurements.min_subjects_per_code=2",
    "stage_configs.filter_measurements.min_occurrences_per_code=3",
)
"""Overrides for every peer, which give the filters something to do; the floor and the newer pipeline have them too."""


def overrides(args: argparse.Namespace, cohort: Path) -> list[str]:
    """The overrides for every stage, and for the runner."""
    return [f"input_dir={args.cohort}", f"cohort_dir={cohort}", *SETTINGS, *args.override]


def stages(args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
    """The command of each stage: the same overrides for all."""
    told = [f"stages=[{','.join(SCRIPTS)}]", *overrides(args, cohort)]
    return {
        stage: [str(folder / script), *(overrides_for_workers(args, stage) or [f"stage={stage}"]), *told]
        for stage, script in SCRIPTS.items()
    }


def all_steps(args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
    """The pipeline of all steps, from a division into splits to batches; it keeps just the tensors."""
    shards = f"stage_configs.reshard_to_split.n_subjects_per_shard={SUBJECTS_PER_SHARD}"
    folders = [f"input_dir={args.cohort}", f"cohort_dir={cohort}"]
    return {"pipeline": runner_command(folder, ALL_STEPS, [f"dataset_fp={VARIABLES}", *folders, shards])}


def newer(args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
    """MEDS-transforms 0.7, which ends with the normalization."""
    told = ["--overrides", f"input_dir={args.cohort}", f"output_dir={cohort}"]
    return {"pipeline": [str(folder / "MEDS_transform-pipeline"), str(NEWER_PIPELINE), *told]}


def floor_arguments(args: argparse.Namespace, cohort: Path) -> list[str]:
    """The arguments of the floor."""
    return [str(args.cohort), str(cohort)]


def floor_with_all_columns(args: argparse.Namespace, cohort: Path) -> list[str]:
    """The arguments of the floor that carries all columns along."""
    return [*floor_arguments(args, cohort), "--all-columns"]


FLOOR = HERE / "floor_preprocessing.py"
KINDS = {
    DEFAULT_KIND: Kind(stages, tuple(SCRIPTS.values()), "the eleven stages, one command each"),
    **runner_kinds(PIPELINE, overrides),
    "floor": script_kind(FLOOR, floor_arguments, "one plain polars script in memory, with four columns"),
    "floor-all-columns": script_kind(FLOOR, floor_with_all_columns, "the same with all columns"),
    "all-steps": Kind(all_steps, (RUNNER,), "the pipeline of all steps, without intermediates; other tensors"),
    "newer": Kind(newer, ("MEDS_transform-pipeline",), "MEDS-transforms 0.7; ends with the normalization"),
}


def measure(args: argparse.Namespace) -> Record:
    """The record of one call of this benchmark; counts the measurements in the tensors."""
    return all_runs(args, record(args, (), args.cohort / "data"))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__, "preprocessing")
    add_contenders(parser, KINDS)
    parser.add_argument("--cohort", type=Path, required=True, help="the folder of a finished MEDS dataset")
    args = parsed(parser)
    args.cohort = args.cohort.absolute()
    if missing := [name for name in ("data", "metadata/subject_splits.parquet") if not (args.cohort / name).exists()]:
        parser.error(f"{args.cohort} has no {' and no '.join(missing)}: make a dataset with extraction.py")
    return args


if __name__ == "__main__":
    args = arguments()
    conclude(args, lambda: measure(args))
