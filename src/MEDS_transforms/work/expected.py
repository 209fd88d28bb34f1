"""Outputs that count as there while a pass of several stages is planned: those of its earlier stages.

A stage whose shards come straight from another one's memory is planned before that one has made any of them. What
makes them is known by then, their sizes and checksums are not.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Expected:
    """The outputs that a stage will have made: all that will be in its folder, and the digest of what makes them.

    `instead` is what others read in place of files that are not written, by the folder where these would be.
    """

    folder: Path
    stage: str
    digest: str
    paths: frozenset[Path]
    instead: Mapping[Path, Any] = field(default_factory=dict)

    def below(self, folder: Path) -> list[Path]:
        """The outputs in a folder and its subfolders, sorted."""
        return sorted(path for path in self.paths if folder in path.parents)


_expected: ContextVar[Sequence[Expected]] = ContextVar("expected", default=())


@contextmanager
def expecting(stages: Sequence[Expected]) -> Iterator[None]:
    """Inside, the outputs of these stages count as there."""
    token = _expected.set(stages)
    try:
        yield
    finally:
        _expected.reset(token)


def expected_in(folder: Path) -> Expected | None:
    """What is expected in a folder, if it is one that a stage of the pass writes to, or lies in one."""
    return next((stage for stage in _expected.get() if folder == stage.folder or stage.folder in folder.parents), None)


def instead_of(folder: Path) -> Any:
    """What is to be read in place of the files that would be in a folder; None where there is nothing but files."""
    here = folder.resolve()
    found = (what for stage in _expected.get() for path, what in stage.instead.items() if path.resolve() == here)
    return next(found, None)
