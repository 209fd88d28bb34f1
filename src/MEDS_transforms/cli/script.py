"""A stage module becomes a script.

    script  ->  stage_script  ->  Hydra  ->  the module's `run(cfg)`

The stage's module, and with it polars, is imported only when the stage really runs.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ..errors import InputError, Problem, nearest, not_set
from ..settings.checks import check_block, check_pipeline
from ..settings.declarations import MATCH_REVISE
from ..settings.folders import folder_problems
from ..settings.keys import (
    flag,
    names_taken,
    unknown_additions,
    unknown_stage_blocks,
    unknown_stage_keys,
    unknown_top_keys,
)
from ..settings.names import check_names
from ..settings.packaged import default_config, with_packaged_blocks
from ..settings.plain import may_be_secret, plain
from ..settings.resolvers import Script
from ..stages import PACKAGE, find_stage, packaged_stages, registered_stages
from ..work.environment import RESUMING
from ..work.usage import metered
from .boundary import give_up, hydra_script
from .overrides import override_key, with_override
from .process import begun
from .repeats import leave_out_what_the_runner_warned_of
from .threads import spare_blas_threads, use_allotted_cpus

logger = logging.getLogger(__name__)

_OF_BLOCKS = ("input_dir", "cohort_dir", "stages", "stage_configs")
"""What the block of a stage is made of, with the folders filled in."""


def main() -> None:
    """Runs the stage that the program is named after: `MEDS_transform-filter_subjects`; links may have any name."""
    program = Path(sys.argv[0])
    names = [path.name.removesuffix(".exe").partition("-")[2] for path in (program, program.resolve())]
    run_by_name(next(filter(find_stage, names), names[0]))


def run_by_name(name: str) -> None:
    """Runs a stage, of this package or of another one that has registered it, as a script."""
    stage = find_stage(name)
    if stage is None:
        give_up(f"There is no stage {name!r}{nearest(name, [*packaged_stages(), *registered_stages()])}.")
    stage_script(stage.module, stage=name)()


def stage_script(module: str, config: Path | None = None, stage: str | None = None) -> Callable[..., None]:
    """The `main` of a stage module that has a function `run(cfg)`.

    `main()` runs the stage as a Hydra application on the command line and, where the command line names no stage, under
    the name `stage`. `main(cfg)` runs just the stage.

    Args:
        module: the module's import path.
        config: the default configuration; default: the packaged one for stages of this kind.
        stage: the stage's name; default: that of the module.
    """
    name = stage or module.rpartition(".")[2]

    def main(cfg: DictConfig | None = None) -> None:
        if cfg is not None:
            _check_values(cfg, name)
            stage_module(module).run(cfg)
            return
        Script.running = Script(name, module)
        if "stage" not in map(override_key, sys.argv[1:]):
            sys.argv[1:] = with_override(sys.argv[1:], f"++stage={name}")
        hydra_script(lambda cfg: run_stage(module, cfg, name), config or default_config(name))

    return main


def run_stage(module: str, cfg: DictConfig, script: str, in_own_process: bool = True) -> DictConfig:
    """Runs one stage, by the script of this name: checks its keys, logs its beginning and its end.

    With `in_own_process` the process is there for the stage alone, and is set up for it.

    Returns:
        its configuration, with the defaults of its block.
    """
    started = time.monotonic()
    cfg, warnings = checked_config(cfg, script, in_own_process)
    log_warnings(warnings)
    log_begin(cfg)
    cfg = settled(cfg)
    if in_own_process:
        prepare_for_polars(only_packaged=is_packaged(module))
    with metered(cfg) as meter:
        run = stage_module(module).run
        if in_own_process:
            begun()
        run(cfg)
        meter.ended(cfg.stage)
    log_end(cfg, started)
    log_warnings(warnings)
    return cfg


def checked_config(cfg: DictConfig, script: str, by_hydra: bool = True) -> tuple[DictConfig, list[Problem]]:
    """The configuration of a stage with the defaults of its block, and warnings about its keys.

    `by_hydra`: where Hydra runs, it runs the stage; otherwise an application of the user's, which has other settings.

    Raises:
        UserError: with all that is wrong with it.
    """
    leave_out_what_the_runner_warned_of()
    cfg = with_packaged_blocks(cfg)
    stage = cfg.stage
    warnings = unknown_stage_keys(stage, cfg.stage_configs.get(stage), script)
    if RESUMING not in os.environ:  # else the runner has said it, once for all stages
        warnings += unknown_stage_blocks(cfg.get("stages") or [stage], cfg.stage_configs)
        warnings += _unknown_at_the_top(cfg, script, by_hydra and HydraConfig.initialized())
    _check_values(cfg, script)
    if warnings and flag(cfg, "strict"):
        raise InputError("\n".join(warnings))
    if RESUMING not in os.environ:
        warnings += names_taken([stage])
    if problems := folder_problems(cfg):
        raise InputError("\n".join(problems))
    check_names([stage], "stage", "The stage cannot run")
    _check_mandatory(stage, cfg.stage_cfg)
    return cfg, warnings


def settled(cfg: DictConfig) -> DictConfig:
    """The configuration with the stage's block as it is now: to put it together at every look at it takes seconds.

    NOTE: not where it may have values from the environment, since stages print their configurations.
    """
    written = plain(cfg, resolve=False)
    if may_be_secret([written.get(key) for key in _OF_BLOCKS], written):
        return cfg
    found = cfg.copy()
    with open_dict(found):
        found.stage_cfg = found.stage_cfg
    return found


def prepare_for_polars(only_packaged: bool) -> None:
    """Sets what polars and numpy read when they are imported; `only_packaged`: just stages of this package will run."""
    use_allotted_cpus()
    if only_packaged:
        spare_blas_threads()


def is_packaged(module: str) -> bool:
    """Whether a module is one of this package."""
    return module.startswith(f"{PACKAGE}.")


def log_begin(cfg: DictConfig) -> None:
    """Logs that a stage begins."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("Configuration:\n%s", OmegaConf.to_yaml(cfg))
    logger.info("Stage %s, worker %s", cfg.stage, cfg.get("worker"))


