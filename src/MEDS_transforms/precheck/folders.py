"""The folders of a run: whether they are there, can be written to, and have room."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..settings.folders import overlap
from .report import Inspection

SPACE, PERMISSION, INPUT_DIR, COHORT_DIR = "disk_space", "permission", "input_dir", "cohort_dir"


def inspect_folders(input_dir: object, cohort_dir: object, found: Inspection) -> None:
    """Whether the input is there, and the cohort can be written."""
    if input_dir and not Path(str(input_dir)).is_dir():
        found.error(INPUT_DIR, "input_dir", f"there is no folder {input_dir}", "Correct input_dir")
    if not cohort_dir:
        return
    above = nearest_existing(Path(str(cohort_dir)))
    if not above.is_dir():
        found.error(COHORT_DIR, "cohort_dir", f"{above} is a file", "Move it away, or choose another cohort_dir")
    elif not os.access(above, os.W_OK | os.X_OK):
        what = f"{above} cannot be written to"
        found.error(PERMISSION, "cohort_dir", what, "Change the permissions of that folder, or choose another one")
    if input_dir and not overlap(str(input_dir), str(cohort_dir)):
        source, target = Path(str(input_dir)).resolve(), Path(str(cohort_dir)).resolve()
        if source in target.parents:
            what = f"{target} lies in input_dir; the tables in it are not read, but whoever copies the input copies it"
            found.note(COHORT_DIR, "cohort_dir", what)


def inspect_space(cohort_dir: Path, need: int, found: Inspection) -> None:
    """Whether the file system of the cohort has room for about so many bytes."""
    above = nearest_existing(cohort_dir)
    space_remark(above, need, shutil.disk_usage(above).free, found)


def space_remark(folder: Path, need: int, free: int, found: Inspection) -> None:
    """A remark about the bytes that a run needs, and those that are free."""
    what = f"about {_shown(need)} needed, {_shown(free)} free on the file system of {folder}"
    if need > free:
        remedy = "Free some space, choose another cohort_dir, or set keep_intermediates: false"
        found.warning(SPACE, "cohort_dir", what, remedy)
    else:
        found.note(SPACE, "cohort_dir", what)


def _shown(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next((above for above in (path.absolute(), *path.absolute().parents) if above.exists()), Path("/"))


def size_of(paths: Iterable[Path]) -> int:
    """The bytes of some files; those that cannot be looked at have none."""
    return sum(path.stat().st_size for path in paths if path.is_file())
