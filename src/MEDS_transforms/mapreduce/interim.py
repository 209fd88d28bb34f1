"""Rows of data that are not kept, on disk for as long as later passes need them.

The first to need a shard makes it and leaves it in a hidden folder of the stage's (see `work.freeing.interim_folder`);
others read it there. It is no output: no record speaks of it, and where it is lost it is made again.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import polars as pl

from ..dataset.categories import in_categories
from ..dataset.io import Frame, scan_parquet, write_parquet
from ..work.accounts import note, noting
from ..work.files import is_complete_parquet_file, lock_path, make_folder, publish, try_lock
from ..work.freeing import interim_folder
from .handover import MakeRows


def _write_fast(rows: pl.DataFrame, path: Path) -> None:
    write_parquet(rows, path, fast=True)


@dataclass(frozen=True)
class Interim:
    """What makes the rows of a shard once, and leaves them in a file.

    Args:
        make: makes them.
        path: the file.
        write: writes them.
    """

    make: MakeRows
    path: Path
    write: Callable[[pl.DataFrame, Path], None] = _write_fast

    def __call__(self) -> Frame:
        """The rows."""
        rows = self.prepare()
        self.tell()
        return scan_parquet(self.path) if rows is None else rows

    def tell(self) -> None:
        """Notes what functions noted of the rows, in the account of the unit that reads them."""
        with suppress(FileNotFoundError):  # there is none where nothing was noted
            note(json.loads(self._account_fp.read_text(encoding="utf-8")))

    @property
    def _account_fp(self) -> Path:
        return self.path.with_suffix(".json")

    def prepare(self, wait: bool = True) -> pl.DataFrame | None:
        """Sees to it that the file is there; gives the rows if it was not.

        Without `wait` it may not be there yet, where another worker is at it.
        """
        if is_complete_parquet_file(self.path):
            return None
        make_folder(self.path.parent)
        with try_lock(lock_path(self.path), wait=wait) as ours:
            if not ours or is_complete_parquet_file(self.path):  # another worker was faster
                return None
            with noting() as account:
                rows = in_categories(self.make().lazy().collect())
            if account:
                publish(self._account_fp, lambda scratch: scratch.write_text(json.dumps(account), encoding="utf-8"))
            publish(self.path, partial(self.write, rows))
        return rows


def prepare_all(interims: Iterable[Interim]) -> None:
    """Sees to it that all files are there. Workers share that."""
    interims = [*interims]
    for wait in (False, True):
        for one in interims:
            one.prepare(wait)


def interims(frames: Mapping[Path, MakeRows], folder: Path, stage: str, maker: str) -> dict[Path, MakeRows]:
    """What makes the rows of a stage's files, each once; `maker` as for `folder_of_maker`."""
    here = folder_of_maker(folder, stage, maker)
    return {path: Interim(make, here / path.relative_to(folder)) for path, make in frames.items()}


def folder_of_maker(folder: Path, stage: str, maker: str) -> Path:
    """Where a stage leaves what is no output; `maker` is a text that differs where that may do."""
    return interim_folder(folder, stage) / sha256(maker.encode()).hexdigest()[:16]
