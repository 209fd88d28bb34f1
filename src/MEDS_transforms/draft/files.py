"""Finds what is below a folder of raw tables and is none of them: datasets, files of other kinds, copies."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from filecmp import cmp
from itertools import groupby, islice
from pathlib import Path

import polars as pl

from ..dataset.schema import CODE, MANDATORY_TYPES, SUBJECT_ID, TIME
from ..errors import listed
from ..settings.layout import CODES_FILE, DATA_DIR, DATASET_FILE, METADATA_DIR, SHARD_MAP_FILE, SPLITS_FILE
from ..work.files import files_below
from ..work.provenance import PROVENANCE_DIR
from ..work.raw_tables import tables_below

OTHER_KINDS = (
    *(".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"),
    *(".sas7bdat", ".xpt", ".dta", ".sav", ".rds", ".rdata"),
    *(".json", ".jsonl", ".ndjson", ".xml", ".avro", ".orc"),
    *(".zip", ".7z", ".tar", ".tgz", ".rar", ".mdb", ".accdb", ".sqlite", ".db"),
)
"""The suffixes of files that may have tables which cannot be read."""

_LOGS_DIR = ".logs"
_OF_DATASETS = (CODES_FILE, DATASET_FILE, SPLITS_FILE, SHARD_MAP_FILE)
_MOST_SHARDS = 20
"""As many files of a folder are opened to see whether they are shards."""


@dataclass(frozen=True)
class NotTables:
    """What is below a folder of raw tables and is none of them.

    Args:
        outputs: the folders of datasets, and of what stages have written.
        unread: files of kinds that are not read.
        copies: tables with the same content as another, with the name of the other.
    """

    outputs: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    copies: Mapping[str, str] = field(default_factory=dict)

    def told(self, folder: Path) -> Iterator[str]:
        """Sentences about folders and files that are passed over; their paths are below `folder`."""
        if self.outputs:
            names = listed(f"{path.relative_to(folder).as_posix()}/" for path in self.outputs)
            yield f"Not looked into, as they are datasets or outputs of stages: {names}"
        if self.unread:
            names = listed(path.relative_to(folder).as_posix() for path in self.unread)
            yield f"Not read; save each of their tables as csv or parquet: {names}"


def find_what_is_no_table(folder: Path, apart_from: Collection[Path]) -> NotTables:
    """Looks for datasets, files that cannot be read, and copies of tables; folders in `apart_from` are left out."""
    outputs = _outputs(folder, apart_from)
    apart_from = [*apart_from, *outputs]
    unread = [path for path in files_below(folder, apart_from) if path.name.lower().endswith(OTHER_KINDS)]
    return NotTables(outputs, unread, _copies(folder, apart_from))


def _outputs(folder: Path, apart_from: Collection[Path]) -> list[Path]:
    files = files_below(folder, apart_from)
    found: list[Path] = []
    for at in sorted({parent for path in files for parent in path.parents if folder in parent.parents}):
        if not any(output in at.parents for output in found) and _is_output(at):
            found.append(at)
    return found


def _is_output(folder: Path) -> bool:
    """Whether stages have written into a folder, it is a dataset, or all its parquet files are shards."""
    has_records = any((folder / name).is_dir() for name in (PROVENANCE_DIR, _LOGS_DIR))
    shards = [*islice(folder.glob("*.parquet"), _MOST_SHARDS)]
    return has_records or is_dataset(folder) or (bool(shards) and all(map(_is_shard, shards)))


def is_dataset(folder: Path) -> bool:
    """Whether a folder has the data of a dataset, and one of the files of its metadata."""
    metadata = folder / METADATA_DIR
    return (folder / DATA_DIR).is_dir() and any((metadata / name).is_file() for name in _OF_DATASETS)


def _is_shard(path: Path) -> bool:
    """Whether a parquet file has the columns of measurements, in the dtypes that they have in a dataset."""
    try:
        schema = pl.read_parquet_schema(path)
    except (OSError, pl.exceptions.PolarsError):
        return False
    return all(schema.get(name) == MANDATORY_TYPES[name] for name in (SUBJECT_ID, TIME, CODE))


def _copies(folder: Path, apart_from: Collection[Path]) -> dict[str, str]:
    """Tables that are a file with the same bytes as another, by their names; the shortest name is the original's.

    NOTE: files are compared only where their sizes are the same, and up to the first difference.
    """
    found: dict[str, list[Path]] = {}
    for name, path in tables_below(folder, apart_from):
        found.setdefault(name, []).append(path)
    single = sorted(
        (paths[0].stat().st_size, len(name), name, paths[0]) for name, paths in found.items() if not paths[1:]
    )
    copies = {}
    for size, same in groupby(single, key=lambda file: file[0]):
        originals: list[tuple[str, Path]] = []
        for _, _, name, path in same if size else ():
            original = next((other for other, at in originals if cmp(path, at, shallow=False)), None)
            if original is None:
                originals.append((name, path))
            else:
                copies[name] = original
    return copies
