"""The keys of stages and pipelines, as the YAML files with their defaults declare them.

The comment above a key says what it means, and after the word `@schema` which values are allowed, as JSON Schema:

    # Fewest subjects a code must have; null: no limit.
    # @schema {type: [integer, "null"], minimum: 0}
    min_subjects_per_code: null

Above a stage's block, `@schema {properties: {train_only: {enum: [false]}}}` restricts keys that every stage has.

From here come the checks, the lists of keys in help and documentation, and the JSON Schemas for editors.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, listed
from ..stages import PACKAGE, ROOT, STAGE_KEYS_FP, block_fp
from .yaml_file import read_yaml

Schema = dict[str, Any]
MATCH_REVISE = "_match_revise"
_SCHEMA = "@schema"
_SCRIPT = re.compile(rf"\bMEDS_(?:extract|transform)-(\w+)|-m {PACKAGE}\.cli (\w+)")


@dataclass(frozen=True)
class Key:
    """A key: its default ("???": it has none and must be set), its meaning, its schema, and the keys inside it."""

    default: Any = None
    meaning: str = ""
    own_schema: Schema = field(default_factory=dict)
    keys: dict[str, "Key"] = field(default_factory=dict)

    @property
    def is_declared(self) -> bool:
        """Whether anything is said of the key beside its default."""
        return bool(self.own_schema or self.meaning)

    @property
    def restrictions(self) -> dict[str, Schema]:
        """Of a stage's block: the schemas of those keys of every stage for which this one allows less than others."""
        restrictions: dict[str, Schema] = self.own_schema.get("properties", {})
        return restrictions

    @property
    def schema(self) -> Schema:
        """The JSON Schema of the key's value, with those of the keys inside it."""
        if not self.keys:
            return self.own_schema
        return {"type": "object", **self.own_schema, "properties": {name: k.schema for name, k in self.keys.items()}}


def read_keys(path: Path) -> dict[str, Key]:
    """The keys at the top of a YAML file.

    Raises:
        InputError: a declaration is not YAML.
    """
    text = path.read_text(encoding="utf-8")
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        return _keys(node, loader.construct_document(node) if node else None, text.splitlines())
    except (yaml.YAMLError, ValueError) as error:  # the latter of a key that is there twice
        raise InputError(f"{path} is not valid: {error}") from error


_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same in C, where that is installed, in a tenth of the time."""


def _keys(node: yaml.Node | None, defaults: Any, lines: list[str]) -> dict[str, Key]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {
        key.value: _key(key.start_mark.line, value, default, lines)
        for (key, value), default in zip(node.value, defaults.values(), strict=True)
    }


def _key(at: int, value: yaml.Node, default: Any, lines: list[str]) -> Key:
    comment: list[str] = []
    while at and lines[at - 1].strip().startswith("#"):
        at -= 1
        comment.insert(0, lines[at].strip().removeprefix("#").removeprefix(" "))
    meaning, _, schema = "\n".join(comment).partition(_SCHEMA)
    inside = {name: inner for name, inner in _keys(value, default, lines).items() if inner.is_declared}
    return Key(default, meaning.strip(), yaml.load(schema, _LOADER) or {}, inside)


@cache
def common_keys() -> dict[str, Key]:
    """The keys that every stage has."""
    return read_keys(STAGE_KEYS_FP)


@cache
def top_keys() -> dict[str, Key]:
    """The keys of a pipeline file."""
    files = ("_pipeline.yaml", "_extract.yaml", "_preprocess.yaml")
    return {name: key for file in files for name, key in read_keys(ROOT / "configs" / file).items()}


@cache
def pipeline_keys() -> dict[str, Key]:
    """The keys of a pipeline file that are declared."""
    return {name: key for name, key in top_keys().items() if key.own_schema}


def lists_for_blocks(config_fp: Path) -> str | None:
    """What is wrong with the keys of a pipeline file that must be blocks of keys and are lists; None if nothing is."""
    with suppress(OSError, ValueError):  # a file that cannot be read is another mistake
        given = read_yaml(config_fp)
        blocks = [name for name, key in top_keys().items() if isinstance(key.default, dict)]
        lists = [name for name in blocks if isinstance(given, dict) and isinstance(given.get(name), list)]
        if lists:
            return "; ".join(f"{name} must be a block of keys, not {given[name]!r}" for name in lists) + "."
    return None


@cache
def stage_block(stage: str) -> Key | None:
    """The block of a packaged or registered stage; None where nothing is known of it.

    What a block does not say of its keys itself is said by that of the stage whose script it names.

    Raises:
        InputError: the file has anything else at its top than the stage's name, which would pass for no defaults.
    """
    path = block_fp(stage)
    if path is None:
        return None
    if [*(found := read_keys(path))] != [stage]:
        raise InputError(f"{path}: the only key at the top must be {stage}, the stage's name, not {listed(found)}.")
    block = found[stage]
    runs_by = script_stage(block.default.get("_script")) if isinstance(block.default, dict) else None
    if runs_by is None or (by := stage_block(runs_by)) is None:
        return block
    keys = {
        name: Key(block.default.get(name, key.default), key.meaning, key.own_schema, key.keys)
        for name, key in by.keys.items()
    }
    return Key(block.default, block.meaning or by.meaning, block.own_schema or by.own_schema, {**keys, **block.keys})


def script_stage(command: Any) -> str | None:
    """The stage that a command runs, by its console script or by name; None where it names none.

    >>> script_stage("MEDS_transform-aggregate_code_metadata x=1"), script_stage("python -m MEDS_transforms.cli mine")
    ('aggregate_code_metadata', 'mine')
    """
    found = _SCRIPT.search(" ".join(str(command).split()))
    return found[1] or found[2] if found else None


def declaring_stage(stage: str, script: str | None = None) -> str:
    """The stage whose declarations hold for a stage: itself, or the one that its `script` is named after."""
    return script if script and stage_block(stage) is None else stage


def known_keys(stage: str) -> frozenset[str] | None:
    """The names of all keys that a packaged or registered stage knows; None for any other stage."""
    block = stage_block(stage)
    if block is None:
        return None
    return frozenset([*block.keys, *(block.default or {}), *common_keys()])


def is_free_form(stage: str) -> bool:
    """Whether every key of a stage's block has a meaning of its own."""
    block = stage_block(stage)
    return block is not None and block.own_schema.get("additionalProperties", False) is not False


def block_schema(stage: str) -> Schema:
    """The JSON Schema of a stage's block, with the keys that every stage has."""
    block = stage_block(stage) or Key()
    own = {name: key.schema for name, key in block.keys.items()}
    common = {name: key.schema for name, key in common_keys().items()}
    return {"type": "object", **block.own_schema, "properties": {**common, **own, **block.restrictions}}
