"""What the user sees while a pipeline runs: a terminal with a progress line, or plain lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import StreamHandler, getLogger
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

Sink = Callable[[str], object]


class Screen(Protocol):
    """Shows the progress of a pipeline."""

    def begin(self, number: int, n_stages: int, name: str) -> None:
        """Shows which stage, of how many, runs now."""

    def line(self, text: str) -> None:
        """Shows a line of a stage's output."""


class PlainScreen:
    """Standard output, line by line."""

    def begin(self, number: int, n_stages: int, name: str) -> None:
        """Shows nothing: the log line about the stage is enough."""

    def line(self, text: str) -> None:
        """Shows a line; characters that the output's encoding lacks become question marks."""
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        sys.stdout.flush()


class LiveScreen:
    """A terminal: the output scrolls above a line with the stage, its number and its running time."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("", visible=False)

    def begin(self, number: int, n_stages: int, name: str) -> None:
        """Shows the stage in the bottom line and starts its clock."""
        description = f"Stage {number} of {n_stages}: {name}"
        self.progress.reset(self.task, total=n_stages, completed=number - 1, visible=True, description=description)

    def line(self, text: str) -> None:
        """Shows a line above the bottom line, without markup."""
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def open_screen() -> Iterator[Screen]:
    """A live screen on a terminal, otherwise a plain one."""
    if not sys.stdout.isatty():
        yield PlainScreen()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with (
        Progress(*columns, TimeElapsedColumn(), console=Console(), transient=True) as progress,
        _logging_above_the_display(),
    ):
        yield LiveScreen(progress)


@contextmanager
def _logging_above_the_display() -> Iterator[None]:
    """Sends log lines to the `sys.stdout` that the display has installed; Hydra's handler still has the old one."""
    handlers = [h for h in getLogger().handlers if isinstance(h, StreamHandler) and h.stream is sys.__stdout__]
    for handler in handlers:
        handler.setStream(sys.stdout)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(sys.__stdout__)
