"""Describes declarations in words, for help and messages: the values of a key, and the list of a stage's keys."""

import json
import textwrap
from collections.abc import Mapping

from .declarations import Key, Schema, stage_block

WIDTH = 118
_NOUNS = {
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("text", "text"),
    "boolean": ("true or false", "true or false"),
    "object": ("a block of keys", "blocks of keys"),
    "array": ("a list", "lists"),
    "null": ("null", "null"),
}
"""One and several values of each type of JSON Schema."""


def allowed(schema: Schema, several: bool = False) -> str:
    """The value that a schema allows, or the values.

    >>> allowed({"type": ["integer", "null"], "minimum": 0})
    'a whole number of at least 0 or null'
    >>> allowed({"anyOf": [{"const": "*"}, {"type": "array", "items": {"type": "number"}}]})
    '"*" or a list of numbers'
    """
    if "anyOf" in schema:
        return _or([allowed(each, several) for each in schema["anyOf"]])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return _or([json.dumps(value) for value in schema["enum"]])
    types = schema.get("type", [])
    names = [types] if isinstance(types, str) else types
    return _or([_noun(name, schema, several) for name in names]) or "anything"


def _noun(type_name: str, schema: Schema, several: bool) -> str:
    noun = _NOUNS[type_name][several]
    if type_name == "string" and schema.get("maxLength") == 1:
        return "one character"
    if type_name in ("integer", "number"):
        return noun + _range(schema)
    if type_name == "array" and "items" in schema:
        noun = noun.replace("list", "non-empty list") if schema.get("minItems") else noun
        return f"{noun} of {allowed(schema['items'], several=True)}"
    if type_name == "object" and isinstance(each := schema.get("additionalProperties"), Mapping):
        return f"{noun}, each with {allowed(dict(each))}"
    return noun


def _range(schema: Schema) -> str:
    low, high, above = (schema.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if above is not None:
        return f" above {above}"
    if low is not None:
        return f" of at least {low}"
    return "" if high is None else f" of at most {high}"


def _or(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    last = ", or " if any(" or " in word for word in words[:-1]) else " or "
    return ", ".join(words[:-1]) + last + words[-1]


def list_of_keys(stage: str) -> str:
    """The keys of a stage, a line or more for each: allowed values, unit, default, meaning; empty where none is known.

    >>> print(list_of_keys("occlude_outliers").splitlines()[0])
    Keys of stage_configs.occlude_outliers:
    """
    block = stage_block(stage)
    if block is None:
        return ""
    head = f"Keys of stage_configs.{stage}:"
    if not block.keys:
        return _filled(f"{head} {block.meaning or 'none.'}", "")
    if block.meaning:
        head = _filled(f"{head.removesuffix(':')}: {block.meaning}", "")
    return "\n".join([head, *_entries(block.keys, "  ")])


def _entries(keys: Mapping[str, Key], indent: str) -> list[str]:
    lines = []
    for name, key in keys.items():
        unit = f"; {key.own_schema['unit']}" if "unit" in key.own_schema else ""
        entry = f"- {name} ({allowed(key.schema).removeprefix('a ')}{unit}; {_default(key)}): {key.meaning}"
        lines += [_filled(entry, indent), *_entries(key.keys, indent + "    ")]
    return lines


def _default(key: Key) -> str:
    if key.default == "???":
        return "mandatory"
    return "defaults below" if key.keys else f"default {json.dumps(key.default)}"


def _filled(text: str, indent: str) -> str:
    """A paragraph, cut into lines; lines of it that are indented begin lines of their own."""
    first, *others = text.split("\n")
    paragraphs = [first]
    for line in others:
        if line.startswith(" "):
            paragraphs.append(line)
        else:
            paragraphs[-1] += f" {line}"
    more = indent + "  "
    filled = []
    for number, paragraph in enumerate(paragraphs):
        own = more + " " * (len(paragraph) - len(paragraph.lstrip())) if number else indent
        further = own + "  " if number else more
        filled.append(textwrap.fill(paragraph.strip(), WIDTH, initial_indent=own, subsequent_indent=further))
    return "\n".join(filled)
