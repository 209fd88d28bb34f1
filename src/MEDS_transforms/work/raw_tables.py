"""Finds the files of raw tables.

A table `labs` is one of

- a file `labs.<suffix>`, with the suffix in any case;
- a folder `labs/` or `labs.<suffix>/` of parts, read in the order of their paths; of folders `<column>=<value>/` in it
  the values are a column of the rows below them;
- for a name with `*`, `?` or `[…]`: all files that it fits, in the order of their paths.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from ..errors import MissingInputError, listed, nearest
from .files import files_below

logger = logging.getLogger(__name__)


class Format(StrEnum):
    """How a file holds its rows."""

    PARQUET = "parquet"
    FEATHER = "feather"
    TEXT = "text"


_PLAIN = {
    **dict.fromkeys((".parquet", ".par", ".pq", ".parq"), Format.PARQUET),
    **dict.fromkeys((".csv", ".tsv", ".txt"), Format.TEXT),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), Format.FEATHER),
}
COMPRESSIONS = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz")
FORMATS = _PLAIN | {
    f"{suffix}{compression}": kind
    for suffix, kind in _PLAIN.items()
    if kind is Format.TEXT
    for compression in COMPRESSIONS
}
"""The format of every suffix; where a table exists in several, the first of them is read."""

_PATTERN = set("*?[")
_IN_NO_FOLDER = "__HIVE_DEFAULT_PARTITION__"
"""What stands for null in the name of a folder."""


@dataclass(frozen=True)
class Part:
    """A file of a table, with the columns that the folders stand for in which it lies."""

    path: Path
    format: Format
    partition: dict[str, str | None] = field(default_factory=dict)


def split_suffix(name: str) -> tuple[str, str]:
    """The name of a file without the suffix of a known format, and that suffix; empty where it has none.

    >>> split_suffix("labs.CSV.GZ"), split_suffix("labs.v2.parquet"), split_suffix("labs.json")
    (('labs', '.CSV.GZ'), ('labs.v2', '.parquet'), ('labs.json', ''))
    """
    lower = name.lower()
    suffix = max((s for s in FORMATS if lower.endswith(s) and len(s) < len(name)), key=len, default="")
    return name[: len(name) - len(suffix)], name[len(name) - len(suffix) :]


def find_parts(root: Path, name: str, apart_from: Collection[Path] = ()) -> list[Part]:
    """The files of a table below a folder, in the order in which they are read.

    Folders in `apart_from` are not looked into for files that fit a pattern.

    Raises:
        FileNotFoundError: there is no such table; the message names the folder, and files and tables that are like it.
    """
    stem = root / name
    if found := [parts for parts in (_single_file(stem), *_folders(stem)) if parts]:
        if len(found) > 1:
            read, *skipped = (_place(parts, stem) for parts in found)
            logger.warning("%s: %s is read, %s skipped", stem.name, read, listed(skipped))
        return found[0]
    if parts := _files_that_fit(root, stem, apart_from):
        return parts
    there = tables_to_name(root, apart_from)
    unread = [path.name for path in _named(stem) if not split_suffix(path.name)[1]]
    hint = f" {listed(unread)} has a suffix that is not read." if unread else ""
    raise MissingInputError(
        f"There is no table {name} below {root}{nearest(name, there)}.{hint} A table is a file or a folder of files "
        f"({', '.join(_PLAIN)}; text also {', '.join(COMPRESSIONS)}). Tables there: {listed(there)}",
        remedy="Name one of these in the event conversion file, or check the folder.",
    )


def _named(stem: Path) -> list[Path]:
    """The files and folders that are called like a table, whatever their suffix."""
    folder = stem.parent
    return sorted(p for p in folder.iterdir() if p.name.startswith(f"{stem.name}.")) if folder.is_dir() else []


def _single_file(stem: Path) -> list[Part]:
    found = [p for p in _named(stem) if p.is_file() and split_suffix(p.name)[0] == stem.name]
    return [Part(path, _format(path)) for path in _preferred(found)]


def _folders(stem: Path) -> Iterator[list[Part]]:
    """The parts in every folder that is called like the table."""
    folders = [p for p in _named(stem) if p.is_dir() and split_suffix(p.name)[0] == stem.name]
    for folder in ([stem] if stem.is_dir() else []) + folders:
        files = [path for path in sorted(files_below(folder)) if _is_in_partitions(path, folder)]
        if parts := _preferred(path for path in files if split_suffix(path.name)[1]):
            unread = [p.name for p in files if not split_suffix(p.name)[1] and not p.name.startswith("_")]
            if unread:
                logger.warning("%s: not read, for their suffixes: %s", folder, listed(unread))
            yield [Part(path, _format(path), _partition(path, folder)) for path in parts]


def _place(parts: Sequence[Part], stem: Path) -> str:
    """The file or the folder beside others of which parts are."""
    first = parts[0].path
    return first.name if first.parent == stem.parent else f"{first.relative_to(stem.parent).parts[0]}/"


def _files_that_fit(root: Path, stem: Path, apart_from: Collection[Path]) -> list[Part]:
    pattern = stem.relative_to(root).parts
    if not any(_PATTERN & set(part) for part in pattern):
        return []
    files = [path for path in sorted(files_below(root, apart_from)) if split_suffix(path.name)[1]]
    return [Part(path, _format(path)) for path in _preferred(p for p in files if _fits(p.relative_to(root), pattern))]


def _fits(path: Path, pattern: Sequence[str]) -> bool:
    names = [*path.parts[:-1], split_suffix(path.name)[0]]
    return len(names) == len(pattern) and all(map(fnmatchcase, names, pattern))


def _preferred(files: Iterable[Path]) -> list[Path]:
    """Of files that differ in their suffixes alone just one, which is read; in order."""
    by_stem: dict[Path, list[Path]] = {}
    for path in files:
        by_stem.setdefault(path.with_name(split_suffix(path.name)[0]), []).append(path)
    chosen = []
    for stem, same in by_stem.items():
        first, *others = sorted(
            same, key=lambda path: ([*FORMATS].index(split_suffix(path.name)[1].lower()), path.name)
        )
        if others:
            logger.warning("%s: %s is read, %s skipped", stem.name, first.name, listed(p.name for p in others))
        chosen.append(first)
    return chosen


def _format(path: Path) -> Format:
    return FORMATS[split_suffix(path.name)[1].lower()]


def _is_in_partitions(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder itself, or in folders in it that stand for values of columns."""
    return all("=" in name for name in path.relative_to(folder).parts[:-1])


