"""Runs the stages of a pipeline, in order, each by its own script; what is done is skipped.

A stage that succeeds leaves `<log_dir>/<stage>.done`, the whole pipeline `<log_dir>/_all_stages.done`.
"""

import logging
import os
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ..cli.boundary import ERROR_PREFIX, give_up, hydra_script
from ..cli.command_line import mistake, understood, unreadable
from ..cli.overrides import override_key, quoted, split_overrides
from ..cli.process import begun
from ..cli.repeats import without_repeats
from ..cli.threads import limit_threads, share_cores
from ..errors import InputError, StageError, counted, explain
from ..settings.keys import flag
from ..settings.layout import METADATA_DIR
from ..settings.packaged import RUNNER_CONFIG_YAML
from ..settings.secrets import variables_in
from ..work.environment import JOURNAL, RESUMING, RUN, WARNED
from ..work.files import publish, try_lock
from .checks import stage_problems
from .done import ALL_DONE, Overwriting, recorded_files
from .metadata_files import bring_along
from .pipeline import Pipeline, load_pipeline
from .plan import StageRun, plan, serial_workers, unknown_keys
from .processes import Children
from .retries import Failure, run_until_complete
from .screen import Screen, Sink, open_screen
from .stage_runners import PARALLELIZE, StageRunners

__all__ = ["main", "run", "split_overrides"]

logger = logging.getLogger(__name__)

RUNNER_LOCK = ".runner.lock"
"""In `log_dir`; held by the runner as long as it lives, since two would take each other's notes for theirs."""


def main(cfg: DictConfig | None = None) -> None:
    """Runs the pipeline that the command line names, or with a configuration that is composed already."""
    _composed.cache_clear()
    if cfg is not None:
        run(cfg)
        return
    sys.argv[1:] = understood(sys.argv[1:])
    if wrong := mistake(sys.argv[1:]) or unreadable(sys.argv[1:]):
        give_up(wrong)
    runner_args, stage_overrides = split_overrides(sys.argv[1:])
    _check_runner_args(runner_args)
    if stage_overrides:
        runner_args.append(f"++_stage_overrides=[{','.join(map(quoted, stage_overrides))}]")
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
    """Ends with a message where a launcher is given to the runner itself, which starts one process: itself."""
    for arg in args:
        if override_key(arg).startswith(("hydra/launcher", "hydra.launcher")):
            give_up(f"{arg}: name the launcher of the stages in a stage-runner file: stage_runner_fp=FILE.yaml")


def run(cfg: DictConfig) -> None:
    """Checks the whole pipeline, then runs its stages."""
    log_fp = _log_file(cfg)
    log_fp.parent.mkdir(parents=True, exist_ok=True)
    with (
        try_lock(Path(cfg.log_dir) / RUNNER_LOCK) as alone,
        log_fp.open("a", encoding="utf-8", errors="replace", buffering=1) as log,
    ):
        if not alone:
            raise StageError(f"Another runner is already using {cfg.log_dir}. Wait for it to finish, or stop it.")
        _run(cfg, log_fp, lambda line: log.write(line + "\n"))


def _run(cfg: DictConfig, log_fp: Path, log: Sink) -> None:
    log_dir = Path(cfg.log_dir)
    overwriting = Overwriting(log_dir)
    pipeline = overwriting.resumed(_pipeline(cfg))
    _composed.cache_clear()  # the files may be others when the next run begins in this process
    stage_runners = read_stage_runners(cfg)
    with without_repeats() as warned:
        runs = plan(pipeline, stage_runners, log_dir, flag(cfg, "do_profile"), look=stage_problems)
    warnings = (
        unknown_keys(pipeline) + stage_runners.unknown_keys(pipeline.stage_names) + serial_workers(pipeline, runs)
    )
    _warn(warnings)
    if pipeline.flag("do_overwrite") and not overwriting.begin(pipeline, [stage.done for stage in runs]):
        logger.info("Resuming an interrupted run with do_overwrite.")
    children = Children()
    with children.ended_by_signals(), open_screen() as screen:
        for number, stage in enumerate(runs, 1):
            if stage.done.is_set():
                logger.info(f"Stage {number} of {len(runs)}, {stage.name}, is already done: skipped.")
                continue
            screen.begin(number, len(runs), stage.name)
            command, *others = stage.commands(stage.parallel.n_workers)
            times = f" ({len(others) + 1} processes)" if others else ""
            shown = without_secrets(shlex.join(command), cfg.get("_stage_runners"), pipeline.cfg.get("stage_configs"))
            logger.info(f"Stage {number} of {len(runs)}, {stage.name}{times}: {shown}")
            _run_stage(stage, pipeline, children, screen, log, log_fp, warned)
    _bring_along(pipeline, runs, log_dir)
    publish(log_dir / ALL_DONE, Path.touch)
    overwriting.end()
    logger.info("The stage is done." if len(runs) == 1 else f"All {len(runs)} stages are done.")
    _warn(warnings)


