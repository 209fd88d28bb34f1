"""Finds what a report is about: the shards of a dataset, or of a stage's output, and the rest of its cohort."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.code_metadata import read_codes
from ..dataset.io import scan_parquet
from ..dataset.schema import CODE, SPLIT_TYPES, SUBJECT_ID
from ..errors import InputError, MissingInputError, UserError, listed
from ..settings.layout import DATA_DIR, DATASET_FILE, METADATA_DIR, SPLITS_FILE
from ..validation.tables import why_unreadable
from ..work.files import files_below

_SUFFIX = ".parquet"
LOGS_DIR = ".logs"
"""What stages have below the folders that they write to, and the runner below that of the cohort."""
NO_SPLIT = "(no split)"
"""Stands for the split of subjects that are in none."""


@dataclass(frozen=True)
class Dataset:
    """Shards of measurements, and the folder of their cohort.

    Args:
        path: as the user has it.
        data: the folder of the shards.
        root: the folder that has `metadata/`, logs, and the outputs of all stages; None where there is none.
        shards: the files.
    """

    path: Path
    data: Path
    root: Path | None
    shards: tuple[Path, ...]

    @property
    def metadata(self) -> Path | None:
        """The folder with the code metadata and the splits."""
        return self.root / METADATA_DIR if self.root else None

    def codes(self) -> pl.DataFrame | None:
        """The code metadata; None where there is none.

        Raises:
            ValueError: it has no column `code`.
        """
        codes = read_codes(self.metadata) if self.metadata else None
        if codes is not None and CODE not in codes.columns:
            raise InputError(
                f"{self.metadata}: the code metadata has no column {CODE}; it has {listed(codes.columns)}."
            )
        return codes

    def splits(self) -> pl.DataFrame | None:
        """The split of each subject: `subject_id` (Int64), `split` (String); None where nothing says so."""
        path = self.metadata / SPLITS_FILE if self.metadata else None
        if path is None or not path.is_file():
            return None
        with reading(path):
            return scan_parquet(path).select(*SPLIT_TYPES).cast(dict[Any, Any](SPLIT_TYPES)).unique().collect()

    def description(self) -> dict[str, Any]:
        """What `dataset.json` says: name, version, what made it; empty where there is none."""
        with suppress(OSError, ValueError, TypeError):
            return dict(json.loads((self.metadata or self.path).joinpath(DATASET_FILE).read_text(encoding="utf-8")))
        return {}

    @property
    def name(self) -> str:
        """What to call it: its name and version, with the stage whose output it is; or its folder."""
        said = self.description()
        words = [str(said[key]) for key in ("dataset_name", "dataset_version") if said.get(key)]
        stage = [] if self.data.name == DATA_DIR else [self.data.resolve().name]
        return ", ".join([" ".join(words), *stage]) if words else self.path.resolve().name


def find_dataset(path: Path) -> Dataset:
    """The dataset in a folder: with `data/` below it, or with the shards themselves, as stages write them.

    Raises:
        FileNotFoundError: there are no shards.
        ValueError: what is there are no measurements.
    """
    if not path.is_dir():
        raise MissingInputError(f"There is no folder {path}. Name the folder of a dataset, or of a stage's output.")
    data = path / DATA_DIR if any(_shards_in(path / DATA_DIR)) else path
    shards = tuple(sorted(_shards_in(data)))
    if not shards or (data == path and _has_stages(path)):
        below = [folder.name for folder in path.iterdir() if any(_shards_in(folder))]
        there = f"; these folders in {path} have parquet files: {listed(below)}" if below else ""
        raise MissingInputError(
            f"There are no shards in {path / DATA_DIR}",
            remedy=f"Name the folder of a dataset, or of a stage's output{there}.",
        )
    _check_measurements(shards[0])
    return Dataset(path, data, _root_of(data), shards)


def _shards_in(folder: Path) -> Iterator[Path]:
    """The parquet files below a folder, but for those of its metadata."""
    if folder.is_dir() and folder.name != METADATA_DIR:
        yield from (path for path in files_below(folder, [folder / METADATA_DIR]) if path.suffix == _SUFFIX)


def _has_stages(path: Path) -> bool:
    """Whether subfolders hold cohorts, or what several stages wrote, rather than the splits of one dataset."""
    below = [folder for folder in path.iterdir() if folder.name != METADATA_DIR]
    return any((folder / name).is_dir() for folder in below for name in (METADATA_DIR, LOGS_DIR))


def _root_of(data: Path) -> Path | None:
    """The nearest folder, from that of the shards upwards, that has metadata."""
    here = data.resolve()
    return next((folder for folder in [here, *list(here.parents)[:2]] if (folder / METADATA_DIR).is_dir()), None)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what polars raises for a file that it cannot read into an error that names the file and a remedy."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise InputError(
            f"{path} cannot be read: {why_unreadable(path, error)}. Get a new copy of it, or run the stage that wrote "
            "it again; MEDS_transforms validate names all such files."
        ) from None


def _check_measurements(shard: Path) -> None:
    with reading(shard):
        schema = scan_parquet(shard).collect_schema()
    if {SUBJECT_ID, CODE} <= {*schema} and not schema[CODE].is_nested():
        return
    raise InputError(
        f"{shard} has no measurements, a row each with {SUBJECT_ID} and {CODE}; its columns are {listed(schema)}. Name "
        "the folder of a dataset, or of a stage before tokenization."
    )
