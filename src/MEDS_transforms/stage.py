"""A stage module becomes a script: Hydra around it, one message for whatever goes wrong.

    script  ->  stage_script  ->  Hydra  ->  the module's `run(cfg)`

The stage's module, and with it polars, is imported only when the stage really runs.
"""

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .config import RESUMING, RUN_STARTED, Script, flag, unknown_stage_blocks, unknown_stage_keys
from .errors import StageError, explain, wants_trace
from .help import print_help
from .journal import note_error
from .overrides import override_key, with_override

logger = logging.getLogger(__name__)

_LOCAL_LAUNCHERS = ("joblib", "submitit_local")
_THREADS = "POLARS_MAX_THREADS"
"""NOTE: polars reads it once, when it is imported; workers inherit the environment of the process that starts them."""
_ALLOTTED_CPUS = "SLURM_CPUS_PER_TASK"
_FULL_ERROR = "HYDRA_FULL_ERROR"
"""NOTE: unless it is 1, Hydra itself prints the better part of a trace; then errors would not get to us."""


def stage_script(module: str, config: Path) -> Callable[..., None]:
    """The `main` of a stage module that has a function `run(cfg)`.

    `main()` runs the stage as a Hydra application on the command line, with `config` as its default
    configuration and, where the command line names no stage, the stage that the module is named after.
    `main(cfg)` runs just the stage.
    """
    stage = module.rpartition(".")[2]

    def main(cfg: DictConfig | None = None) -> None:
        if cfg is not None:
            import_module(module).run(cfg)
            return
        Script.running = Script(stage, module)
        if "stage" not in map(override_key, sys.argv[1:]):
            sys.argv[1:] = with_override(sys.argv[1:], f"++stage={stage}")
        hydra_script(lambda cfg: run_stage(module, cfg), config)

    return main


def hydra_script(run: Callable[[DictConfig], None], config: Path) -> None:
    """Runs a function as a Hydra application; an error becomes one message and exit status 1.

    Under a launcher `run` is pickled and called in other processes. With HYDRA_FULL_ERROR=1 errors pass through
    and Python prints their traces.
    """
    launching_process, full_error = os.getpid(), os.environ.get(_FULL_ERROR, "0")
    trace = wants_trace()

    def task(cfg: DictConfig) -> None:
        os.environ[_FULL_ERROR] = full_error
        try:
            run(cfg)
        except Exception as error:
            if trace:
                raise
            message = explain(error)
            _log_to_files(message)
            note_error(message)
            if os.getpid() == launching_process:
                give_up(message)
            raise StageError(message) from None

    gc.freeze()  # what is imported lives as long as the process: no collection, nor its end, has to visit it
    began = os.environ.get(RUN_STARTED) if RESUMING in os.environ else None
    with _environment(_FULL_ERROR, "1"), _environment(RUN_STARTED, began or repr(time.time())):
        try:
            share_cores(sys.argv[1:])
            if not print_help(sys.argv[1:], config):
                hydra.main(version_base=None, config_path=str(config.parent), config_name=config.stem)(task)()
        except KeyboardInterrupt:
            give_up("Interrupted. The same command goes on from here.", 128 + signal.SIGINT)
        except Exception as error:
            if trace:
                raise
            if isinstance(error, HydraException | OmegaConfBaseException):
                note_error(explain(error))  # of the configuration, and the same another time; a launcher's may not be
            give_up(explain(error))


def _log_to_files(message: str) -> None:
    """Logs an error, but not to the console, where it is to stand once, at the end."""
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, message, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            with suppress(OSError):  # the error itself may be a full disk
                handler.handle(record)


def give_up(message: str, status: int = 1) -> NoReturn:
    """Ends the script with a message."""
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