def log_end(cfg: DictConfig, started: float) -> None:
    """Logs that a stage, which started then by the monotonic clock, has ended."""
    logger.info("Stage %s, worker %s: done in %.1f s", cfg.stage, cfg.get("worker"), time.monotonic() - started)


def log_warnings(warnings: Iterable[str]) -> None:
    """Logs warnings."""
    for warning in warnings:
        logger.warning(warning)


def _unknown_at_the_top(cfg: DictConfig, script: str, by_hydra: bool) -> list[Problem]:
    is_packaged_stage = script in packaged_stages()
    all_packaged = is_packaged_stage and {*(cfg.get("stages") or ())} <= packaged_stages().keys()
    hydra = HydraConfig.get() if by_hydra else None
    overrides = [*hydra.overrides.task] if hydra else []
    found = unknown_top_keys(cfg, overrides, hydra or "", all_unknown=all_packaged and flag(cfg, "strict"))
    return found + (unknown_additions(overrides, cfg) if is_packaged_stage else [])


def stage_module(name: str) -> Any:
    """Imports a module with a function `run(cfg)`.

    Raises:
        InputError: there is no such module, or it has no such function.
    """
    module, colon, _ = name.partition(":")
    if colon:
        raise InputError(f"{name} is registered for the stage: an entry point names a module alone. Write {module}.")
    try:
        found = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it misses another one
        raise InputError(f"There is no module {name}, which is registered for the stage: install it again.") from None
    if not callable(getattr(found, "run", None)):
        raise InputError(f"The module {name} has no function run(cfg), by which a stage runs. Add it.")
    return found


def _check_values(cfg: DictConfig, script: str) -> None:
    """Raises an InputError that names every value, of the stage's keys or the general ones, that is not allowed."""
    if problems := check_block(cfg.get("stage", script), cfg["stage_cfg"], script, cfg) + check_pipeline(cfg):
        raise InputError("\n".join(f"{problem}." for problem in problems))


def _check_mandatory(stage: str, stage_cfg: DictConfig) -> None:
    """Raises a ValueError if mandatory keys of a stage's block are not set.

    Not for match & revise, where each entry may set its own.
    """
    missing = sorted(OmegaConf.missing_keys(stage_cfg))
    if missing and not stage_cfg.get(MATCH_REVISE):
        raise InputError(not_set(*(f"stage_configs.{stage}.{key}" for key in missing)))
