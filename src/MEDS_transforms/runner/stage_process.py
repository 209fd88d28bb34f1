"""Runs the processes of a stage, or of several, to their end, and marks them done, or tells how one failed."""

import logging
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from ..cli.threads import limit_threads, share_cores
from ..errors import StageError, counted
from ..interrupts import CONTINUE, ERROR_PREFIX
from ..work.environment import JOURNAL, RESUMING, RUN, WARNED
from .pipeline import Pipeline
from .plan import StageRun
from .processes import Children
from .retries import Failure, run_until_complete
from .screen import Sink
from .segments import Segment

logger = logging.getLogger(__name__)


@dataclass
class StageProcess:
    """Stages at work, one after the other, in the processes of one segment.

    Args:
        segment: the stages.
        children: starts their processes, and is told when the runner is to stop.
        sinks: what takes the lines of their output.
        warned: digests of warnings that are logged already.
        begins: called with each stage when it is its turn.
        ends: called with each stage that is done.
    """

    segment: Segment
    children: Children
    sinks: Sequence[Sink]
    warned: Iterable[str] = ()
    begins: Callable[[StageRun], object] = lambda _: None
    ends: Callable[[StageRun], object] = lambda _: None
    shown_errors: set[str] = field(default_factory=set)
    """The first lines of the errors in their output so far."""
    to_come: list[StageRun] = field(init=False)
    """The stages that are not done."""
    began: float = field(default_factory=time.monotonic)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.to_come = [*self.segment.stages]

    def run(self) -> Failure | None:
        """Runs the stages and marks them done; or gives how one of them failed.

        Raises:
            StageError: they could not be started.
            KeyboardInterrupt: the runner was told to stop by Ctrl-C.
        SystemExit: it was told so by another signal.
        """
        journal = self.segment.journal
        shutil.rmtree(journal, ignore_errors=True)
        environ = stage_environment(journal, self.warned)
        self.begins(self.to_come[0])
        failure = run_until_complete(
            self.segment, lambda commands: self._attempt(commands, environ), self._stop_if_told
        )
        self._go_on()
        if failure:
            return failure
        while self.to_come:
            self._set_done()
        shutil.rmtree(journal, ignore_errors=True)
        return None

    def _go_on(self, _line: str = "") -> None:
        """Marks the stages done that have ended.

        NOTE: called with every line of output, since a worker logs an end; that is in a thread for each process.
        """
        with self._one_at_a_time:
            while self.to_come and len(self.segment.stages) > 1 and self.segment.has_ended(self.to_come[0]):
                self._set_done()

    def _set_done(self) -> None:
        stage = self.to_come.pop(0)
        stage.done.set()
        self.ends(stage)
        logger.info(f"Stage {stage.name} took {time.monotonic() - self.began:.1f} s.")
        self.began = time.monotonic()
        if self.to_come:
            self.begins(self.to_come[0])

    def _attempt(self, commands: list[list[str]], environ: dict[str, str]) -> int:
        """Runs commands side by side to their end; gives an exit status."""
        environ = environ.copy()
        if self.segment.parallel.in_processes:
            limit_threads(len(commands), environ)
        else:
            share_cores(commands[0], environ)  # the package's own scripts do that themselves, a user's may not
        try:
            status = self.children.run(commands, environ, [self._go_on, *self.sinks, self._note_shown_error])
        except OSError as error:
            raise StageError(f"The stage {self.segment.name} could not be started: {error}") from error
        self._stop_if_told()
        return status

    def _note_shown_error(self, line: str) -> None:
        """Notes the first line of an error in the stage's output."""
        if line.startswith(ERROR_PREFIX):
            self.shown_errors.add(line.removeprefix(ERROR_PREFIX))

    def _stop_if_told(self) -> None:
        if stopped_by := self.children.stopped_by:
            on_slurm = self.segment.parallel.on_slurm
            jobs = " Its jobs stay in Slurm's queue: cancel them with scancel." if on_slurm else ""
            again = "" if stopped_by == signal.SIGINT else f" {CONTINUE}"
            logger.error(f"Stopped by {stopped_by.name} in stage {self.segment.name}.{jobs}{again}")
            raise KeyboardInterrupt if stopped_by == signal.SIGINT else SystemExit(128 + stopped_by)


def stage_environment(journal: Path, warned: Iterable[str] = ()) -> dict[str, str]:
    """The environment of a stage's processes, in which the workers of all its attempts are one run.

    `warned` are digests of warnings that are logged already.
    """
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        RESUMING: "1",
        RUN: secrets.token_hex(8),
        JOURNAL: str(journal),
        WARNED: " ".join(warned),
    }


def failure_message(
    stage: str, failure: Failure, log_dir: str | None, log_fp: Path, shown_errors: Container[str] = ()
) -> str:
    """The message about a stage that failed: how it ended, what is missing, where to look, how to continue.

    `shown_errors` are the first lines of the errors in its output, which are not repeated.
    """
    again = f", also after {counted(failure.retries, 'retry', 'retries')}" if failure.retries else ""
    account = f" {account}\n" if (account := failure.account(shown_errors)) else " "
    own_logs = f"its logs are in {log_dir}, " if log_dir else ""
    return (
        f"The stage {stage} {failure.ending}{again}.{account}"
        f"Its output is above; {own_logs}the runner's log is {log_fp}. "
        "Correct the cause, then run the same command: it continues with this stage, or says what has changed since."
    )


def stage_log_dir(pipeline: Pipeline, stage: str) -> str | None:
    """Where a stage of the pipeline keeps its logs; None where that cannot be told."""
    with suppress(Exception):  # this goes into a message about another error
        log_dir = OmegaConf.select(pipeline.stage_config(stage), "log_dir")
        return None if log_dir is None else str(log_dir)
    return None
