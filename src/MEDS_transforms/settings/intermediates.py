"""Which outputs of a pipeline are intermediate, and which of these are kept.

Intermediate are the data of a stage that later stages of the pipeline read; not those of its last data stage, which a
metadata stage may read after it, and no metadata.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .declarations import script_stage
from .folders import stage_folders
from .newer_signs import METADATA, is_newer
from .yaml_file import read_yaml

KEEP_INTERMEDIATES = "keep_intermediates"
LAST = "last"
MAKES_EVENTS, DESCRIBES_CODES = "convert_to_sharded_events", "extract_code_metadata"
"""Stages of the extraction. In the newer line's language the second reads what the first does."""
BATCHES_TENSORS = "batch_tensors"
"""It reads what tensorization makes, and a part of what that reads."""


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
        read = {stage: {Path(block["data_input_dir"]).resolve()} for stage, block in folders.items()}
        if DESCRIBES_CODES in read and MAKES_EVENTS in read and _describes_codes_by_chunks(cfg):
            read[DESCRIBES_CODES] |= read[MAKES_EVENTS]
        made_of = {Path(block["output_dir"]).resolve(): read[stage] for stage, block in folders.items()}
        for stage in [stage for stage in read if _reads_schemas(cfg, stage)]:
            read[stage] = read[stage].union(*(made_of.get(at, ()) for at in read[stage]))
        above = {stage: {at for folder in of for at in (folder, *folder.parents)} for stage, of in read.items()}
        written = {stage: Path(block["output_dir"]) for stage, block in folders.items() if not block["is_metadata"]}
        readers = {
            stage: frozenset(other for other, there in above.items() if at in there)
            for stage, at in ((stage, folder.resolve()) for stage, folder in written.items())
        }
        found = [stage for stage in [*written][:-1] if readers[stage]]  # the last are results, even if they are read
        return {
            stage: Intermediate(written[stage], readers[stage], _keeps(cfg, stage, stage == found[-1]))
            for stage in found
        }
    return {}


def _reads_schemas(cfg: Mapping[str, Any], stage: str) -> bool:
    """Whether a stage reads tensors and, beside them, the static data of what they were made of."""
    block = cfg["stage_configs"].get(stage) or {}
    return (script_stage(block.get("_script")) or stage) == BATCHES_TENSORS


def _describes_codes_by_chunks(cfg: Mapping[str, Any]) -> bool:
    """Whether what describes codes is found by the columns that make them, in the chunks that events are made of."""
    path = cfg.get("event_conversion_config_fp")
    raw = read_yaml(Path(path)) if path and Path(path).is_file() else None
    return is_newer(raw) and METADATA in str(raw)


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
