"""Runs the stages of a pipeline, in order, several in one process where they can be; what is done is skipped.

A stage that succeeds leaves `<log_dir>/<stage>.done`, the whole pipeline `<log_dir>/_all_stages.done`.
"""

import logging
import sys
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ..cli.boundary import give_up, hydra_script
from ..cli.command_line import WORKERS_HINT, is_multirun, mistake, understood, unreadable
from ..cli.overrides import override_key, quoted, split_overrides, with_override
from ..cli.process import begun
from ..cli.repeats import without_repeats
from ..errors import InputError, StageError
from ..remarks import Remark, Severity
from ..settings.keys import flag, names_taken
from ..settings.layout import METADATA_DIR, SPLITS_FILE
from ..settings.packaged import RUNNER_CONFIG_YAML
from ..settings.splits_in_force import splits_in_force
from ..work.files import make_folder, publish, try_lock
from .checks import Look
from .done import ALL_DONE, Overwriting, recorded_files
from .ending import last_words
from .figures import FAILED
from .freed import clean, free_intermediates, needed_again
from .metadata_files import absolute, bring_along, forget_makers, former_makers
from .pipeline import Pipeline, load_pipeline
from .plan import StageRun, plan, serial_workers, unknown_keys
from .processes import Children
from .progress import Progress
from .screen import AUTO, Sink, only_json_on_stdout, open_screen, way_of
from .segments import segment_from
from .stage_process import StageProcess, failure_message, stage_log_dir
from .stage_runners import read_stage_runners

__all__ = ["main", "run", "split_overrides"]

logger = logging.getLogger(__name__)

LEVELS = {Severity.ERROR: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.NOTE: logging.DEBUG}

RUNNER_LOG = "MEDS-transforms_runner.log"
"""In `log_dir`, where Hydra does not run the runner."""

RUNNER_LOCK = ".runner.lock"
"""In `log_dir`; held by the runner as long as it lives, since two would take each other's notes for theirs."""


def main(cfg: DictConfig | None = None) -> None:
    """Runs the pipeline that the command line names, or with a configuration that is composed already."""
    forget_pipelines()
    if cfg is not None:
        run(cfg)
        return
    sys.argv[1:] = understood(sys.argv[1:])
    if wrong := mistake(sys.argv[1:]) or unreadable(sys.argv[1:]):
        give_up(wrong)
    runner_args, stage_overrides = split_overrides(sys.argv[1:])
    _check_runner_args(runner_args)
    if stage_overrides:
        runner_args = with_override(runner_args, f"++_stage_overrides=[{','.join(map(quoted, stage_overrides))}]")
    argv = sys.argv
    try:
        sys.argv = [argv[0], *runner_args]
        hydra_script(_run_as_script, RUNNER_CONFIG_YAML)
    finally:
        sys.argv = argv


def _run_as_script(cfg: DictConfig) -> None:
    begun()
    run(cfg)


def _check_runner_args(args: Sequence[str]) -> None:
    """Ends with a message where the runner itself, which is one process, is given a launcher or several workers."""
    if is_multirun(args):
        give_up(f"--multirun: the runner is one process, which starts the workers of each stage.{WORKERS_HINT}")
    for arg in args:
        if override_key(arg).startswith(("hydra/launcher", "hydra.launcher")):
            give_up(f"{arg}: name the launcher of the stages in a stage-runner file: stage_runner_fp=FILE.yaml")


def run(cfg: DictConfig, log_fp: Path | None = None) -> None:
    """Checks the whole pipeline, then runs its stages.

    `log_fp` is where their output goes; default: the log that Hydra has opened for the runner.
    """
    way = way_of(cfg.get("progress", AUTO))
    log_fp = log_fp or _log_file(cfg)
    make_folder(log_fp.parent)
    with (
        only_json_on_stdout(way),
        try_lock(Path(cfg.log_dir) / RUNNER_LOCK) as alone,
        log_fp.open("a", encoding="utf-8", errors="replace", buffering=1) as log,
    ):
        if not alone:
            raise StageError(f"Another runner is already using {cfg.log_dir}. Wait for it to finish, or stop it.")
        _run(cfg, log_fp, lambda line: log.write(line + "\n"))


def _run(cfg: DictConfig, log_fp: Path, log: Sink) -> None:
    log_dir = Path(cfg.log_dir)
    overwriting = Overwriting(log_dir)
    pipeline = overwriting.resumed(pipeline_of(cfg))
    forget_pipelines()  # the files may be others when the next run begins in this process
    stage_runners = read_stage_runners(cfg)
    with without_repeats() as warned:
        look = Look(inspects=flag(cfg, "check", default=True) and not flag(cfg, "clean"))
        runs = plan(pipeline, stage_runners, log_dir, flag(cfg, "do_profile"), look=look).checked()
        logged = [record.getMessage() for record in warned.values()]
        _tell(look.inspection.remarks)
    of_settings = (
        unknown_keys(pipeline) + stage_runners.unknown_keys(pipeline.stage_names) + serial_workers(pipeline, runs)
    ) + names_taken(pipeline.stage_names)
    _warn(of_settings)
    if flag(cfg, "clean"):
        clean(pipeline, runs)
        return
    if pipeline.flag("do_overwrite") and not overwriting.begin(pipeline, [stage.done for stage in runs]):
        logger.info("Resuming an interrupted run with do_overwrite.")
    _run_stages(pipeline, runs, log_fp, log, warned, cfg)
    free_intermediates(pipeline)
    _bring_along(pipeline, runs, log_dir)
    publish(log_dir / ALL_DONE, Path.touch)
    overwriting.end()
    logger.info("The stage is done." if len(runs) == 1 else f"All {len(runs)} stages are done.")
    _say_last_words(pipeline, [*logged, *of_settings])


