"""Intermediate data that are not kept: which of them must be made again, and what is removed once all is done."""

import logging
from collections.abc import Mapping, Sequence

from omegaconf import open_dict
from rich.filesize import decimal

from ..errors import StageError, listed
from ..settings.intermediates import KEEP_INTERMEDIATES, LAST, Intermediate, intermediates, unkept
from ..work.freeing import free
from .pipeline import Pipeline
from .plan import StageRun

logger = logging.getLogger(__name__)


def needed_again(pipeline: Pipeline, runs: Sequence[StageRun]) -> set[str]:
    """The stages that are done, and whose data are not there though a stage reads them that is to run.

    That may be another one of these.
    """
    if not (freed := {run.name for run in runs if run.done.is_freed()}):
        return set()
    there, needed = intermediates(pipeline.cfg), set[str]()
    for run in reversed(runs):
        if run.name in needed or not run.done.is_set():
            needed |= {name for name, one in there.items() if run.name in one.readers and name in freed}
    return needed


def free_intermediates(pipeline: Pipeline) -> None:
    """Removes what is not kept and is still there once all stages are done."""
    if to_free := unkept(pipeline.cfg):
        _free(to_free)


def clean(pipeline: Pipeline, runs: Sequence[StageRun]) -> None:
    """Removes the intermediate data of a pipeline that is done, whether it was to keep them or not.

    With `keep_intermediates: last`, those of the last stage stay, and so do those of a stage whose block says so.

    Raises:
        StageError: a stage is not done, and may still need them.
    """
    if undone := [run.name for run in runs if not run.done.is_set()]:
        raise StageError(
            f"clean: not all stages are done ({listed(undone)}), so that nothing was removed. Run the pipeline first."
        )
    cfg = pipeline.cfg.copy()
    with open_dict(cfg):
        cfg[KEEP_INTERMEDIATES] = LAST if pipeline.value(KEEP_INTERMEDIATES) == LAST else False
    _free(unkept(cfg))


def _free(to_free: Mapping[str, Intermediate]) -> None:
    freed = {name: free(one.folder, name) for name, one in to_free.items()}
    for name, size in freed.items():
        if size:
            logger.info(f"{to_free[name].folder}: removed, {decimal(size)}.")
    logger.info(f"Intermediate data removed: {decimal(sum(freed.values()))}.")
