"""Values of a configuration against what is declared of their keys; every mistake is a problem.

What is not given yet (`???`), or refers to what cannot be known yet (`${…}`), is passed over. Values that may come from
the environment are in no message.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import InputError, Problem, WrongTypeError, listed, nearest, not_set
from .declarations import (
    MATCH_REVISE,
    Key,
    Schema,
    block_schema,
    declaring_stage,
    is_free_form,
    pipeline_keys,
    stage_block,
)
from .keys import is_flag
from .plain import as_written, item_where_known, may_be_secret, plain, plain_where_known
from .words import allowed

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Path = tuple[str | int, ...]


def check_block(
    stage: str, block: Mapping[str, Any] | None, script: str | None = None, cfg: Mapping[str, Any] | None = None
) -> list[Problem]:
    """A problem for every value of a stage's block that its key does not allow, also in match & revise entries.

    Args:
        stage: the stage's name in the pipeline, for the messages.
        block: its block of `stage_configs`, or its `stage_cfg`.
        script: the packaged or registered stage by whose script it runs, if that is not of its own name. Of other
            stages nothing is known, and nothing is checked.
        cfg: the whole configuration; default: the block refers to nothing outside it.
    """
    declared_by = declaring_stage(stage, script)
    if stage_block(declared_by) is None:
        return []
    values, schema = dict(plain_where_known(block) or {}), block_schema(declared_by)
    where = ("stage_configs", stage)
    cfg = {"stage_configs": {stage: block}} if cfg is None else cfg
    entries = values.get(MATCH_REVISE)
    if entries is not None and schema["properties"][MATCH_REVISE]["type"] == "null":
        del values[MATCH_REVISE]
        what = f"{declared_by} cannot match and revise"
        refused = Problem(what, _shown_path((*where, MATCH_REVISE)), "Remove the key")
        return [refused, *_mistakes(schema, values, where, cfg)]
    problems = _mistakes(schema, values, where, cfg)
    if isinstance(entries, list) and not is_free_form(declared_by):
        for number, entry in enumerate(entries):
            if isinstance(entry, dict):
                problems += _mistakes(schema, entry, (*where, MATCH_REVISE, number), cfg)
    return problems


def checked_value(stage: str, block: Mapping[str, Any], key: str) -> Any:
    """The value of a key in a packaged stage's block; if it is missing null, or the default where null is not allowed.

    A block has no defaults where the stage runs under a name of the user's, by `_script`.

    Raises:
        WrongTypeError: it has another type than the stage declares.
        InputError: it is not within the range.
    """
    value, schema = plain(block.get(key)), block_schema(stage)["properties"][key]
    declared = stage_block(stage)
    if key not in block and declared and not _validator()(schema).is_valid(None):
        return declared.keys[key].default
    for error in _validator()(schema).iter_errors(value):
        kind = WrongTypeError if error.validator == "type" else InputError
        what = f"must be {allowed(error.schema)}, not {_shown(error.instance)}."
        raise kind(Problem(what, key, joint=" "))
    return value


def check_pipeline(cfg: Mapping[str, Any]) -> list[Problem]:
    """A problem for every value of a pipeline's own keys (`seed`, `do_overwrite`, …) that its key does not allow."""
    keys = pipeline_keys()
    values = {name: item_where_known(cfg, name) for name in cfg if name in keys}
    unset = [name for name, value in values.items() if value in (None, "") and keys[name].default == "???"]
    given = {name: value for name, value in values.items() if name not in unset}
    problems = [not_set(*unset)] if unset else []
    return problems + _mistakes({"properties": {name: key.schema for name, key in keys.items()}}, given, (), cfg)


def wrong_values(keys: Mapping[str, Key], values: Mapping[str, Any], where: str) -> list[Problem]:
    """A problem for every value that its key does not allow; `where` is the block of the keys, "" if they have none."""
    schema = {"properties": {name: key.schema for name, key in keys.items()}}
    return _mistakes(schema, values, (where,) if where else (), {where: values} if where else values)


def _mistakes(schema: Schema, values: Mapping[str, Any], where: Path, cfg: Mapping[str, Any]) -> list[Problem]:
    errors = sorted(_validator()(schema).iter_errors(values), key=lambda error: list(map(str, error.absolute_path)))
    return [_problem((*where, *error.absolute_path), error, cfg) for error in errors if not _is_open(error.instance)]


def _problem(path: Path, error: Any, cfg: Mapping[str, Any]) -> Problem:
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = next(key for key in error.instance if key not in known)
        what = f"there is no such key{nearest(unknown, known)}; known are {listed(known)}"
        return Problem(what, _shown_path((*path, unknown)))
    what = f"must be {allowed(error.schema)}, not {_found(path, error, cfg)}"
    return Problem(what, _shown_path(path), joint=" ")


def _found(path: Path, error: Any, cfg: Mapping[str, Any]) -> str:
    written = as_written(cfg, path)
    if "${" not in str(written):
        known = [value for value in error.schema.get("enum", []) if isinstance(value, str)]
        return f"{_shown(error.instance)}{nearest(str(error.instance), known)}"
    if not may_be_secret(written, cfg):
        return f"{_shown(error.instance)} (from {written})"
    hint = "; of text, ${oc.decode:…} around it makes a number or a list" if isinstance(error.instance, str) else ""
    return f"what {written} is (from the environment){hint}"


def _shown_path(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)


def _is_open(value: Any) -> bool:
    """Whether a value is only known later: it is mandatory and not set, or has an interpolation."""
    if isinstance(value, Mapping | list):
        return any(map(_is_open, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str) and (value == "???" or "${" in value)


@cache
def _validator() -> "type[Validator]":
    """JSON Schema with whole numbers as Python has them, and with all the words for true and false.

    NOTE: imported when needed, since it takes 40 ms, which `--help` need not wait for.
    """
    from jsonschema import Draft202012Validator, validators

    def is_whole(_: Any, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": is_whole, "boolean": lambda _, value: is_flag(value)}
    )
    limits = {"minimum": _at_least}
    checking: type[Validator] = validators.extend(Draft202012Validator, limits, type_checker=types)
    return checking


def _at_least(validator: "Validator", least: float, value: Any, _: Schema) -> Iterator[Exception]:
    """As in JSON Schema, but NaN, which is in no order, is not allowed."""
    from jsonschema import ValidationError

    if validator.is_type(value, "number") and not value >= least:
        yield ValidationError(f"{value!r} is less than {least}")
