"""Gathers what the checks find: of each kind how often, in which files, and the first rows."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import counted
from ..remarks import Remark, Severity
from .kinds import KINDS
from .shard_rows import Row, read_rows

EXAMPLES = 3
"""Rows that a finding shows, and names that a text does."""


@dataclass(frozen=True)
class Finding(Remark):
    """A remark about a dataset.

    Args:
        n: how many rows, subjects, codes or files it is about, in all.
        files: in how many files.
        rows: the first of the rows.
    """

    n: int = 1
    files: int = 1
    rows: tuple[Row, ...] = ()

    def in_full(self) -> Remark:
        """The remark with its rows in the text, a line each."""
        lines = [str(row) for row in self.rows]
        more = ["…"] if self.n > len(lines) > 0 and self.kind in _OF_ROWS else []
        return replace(self, what="\n".join([self.what, *lines, *more]))


_OF_ROWS = {name for name, kind in KINDS.items() if kind.rows}


@dataclass
class _Gathered:
    """What is known of one kind so far: number of things, of files, the first file, and places of the first rows."""

    n: int = 0
    files: list[str] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)


class Findings:
    """What the checks of one dataset have found so far.

    Args:
        root: the folder of the dataset; files are named by their path from there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._found: dict[tuple[str, str], _Gathered] = {}

    def name(self, path: Path) -> str:
        """A file, as findings name it; bytes that are not UTF-8 become escapes, since not every screen takes them."""
        return os.fsencode(path.relative_to(self.root).as_posix()).decode("utf-8", "backslashreplace")

    def add(
        self, kind: str, where: str, what: str, n: int = 1, places: Iterable[tuple[str, int]] = (), files: int = 1
    ) -> None:
        """Adds a finding; the same of other files is counted with it.

        Args:
            kind: a key of `KINDS`.
            where: the file.
            what: in words.
            n: how many things it is about.
            places: the first rows: file, and number of the row.
            files: in how many files.
        """
        gathered = self._found.setdefault((kind, what), _Gathered())
        gathered.n += n
        gathered.files += [where] * files
        gathered.places += places

    def add_rows(self, kind: str, where: str, rows: "np.typing.NDArray[Any]") -> None:
        """Adds rows of a shard, by their numbers, the first first; nothing where there are none."""
        if not len(rows):
            return
        gathered = self._found.setdefault((kind, ""), _Gathered())
        gathered.n += len(rows)
        if where not in gathered.files[-1:]:
            gathered.files.append(where)
        room = EXAMPLES - len(gathered.places)
        gathered.places += [(where, int(row)) for row in rows[: max(0, room)]]

    def has(self, *kinds: str) -> bool:
        """Whether something of one of these kinds was found."""
        return any(kind in kinds for kind, _ in self._found)

    def all(self) -> list[Finding]:
        """The findings, errors first, with the first rows read from their files."""
        order = [*KINDS]
        found = sorted(self._found.items(), key=lambda item: order.index(item[0][0]))
        findings = [self._finding(kind, what, gathered) for (kind, what), gathered in found]
        return sorted(findings, key=lambda finding: [*Severity].index(finding.severity))

    def _finding(self, kind: str, what: str, found: _Gathered) -> Finding:
        severity, remedy, of_rows = KINDS[kind]
        n_files = len(found.files)
        if of_rows:
            what = f"{counted(found.n, 'row')} {of_rows}"
        if n_files > 1:
            what += f", in {n_files} files"
        what += "" if what.endswith("…") else "."
        return Finding(
            severity, kind, found.files[0], what, remedy, found.n, n_files, tuple(read_rows(self.root, found.places))
        )


def some(names: Sequence[object]) -> str:
    """A few names for a text, in their order.

    >>> some(["b", "a"]), some(range(9))
    ("'b', 'a'", '0, 1, 2 …')
    """
    return ", ".join(repr(name) for name in names[:EXAMPLES]) + (" …" if len(names) > EXAMPLES else "")
