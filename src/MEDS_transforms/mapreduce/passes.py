"""The way through the work of a stage, or of several at once: a pass.

In a pass over several stages a shard goes through all of them before the next one is read: what a stage makes of it is
written, and handed on in memory to the stage that reads it. All but the last read and write shards alone; the last
may be a metadata stage, whose reduction ends the pass.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import listed
from ..settings.calls import just_calls
from ..work.claims import Unit
from ..work.journal import is_noted_as_ended, note_plan
from ..work.staying import pauses, stays
from ..work.unwritten import leave_no_files
from .chains import Chain, Step, chains, run_chains
from .handover import HandOver, Makers, handing_over
from .plans import Others, OthersOf, Plan

logger = logging.getLogger(__name__)

_LOG_EVERY = 30.0


_capture: ContextVar[list[Plan] | None] = ContextVar("capture", default=None)


def carry_out(plan: Plan) -> None:
    """Runs the pass of one stage, unless somebody only asks what the stage is to do."""
    captured = _capture.get()
    if captured is None:
        run_pass([plan])
    else:
        captured.append(plan)


def plan_of(run: Callable[[Any], object], cfg: Mapping[str, Any]) -> Plan | None:
    """What a stage is to do; None where its function does more than to call `map_over`."""
    if isinstance(run, PlannedStage):
        return run.plan(cfg)
    if not just_calls(run, "map_over"):
        return None
    captured: list[Plan] = []
    token = _capture.set(captured)
    try:
        run(cfg)
    finally:
        _capture.reset(token)
    return captured[0] if len(captured) == 1 else None


@dataclass(frozen=True)
class PlannedStage:
    """The `run(cfg)` of a stage that can tell what it will do before it does it, and so can share a pass."""

    plan: Callable[[Mapping[str, Any]], Plan]
    cheap: bool = False
    """Whether to compute its output takes less time than to write and read it."""
    others: OthersOf = Others.NEEDED
    """What it does with columns that not every MEDS file has, where it does not match & revise, or what tells that of
    its block."""
    is_alone: bool = False
    """Whether it never shares a pass, since it reads and writes no shards."""

    def __call__(self, cfg: Mapping[str, Any]) -> None:
        """Runs the stage."""
        run_pass([self.plan(cfg)])


@dataclass(frozen=True)
class Watch:
    """What is called as a pass goes on, with the number of a stage in it."""

    turn_to: Callable[[int], object] = lambda _: None
    """When the turn of the stage begins."""
    ended: Callable[[int, float], object] = lambda _, __: None
    """When it has ended, with the seconds that this worker has spent on it."""


def run_pass(plans: Sequence[Plan], unwritten: Sequence[Plan] = (), watch: Watch | None = None) -> None:
    """Runs stages as one pass.

    Args:
        plans: the work of the stages, each of which but the first reads what an earlier one makes.
        unwritten: the work of stages of earlier passes that is not written, and that these may read.
        watch: what is called as the pass goes on.
    """
    watch = watch or Watch()
    seconds, computed = [0.0] * len(plans), [0] * len(plans)
    with ExitStack() as joined:
        for number, plan in enumerate(plans):
            watch.turn_to(number)
            if plan.is_written:
                joined.enter_context(plan.outputs.joined(plan.steps))
                note_plan(unit.claim_fp for unit in plan.steps)
        makers = _makers([*unwritten, *plans])

        def do(step: Step) -> bool:
            started = time.monotonic()
            watch.turn_to(step.number)
            done = step.unit.compute_once()
            computed[step.number] += done
            seconds[step.number] += time.monotonic() - started
            return done

        ways = chains(plans, unwritten)
        run_chains(Chain(steps, HandOver(reads, makers), do, watch.turn_to) for steps, reads in ways)
        for number, plan in enumerate(plans):
            started = time.monotonic()
            watch.turn_to(number)
            with handing_over(HandOver(makers=makers)):
                _end(plan, computed[number])
            watch.ended(number, seconds[number] + time.monotonic() - started)


def _makers(plans: Sequence[Plan]) -> Makers:
    """What makes the rows of files that are not written."""
    return {path: make for plan in plans if not plan.is_written for path, make in plan.frames.items()}


def _end(plan: Plan, computed: int) -> None:
    """Sees to it that a stage comes to its end: its units, if this worker stays; then its reduction and its record."""
    if not plan.is_written:
        was_ended = is_noted_as_ended(plan.outputs.stage)  # so that what is read in place of files may be gone again
        leave_no_files(plan.outputs, {} if was_ended else plan.prepare())
        logger.info("not written: keep_intermediates is off")
        return
    if stays():
        computed += finish(plan.units)
    _log(computed, len(plan.units))
    if plan.reduction and (plan.merges or stays()):
        plan.reduction.compute_once()  # notes that it is done, also where it was before
    elif plan.reduction:
        logger.info("%s: to be merged by worker 0", plan.reduction.claim_fp)
    if plan.reduction and stays():
        finish([plan.reduction])
    plan.outputs.finish()
    if plan.clear_away and all(unit.is_done() for unit in plan.units):  # else the worker clears away that is at one
        plan.clear_away()


def map_units(units: Sequence[Unit]) -> int:
    """Goes over all units, doing those that are neither done nor held by another worker; gives their number.

    A worker that stays (see `work.staying`) returns when all of them are done, by whomever.
    """
    note_plan(unit.claim_fp for unit in units)
    computed = sum(unit.compute_once() for unit in units)
    if stays():
        computed += finish(units)
    _log(computed, len(units))
    return computed


def _log(computed: int, planned: int) -> None:
    logger.info(
        "this worker wrote %d of %d outputs; the others already existed or belong to other workers", computed, planned
    )


def finish(units: Sequence[Unit], polling_time: float = 1.0) -> int:
    """Returns when every unit is done: does what nobody holds and waits for the rest; gives the number that it did.

    It looks again after a moment at first, later after a second or `polling_time`, whichever is less. What workers left
    beside outputs that were killed just after they had made them is removed.
    """
    computed, waits, next_log = 0, pauses(polling_time), 0.0
    while missing := [unit for unit in units if not unit.is_done()]:
        if done := sum(unit.compute_once() for unit in missing):
            computed, waits, next_log = computed + done, pauses(polling_time), 0.0
            continue
        if (waited := next(waits)) >= next_log:
            next_log = waited + _LOG_EVERY
            logger.info("Waiting for other workers: %s", listed((unit.claim_fp for unit in missing), 5))
    for unit in units:
        unit.clear_away()
    return computed
