"""The packaged configuration files, and what they say of the packaged stages."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from ..stages import module_of
from .folders import INFERRED_STAGE_KEYS

PACKAGE = __name__.partition(".")[0]
CONFIG_DIR = Path(__file__).parents[1] / "configs"
EXTRACT_CONFIG_YAML = CONFIG_DIR / "_extract.yaml"
PREPROCESS_CONFIG_YAML = CONFIG_DIR / "_preprocess.yaml"
RUNNER_CONFIG_YAML = CONFIG_DIR / "_runner.yaml"
RESERVED_CONFIG_NAMES = {p.stem for p in (EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML, RUNNER_CONFIG_YAML)}
FREE_FORM_STAGES = {"extract_values"}


def plugin_defaults(module: str) -> DictConfig | None:
    """The defaults of a stage of another package: the block in the YAML file beside its module; None without one."""
    spec = None if module.partition(".")[0] == PACKAGE else find_spec(module)
    path = Path(spec.origin).with_suffix(".yaml") if spec and spec.origin else None
    if path is None or not path.is_file():
        return None
    block: DictConfig = OmegaConf.load(path)[path.stem]
    return block


@cache
def packaged_stage_keys(stage_name: str) -> frozenset[str] | None:
    """The keys that a packaged stage knows, from its YAML; None for a stage without one.

    That of another package's stage is beside its module.
    """
    path = CONFIG_DIR / "stage_configs" / f"{stage_name}.yaml"
    if not path.is_file():
        module = module_of(stage_name)
        defaults = plugin_defaults(module) if module else None
        return None if defaults is None else frozenset(defaults) | INFERRED_STAGE_KEYS | {"description"}
    return frozenset(OmegaConf.load(path)[stage_name] or {}) | INFERRED_STAGE_KEYS | {"description"}


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
    path = CONFIG_DIR / "stage_configs" / f"{stage}.yaml"
    block = OmegaConf.load(path)[stage] if path.is_file() else None
    return block or OmegaConf.create({})