def run_stage(module: str, cfg: DictConfig) -> None:
    """Runs one stage: checks its keys, logs a line at the beginning and a summary at the end."""
    started = time.monotonic()
    stage = cfg.stage
    warnings = unknown_stage_keys(stage, cfg.stage_configs.get(stage), module.rpartition(".")[2])
    if RESUMING not in os.environ:  # else the runner has said it, once for all stages
        warnings += unknown_stage_blocks(cfg.get("stages") or [stage], cfg.stage_configs)
    flags = {key: flag(cfg, key) for key in ("strict", "do_overwrite")}
    if warnings and flags["strict"]:
        raise ValueError("\n".join(warnings))
    _check_worker(cfg.get("worker", 0))
    _check_mandatory(stage, cfg.stage_cfg)
    for warning in warnings:
        logger.warning(warning)
    logger.debug("Configuration:\n%s", OmegaConf.to_yaml(cfg))
    logger.info("Stage %s, worker %s", stage, cfg.get("worker"))
    _use_allotted_cpus()
    run = import_module(module).run
    gc.freeze()  # polars and what else the stage imports, as above
    run(cfg)
    logger.info("Stage %s, worker %s: done in %.1f s", stage, cfg.get("worker"), time.monotonic() - started)
    for warning in warnings:
        logger.warning(warning)


def _check_worker(worker: Any) -> None:
    if not isinstance(worker, int) or isinstance(worker, bool) or worker < 0:
        raise ValueError(
            f"worker must be a whole number from 0 on, not {worker!r}: workers differ in it, and worker 0 merges "
            "what a metadata stage computed."
        )


def _check_mandatory(stage: str, stage_cfg: DictConfig) -> None:
    """Raises a ValueError if mandatory keys of a stage's block are not set.

    Not for match & revise, where each entry may set its own.
    """
    missing = sorted(OmegaConf.missing_keys(stage_cfg))
    if missing and "_match_revise" not in stage_cfg:
        where = ", ".join(f"stage_configs.{stage}.{key}" for key in missing)
        raise ValueError(f"{where} is not set: give it in the pipeline file, or as {where}=… on the command line.")


def share_cores(argv: list[str], environ: Any = os.environ) -> None:
    """Gives each of several local workers its share of the cores, unless the user set the number of threads."""
    overrides = dict(arg.lstrip("+").split("=", 1) for arg in argv if "=" in arg)
    if _THREADS in environ or overrides.get("hydra/launcher") not in _LOCAL_LAUNCHERS:
        return
    workers = len(_values(overrides.get("worker", "0")))
    n_jobs = str(_values(overrides.get("hydra.launcher.n_jobs", "-1"))[0])
    if n_jobs.isdecimal() and int(n_jobs) > 0:
        workers = min(workers, int(n_jobs))
    limit_threads(workers, environ)


def limit_threads(workers: int, environ: Any) -> None:
    """Gives each of several workers an equal share of the cores, unless the user set the number of threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = int(environ.get(_ALLOTTED_CPUS, cores))
    environ.setdefault(_THREADS, str(max(1, cores // max(1, workers))))


def _use_allotted_cpus() -> None:
    """Gives the worker as many threads as Slurm gave its job CPUs, unless the user set the number.

    NOTE: just before the stage runs, since Slurm jobs inherit the environment of the process that submits them, which
    may be in a smaller job. Where Slurm does not bind a job to its CPUs, polars would use all that the node has.
    """
    if _ALLOTTED_CPUS in os.environ:
        os.environ.setdefault(_THREADS, os.environ[_ALLOTTED_CPUS])


def _values(text: str) -> list[Any]:
    """The values that the right-hand side of an override stands for: several, if it is a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(f"key={text}")
    return list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets an environment variable, for this process and those it starts, and puts back what was there."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def config_value(cfg: Mapping[str, Any], key: str) -> Any:
    """The value of a mandatory key; where it is missing, an error that says how to give it."""
    value = OmegaConf.select(cfg, key) if OmegaConf.is_config(cfg) else cfg.get(key)
    if value is None:
        raise ValueError(f"{key} is not set: give it in the pipeline file, or as {key}=… on the command line.")
    return value