def _run_stages(
    pipeline: Pipeline, runs: Sequence[StageRun], log_fp: Path, log: Sink, warned: Iterable[str], cfg: DictConfig
) -> None:
    """Runs the stages that are not done, segment by segment.

    Raises:
        StageError: a stage failed.
    """
    fuse = pipeline.flag("fuse") and not flag(cfg, "do_profile")
    to_do, again = [*runs], needed_again(pipeline, runs)
    with Children().ended_by_signals() as children, open_screen(way_of(cfg.get("progress", AUTO))) as screen:
        progress = Progress(runs, again, screen, (cfg.get("_stage_runners"), pipeline.cfg.get("stage_configs")))
        while to_do:
            if progress.skips(to_do[0]):
                to_do.pop(0)
                continue
            segment = segment_from(to_do, fuse)
            del to_do[: len(segment.stages)]
            begins = partial(progress.begin, segment)
            process = StageProcess(segment, children, [screen.line, log], warned, begins, progress.end)
            with progress.watching(segment, children):
                failure = process.run()
            if failure:
                progress.end(segment.at_work, FAILED)
                stage_logs = stage_log_dir(pipeline, segment.name)
                raise StageError(failure_message(segment.name, failure, stage_logs, log_fp, process.shown_errors))


def _bring_along(pipeline: Pipeline, runs: Sequence[StageRun], log_dir: Path) -> None:
    input_dir, cohort_dir = pipeline.value("input_dir"), pipeline.value("cohort_dir")
    if input_dir and cohort_dir:
        splits_fp, own = (
            splits_in_force(pipeline.cfg, after_all=True).path,
            Path(cohort_dir) / METADATA_DIR / SPLITS_FILE,
        )
        made = {path for stage in runs for path in stage.done.made()} | recorded_files(own.parent)
        if former := former_makers(own, pipeline.stage_names):
            made.discard(absolute(own))
        bring_along(Path(input_dir), Path(cohort_dir), log_dir, made, pipeline.flag("do_overwrite"), splits_fp)
        forget_makers(own, former, log_dir)


def _tell(remarks: Sequence[Remark]) -> None:
    """Logs what a look at the data has found; nothing of it is an error."""
    for remark in remarks:
        logger.log(LEVELS[remark.severity], "%s", remark.problem)


def _say_last_words(pipeline: Pipeline, warnings: Sequence[str]) -> None:
    lines, to_repeat = last_words(pipeline, warnings)
    for line in lines:
        logger.info(line)
    _warn(to_repeat)


def _warn(messages: Sequence[str]) -> None:
    for message in messages:
        logger.warning(message)


def _log_file(cfg: DictConfig) -> Path:
    """The log that Hydra opened for the runner, or one in `log_dir` where Hydra does not run."""
    if HydraConfig.initialized():
        return Path(HydraConfig.get().runtime.output_dir) / f"{HydraConfig.get().job.name}.log"
    return Path(cfg.log_dir) / RUNNER_LOG


def pipeline_of(cfg: DictConfig) -> Pipeline:
    """The pipeline of the runner's configuration, with the overrides for its stages; composed once in a run."""
    return _composed(OmegaConf.select(cfg, "pipeline_config_fp"), tuple(_stage_overrides(cfg)))


@cache
def _composed(config_fp: str | None, overrides: tuple[str, ...]) -> Pipeline:
    return load_pipeline(config_fp, overrides)


def forget_pipelines() -> None:
    """Lets files be read again, which may be others by now."""
    _composed.cache_clear()


def _stage_overrides(cfg: DictConfig) -> list[str]:
    """The overrides for the stages, as they were typed: interpolations in them are the stages' to resolve."""
    node = OmegaConf.select(cfg, "_stage_overrides")
    return [] if node is None else list(OmegaConf.to_container(node, resolve=False))


def _from_pipeline(key: str, *, _root_: DictConfig) -> str:
    """Resolver: `cohort_dir` or `description` of the pipeline, composed with the overrides for its stages."""
    config_fp = OmegaConf.select(_root_, "pipeline_config_fp")
    if key == "description" and not config_fp:
        return "No pipeline is given."
    value = pipeline_of(_root_).value(key)
    if value in (None, "") and key != "description":
        raise InputError(f"The pipeline {config_fp} sets no {key}; add it to the file, or {key}=… to the command.")
    return str(value or "No description provided.")


OmegaConf.register_new_resolver("from_pipeline", _from_pipeline, replace=True)

if __name__ == "__main__":
    main()
