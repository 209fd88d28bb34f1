"""Removes outputs that are not to be kept, and leaves a record that says so."""

import shutil
from dataclasses import replace
from pathlib import Path

from .files import files_below, lock_path, remove_empty_folders, try_lock
from .provenance import read_record, record_path, run_path, write_record


def interim_folder(folder: Path, stage: str) -> Path:
    """The hidden folder, in the one that a stage writes to, of what it makes in place of outputs that are not kept."""
    return folder / f".interim.{stage}"


def forget_interim(folder: Path, stage: str) -> int:
    """Removes what a stage has made in place of outputs; gives its bytes."""
    interim = interim_folder(folder, stage)
    freed = sum(map(_removed, files_below(interim)))
    shutil.rmtree(interim, ignore_errors=True)  # other workers may be at it too
    return freed


def free(folder: Path, stage: str) -> int:
    """Removes the outputs of a stage that has finished; gives their bytes: 0 where it has not, or has none.

    NOTE: the record says that they are freed before the first one goes, so that nobody takes the rest for all of them.
    """
    path = record_path(folder, stage)
    if run_path(folder, stage).is_dir() or not path.exists():
        return 0
    with try_lock(lock_path(path)) as ours:
        record = read_record(folder, stage) if ours else None
        if record is None:
            return forget_interim(folder, stage)  # this worker may have added to it while another one removed it
        if not record.freed:
            write_record(folder, stage, replace(record, freed=True))
        freed = sum(_removed(folder / name) for name in record.files)
        remove_empty_folders(folder, record.files)
        lock_path(path).unlink(missing_ok=True)
    return freed + forget_interim(folder, stage)


def _removed(path: Path) -> int:
    """Removes a file; gives the bytes that this frees: none, if it has another name."""
    try:
        found = path.stat()
        path.unlink()
    except FileNotFoundError:
        return 0
    return found.st_size if found.st_nlink == 1 else 0
