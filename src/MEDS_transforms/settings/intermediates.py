"""Which outputs of a pipeline are intermediate, and which of these are kept.

Intermediate are the data of a stage that later stages of the pipeline read; not those of its last data stage, which a
metadata stage may read after it, and no metadata.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .folders import stage_folders

KEEP_INTERMEDIATES = "keep_intermediates"
LAST = "last"


@dataclass(frozen=True)
class Intermediate:
    """The data of a stage that later stages read: the folder, these stages, and whether it is kept."""

    folder: Path
    readers: frozenset[str]
    is_kept: bool


def intermediates(cfg: Mapping[str, Any]) -> dict[str, Intermediate]:
    """The intermediate data of a pipeline by stage, in order; nothing where folders cannot be told."""
    with suppress(Exception):  # a key of another stage's is not set
        folders = stage_folders(cfg["input_dir"], cfg["cohort_dir"], cfg["stages"], cfg["stage_configs"])
        read = {stage: _resolved(block["data_input_dir"]) for stage, block in folders.items()}
        written = {stage: block["output_dir"] for stage, block in folders.items() if not block["is_metadata"]}
        readers = {
            stage: frozenset(other for other in read if _resolved(at) in (read[other], *read[other].parents))
            for stage, at in written.items()
        }
        found = [stage for stage in [*written][:-1] if readers[stage]]  # the last are results, even if they are read
        return {
            stage: Intermediate(Path(written[stage]), readers[stage], _keeps(cfg, stage, stage == found[-1]))
            for stage in found
        }
    return {}


def _resolved(folder: str) -> Path:
    return Path(folder).resolve()


def unkept(cfg: Mapping[str, Any]) -> dict[str, Intermediate]:
    """The intermediate data that are not kept, by stage, in order."""
    return {stage: one for stage, one in intermediates(cfg).items() if not one.is_kept}


def _keeps(cfg: Mapping[str, Any], stage: str, is_last: bool) -> bool:
    """Whether a stage's data are kept: what its block says goes before what the pipeline says."""
    block = cfg["stage_configs"].get(stage) or {}
    own, general = block.get(KEEP_INTERMEDIATES), cfg.get(KEEP_INTERMEDIATES, True)
    if own is not None:
        return bool(own)
    return is_last if general == LAST else bool(general)
