"""What the user sees while a pipeline runs: figures that change on a terminal, plain lines, a line a stage, or JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from logging import StreamHandler, getLogger
from typing import Protocol, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from ..errors import InputError, nearest
from ..interrupts import ERROR_PREFIX
from .figures import DONE, Figures
from .shown import in_words

Sink = Callable[[str], object]

AUTO, PLAIN, STAGES, JSON = "auto", "plain", "stages", "json"
WAYS = (AUTO, PLAIN, STAGES, JSON)
"""How progress is shown: the values of the runner's key `progress`."""


_MOMENT = 0.8
"""Seconds: less than lies between two looks."""


class Screen(Protocol):
    """Shows the progress of a pipeline."""

    every: float | None
    """After how many seconds it shows new figures; None: it shows none while stages run."""

    def line(self, text: str) -> None:
        """Shows a line of a stage's output."""

    def show(self, at_work: Sequence[Figures]) -> None:
        """Shows how far the stages at work are."""

    def end(self, figures: Figures) -> None:
        """Shows the last figures of a stage, which has ended."""


class PlainScreen:
    """Standard output, line by line; the log lines about the stages are enough."""

    every: float | None = None

    def line(self, text: str) -> None:
        """Shows a line; characters that the output's encoding lacks become question marks."""
        write_line(sys.stdout, text)

    def show(self, at_work: Sequence[Figures]) -> None:
        """Shows nothing."""

    def end(self, figures: Figures) -> None:
        """Shows nothing."""


class StagesScreen(PlainScreen):
    """A line for each stage when it has ended; of the stages' output just warnings and errors."""

    def __init__(self) -> None:
        self._has_failed = False

    def line(self, text: str) -> None:
        """Shows warnings, and whatever follows an error."""
        self._has_failed |= text.startswith(ERROR_PREFIX)
        if self._has_failed or "[WARNING]" in text:
            super().line(text)

    def end(self, figures: Figures) -> None:
        """Shows how the stage has ended."""
        said = [f"Stage {figures.number} of {figures.of}, {figures.stage}: {figures.state}"]
        units = [f"{figures.done:,} of {figures.all:,} units"] if figures.all else []
        took = [f"{figures.seconds:.1f} s"] if figures.state == DONE else []
        super().line(", ".join([*said, *units, *took]))


class JsonScreen:
    """Figures as lines of JSON on standard output, and nothing else there; what stages say goes to standard error."""

    every: float | None = 1.0

    def __init__(self) -> None:
        self._shown_at: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Shows a line on standard error."""
        write_line(sys.stderr, text)

    def show(self, at_work: Sequence[Figures]) -> None:
        """Writes a line for each stage at work, unless there was one a moment ago."""
        for figures in at_work:
            if time.monotonic() - self._shown_at.get(figures.stage, float("-inf")) > _MOMENT:
                self.end(figures)

    def end(self, figures: Figures) -> None:
        """Writes a line about a stage, whenever the last one was."""
        self._shown_at[figures.stage] = time.monotonic()
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **figures.as_json()}
        write_line(sys.stdout, json.dumps(line))


class LiveScreen:
    """A terminal: the output scrolls above two lines with the stages at work, and how far they are."""

    every: float | None = 1.0

    def __init__(self, progress: "LiveLines") -> None:
        self.progress = progress
        self.task = progress.add_task("", visible=False)
        self._shown: tuple[str, ...] = ()

    def line(self, text: str) -> None:
        """Shows a line above the figures, without markup."""
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, at_work: Sequence[Figures]) -> None:
        """Shows the stages at work together, with a clock that starts when others are at work."""
        if not at_work:
            return
        if at_work[0].stage not in self._shown:
            self.progress.reset(self.task)
        self._shown = at_work[0].together
        self.progress.figures = "  ".join(in_words(*at_work))
        self.progress.update(
            self.task,
            description=_title(at_work),
            completed=sum(figures.done for figures in at_work),
            total=sum(figures.all for figures in at_work) or None,
            visible=True,
        )

    def end(self, figures: Figures) -> None:
        """Shows nothing: the next figures are about other stages."""


def _title(at_work: Sequence[Figures]) -> str:
    first, *others = at_work
    numbers = f"Stages {first.number}-{others[-1].number}" if others else f"Stage {first.number}"
    return f"{numbers} of {first.of}: {', '.join(figures.stage for figures in at_work)}"


class LiveLines(Progress):
    """A line with the stages, their bar and their clock, and one with their figures."""

    figures = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        """The two lines."""
        yield from super().get_renderables()
        if self.figures:
            yield Text(f"  {self.figures}", no_wrap=True, overflow="ellipsis", style="progress.data.speed")


def write_line(stream: TextIO, text: str) -> None:
    """Writes a line at once; characters that the stream's encoding lacks become question marks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()


def way_of(value: object) -> str:
    """How progress is to be shown.

    Raises:
        InputError: the value is none of `WAYS`.
    """
    if value not in WAYS:
        raise InputError(f"progress must be one of {', '.join(WAYS)}, not {value!r}{nearest(str(value), WAYS)}.")
    return str(value)


@contextmanager
def open_screen(way: str = AUTO) -> Iterator[Screen]:
    """A screen of this kind; `auto` is a live one on a terminal, otherwise a plain one."""
    if way == JSON:
        yield JsonScreen()
    elif way == STAGES:
        yield StagesScreen()
    elif way == PLAIN or not sys.stdout.isatty():
        yield PlainScreen()
    else:
        title = TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
        columns = (SpinnerColumn(), title, BarColumn(24), TimeElapsedColumn())
        with (
            LiveLines(*columns, console=Console(), transient=True, expand=True) as progress,
            _logging_to(sys.stdout, instead_of=sys.__stdout__),
        ):
            yield LiveScreen(progress)


@contextmanager
def only_json_on_stdout(way: str) -> Iterator[None]:
    """Sends log lines to standard error, where standard output is to have lines of JSON alone."""
    if way != JSON:
        yield
        return
    with _logging_to(sys.stderr, instead_of=sys.stdout):
        yield


@contextmanager
def _logging_to(stream: TextIO, instead_of: TextIO | None) -> Iterator[None]:
    """Sends log lines to another stream, such as the `sys.stdout` that a display has installed.

    NOTE: Hydra's handler knows only the one that was there before.
    """
    handlers = [h for h in getLogger().handlers if isinstance(h, StreamHandler) and h.stream is instead_of]
    for handler in handlers:
        handler.setStream(stream)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(instead_of)
