"""Intermediate data that are not kept: which of them must be made again, and what is removed at the end."""

import logging
from collections.abc import Sequence

from rich.filesize import decimal

from ..settings.intermediates import intermediates
from ..work.freeing import free
from .pipeline import Pipeline
from .plan import StageRun

logger = logging.getLogger(__name__)


def needed_again(pipeline: Pipeline, runs: Sequence[StageRun]) -> set[str]:
    """The stages that are done and freed, but whose data are to be kept by now, or are read by a stage that is to run.

    A stage between them that is freed as well, and needed, is to run, too.
    """
    if not (freed := {run.name for run in runs if run.done.is_freed()}):
        return set()
    there, needed = intermediates(pipeline.cfg), set[str]()
    for run in reversed(runs):
        if run.name in freed and (run.name in needed or run.name not in there or there[run.name].is_kept):
            needed.add(run.name)
        if run.name in needed or not run.done.is_set():
            needed |= {name for name, one in there.items() if run.name in one.readers and name in freed}
    return needed


def free_intermediates(pipeline: Pipeline) -> None:
    """Removes what is not kept and is still there once all stages are done."""
    unkept = {name: one for name, one in intermediates(pipeline.cfg).items() if not one.is_kept}
    freed = {name: free(one.folder, name) for name, one in unkept.items()}
    if total := sum(freed.values()):
        logger.info(f"Removed intermediate data, which are not kept: {decimal(total)}.")
