"""Which consecutive stages of a pipeline the same workers run, each in one process, without a start for every stage."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cli.overrides import hydra_value
from ..stages import PACKAGE
from ..work.journal import Work, has_ended, read_journal
from .checks import stage_of
from .own_scripts import own_script
from .plan import StageRun
from .stage_runners import Parallel

WORKER = f"{PACKAGE}.runner.worker"
"""The module that runs the stages of a segment."""
STAGES_KEY = "_stages_of_worker"
"""The key by which it is told these stages, each with the stage whose script runs it, or the file of its script."""
_SCRIPT_WORDS = 3
"""A script without arguments of its own, and the two options that give it the pipeline."""
_NAMED_WORDS = 6
"""The same where Python runs a stage by name: `python -m MEDS_transforms.cli STAGE`."""


@dataclass(frozen=True)
class Segment:
    """Consecutive stages of a pipeline that each worker runs in one process; a single one is run by its own script."""

    stages: tuple[StageRun, ...]
    journal: Path
    """The folder in which the workers note their work."""

    @property
    def parallel(self) -> Parallel:
        """How workers share the stages."""
        return self.stages[0].parallel

    @property
    def at_work(self) -> StageRun:
        """The first stage that has not ended, or, of those that share its pass, the one that failed; else the last."""
        at_work = [stage for stage in self.stages if not self.has_ended(stage)] or [self.stages[-1]]
        works = {stage.name: read_journal(self.notes_of(stage)) for stage in at_work}
        return next((stage for stage in at_work if works[stage.name].has_failed), at_work[0])

    @property
    def name(self) -> str:
        """The name of the stage that is at work."""
        return self.at_work.name

    def has_ended(self, stage: StageRun) -> bool:
        """Whether the workers have noted that all of a stage is done."""
        return has_ended(self.notes_of(stage))

    def work(self) -> Work:
        """How far the stage is that is at work."""
        return read_journal(self.notes_of(self.at_work))

    def commands(self, n_workers: int) -> list[list[str]]:
        """What to start at the same time, for as many workers; where more stages are to come, for all workers."""
        first = self.stages[0]
        if len(self.stages) == 1:
            return first.commands(n_workers)
        scripts = {stage.name: _script_of(stage) for stage in self.stages}
        program = [sys.executable, "-m", WORKER, *first.program[-2:]]
        overrides = [*first.overrides, f"++{STAGES_KEY}={hydra_value(scripts)}"]
        worker = StageRun(first.name, program, overrides, first.done, first.parallel)
        return worker.commands(first.parallel.n_workers)

    def notes_of(self, stage: StageRun) -> Path:
        """The folder in which the workers note their work on a stage."""
        return self.journal if len(self.stages) == 1 else self.journal / stage.name


def segment_from(runs: Sequence[StageRun], fuse: bool) -> Segment:
    """The longest segment that begins with the first of these stages; with `fuse` off, that stage alone."""
    first, *others = runs
    together = [first]
    for run in others if fuse and _joins(first) else ():
        if not _joins(run) or run.parallel != first.parallel:
            break
        together.append(run)
    return Segment(tuple(together), first.done.path.with_suffix(".journal").absolute())


def _joins(run: StageRun) -> bool:
    """Whether a worker can run a stage in its own process."""
    return _script_of(run) is not None


def _script_of(run: StageRun) -> str | None:
    """What a worker is to run for a stage: the name of a stage of this installation, or the path of an own script.

    None for what has arguments of its own, and whatever else is not known to do nothing but its stage.
    """
    if path := own_script(run.program):
        return str(path)
    stage = stage_of(run.program)
    if stage is None or Path(run.program[0]).parent != Path(sys.executable).parent:
        return None
    return stage.name if len(run.program) in (_SCRIPT_WORDS, _NAMED_WORDS) else None
