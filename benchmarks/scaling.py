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
from contenders import RUNNER, Contender, runner_command
from peers import Record, all_runs, argument_parser, conclude, record


def commands(n_workers: int, args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
    """The command of each pipeline."""
    dataset, tensors = cohort / "dataset", cohort / "tensors"
    extract = extraction.overrides(args, dataset)
    preprocess = [f"input_dir={dataset}", f"cohort_dir={tensors}", *preprocessing.SETTINGS, *args.override]
    return {
        "extraction": runner_command(folder, extraction.PIPELINE, extract, n_workers),
        "preprocessing": runner_command(folder, preprocessing.PIPELINE, preprocess, n_workers),
    }


def measure(args: argparse.Namespace) -> Record:
    """The record of one call of this benchmark; counts the measurements in the tensors."""
    return all_runs(args, record(args, ("row_chunksize", "n_subjects_per_shard"), args.raw))


def arguments() -> argparse.Namespace:
    """The command line. Compares one installation under several names, `workers-<n>`."""
    parser = argument_parser(__doc__, "scaling")
    parser.add_argument("--bin", type=Path, required=True, help="folder with the installation's scripts")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers [1 2]")
    args = extraction.parsed_with_tables(parser)
    # Not resolved: the link `python` of a virtual environment must stay what it is.
    folder = args.bin.absolute()
    if not (folder / RUNNER).is_file():
        parser.error(f"{folder} has no {RUNNER}")
    contenders = [Contender(f"workers-{n}", folder, partial(commands, n), "runner") for n in args.workers]
    args.result = "tensors"
    args.peer = {contender.name: contender for contender in contenders}
    return args


if __name__ == "__main__":
    args = arguments()
    conclude(args, lambda: measure(args))
