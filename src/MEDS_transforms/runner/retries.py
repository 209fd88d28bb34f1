"""Runs a stage until nothing of it is missing, or gives it up.

A launcher reports a failure as soon as it misses one of its workers, and may leave others running. What the workers
noted (`journal`) tells what is missing then: just that is done by another attempt.
"""

import logging
import signal
import time
from collections.abc import Callable, Container
from dataclasses import dataclass

from ..errors import ITEM, counted, is_or_are, listed
from ..work.journal import Work
from .segments import Segment

logger = logging.getLogger(__name__)

_PAUSE = 0.5
_LOG_EVERY = 30.0
_NAMED = 10


@dataclass(frozen=True)
class Failure:
    """How a stage failed: its last exit status, how often it was run again, and how far it came."""

    status: int
    retries: int
    work: Work

    @property
    def ending(self) -> str:
        """How the last attempt ended."""
        memory = " (perhaps the computer ran out of memory)" if self.status == -signal.SIGKILL else ""
        return f"{_ending(self.status)}{memory}"

    def account(self, shown_errors: Container[str] = ()) -> str:
        """What is missing and why, a line each; empty where the workers noted nothing.

        Of outputs that no worker started there is just the number: the others tell why.

        `shown_errors` are the first lines of the errors that the stage's output holds: these are not repeated.
        """
        if not (missing := self.work.missing):
            return ""
        failed, lost = _known(self.work)
        new = [unit for unit in failed if self.work.failed[unit][-1].partition("\n")[0] not in shown_errors] + lost
        not_started = len(missing) - len(failed) - len(lost)
        of_them = "them" if not_started == len(missing) else f"{not_started} of them"
        besides = f"; no worker started {of_them}" if not_started else ""
        lines = [f"{_missing_of_all(self.work)}{besides}{':' if new else '.'}"]
        lines += [f"{unit}: {self.work.why(unit)}" for unit in new[:_NAMED]]
        lines += [f"and {len(new) - _NAMED} more"] if len(new) > _NAMED else []
        return ITEM.join(lines)


def run_until_complete(
    stage: Segment, run: Callable[[list[list[str]]], int], stop_if_told: Callable[[], None]
) -> Failure | None:
    """Runs stages of one segment and, at most `max_retries` times, runs them again for what is missing.

    It is complete when an attempt ends with success and no unit of work is missing; then also what comes after the
    last unit is done. Units that workers of an earlier attempt still hold are waited for. What would fail again is not
    run again.

    Args:
        stage: the stage.
        run: runs command lines side by side to their end and gives an exit status: not 0, if one of them has failed.
        stop_if_told: called while other workers are waited for; may raise.

    Returns:
        None, or how it failed.
    """
    n_workers, failures, before = stage.parallel.n_workers, 0, None
    while True:
        status = run(stage.commands(n_workers))
        if not status and not stage.work().missing:
            return None
        missing = _unheld(stage, stop_if_told)
        failures += bool(status) or missing == before
        work = stage.work()
        if failures > stage.parallel.max_retries or (status and work.would_fail_again):
            return Failure(status, failures - 1, work)
        n_workers, before = max(1, len(missing)) if work.planned else stage.parallel.n_workers, missing
        _log_retry(stage, status, work, failures)


def _unheld(stage: Segment, stop_if_told: Callable[[], None]) -> list[str]:
    """The missing units that no worker holds, as soon as there are any, or none is missing any more."""
    logged = float("-inf")
    while True:
        stop_if_told()
        work = stage.work()
        held = set(work.held)
        unheld = [unit for unit in work.missing if unit not in held]
        if unheld or not held:
            return unheld
        if time.monotonic() - logged > _LOG_EVERY:
            logged = time.monotonic()
            logger.info(f"Stage {stage.name}: waiting for workers that are still running and hold {listed(held, 5)}")
        time.sleep(_PAUSE)


def _known(work: Work) -> tuple[list[str], list[str]]:
    """The missing units that have failed, and those whose workers were lost."""
    started = [unit for unit in work.missing if unit in work.begun and unit not in work.failed]
    return [unit for unit in work.missing if unit in work.failed], started


def _missing_of_all(work: Work) -> str:
    n_missing = len(work.missing)
    return f"{n_missing} of {counted(len(work.planned), 'output')} {is_or_are(n_missing)} missing"


def _log_retry(stage: Segment, status: int, work: Work, failures: int) -> None:
    left = _missing_of_all(work) if work.missing else "no output is missing"
    again = f"Running it again for the {'missing outputs' if work.missing else 'steps after the outputs'}"
    if not work.planned:
        left, again = "no worker started", "Running it again"
    retry = f" (retry {failures} of {stage.parallel.max_retries})" if status else ""
    logger.warning(f"Stage {stage.name} {_ending(status)}: {left}. {again}{retry}.")
    failed, lost = _known(work)
    for unit in [*failed, *lost][:_NAMED]:
        logger.warning(f"  {unit}: {work.why(unit)}")


def _ending(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit status {status}" if status else "ended without an error, but is incomplete"
