"""Looks over the folder of a dataset: which files are its shards, and what is there that should not be."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import InputError, MissingInputError, counted
from ..settings.layout import CODES_FILE, DATA_DIR, DATASET_FILE, METADATA_DIR, SHARD_MAP_FILE, SPLITS_FILE
from ..work.files import files_below, read_json
from .findings import Findings, some

PARQUET = ".parquet"
_TEMPORARY = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")
_OPTIONAL = (SPLITS_FILE, DATASET_FILE)


def check_is_root(path: Path) -> None:
    """Raises an error where a path is not a folder, or is one within a dataset.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is a file, or a folder of a dataset; the message names the dataset's.
    """
    if not path.exists():
        raise MissingInputError(f"There is no folder {path}. Name the folder of a dataset.")
    here = path.resolve()
    for folder in (here, *here.parents):
        is_part = folder.name in (DATA_DIR, METADATA_DIR) and _is_root(folder.parent)
        if (is_part or (folder == here and _has_files(here))) and not _is_root(here):
            raise InputError(f"{path} is a part of a dataset. Name the folder above {folder.name}/: {folder.parent}")
    if not path.is_dir():
        raise InputError(f"{path} is a file. Name the folder of a dataset, which has data/ and metadata/.")


def _is_root(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in (DATA_DIR, METADATA_DIR))


def _has_files(folder: Path) -> bool:
    """Whether a folder, by its name and content, is that of shards, or of metadata."""
    is_data = folder.name == DATA_DIR and any(path.suffix == PARQUET for path in files_below(folder))
    return is_data or (folder.name == METADATA_DIR and (folder / CODES_FILE).exists())


def shards_of(root: Path, findings: Findings) -> list[Path]:
    """The shards below data/, by name; adds what else is there, and the files that are missing."""
    shards = []
    for path in [*files_of(root / DATA_DIR, findings), *files_of(root / METADATA_DIR, findings)]:
        is_data = path.is_relative_to(root / DATA_DIR)
        if kind := _left_over(path.relative_to(root)):
            findings.add(kind, findings.name(path), _LEFT_OVER[kind])
        elif any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        elif is_data and path.suffix == PARQUET:
            shards.append(path)
        elif is_data:
            findings.add("other_file", findings.name(path), f"Its name does not end in {PARQUET}")
    _check_shard_map(root, shards, findings)
    for name in _OPTIONAL:
        if not os.path.lexists(root / METADATA_DIR / name):
            findings.add("missing_file", f"{METADATA_DIR}/{name}", "There is no such file")
    if not os.path.lexists(root / METADATA_DIR / CODES_FILE):
        findings.add("missing_codes", f"{METADATA_DIR}/{CODES_FILE}", "There is no such file")
    return sorted(shards)


def _check_shard_map(root: Path, shards: Sequence[Path], findings: Findings) -> None:
    """Adds the shards that are not there, where an extraction of this package has noted which there should be."""
    path = root / METADATA_DIR / SHARD_MAP_FILE
    with suppress(OSError, ValueError):
        content = read_json(path)
        wanted = {f"{DATA_DIR}/{name}{PARQUET}" for name in content} if isinstance(content, dict) else set()
        if missing := sorted(wanted - {findings.name(shard) for shard in shards}):
            what = f"{counted(len(missing), 'shard')} that it names not there: {some(missing)}"
            findings.add("missing_shard", findings.name(path), what, len(missing))


_LEFT_OVER = {
    "leftover_lock": "A lock file is left here",
    "temporary": "It has the name of a temporary or hidden file",
}


def _left_over(path: Path) -> str | None:
    """The kind of finding that a file with such a name is; None where it is none."""
    if path.name.endswith(".lock"):
        return "leftover_lock"
    is_hidden = path.name.endswith(PARQUET) and any(part.startswith(".") for part in path.parts)
    return "temporary" if is_hidden or path.name.endswith(_TEMPORARY) else None


def files_of(folder: Path, findings: Findings) -> Iterator[Path]:
    """Every file below a folder, hidden ones too; a folder that cannot be listed becomes a finding.

    Links to folders are followed, each folder once.
    """

    def refused(error: OSError) -> None:
        findings.add("unreadable", findings.name(Path(error.filename)), f"It cannot be listed: {error.strerror}")

    visited = {os.path.realpath(folder)}
    for at, subfolders, names in os.walk(folder, onerror=refused if folder.exists() else None, followlinks=True):
        subfolders[:] = [name for name in subfolders if os.path.realpath(f"{at}/{name}") not in visited]
        visited |= {os.path.realpath(f"{at}/{name}") for name in subfolders}
        yield from (Path(at) / name for name in sorted(names))