def read_stage_runners(cfg: DictConfig) -> StageRunners:
    """The stage-runner file; where it has no `parallelize`, with the one of the runner's own configuration.

    Raises:
        ValueError: the file is not a mapping, or cannot be read.
    """
    name = f"stage-runner file {cfg.get('stage_runner_fp')}" if cfg.get("stage_runner_fp") else "stage-runner file"
    try:
        entries = _plain(cfg.get("_stage_runners")) or {}
    except Exception as error:  # YAML, OmegaConf: an environment variable that is not set, say
        raise InputError(f"The {name} cannot be used: {explain(error)}") from error
    if not isinstance(entries, dict):
        raise InputError(f"The {name} must map stages to blocks, not be a list.")
    entries = _with_params_as_written(entries, _written(cfg, "_stage_runners"))
    return StageRunners({PARALLELIZE: _plain(cfg.get(PARALLELIZE)), **entries}, name)


def _with_params_as_written(entries: Any, written: Any) -> Any:
    """The entries, in which parameters of launchers that come from the environment are left to the stage to resolve.

    So they are in no command line and in no log.
    """
    if not isinstance(entries, dict) or not isinstance(written, dict):
        return written if isinstance(written, str) and "oc.env" in written else entries
    return {
        key: _with_params_as_written(value, written.get(key))
        if key not in ("script", "n_workers", "launcher", "max_retries")
        else value
        for key, value in entries.items()
    }


def without_secrets(text: str, *configs: Any) -> str:
    """A text in which the values of environment variables that configurations come from are their names again."""
    names = {name for config in configs for name in variables_in(config)}
    for name in sorted(names, key=lambda name: len(os.environ.get(name, "")), reverse=True):
        if value := os.environ.get(name):
            text = text.replace(value, f"${{oc.env:{name}}}")
    return text


def _written(cfg: DictConfig, key: str) -> Any:
    """What a key holds as its author wrote it."""
    value = cfg.get(key)
    return OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value


def _run_stage(
    stage: StageRun,
    pipeline: Pipeline,
    children: Children,
    screen: Screen,
    log: Sink,
    log_fp: Path,
    warned: Iterable[str],
) -> None:
    """Runs one stage and marks it done.

    Raises:
        StageError: it failed, or could not be started.
        SystemExit: the runner was told to stop.
    """
    start = time.monotonic()
    journal = stage.done.path.with_suffix(".journal").absolute()
    shutil.rmtree(journal, ignore_errors=True)
    environ = stage_environment(journal, warned)
    shown_errors: set[str] = set()

    def note_shown_error(line: str) -> None:
        """Notes the first line of an error in the stage's output."""
        if line.startswith(ERROR_PREFIX):
            shown_errors.add(line.removeprefix(ERROR_PREFIX))

    def stop_if_told() -> None:
        if stopped_by := children.stopped_by:
            jobs = " Its jobs stay in Slurm's queue: cancel them with scancel." if stage.parallel.on_slurm else ""
            again = "Run the same command to continue."
            logger.error(f"Stopped by {stopped_by.name} in stage {stage.name}.{jobs} {again}")
            raise SystemExit(128 + stopped_by)

    def run(commands: list[list[str]]) -> int:
        env = environ.copy()
        if stage.parallel.in_processes:
            limit_threads(len(commands), env)
        else:
            share_cores(commands[0], env)  # the package's own scripts do that themselves, a user's may not
        try:
            status = children.run(commands, env, [screen.line, log, note_shown_error])
        except OSError as error:
            raise StageError(f"The stage {stage.name} could not be started: {error}") from error
        stop_if_told()
        return status

    if failure := run_until_complete(stage, run, stop_if_told, journal):
        stage_logs = stage_log_dir(pipeline, stage.name)
        raise StageError(failure_message(stage.name, failure, stage_logs, log_fp, shown_errors))
    stage.done.set()
    shutil.rmtree(journal, ignore_errors=True)
    logger.info(f"Stage {stage.name} took {time.monotonic() - start:.1f} s.")


