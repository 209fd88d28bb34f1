"""Which stages of a pipeline would find their outputs done, or refuse to run for what is there."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import Problem, UserError, explain, problems_in
from ..stages import packaged_stages
from ..work.provenance import recorded_stages
from .checks import module_of, stage_of
from .pipeline import Pipeline
from .plan import StageRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outlook:
    """What a stage would find: all done, or why it would refuse to run; neither where it would work."""

    is_finished: bool = False
    refusal: Problem | None = None


def outlooks(pipeline: Pipeline, runs: Sequence[StageRun]) -> dict[str, Outlook]:
    """The outlook of stages, up to the first that has something to do: later ones read what that makes."""
    found = dict[str, Outlook]()
    again = pipeline.flag("do_overwrite")
    for run in runs:
        if not again and run.done.is_set():
            continue
        if again or not _has_outputs(run):
            break
        found[run.name] = _outlook(pipeline, run)
        if not found[run.name].is_finished:
            break
    return found


def _has_outputs(run: StageRun) -> bool:
    """Whether the stage has left something where it writes: else there is nothing to ask."""
    return any(folder.is_dir() and (any(recorded_stages(folder)) or _has_files(folder)) for folder in run.done.folders)


def _has_files(folder: Path) -> bool:
    return any(path.suffix == ".parquet" for path in folder.rglob("*"))


def _outlook(pipeline: Pipeline, run: StageRun) -> Outlook:
    stage = stage_of(run.program)
    if stage is None or stage.name not in packaged_stages():
        return Outlook()
    from ..mapreduce.outlook import is_finished  # which imports polars

    with suppress(Exception):  # what is wrong with its settings is said elsewhere
        module, cfg = module_of(pipeline, run), pipeline.stage_config(run.name)
        try:
            return Outlook(bool(is_finished(module.run, cfg)))
        except FileExistsError as error:
            return Outlook(refusal=problems_in(error)[0])
        except UserError as error:
            logger.debug("%s: %s", run.name, explain(error))
    return Outlook()
