"""What the configuration alone shows to be wrong with the stages of a pipeline, before the first one runs."""

import logging
import multiprocessing
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from omegaconf import DictConfig

from ..cli.script import is_packaged, stage_module
from ..errors import Problem, explain, is_explained
from ..interrupts import held_back, let_through
from ..precheck.memory import remembering
from ..precheck.report import Inspection
from ..remarks import errors_in
from ..settings.checks import check_block, check_pipeline
from ..settings.declarations import script_stage
from ..stages import PACKAGE, Stage, find_stage
from .pipeline import Pipeline
from .plan import StageRun
from .stage_problems import StageProblems, top_keys

logger = logging.getLogger(__name__)


@dataclass
class Look:
    """A look at the stages of a pipeline, as `plan` wants one.

    Args:
        inspects: whether samples of the data are looked at, too.
        reports: whether what is wrong with these is among the problems; else it is in `inspection` alone.
    """

    inspects: bool
    reports: bool = True
    inspection: Inspection = field(default_factory=Inspection)

    def __call__(self, pipeline: Pipeline, runs: Sequence[StageRun]) -> list[StageProblems]:
        """What is wrong with the stages."""
        problems = stage_problems_apart(pipeline, runs, self.inspection if self.inspects else None)
        if not self.reports:
            return problems
        said = "\n".join(one.message for one in problems)
        errors = [remark.problem for remark in errors_in(self.inspection.remarks) if remark.what not in said]
        return [*problems, *(StageProblems("", [error]) for error in errors)]


def stage_problems_apart(
    pipeline: Pipeline, runs: Sequence[StageRun], inspection: Inspection | None = None
) -> list[StageProblems]:
    """As `stage_problems`, in a process of its own: what the stages import is 0.1 GB, which ends with it.

    Not where that is in memory already, nor where to fork is not safe: in macOS, and beside other threads.
    """
    if "polars" in sys.modules or sys.platform != "linux" or threading.active_count() > 1:
        return stage_problems(pipeline, runs, inspection)
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    with held_back() as mask:
        child = fork.Process(target=_send_problems, args=(theirs, mask, pipeline, runs, inspection))
        child.start()
    theirs.close()
    try:
        found, inspected, records = ours.recv()
    except EOFError:  # it was lost, or its check failed; what the matter is is seen here, or not at all
        return stage_problems(pipeline, runs, inspection)
    except BaseException:  # KeyboardInterrupt, say: nobody waits for it any more
        child.kill()
        raise
    finally:
        child.join()
    for record in records:
        logging.getLogger(record.name).handle(record)
    if inspection is not None:
        inspection.add(inspected)
    return list(found)


def _send_problems(
    connection: Connection, mask: set[Any], pipeline: Pipeline, runs: Sequence[StageRun], inspection: Inspection | None
) -> None:
    """Sends what is wrong with the stages, what an inspection has found, and what was logged meanwhile."""
    let_through(mask)
    logged: SimpleQueue[logging.LogRecord] = SimpleQueue()
    logging.getLogger().handlers = [QueueHandler(logged)]
    with suppress(BaseException):  # an error of the check, which the process that waits gets as well
        found = stage_problems(pipeline, runs, inspection)
        connection.send((found, inspection, [logged.get() for _ in range(logged.qsize())]))


def stage_problems(
    pipeline: Pipeline, runs: Sequence[StageRun], inspection: Inspection | None = None
) -> list[StageProblems]:
    """What the modules of stages find wrong with the configurations that their stages will get.

    A stage's module may have a function `check(cfg)`, which raises what it finds wrong. It computes nothing and reads
    small files at most: the event conversion file, the headers of tables.

    Stages that are done are passed over, unless they are to be done again; so are those whose blocks have values that
    are not allowed, and what is said of such a key of the whole pipeline: these are reported already.
    """
    with remembering():
        problems = _problems(pipeline, stages_to_do(pipeline, runs))
        if inspection is not None:
            from .inspections import inspect_stages  # which imports polars

            inspection.add(inspect_stages(pipeline, runs))
    return problems


def _problems(pipeline: Pipeline, to_do: Sequence[StageRun]) -> list[StageProblems]:
    """What is wrong with stages, each problem once: several stages read the event conversion file."""
    found, said = [], set[str]()
    keys = {key for problem in check_pipeline(pipeline.cfg) for key in top_keys(problem)}
    for run in to_do:
        if (one := _problem(pipeline, run)) and (left := one.without(said, keys)).found:
            found.append(left)
            said.update(left.found)
    return found


def stages_to_do(pipeline: Pipeline, runs: Sequence[StageRun]) -> list[StageRun]:
    """The stages that are not done, or are to be done again."""
    again = pipeline.flag("do_overwrite")
    return [run for run in runs if again or not run.done.is_set()]


def _problem(pipeline: Pipeline, run: StageRun) -> StageProblems | None:
    try:
        module = module_of(pipeline, run)
    except Exception as error:  # whatever the module of another package raises
        stage = stage_of(run.program)
        what = f"its module {stage and stage.module} cannot be used: {explain(error)}"
        return StageProblems(run.name, [Problem(what)])
    try:
        if check := getattr(module, "check", None):
            check(config_for(module, pipeline, run))
    except Exception as error:  # the stage itself fails on it as well, with a better message
        if is_explained(error):  # of a user's mistake, or what the system refuses, such as permission
            return StageProblems.of(run.name, error)
        logger.debug("The check of the stage %s failed: %s", run.name, error)
    return None


def config_for(module: Any, pipeline: Pipeline, run: StageRun) -> DictConfig:
    """The configuration of a stage for a function of its module: one of its own where another package may change it."""
    cfg = pipeline.stage_config(run.name)
    return cfg if is_packaged(module.__name__) else cfg.copy()


def module_of(pipeline: Pipeline, run: StageRun) -> Any:
    """The module of a stage of this package or a registered one, whose block has values that are allowed; else None."""
    stage = stage_of(run.program)
    if stage is None or check_block(run.name, pipeline.block(run.name), stage.name):
        return None
    return stage_module(stage.module) if _is_by_name(run.program) else import_module(stage.module)


def stage_of(program: Sequence[str]) -> Stage | None:
    """The packaged or registered stage that a command runs, by its console script or by name; None for any other."""
    if _is_by_name(program):
        return find_stage(program[3])
    script = Path(program[0]).name.removesuffix(".exe") if program else ""
    stage = find_stage(script_stage(script) or "")
    return stage if stage and stage.script == script else None


def _is_by_name(program: Sequence[str]) -> bool:
    return [*program[1:3]] == ["-m", f"{PACKAGE}.cli"] and len(program) > 3
