"""What the configuration alone shows to be wrong with the stages of a pipeline, before the first one runs."""

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException

from ..errors import ITEM, UserError, explain
from ..stages import packaged_stages
from .pipeline import Pipeline
from .plan import StageRun

logger = logging.getLogger(__name__)


def stage_problems(pipeline: Pipeline, runs: Sequence[StageRun]) -> list[str]:
    """What the modules of packaged stages find wrong with the configurations that their stages will get.

    A stage's module may have a function `check(cfg)`, which raises what it finds wrong. It computes nothing and reads
    small files at most: the event conversion file, the headers of tables.

    Stages that are done are passed over, unless they are to be done again.
    """
    again = pipeline.flag("do_overwrite")
    messages, said = [], set[str]()
    for run in runs:
        if not again and run.done.is_set():
            continue
        if message := _not_said(_problem(pipeline, run) or "", said):
            messages.append(f"{run.name}: {message}".replace("\n", "\n    "))
    return messages


def _not_said(message: str, said: set[str]) -> str:
    """A message without the items of its list that other stages have said, and which are noted; empty if none is left.

    Several stages read the event conversion file.
    """
    headline, *items = message.split(ITEM)
    new = [item for item in items or [headline] if item not in said]
    said.update(new)
    return ITEM.join([headline, *new] if items else new) if new else ""


def _problem(pipeline: Pipeline, run: StageRun) -> str | None:
    module = packaged_module(run.program)
    if module is None:
        return None
    check = getattr(import_module(module), "check", None)
    try:
        if check is not None:
            check(pipeline.stage_config(run.name))
    except (UserError, OmegaConfBaseException) as error:
        return explain(error)
    except Exception as error:  # the stage itself meets it as well, and says it better
        logger.debug("The check of the stage %s failed: %s", run.name, error)
    return None


def packaged_module(program: Sequence[str]) -> str | None:
    """The module behind a packaged script; None for any other program."""
    name = Path(program[0]).name.removesuffix(".exe") if program else ""
    return next((stage.module for stage in packaged_stages().values() if stage.script == name), None)
