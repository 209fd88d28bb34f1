"""The packaged configuration files, and what they say of the packaged stages."""

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import InputError
from ..stages import EXTRACT, PACKAGE, TRANSFORM, block_names, packaged_stages
from .declarations import stage_block

CONFIG_DIR = Path(__file__).parents[1] / "configs"
EXTRACT_CONFIG_YAML = CONFIG_DIR / "_extract.yaml"
PREPROCESS_CONFIG_YAML = CONFIG_DIR / "_preprocess.yaml"
RUNNER_CONFIG_YAML = CONFIG_DIR / "_runner.yaml"
RESERVED_CONFIG_NAMES = {p.stem for p in (EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML, RUNNER_CONFIG_YAML)}


def default_config(stage: str) -> Path:
    """The packaged pipeline whose defaults a stage has when its script is called without one."""
    packaged = packaged_stages().get(stage)
    return EXTRACT_CONFIG_YAML if packaged and packaged.prefix == EXTRACT else PREPROCESS_CONFIG_YAML


def register_stage_blocks() -> None:
    """Gives Hydra what `_extract.yaml` and `_preprocess.yaml` have in their defaults: the blocks of all stages.

    NOTE: in a list of 16 files, one for each block, Hydra takes ten times as long to read them.
    """
    for name, prefix in {"_extract_stages": EXTRACT, "_preprocess_stages": TRANSFORM}.items():
        blocks = {stage: block for stage in block_names(prefix) if (block := _default_block(stage)) is not None}
        ConfigStore.instance().store(name=name, node={"stage_configs": blocks}, provider=PACKAGE)


def _default_block(stage: str) -> Any:
    """The block of a stage as its file has it; None where the file of another package cannot be read.

    Then that stage fails when its keys are looked at, and no other stage does.
    """
    try:
        block = stage_block(stage)
    except (InputError, OSError):
        return None
    return block.default if block and isinstance(block.default, dict) else None


def with_packaged_blocks(cfg: DictConfig) -> DictConfig:
    """The configuration with the packaged block of each stage whose own is left empty, or all `stage_configs` are.

    NOTE: to OmegaConf an empty block is a null, which replaces the block from the defaults list.
    """
    stages, blocks = OmegaConf.select(cfg, "stages"), OmegaConf.select(cfg, "stage_configs")
    all_empty = blocks is None and "stage_configs" in cfg and not OmegaConf.is_missing(cfg, "stage_configs")
    if not isinstance(stages, ListConfig) or not (all_empty or isinstance(blocks, DictConfig)):
        return cfg
    left_empty = [name for name in stages if all_empty or _is_null(blocks, name)]
    if not left_empty:
        return cfg
    filled = OmegaConf.merge(cfg, {"stage_configs": {name: _packaged_block(name) for name in left_empty}})
    assert isinstance(filled, DictConfig)
    return filled


def _is_null(blocks: DictConfig, name: object) -> bool:
    if name not in blocks or OmegaConf.is_missing(blocks, name) or OmegaConf.is_interpolation(blocks, str(name)):
        return False
    return blocks[name] is None


def _packaged_block(stage: object) -> DictConfig:
    """The block of a stage by default: that of its own file, and what its packaged pipeline sets in addition.

    NOTE: that is the folder from which `shard_events` reads the raw tables.
    """
    name = str(stage)
    in_pipeline = OmegaConf.load(default_config(name)).get("stage_configs") or {}
    filled = OmegaConf.merge(_default_block(name) or {}, in_pipeline.get(name) or {})
    assert isinstance(filled, DictConfig)
    return filled
