"""A stage module becomes a script.

    script  ->  stage_script  ->  Hydra  ->  the module's `run(cfg)`

The stage's module, and with it polars, is imported only when the stage really runs.
"""

import gc
import logging
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import InputError, nearest
from ..settings.folders import overlap
from ..settings.keys import flag, unknown_stage_blocks, unknown_stage_keys
from ..settings.names import check_names
from ..settings.packaged import EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML, plugin_defaults, with_packaged_blocks
from ..settings.resolvers import Script
from ..stages import EXTRACT_PREFIX, STAGES, TRANSFORM_PREFIX, is_extraction, module_of, plugin_stages
from ..work.environment import RESUMING
from .boundary import give_up, hydra_script
from .overrides import override_key, with_override
from .threads import use_allotted_cpus

logger = logging.getLogger(__name__)


def main() -> None:
    """Runs the stage that the program is named after: `MEDS_transform-filter_subjects`, say."""
    program = Path(sys.argv[0]).name.removesuffix(".exe")
    run_by_name(program.removeprefix(EXTRACT_PREFIX).removeprefix(TRANSFORM_PREFIX))


def run_by_name(stage: str) -> None:
    """Runs a stage, of this package or of another one that has registered it, as a script."""
    module = module_of(stage)
    if module is None:
        give_up(f"There is no stage {stage!r}{nearest(stage, [*STAGES, *plugin_stages()])}.")
    stage_script(module, stage=stage)()


def stage_script(module: str, config: Path | None = None, stage: str | None = None) -> Callable[..., None]:
    """The `main` of a stage module that has a function `run(cfg)`.

    `main()` runs the stage as a Hydra application on the command line, with `config` as its default
    configuration (that of the extraction or of pre-processing, by the module) and, where the command line names no
    stage, the one of this name, by default the module's. `main(cfg)` runs just the stage.
    """
    config = config or (EXTRACT_CONFIG_YAML if is_extraction(module) else PREPROCESS_CONFIG_YAML)
    stage = stage or module.rpartition(".")[2]

    def main(cfg: DictConfig | None = None) -> None:
        if cfg is not None:
            import_module(module).run(cfg)
            return
        Script.running = Script(stage, module)
        if "stage" not in map(override_key, sys.argv[1:]):
            sys.argv[1:] = with_override(sys.argv[1:], f"++stage={stage}")
        hydra_script(lambda cfg: run_stage(module, cfg), config)

    return main


def run_stage(module: str, cfg: DictConfig) -> None:
    """Runs one stage: checks its keys, logs a line at the beginning and a summary at the end."""
    started = time.monotonic()
    cfg = with_packaged_blocks(cfg)
    stage = cfg.stage
    add_defaults(cfg, stage, module)
    warnings = unknown_stage_keys(stage, cfg.stage_configs.get(stage), module.rpartition(".")[2])
    if RESUMING not in os.environ:  # else the runner has said it, once for all stages
        warnings += unknown_stage_blocks(cfg.get("stages") or [stage], cfg.stage_configs)
    flags = {key: flag(cfg, key) for key in ("strict", "do_overwrite")}
    if warnings and flags["strict"]:
        raise InputError("\n".join(warnings))
    if wrong := overlap(cfg.get("input_dir"), cfg.get("cohort_dir")):
        raise InputError(wrong)
    check_names([stage], "stage", "The stage cannot run")
    _check_worker(cfg.get("worker", 0))
    _check_mandatory(stage, cfg.stage_cfg)
    for warning in warnings:
        logger.warning(warning)
    logger.debug("Configuration:\n%s", OmegaConf.to_yaml(cfg))
    logger.info("Stage %s, worker %s", stage, cfg.get("worker"))
    use_allotted_cpus()
    run = import_module(module).run
    gc.freeze()  # polars and what else the stage imports, as above
    run(cfg)
    logger.info("Stage %s, worker %s: done in %.1f s", stage, cfg.get("worker"), time.monotonic() - started)
    for warning in warnings:
        logger.warning(warning)


def add_defaults(cfg: DictConfig, stage: str, module: str) -> None:
    """Adds the defaults of a stage of another package, which are in a YAML file beside its module, if there is one."""
    if (defaults := plugin_defaults(module)) is not None:
        own = (cfg.get("stage_configs") or {}).get(stage) or {}
        OmegaConf.update(cfg, f"stage_configs.{stage}", OmegaConf.merge(defaults, own), force_add=True)


def _check_worker(worker: Any) -> None:
    if not isinstance(worker, int) or isinstance(worker, bool) or worker < 0:
        raise InputError(
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
        raise InputError(f"{where} is not set: give it in the pipeline file, or as {where}=… on the command line.")
