"""Which splits a stage goes by: those of the input, or those that stages before it have made or cut the data by."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .declarations import declaring_stage, script_stage
from .folders import populate_stage
from .layout import METADATA_DIR, SPLITS_FILE

MAKES_SPLITS, CUTS_BY_SPLIT = "split_subjects", "reshard_to_split"
"""The stage that makes splits, and the one that makes the shards of each."""
SPLITS_FP = "splits_fp"
"""The key of the second that names other splits."""


@dataclass(frozen=True)
class SplitsInForce:
    """The splits that a stage goes by: their file, and whether the pipeline made them after it cut the shards."""

    path: Path
    are_newer_than_shards: bool = False


def splits_in_force(cfg: Mapping[str, Any], after_all: bool = False) -> SplitsInForce:
    """The splits by which the running stage goes; with `after_all`, those of what the pipeline makes.

    They are those of the input until a stage makes others, or cuts the data by others.
    """
    found = SplitsInForce(Path(cfg.get("input_dir") or "") / METADATA_DIR / SPLITS_FILE)
    blocks = cfg.get("stage_configs") or {}
    for stage in cfg.get("stages") or ():
        if stage == cfg.get("stage") and not after_all:
            break
        block = blocks.get(stage) or {}
        kind = declaring_stage(stage, script_stage(str(block.get("_script") or "")))
        if kind == MAKES_SPLITS:
            folders = populate_stage(stage, cfg["input_dir"], cfg["cohort_dir"], cfg["stages"], blocks)
            found = SplitsInForce(Path(folders["output_dir"]) / SPLITS_FILE, are_newer_than_shards=True)
        elif kind == CUTS_BY_SPLIT:
            found = SplitsInForce(Path(block.get(SPLITS_FP) or found.path))
    return found
