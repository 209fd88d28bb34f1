"""A worker that runs several stages of a pipeline in one process.

The runner starts it for consecutive stages of this package, or of packages that register theirs, in place of a script
for each. Stages that work on shards alone share a pass (see `mapreduce.passes`); the next pass begins when the one
before it is done, by whichever worker. Each stage has its own logs and notes, as if its own script had run.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

from ..cli.boundary import hydra_script
from ..cli.process import begun
from ..cli.script import (
    checked_config,
    is_packaged,
    log_begin,
    log_end,
    log_warnings,
    prepare_for_polars,
    settled,
    stage_module,
)
from ..errors import Problem
from ..settings.declarations import MATCH_REVISE
from ..settings.intermediates import intermediates
from ..settings.packaged import PREPROCESS_CONFIG_YAML, with_packaged_blocks
from ..settings.resolvers import Script
from ..stages import find_stage
from ..work.closing import clear_record
from ..work.journal import is_noted_as_ended, note_ended
from ..work.staying import staying
from ..work.turn import turn_to
from ..work.usage import Meter, metered
from .own_scripts import load_main
from .passed_on import PassedOn
from .segments import STAGES_KEY
from .stage_logs import StageLogs

if TYPE_CHECKING:
    from ..mapreduce.passes import PlannedStage
    from ..mapreduce.plans import Others, Plan

logger = logging.getLogger(__name__)


def main() -> None:
    """Runs the stages that the command line names."""
    hydra_script(run_stages, PREPROCESS_CONFIG_YAML)


def run_stages(cfg: DictConfig) -> None:
    """Runs the stages of a configuration, in order."""
    scripts: Mapping[str, Any] = dict(cfg[STAGES_KEY])
    with open_dict(cfg):
        del cfg[STAGES_KEY]
    logs = StageLogs(cfg)
    stages = [StageAtWork.of(cfg, name, script, logs) for name, script in scripts.items()]
    prepare_for_polars(only_packaged=all(is_packaged(stage.module) for stage in stages))
    with staying():
        passes = Passes(stages)
        while passes.left:
            passes.go_on()


@dataclass
class StageAtWork:
    """A stage that the worker runs, with the configuration that its own script would have."""

    cfg: DictConfig
    module: str
    script: str
    logs: StageLogs
    has_begun: bool = False

    @classmethod
    def of(cls, cfg: DictConfig, name: str, script: str, logs: StageLogs) -> "StageAtWork":
        """A stage by its name, run by the script of a stage, or an own script."""
        of_stage, stage = cfg.copy(), find_stage(script)
        of_stage.stage = name
        return cls(of_stage, stage.module if stage else "", script, logs)

    @property
    def name(self) -> str:
        """The name of the stage."""
        return str(self.cfg.stage)

    def turn_to(self) -> None:
        """From now on, logs and notes are about this stage."""
        turn_to(self.name)

    def begin(self) -> Any:
        """Checks its keys and logs its beginning, once; gives what runs it."""
        self.turn_to()
        Script.running = Script(self.name, self.module)
        self.logs.open(self.cfg)
        if not self.has_begun:
            warnings = list[Problem]()
            if self.module:
                self.cfg, warnings = checked_config(self.cfg, self.script)
            log_warnings(warnings)
            log_begin(self.cfg)
            self.cfg = settled(self.cfg)
        self.has_begun = True
        return stage_module(self.module).run if self.module else load_main(Path(self.script))

    @property
    def planned(self) -> "PlannedStage | None":
        """What runs it, if it tells what it is to do before it does it, and so can read what is not written."""
        from ..mapreduce.passes import PlannedStage  # as in `Passes.run_next`

        run = stage_module(self.module).run if self.module else None
        return run if isinstance(run, PlannedStage) else None

    @property
    def is_alone(self) -> bool:
        """Whether it never shares a pass."""
        return bool(self.planned and self.planned.is_alone)

    @property
    def others(self) -> "Others":
        """What it does with columns that not every MEDS file has."""
        from ..mapreduce.plans import Others, others_by

        block = self.cfg.stage_configs.get(self.name) or {}
        planned = self.planned
        return Others.NEEDED if planned is None or block.get(MATCH_REVISE) else others_by(planned.others, block)

    def end(self, started: float, meter: Meter) -> None:
        """Logs and notes that all of it is done, and what that took."""
        meter.ended(self.name, time.monotonic() - started)
        log_end(self.cfg, started)
        note_ended()


class Passes:
    """The way of a worker through its stages, pass by pass.

    Args:
        stages: the stages, in order.
    """

    def __init__(self, stages: Sequence[StageAtWork]) -> None:
        self.left = [*stages]
        self.ended: set[str] = set()
        self.unwritten: list[Plan] = []
        """What stages of earlier passes are to do whenever later ones read from them."""
        self.data = PassedOn(intermediates(with_packaged_blocks(stages[0].cfg)))

    def go_on(self) -> None:
        """Runs the next stage, and what shares a pass with it, unless others end it just when this worker comes.

        NOTE: they may have freed its input by then, so that it cannot even be planned any more.
        """
        try:
            with metered(self.left[0].cfg) as meter:
                self.run_next(meter)
        except Exception:
            if not is_noted_as_ended(self.left[0].name):
                raise
            logger.info("Stage %s: ended by other workers", self.left[0].name)
            clear_record(Path(self.left[0].cfg.stage_cfg.output_dir), self.left[0].name)
            self._end(self.left[:1])

    def run_next(self, meter: Meter) -> None:
        """Runs the next stage, with those after it that can share a pass with it."""
        from ..mapreduce.passes import Watch, run_pass  # with it polars, which must find its number of threads
        from ..mapreduce.plans import with_columns_for_files
        from ..work.expected import expecting

        started, first = time.monotonic(), self.left[0]
        plans = self._plans()
        stages = self.left[: len(plans)]
        if not plans:
            with expecting([plan.expected() for plan in self.unwritten if plan.instead]):
                first.begin()(first.cfg)
            first.end(started, meter)
            self._end([first])
            return
        plans = [self.data.as_kept(plan, stage, stages, self.left) for plan, stage in zip(plans, stages, strict=True)]
        at_work, unwritten = with_columns_for_files(plans, self.unwritten)
        watch = Watch(
            turn_to=lambda number: stages[number].turn_to(),
            ended=lambda number, seconds: stages[number].end(time.monotonic() - seconds, meter),
        )
        run_pass(at_work, unwritten, watch)
        self.unwritten += [plan for plan in plans if not plan.is_written]
        self._end(stages)

    def _plans(self) -> "list[Plan]":
        """What the first stages are to do, as far as they can share a pass; what the next one lacks, it says later.

        Nothing where the first one does not tell.
        """
        from ..mapreduce.passes import plan_of
        from ..work.expected import expecting

        plans: list[Plan] = []
        for stage in self.left:
            if plans and (self.left[0].is_alone or stage.is_alone):
                break
            before = [*self.unwritten, *plans]
            with suppress(*([Exception] if plans else [])), expecting([plan.expected() for plan in before]):
                run = stage.begin()
                begun()
                plan = plan_of(run, stage.cfg)
                if plan and (not plans or plan.follows(before)):
                    plans.append(plan)
                    if not plan.reduction:
                        continue
            break
        return plans

    def _end(self, stages: Sequence[StageAtWork]) -> None:
        """Goes on behind some stages; frees what is not kept and has been read by all that do."""
        self.ended |= {stage.name for stage in stages}
        del self.left[: len(stages)]
        self.data.free_read(self.ended, {plan.outputs.stage for plan in self.unwritten})


if __name__ == "__main__":
    main()