def _partition(path: Path, folder: Path) -> dict[str, str | None]:
    named = (name.partition("=") for name in path.relative_to(folder).parts[:-1])
    return {unquote(column): None if value == _IN_NO_FOLDER else unquote(value) for column, _, value in named}


_LOOKED_AT = 10_000
"""How many files are looked at for the tables that an error names: a wrong folder may be a whole disk."""


def tables_to_name(root: Path, apart_from: Iterable[Path] = ()) -> set[str]:
    """The tables below a folder, for an error; of a folder with very many files those among the first of them."""
    return {table for table, _ in tables_below(root, apart_from, _LOOKED_AT)}


def tables_below(root: Path, apart_from: Iterable[Path] = (), at_most: int | None = None) -> Iterator[tuple[str, Path]]:
    """Every file of a known format below a folder, with the name of the table that it is, or is a part of.

    `at_most`: the number of files, of any format, that are looked at; by default all.
    """
    for path in islice(files_below(root, apart_from), at_most):
        stem, suffix = split_suffix(path.name)
        if not suffix:
            continue
        folders = [*path.relative_to(root).parts[:-1]]
        while folders and "=" in folders[-1]:
            folders.pop()
            stem = ""
        if folders and (name := split_suffix(folders[-1]))[1]:
            folders[-1], stem = name[0], ""
        yield "/".join([*folders, stem] if stem else folders), path
