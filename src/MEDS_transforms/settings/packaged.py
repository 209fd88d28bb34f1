"""The packaged configuration files, and what they say of the packaged stages."""

from functools import cache
from pathlib import Path

from omegaconf import OmegaConf

from .folders import INFERRED_STAGE_KEYS

PACKAGE = __name__.partition(".")[0]
CONFIG_DIR = Path(__file__).parents[1] / "configs"
EXTRACT_CONFIG_YAML = CONFIG_DIR / "_extract.yaml"
PREPROCESS_CONFIG_YAML = CONFIG_DIR / "_preprocess.yaml"
RUNNER_CONFIG_YAML = CONFIG_DIR / "_runner.yaml"
RESERVED_CONFIG_NAMES = {p.stem for p in (EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML, RUNNER_CONFIG_YAML)}
FREE_FORM_STAGES = {"extract_values"}


@cache
def packaged_stage_keys(stage_name: str) -> frozenset[str] | None:
    """The keys that a packaged stage knows, from its YAML; None for a stage that is not packaged."""
    path = CONFIG_DIR / "stage_configs" / f"{stage_name}.yaml"
    if not path.is_file():
        return None
    return frozenset(OmegaConf.load(path)[stage_name] or {}) | INFERRED_STAGE_KEYS | {"description"}
