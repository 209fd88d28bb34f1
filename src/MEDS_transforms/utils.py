"""Helpers of earlier releases, under their former names."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .dataset.io import write_lazyframe
from .parser import is_col_field, parse_col_field
from .settings.folders import is_metadata_stage, populate_stage
from .settings.resolvers import current_script_name, get_package_version, get_script_docstring

__all__ = [
    "current_script_name",
    "get_package_version",
    "get_script_docstring",
    "get_shard_prefix",
    "hydra_loguru_init",
    "is_col_field",
    "is_metadata_stage",
    "parse_col_field",
    "populate_stage",
    "stage_init",
    "write_lazyframe",
]

logger = logging.getLogger(__name__)


def stage_init(cfg: Mapping[str, Any]) -> tuple[Path, Path, Path]:
    """The folders of the running stage: data input, output, metadata input."""
    stage_cfg = cfg["stage_cfg"]
    keys = ("data_input_dir", "output_dir", "metadata_input_dir")
    logger.info("Stage %s: %s", cfg.get("stage"), ", ".join(f"{key} {stage_cfg.get(key)}" for key in keys))
    data_input_dir, output_dir, metadata_input_dir = (Path(stage_cfg[key]) for key in keys)
    return data_input_dir, output_dir, metadata_input_dir


def get_shard_prefix(base_path: Path, fp: Path) -> str:
    """The name of a shard: its path below `base_path`, without suffix.

    Examples:
        >>> get_shard_prefix(Path("/a/b"), Path("/a/b/train/0.parquet"))
        'train/0'
    """
    relative = Path(fp).relative_to(base_path)
    return (relative.parent / relative.name.split(".")[0]).as_posix()


def hydra_loguru_init() -> None:
    """Does nothing, since Python's logging is used. Kept for older scripts that import it."""
    warnings.warn("hydra_loguru_init no longer does anything; remove the call.", DeprecationWarning, stacklevel=2)
