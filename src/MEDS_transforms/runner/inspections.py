"""What the stages of a pipeline find in the data before they run.

Stages whose modules have a function `inspect(cfg)` look at samples of what they will read. For transforms, the dataset
is looked at that the first of them reads, and what each will get from those before it.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import explain
from ..precheck.report import Inspection
from ..stages import EXTRACT, packaged_stages
from .checks import config_for, module_of, stage_of, stages_to_do
from .pipeline import Pipeline
from .plan import StageRun

if TYPE_CHECKING:
    from ..mapreduce.flow import Flow

logger = logging.getLogger(__name__)

FLOW = "stage_order"


def inspect_stages(pipeline: Pipeline, runs: Sequence[StageRun]) -> Inspection:
    """What is found for the stages that are to run, in samples of what they will read.

    A stage's module may have a function `inspect(cfg)`, which reads a few rows, writes nothing, and returns an
    `Inspection`. It is called where `check(cfg)` has found mistakes, too, and leaves out what these concern.
    """
    from ..mapreduce.flow import Flow  # it imports polars

    found, to_do, flow, looked_at = Inspection(), stages_to_do(pipeline, runs), Flow(), set[Path]()
    for run in runs:
        is_to_do = run in to_do
        if is_to_do:
            _try(run, partial(_inspect, pipeline, run, found))
        if not is_extraction(run):
            flow.is_lost |= not _try(run, partial(_follow, pipeline, run, flow, looked_at, is_to_do, found))
    return found


def is_extraction(run: StageRun) -> bool:
    """Whether a stage is one of those that make a dataset of raw tables."""
    stage = stage_of(run.program)
    return stage is not None and stage.prefix == EXTRACT


def _try(run: StageRun, inspect: Callable[[], object]) -> bool:
    """Inspects, and gives whether that could be done. If not, the check of the stage, or the stage itself, says why."""
    try:
        inspect()
    except Exception as error:
        logger.debug("%s: not inspected: %s", run.name, explain(error), exc_info=True)
        return False
    return True


def _inspect(pipeline: Pipeline, run: StageRun, found: Inspection) -> None:
    module = module_of(pipeline, run)
    inspect: Any = getattr(module, "inspect", None)
    if callable(inspect):
        found.add(inspect(config_for(module, pipeline, run)))


def _follow(
    pipeline: Pipeline, run: StageRun, flow: "Flow", looked_at: set[Path], tell: bool, found: Inspection
) -> None:
    """Takes a transform for run, and notes what it will lack."""
    cfg, stage = pipeline.stage_config(run.name), stage_of(run.program)
    module = module_of(pipeline, run) if stage and stage.name in packaged_stages() else None
    read = Path(cfg["stage_cfg"]["data_input_dir"])
    if tell and module is not None and read not in flow.forms and read not in looked_at:
        looked_at.add(read)
        if read not in _written_by(pipeline):
            from ..mapreduce.input_inspection import inspect_input

            found.add(inspect_input(cfg))
    problems = flow.pass_by(module, cfg)
    if tell:
        found.add_problems(problems, run.name, FLOW)


def _written_by(pipeline: Pipeline) -> set[Path]:
    """The folders to which stages of a pipeline write data."""
    configs = (pipeline.stage_config(name)["stage_cfg"] for name in pipeline.stage_names)
    return {Path(stage_cfg["output_dir"]) for stage_cfg in configs}
