"""Rows of data that are not kept, on disk for as long as later passes need them.

The first to need a shard makes it and leaves it in a hidden folder of the stage's (see `work.freeing.interim_folder`);
others read it there. It is no output: no record speaks of it, and where it is lost it is made again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from ..dataset.io import Frame, scan_parquet, write_parquet
from ..work.files import is_complete_parquet_file, lock_path, make_folder, publish, try_lock
from ..work.freeing import interim_folder
from .handover import MakeRows


@dataclass(frozen=True)
class Interim:
    """What makes the rows of a shard once, and leaves them in a file.

    Args:
        make: makes them.
        path: the file.
    """

    make: MakeRows
    path: Path

    def __call__(self) -> Frame:
        """The rows."""
        if is_complete_parquet_file(self.path):
            return scan_parquet(self.path)
        make_folder(self.path.parent)
        with try_lock(lock_path(self.path), wait=True):
            if is_complete_parquet_file(self.path):  # another worker was faster
                return scan_parquet(self.path)
            rows = self.make().lazy().collect()
            publish(self.path, partial(write_parquet, rows, fast=True))
        return rows


def interims(frames: Mapping[Path, MakeRows], folder: Path, stage: str, maker: str) -> dict[Path, MakeRows]:
    """What makes the rows of a stage's files, each once; `maker` as for `folder_of_maker`."""
    here = folder_of_maker(folder, stage, maker)
    return {path: Interim(make, here / path.relative_to(folder)) for path, make in frames.items()}


def folder_of_maker(folder: Path, stage: str, maker: str) -> Path:
    """Where a stage leaves what is no output; `maker` is a text that differs where that may do."""
    return interim_folder(folder, stage) / sha256(maker.encode()).hexdigest()[:16]
