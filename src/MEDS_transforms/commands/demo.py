"""`MEDS_transforms demo`: raw tables, a MEDS dataset and tensors, by the commands that people type."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from ..cli.boundary import give_up
from ..cli.overrides import hydra_value
from ..errors import InputError, listed
from ..interrupts import passed_on
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
        call(["run", *pipeline, *settings])
    show = [folder_to_copy(DEMO) / "show.py", folder / "cohort", folder / "tensors"]
    _show_command(["python", *show])
    _end_unless_done(_run_script(show))


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
        publish(raw, lambda scratch: _end_unless_done(_run_script([program, scratch])))


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


def call(args: Sequence[str]) -> None:
    """Shows a command of the package and runs it; ends with its status, unless that is 0.

    NOTE: by the interpreter that runs, since the scripts need not be on the PATH. Ctrl-C, which reaches it as well, it
    answers itself, as soon as all that it has started has ended.
    """
    _show_command([PACKAGE, *args])
    run = [sys.executable, "-m", PACKAGE, *args]
    status, stopped_by = _run(run, _hand_on)
    _end_unless_done(status or stopped_by, has_said_why=bool(status))


def _hand_on(process: subprocess.Popen[bytes], signum: int) -> None:
    if signum != signal.SIGINT:
        process.send_signal(signum)


def _run_script(command: Sequence[object]) -> int:
    """Runs a script, which knows nothing of signals; gives its status, or that of the signal that has ended it."""
    argv = [sys.executable, *map(str, command)]
    status, stopped_by = _run(argv, lambda process, _: process.kill(), apart=True)
    return stopped_by or status


def _run(
    argv: Sequence[str], stop: Callable[[subprocess.Popen[bytes], int], object], apart: bool = False
) -> tuple[int, int]:
    """Runs a program to its end; gives its status and that of a signal that came meanwhile, else 0.

    `apart`: the terminal's Ctrl-C does not reach it.
    """
    started: list[subprocess.Popen[bytes]] = []
    with passed_on(lambda signum: [stop(process, signum) for process in started]) as came:
        started.append(subprocess.Popen(argv, start_new_session=apart))
        for signum in came:  # while it was being started
            stop(started[0], signum)
        status = started[0].wait()
    return status, 128 + came[0] if came else 0


def _show_command(words: Sequence[object]) -> None:
    shown = shlex.join(map(str, words))
    Console(highlight=False).print(f"\n$ {shown}", soft_wrap=True, markup=False, style="bold")


def _end_unless_done(status: int, has_said_why: bool = False) -> None:
    if status == 128 + signal.SIGINT and not has_said_why:
        give_up("Interrupted.", status)
    if status:
        sys.exit(status)
