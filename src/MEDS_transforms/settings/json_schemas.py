"""JSON Schemas of pipeline files, event conversion files and files with the variables of a dataset, for editors.

`python -m MEDS_transforms.settings.json_schemas FOLDER` writes them there, with the stages of all installed packages.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..stages import ROOT, packaged_blocks, registered_stages
from .dataset_variables import dataset_keys
from .declarations import Key, Schema, common_keys, pipeline_keys, read_keys, stage_block

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PIPELINE, EVENTS, DATASET = "pipeline.json", "events.json", "dataset_variables.json"
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
    columns = {name: {"description": key.meaning, **key.schema} for name, key in keys["event"].keys.items()}
    event = {"description": keys["event"].meaning, **keys["event"].own_schema, "properties": columns}
    at_the_top = [name for name in keys if name not in ("event", "join")]
    of_tables = [name for name in keys if name not in ("event", "subject_ids")]
    # NOTE: the older spelling of the subjects' column is a text, where an event or a table of that name is a block.
    older: Schema = {"subject_id": {"type": ["string", "object"]}}
    blocks: dict[str, Schema] = {block: {"$ref": f"#/$defs/{block}"} for block in ("event", "table")}
    table = {
        "type": "object",
        "properties": {name: _or_block(keys[name], blocks["event"]) for name in of_tables} | older,
        "additionalProperties": blocks["event"],
    }
    return {
        "$schema": DIALECT,
        "title": "An event conversion file of MEDS_transforms",
        "$defs": {"event": event, "table": table},
        "type": "object",
        "properties": {name: _or_block(keys[name], blocks["table"]) for name in at_the_top} | older,
        "additionalProperties": blocks["table"],
    }


def dataset_schema() -> Schema:
    """The schema of files with the variables of a dataset."""
    known = {name: {"description": key.meaning, **key.schema} for name, key in dataset_keys().items()}
    return {
        "$schema": DIALECT,
        "title": "The variables of a dataset, for MEDS_transforms",
        "type": "object",
        "properties": known,
    }


def _or_block(key: Key, block: Schema) -> Schema:
    """The schema of a key in whose place a block of the same name may stand."""
    words = [_WORDS] if "boolean" in key.own_schema.get("type", ()) else []
    return {"description": key.meaning, "anyOf": [key.own_schema, *words, block]}


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
    """Writes the schemas to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    schemas = {PIPELINE: pipeline_schema(stages), EVENTS: event_schema(), DATASET: dataset_schema()}
    for name, schema in schemas.items():
        (folder / name).write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(*sys.argv[1:2]), [*packaged_blocks(), *registered_stages()])
