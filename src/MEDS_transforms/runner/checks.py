"""What the configuration alone shows to be wrong with the stages of a pipeline, before the first one runs."""

import logging
import multiprocessing
import re
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from omegaconf.errors import OmegaConfBaseException

from ..cli.script import stage_module
from ..errors import ITEM, UserError, explain
from ..settings.checks import check_block, check_pipeline
from ..settings.declarations import script_stage
from ..stages import PACKAGE, Stage, find_stage
from .pipeline import Pipeline
from .plan import StageRun

logger = logging.getLogger(__name__)


def stage_problems_apart(pipeline: Pipeline, runs: Sequence[StageRun]) -> list[str]:
    """As `stage_problems`, in a process of its own: what the stages import is 0.1 GB, which ends with it.

    Not where that is in memory already, nor where to fork is not safe: in macOS, and beside other threads.
    """
    if "polars" in sys.modules or sys.platform != "linux" or threading.active_count() > 1:
        return stage_problems(pipeline, runs)
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_send_problems, args=(theirs, pipeline, runs))
    child.start()
    theirs.close()
    try:
        found, records = ours.recv()
    except EOFError:  # it was lost, or its check failed; what the matter is is seen here, or not at all
        return stage_problems(pipeline, runs)
    finally:
        child.join()
    for record in records:
        logging.getLogger(record.name).handle(record)
    return list(found)


def _send_problems(connection: Connection, pipeline: Pipeline, runs: Sequence[StageRun]) -> None:
    """Sends what is wrong with the stages, and what was logged meanwhile."""
    logged: SimpleQueue[logging.LogRecord] = SimpleQueue()
    logging.getLogger().handlers = [QueueHandler(logged)]
    with suppress(BaseException):  # which the process that waits gets as well, be it Ctrl-C or an error of the check
        found = stage_problems(pipeline, runs)
        connection.send((found, [logged.get() for _ in range(logged.qsize())]))


def stage_problems(pipeline: Pipeline, runs: Sequence[StageRun]) -> list[str]:
    """What the modules of stages find wrong with the configurations that their stages will get.

    A stage's module may have a function `check(cfg)`, which raises what it finds wrong. It computes nothing and reads
    small files at most: the event conversion file, the headers of tables.

    Stages that are done are passed over, unless they are to be done again; so are those whose blocks have values that
    are not allowed, and what is said of such a key of the whole pipeline: these are reported already.
    """
    again = pipeline.flag("do_overwrite")
    messages, reported = [], {_key(message) for message in check_pipeline(pipeline.cfg)}
    for run in runs:
        if not again and run.done.is_set():
            continue
        if message := _unreported(_problem(pipeline, run) or "", reported):
            messages.append(f"{run.name}: {message}".replace("\n", "\n    "))
    return messages


def _unreported(message: str, reported: set[str]) -> str:
    """A message without the items that are reported already, and which are noted; empty if none is left.

    Several stages read the event conversion file.
    """
    headline, *items = message.split(ITEM)
    new = [item for item in items or [headline] if not {item, _key(item)} & reported]
    reported.update(new)
    return ITEM.join([headline, *new] if items else new) if new else ""


def _key(message: str) -> str:
    """The key that a message about a value begins with."""
    return re.split(r"[ .\[]", message, maxsplit=1)[0]


def _problem(pipeline: Pipeline, run: StageRun) -> str | None:
    stage = stage_of(run.program)
    if stage is None or check_block(run.name, pipeline.block(run.name), stage.name):
        return None
    try:
        module = stage_module(stage.module) if _is_by_name(run.program) else import_module(stage.module)
    except Exception as error:  # whatever the module of another package raises
        return f"its module {stage.module} cannot be used: {explain(error)}"
    try:
        if check := getattr(module, "check", None):
            check(pipeline.stage_config(run.name))
    except (UserError, OmegaConfBaseException) as error:
        return explain(error)
    except Exception as error:  # the stage itself fails on it as well, with a better message
        logger.debug("The check of the stage %s failed: %s", run.name, error)
    return None


def stage_of(program: Sequence[str]) -> Stage | None:
    """The packaged or registered stage that a command runs, by its console script or by name; None for any other."""
    if _is_by_name(program):
        return find_stage(program[3])
    script = Path(program[0]).name.removesuffix(".exe") if program else ""
    stage = find_stage(script_stage(script) or "")
    return stage if stage and stage.script == script else None


def _is_by_name(program: Sequence[str]) -> bool:
    return [*program[1:3]] == ["-m", f"{PACKAGE}.cli"] and len(program) > 3
