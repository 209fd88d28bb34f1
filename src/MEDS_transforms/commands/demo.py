"""`MEDS_transforms demo`: raw tables, a MEDS dataset and tensors, by the commands that people type."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..cli.overrides import hydra_value
from ..errors import InputError, listed
from ..settings.layout import TABLE_SUFFIXES
from ..stages import PACKAGE
from ..work.files import publish
from .to_copy import DEMO, copy_configs, copy_file, folder_to_copy

EVENT_FILE = "event_cfgs.yaml"


def run_demo(folder: Path, settings: Sequence[str] = ()) -> None:
    """Puts the demo's files into a folder and runs both pipelines there; what is there already is not made again.

    Below the folder are then `configs/` and the event conversion file, to edit; the tables in `raw/`, the dataset in
    `cohort/` and the tensors in `tensors/`.

    Args:
        folder: is made if need be.
        settings: further ones, for both pipelines.

    Raises:
        InputError: the folder has the form of a setting, or tables of somebody's, or a setting is none.
        SystemExit: a pipeline failed, and has said why.
    """
    check_request(folder, settings)
    copy_configs(folder / "configs")
    copy_file(folder_to_copy(DEMO) / EVENT_FILE, folder / EVENT_FILE)
    make_tables(folder / "raw")
    for pipeline in (extraction(folder), preprocessing(folder)):
        call([PACKAGE, "run", *pipeline, *settings], [sys.executable, "-m"])
    call([folder_to_copy(DEMO) / "show.py", folder / "cohort", folder / "tensors"], [sys.executable])


def check_request(folder: Path, settings: Sequence[str]) -> None:
    """Raises an InputError where the demo would fail later on, or would get among files that are not its own."""
    if "=" in str(folder):
        raise InputError(f"{folder} is where the folder should be: name that before the settings, demo {folder}")
    if wrong := [setting for setting in settings if "=" not in setting]:
        raise InputError(f"{wrong[0]} is no setting: write KEY=VALUE.")
    if tables := [path.name for path in folder.glob("*") if path.name.endswith(TABLE_SUFFIXES)]:
        raise InputError(f"{folder} has tables ({listed(tables, 3)}): name another folder, so that nothing is mixed.")


def make_tables(raw: Path) -> None:
    """Writes the raw tables, all or none, unless they are there."""
    if not raw.exists():
        program = folder_to_copy(DEMO) / "make_tables.py"
        publish(raw, lambda scratch: subprocess.run([sys.executable, program, scratch], check=True))


def extraction(folder: Path) -> list[str]:
    """The pipeline file that makes the dataset, and its settings: so small shards that there are several."""
    return [
        str(folder / "configs" / "extraction.yaml"),
        f"input_dir={hydra_value(str(folder / 'raw'))}",
        f"cohort_dir={hydra_value(str(folder / 'cohort'))}",
        f"event_conversion_config_fp={hydra_value(str(folder / EVENT_FILE))}",
        "etl_metadata.dataset_name=demo",
        "etl_metadata.dataset_version=1.0",
        "stage_configs.shard_events.row_chunksize=5000",
        "stage_configs.split_and_shard_subjects.n_subjects_per_shard=100",
    ]


def preprocessing(folder: Path) -> list[str]:
    """The pipeline file that makes tensors of the dataset, and its settings."""
    return [
        str(folder / "configs" / "preprocessing.yaml"),
        f"input_dir={hydra_value(str(folder / 'cohort'))}",
        f"cohort_dir={hydra_value(str(folder / 'tensors'))}",
        "stage_configs.filter_measurements.min_subjects_per_code=5",
    ]


def call(command: Sequence[object], program: Sequence[str]) -> None:
    """Shows a command and runs it; ends with its status, unless that is 0.

    NOTE: by the interpreter that runs, since the scripts need not be on the PATH.
    """
    words = [*map(str, command)]
    shown = words if words[0] == PACKAGE else ["python", *words]
    Console(highlight=False).print(f"\n$ {shlex.join(shown)}", soft_wrap=True, markup=False, style="bold")
    if status := subprocess.run([*program, *words], check=False).returncode:
        sys.exit(status)
