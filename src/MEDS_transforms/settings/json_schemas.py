"""JSON Schemas of pipeline files and event conversion files, by which editors complete and check them.

`python -m MEDS_transforms.settings.json_schemas FOLDER` writes both there, with the stages of all installed packages.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..stages import ROOT, packaged_blocks, registered_stages
from .declarations import Key, Schema, common_keys, pipeline_keys, read_keys, stage_block

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PIPELINE, EVENTS = "pipeline.json", "events.json"
_LATER: Schema = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}
"""A value that is not given yet, or is made of others."""
_WORDS: Schema = {"enum": ["yes", "no", "on", "off"]}


def pipeline_schema(stages: Iterable[str]) -> Schema:
    """The schema of pipeline files, with the blocks of these stages."""
    blocks = {stage: _block(block) for stage in stages if (block := stage_block(stage))}
    properties = {
        **_properties(pipeline_keys()),
        "stage_configs": {
            "description": "A block of settings for each stage.",
            "anyOf": [{"type": ["object", "null"], "properties": blocks}, _LATER],
        },
    }
    return {
        "$schema": DIALECT,
        "title": "A pipeline of MEDS_transforms",
        "$defs": _properties(common_keys()),
        "type": "object",
        "properties": properties,
    }


def event_schema() -> Schema:
    """The schema of event conversion files."""
    keys = read_keys(ROOT / "configs" / "_event.yaml")
    subject_ids, event = keys["subject_id_col"], keys["event"]
    columns = {name: {"description": key.meaning, **key.schema} for name, key in event.keys.items()}
    of_subjects = {"subject_id_col": {"description": subject_ids.meaning, **subject_ids.schema}}
    of_event = {"description": event.meaning, **event.own_schema, "properties": columns}
    # NOTE: the older spelling of the subjects' column is a text, where an event or a table of that name is a block.
    older = {"subject_id": {"type": ["string", "object"]}}
    table = {"type": "object", "properties": of_subjects | older, "additionalProperties": of_event}
    return {
        "$schema": DIALECT,
        "title": "An event conversion file of MEDS_transforms",
        "type": "object",
        "properties": of_subjects | older,
        "additionalProperties": table,
    }


def _block(block: Key) -> Schema:
    common = {name: {"$ref": f"#/$defs/{name}"} for name in common_keys()}
    more = {name: value for name, value in block.own_schema.items() if name != "properties"}
    more = more or {"patternProperties": {"^_": {}}, "additionalProperties": False}
    description = {"description": block.meaning} if block.meaning else {}
    return {
        **description,
        "type": ["object", "null"],
        "properties": {**common, **_properties(block.keys), **block.restrictions},
        **more,
    }


def _properties(keys: Mapping[str, Key]) -> dict[str, Schema]:
    return {name: _property(key) for name, key in keys.items()}


def _property(key: Key) -> Schema:
    known: dict[str, Any] = {"description": key.meaning}
    if key.default != "???" and not key.keys:
        known["default"] = key.default
    own = {**key.own_schema, "properties": _properties(key.keys)} if key.keys else key.own_schema
    words = [_WORDS] if "boolean" in own.get("type", ()) else []
    return {**known, "anyOf": [own, *words, _LATER]}


def write_schemas(folder: Path, stages: Iterable[str]) -> None:
    """Writes both schemas to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in {PIPELINE: pipeline_schema(stages), EVENTS: event_schema()}.items():
        (folder / name).write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(*sys.argv[1:2]), [*packaged_blocks(), *registered_stages()])
