r"""Runs an extraction and a pre-processing with the runner, with one worker and with several, and measures both.

    python benchmarks/scaling.py --raw benchmarks/data/raw-csv-1 --bin .venv/bin --workers 1 2 --repeat 3

The first number of workers is the baseline of all ratios. The numbers take turns, as peers do in extraction.py;
every pre-processing reads the dataset that the extraction before it made.
"""

import argparse
from functools import partial
from pathlib import Path

import extraction
import preprocessing
from peers import HERE, Record, argument_parser, conclude, in_turns, record, staged_run

CONFIGS = HERE.parent / "configs"
STAGE_RUNNER = CONFIGS / "stage_runner_local.yaml"
RUNNER = "MEDS_transform-runner"


def commands(n_workers: int, args: argparse.Namespace, bin_folder: Path, cohort: Path) -> dict[str, list[str]]:
    """The command of each pipeline; the stage-runner file takes the number of workers from the environment."""
    runner = ["/usr/bin/env", f"N_WORKERS={n_workers}", str(bin_folder / RUNNER), f"stage_runner_fp={STAGE_RUNNER}"]
    dataset, tensors = cohort / "dataset", cohort / "tensors"
    extract = [f"pipeline_config_fp={CONFIGS / 'extraction.yaml'}", *extraction.overrides(args, dataset)]
    preprocess = [
        f"pipeline_config_fp={CONFIGS / 'preprocessing.yaml'}",
        f"input_dir={dataset}",
        f"cohort_dir={tensors}",
        *preprocessing.SETTINGS,
        *args.override,
    ]
    return {"extraction": [*runner, *extract], "preprocessing": [*runner, *preprocess]}


def measure(args: argparse.Namespace) -> Record:
    """The record of one call of this benchmark; counts the rows that become tensors."""
    found = record(args, ("row_chunksize", "n_subjects_per_shard"), args.raw)
    found["runs"] = [
        staged_run(args, name, turn, partial(commands, args.n_workers[name]), "tensors/normalization")
        for turn, name in in_turns(args.peer, args.repeat)
    ]
    return found


def arguments() -> argparse.Namespace:
    """The command line. Compares one installation under several names, `workers-<n>`."""
    parser = argument_parser(__doc__, "scaling")
    parser.add_argument("--bin", type=Path, required=True, help="folder with the installation's scripts")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers [1 2]")
    args = extraction.parsed_with_tables(parser)
    # Not resolved: the link `python` of a virtual environment must stay what it is.
    bin_folder = args.bin.absolute()
    if not (bin_folder / RUNNER).is_file():
        parser.error(f"{bin_folder} has no {RUNNER}")
    args.n_workers = {f"workers-{n}": n for n in args.workers}
    args.peer = dict.fromkeys(args.n_workers, bin_folder)
    return args


if __name__ == "__main__":
    args = arguments()
    conclude(args, lambda: measure(args))