def stage_environment(journal: Path, warned: Iterable[str] = ()) -> dict[str, str]:
    """The environment of a stage's processes, in which the workers of all its attempts are one run.

    `warned` are digests of warnings that are logged already.
    """
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        RESUMING: "1",
        RUN: secrets.token_hex(8),
        JOURNAL: str(journal),
        WARNED: " ".join(warned),
    }


def failure_message(
    stage: str, failure: Failure, log_dir: str | None, log_fp: Path, shown_errors: Container[str] = ()
) -> str:
    """The message about a stage that failed: how it ended, what is missing, where to look, how to continue.

    `shown_errors` are the first lines of the errors in its output, which are not repeated.
    """
    again = f", also after {counted(failure.retries, 'retry', 'retries')}" if failure.retries else ""
    account = f" {account}\n" if (account := failure.account(shown_errors)) else " "
    own_logs = f"its logs are in {log_dir}, " if log_dir else ""
    return (
        f"The stage {stage} {failure.ending}{again}.{account}"
        f"Its output is above; {own_logs}the runner's log is {log_fp}. "
        "Correct the cause, then run the same command: it continues with this stage, or says what has changed since."
    )


def stage_log_dir(pipeline: Pipeline, stage: str) -> str | None:
    """Where a stage of the pipeline keeps its logs; None where that cannot be told."""
    with suppress(Exception):  # this goes into a message about another error
        log_dir = OmegaConf.select(pipeline.stage_config(stage), "log_dir")
        return None if log_dir is None else str(log_dir)
    return None


def _bring_along(pipeline: Pipeline, runs: Sequence[StageRun], log_dir: Path) -> None:
    input_dir, cohort_dir = pipeline.value("input_dir"), pipeline.value("cohort_dir")
    if input_dir and cohort_dir:
        made = {path for stage in runs for path in stage.done.made()} | recorded_files(Path(cohort_dir) / METADATA_DIR)
        bring_along(Path(input_dir), Path(cohort_dir), log_dir, made, pipeline.flag("do_overwrite"))


def _warn(messages: Sequence[str]) -> None:
    for message in messages:
        logger.warning(message)


def _log_file(cfg: DictConfig) -> Path:
    """The log that Hydra opened for the runner, or one in `log_dir` where Hydra does not run."""
    if HydraConfig.initialized():
        return Path(HydraConfig.get().runtime.output_dir) / f"{HydraConfig.get().job.name}.log"
    return Path(cfg.log_dir) / "MEDS-transforms_runner.log"


def _pipeline(cfg: DictConfig) -> Pipeline:
    """The pipeline of the runner's configuration, with the overrides for its stages; composed once in a run."""
    return _composed(OmegaConf.select(cfg, "pipeline_config_fp"), tuple(_stage_overrides(cfg)))


@cache
def _composed(config_fp: str | None, overrides: tuple[str, ...]) -> Pipeline:
    return load_pipeline(config_fp, overrides)


def _stage_overrides(cfg: DictConfig) -> list[str]:
    """The overrides for the stages, as they were typed: interpolations in them are the stages' to resolve."""
    node = OmegaConf.select(cfg, "_stage_overrides")
    return [] if node is None else list(OmegaConf.to_container(node, resolve=False))


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _from_pipeline(key: str, *, _root_: DictConfig) -> str:
    """Resolver: `cohort_dir` or `description` of the pipeline, composed with the overrides for its stages."""
    config_fp = OmegaConf.select(_root_, "pipeline_config_fp")
    if key == "description" and not config_fp:
        return "No pipeline is given."
    value = _pipeline(_root_).value(key)
    if value is None and key != "description":
        raise InputError(f"The pipeline {config_fp} sets no {key}; add it to the file, or {key}=… to the command.")
    return str(value or "No description provided.")


OmegaConf.register_new_resolver("from_pipeline", _from_pipeline, replace=True)

if __name__ == "__main__":
    main()
