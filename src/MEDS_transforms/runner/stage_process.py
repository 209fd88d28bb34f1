"""Runs the processes of one stage to their end, and marks it done, or tells how it failed."""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from ..cli.boundary import ERROR_PREFIX
from ..cli.threads import limit_threads, share_cores
from ..errors import StageError, counted
from ..work.environment import JOURNAL, RESUMING, RUN, WARNED
from .pipeline import Pipeline
from .plan import StageRun
from .processes import Children
from .retries import Failure, run_until_complete
from .screen import Sink

logger = logging.getLogger(__name__)


@dataclass
class StageProcess:
    """A stage at work.

    Args:
        stage: the stage.
        children: starts its processes, and is told when the runner is to stop.
        sinks: what takes the lines of its output.
        warned: digests of warnings that are logged already.
    """

    stage: StageRun
    children: Children
    sinks: Sequence[Sink]
    warned: Iterable[str] = ()
    shown_errors: set[str] = field(default_factory=set)
    """The first lines of the errors in its output so far."""

    def run(self) -> Failure | None:
        """Runs the stage and marks it done; or gives how it failed.

        Raises:
            StageError: it could not be started.
            SystemExit: the runner was told to stop.
        """
        start = time.monotonic()
        journal = self.stage.done.path.with_suffix(".journal").absolute()
        shutil.rmtree(journal, ignore_errors=True)
        environ = stage_environment(journal, self.warned)
        if failure := run_until_complete(
            self.stage, lambda commands: self._attempt(commands, environ), self._stop_if_told, journal
        ):
            return failure
        self.stage.done.set()
        shutil.rmtree(journal, ignore_errors=True)
        logger.info(f"Stage {self.stage.name} took {time.monotonic() - start:.1f} s.")
        return None

    def _attempt(self, commands: list[list[str]], environ: dict[str, str]) -> int:
        """Runs commands side by side to their end; gives an exit status."""
        environ = environ.copy()
        if self.stage.parallel.in_processes:
            limit_threads(len(commands), environ)
        else:
            share_cores(commands[0], environ)  # the package's own scripts do that themselves, a user's may not
        try:
            status = self.children.run(commands, environ, [*self.sinks, self._note_shown_error])
        except OSError as error:
            raise StageError(f"The stage {self.stage.name} could not be started: {error}") from error
        self._stop_if_told()
        return status

    def _note_shown_error(self, line: str) -> None:
        """Notes the first line of an error in the stage's output."""
        if line.startswith(ERROR_PREFIX):
            self.shown_errors.add(line.removeprefix(ERROR_PREFIX))

    def _stop_if_told(self) -> None:
        if stopped_by := self.children.stopped_by:
            on_slurm = self.stage.parallel.on_slurm
            jobs = " Its jobs stay in Slurm's queue: cancel them with scancel." if on_slurm else ""
            again = "Run the same command to continue."
            logger.error(f"Stopped by {stopped_by.name} in stage {self.stage.name}.{jobs} {again}")
            raise SystemExit(128 + stopped_by)


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
