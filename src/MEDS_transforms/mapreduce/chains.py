"""The way of one shard through the stages of a pass: while an output is written, the next stage computes.

A stage begins as soon as the one before it has handed its frame over, the next shard as soon as all that becomes of
this one is there, but for what are no rows, such as the counts of codes. Two units are at work at a time, so that no
more frames are in memory than one after the other would need; where no rows are made, those of two shards are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..work.claims import Unit
from .handover import HandOver, handing_over
from .plans import Plan

AT_A_TIME = 2
"""How many units are at work at the same time, and how many shards."""


class Step(NamedTuple):
    """A unit of work of the stage with this number in the pass.

    `makes_rows` is explained at `Plan`. `reads` is the file of an earlier stage of the pass that its rows come from,
    perhaps by way of stages that are not written; None if they come from elsewhere.
    """

    number: int
    unit: Unit
    makes_rows: bool = True
    reads: Path | None = None


def chains(plans: Sequence[Plan], unwritten: Sequence[Plan]) -> Iterator[tuple[list[Step], list[Path]]]:
    """For each shard that the pass reads, the units for all that becomes of it, and the files that they read.

    Units are in the order of the stages. A file is there as often as it is read, also by what is not written itself.
    """
    makes = {unit.claim_fp: unit for plan in [*unwritten, *plans] for unit in plan.units}
    written = {unit.claim_fp for plan in plans if plan.is_written for unit in plan.units}
    found: dict[object, tuple[list[Step], list[Path]]] = {}
    for number, plan in enumerate(plans):
        for unit in plan.units if plan.is_written else ():
            origin, reads = unit.source, list[Path]()
            while isinstance(origin, Path) and origin in makes:
                if not reads or reads[-1] not in written:  # else what comes before is read by the unit that writes it
                    reads.append(origin)
                origin = makes[origin].source
            way = origin if plan.takes_frames else unit.claim_fp  # else it shares nothing, whatever it reads
            steps, read = found.setdefault(way, ([], []))
            source = reads[-1] if reads and reads[-1] in written else None
            steps.append(Step(number, unit, plan.makes_rows, source))
            read += reads
    yield from found.values()


def run_chains(ways: Iterable["Chain"]) -> None:
    """Runs chains, each of which begins when the rows of the one before it have been made.

    The first one runs alone: if settings are wrong it fails, and leaves no outputs that would have to be overwritten.

    Raises:
        Exception: what a unit raised, once all others that were begun have ended.
    """
    before: Chain | None = None
    with ThreadPoolExecutor(AT_A_TIME) as at_work, ThreadPoolExecutor(AT_A_TIME) as on_the_way:
        for number, chain in enumerate(ways):
            try:
                chain.begin(at_work, on_the_way)
            finally:
                if before:
                    before.end()
            before = chain
            if number == 0:
                chain.end()
        if before:
            before.end()


@dataclass
class Chain:
    """A shard on its way.

    Args:
        steps: its units, in the order of the stages.
        handover: the frames on their way.
        do: does a unit, and says whether this worker did it.
        failed: called with a stage's number when it has failed.
    """

    steps: Sequence[Step]
    handover: HandOver
    do: Callable[[Step], bool]
    failed: Callable[[int], object]
    futures: dict[Path, Future[bool]] = field(default_factory=dict)
    """The units that were begun, by what they make."""
    begun: Future[None] | None = None
    """Done when all units were begun that ever will be."""

    def begin(self, at_work: Executor, on_the_way: Executor) -> None:
        """Sees to it that units begin when their input is there; returns when all that make rows have ended.

        A thread for a single one gains nothing, and a function of the user's may count on being called in this one.

        Args:
            at_work: runs the units.
            on_the_way: waits for their input.

        Raises:
            Exception: what a unit that makes rows raised.
        """
        if len(self.steps) == 1 and self.steps[0].makes_rows:
            with handing_over(self.handover):
                self.do(self.steps[0])
            return
        self.begun = on_the_way.submit(copy_context().run, self._begin_all, at_work)
        if rows := {step.unit.claim_fp for step in self.steps if step.makes_rows}:
            self.begun.result()
            made, _ = wait([future for path, future in self.futures.items() if path in rows])
            if any(future.exception() for future in made):
                self.end()

    def _begin_all(self, at_work: Executor) -> None:
        """Begins all units, in order, whose input is there, or comes in time."""
        with handing_over(self.handover):
            for step in self.steps:
                if self._is_ready(step):
                    future = at_work.submit(copy_context().run, self.do, step)
                    future.add_done_callback(self.handover.tell)
                    self.futures[step.unit.claim_fp] = self.handover.writing[step.unit.claim_fp] = future

    def end(self) -> None:
        """Returns when all units that were begun have ended.

        Raises:
            Exception: what a unit raised.
        """
        if self.begun:
            self.begun.result()
        wait(self.futures.values())
        self.handover.clear()
        for step in self.steps:
            future = self.futures.get(step.unit.claim_fp)
            if future and (error := future.exception()):
                self.failed(step.number)
                raise error

    def _is_ready(self, step: Step) -> bool:
        """Whether a unit has its input, once that is handed over, or its file is there, or never comes."""
        makes = {step.unit.claim_fp: step.unit for step in self.steps}
        path = step.reads
        if path is None or path not in makes:
            return True
        maker = self.futures.get(path)
        if maker is None:
            return False  # its own input never came
        self.handover.wait_for(path, maker)
        return self.handover.has(path) or (maker.exception() is None and makes[path].is_done())
