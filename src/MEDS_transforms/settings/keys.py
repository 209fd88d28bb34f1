"""The keys of a configuration: their values read, unknown ones found."""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from ..errors import InputError, Problem, listed, nearest, not_set
from ..stages import ENTRY_POINT_GROUP, names_taken_twice
from .declarations import MATCH_REVISE, common_keys, declaring_stage, is_free_form, known_keys, top_keys
from .plain import plain

logger = logging.getLogger(__name__)
FORMER_CODE_MODIFIER_KEYS = ("code_modifier_cols", "code_modifier_columns")
_MUCH_ALIKE = 0.75
_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def flag(cfg: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """The value of a key that is true or false; also of the words that YAML takes for these, and of null (false).

    NOTE: on a command line Hydra reads `no` and `off` as text, which Python would take for true.

    Raises:
        ValueError: the value is anything else.

    >>> flag({"do_overwrite": "no"}, "do_overwrite"), flag({}, "do_overwrite")
    (False, False)
    """
    value = cfg.get(key, default)
    if not is_flag(value):
        raise InputError(Problem(f"must be true or false, not {value!r}.", key, joint=" "))
    return str(value).lower() in _YES


def is_flag(value: Any) -> bool:
    """Whether a value is true, false, null or one of the words for these."""
    return value is None or str(value).lower() in _YES | _NO


def unknown_stage_keys(stage_name: str, block: Mapping[str, Any] | None, script: str | None = None) -> list[Problem]:
    """A problem for every key of a packaged stage's block that the stage does not know.

    A stage under a name of the user's own may run by a packaged `script`, named after its stage. Entries of match &
    revise have the keys of the stage. Free-form stages, stages of the user's own and keys that begin with `_` are
    passed over.
    """
    packaged = declaring_stage(stage_name, script)
    known = known_keys(packaged)
    if known is None or is_free_form(packaged):
        return []
    block = {} if block is None else block
    entries = block.get(MATCH_REVISE)
    parts = {"": block}
    if isinstance(entries, Sequence) and not isinstance(entries, str):
        parts |= {f"{MATCH_REVISE}[{i}].": entry for i, entry in enumerate(entries) if isinstance(entry, Mapping)}
    unknown = [(where, str(key)) for where, part in parts.items() for key in part if key not in known]
    return [
        Problem(
            f"{packaged} has no such key{nearest(key, known)}; it has no effect. "
            f"Known keys: {listed(known - set(common_keys()))}",
            f"stage_configs.{stage_name}.{where}{key}",
        )
        for where, key in unknown
        if not key.startswith("_")
    ]


def own_keys(block: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's block without the keys that every stage has, and those that begin with `_`."""
    return {str(k): block[k] for k in block if k not in common_keys() and not str(k).startswith("_")}


def unknown_stage_blocks(stages: Sequence[str], stage_configs: Mapping[str, Any] | None) -> list[Problem]:
    """A problem for every block of `stage_configs` that belongs to no stage, neither of `stages` nor a packaged one.

    Names that begin with `_` are passed over.
    """
    unknown = [
        name
        for name in map(str, stage_configs or {})
        if name not in stages and known_keys(name) is None and not name.startswith("_")
    ]
    return [
        Problem(f"there is no such stage in `stages`{nearest(name, stages)}; it has no effect", f"stage_configs.{name}")
        for name in unknown
    ]


def keys_of_stages(name: str, cfg: Mapping[str, Any]) -> str:
    """A hint that names the keys of stages that are called so; empty where none is."""
    blocks = plain(cfg.get("stage_configs"), resolve=False) or {}
    found = [f"stage_configs.{stage}.{name}" for stage, block in blocks.items() if name in (block or {})]
    found = [f"stage_configs.STAGE.{name}"] if name in common_keys() else found
    return f" Did you mean {listed(found, 3)}?" if found else ""


def unknown_additions(overrides: Sequence[str], cfg: Mapping[str, Any]) -> list[Problem]:
    """A problem for every key that an override adds with `+` to the top of a pipeline, and nothing refers to.

    Names that begin with `_` are passed over.
    """
    written, known = str(plain(cfg, resolve=False)), _known_at_the_top()
    added = {override: key for override in overrides if (key := _added_key(override))}
    return [
        Problem(
            f"no packaged stage knows a setting {key!r}{nearest(key, known)}; it has no effect."
            f"{keys_of_stages(key, cfg)}".removesuffix("."),
            override,
        )
        for override, key in added.items()
        if re.fullmatch(r"[^\W_]\w*", key) and key not in known and not re.search(rf"\$\{{\s*{key}[.}}]", written)
    ]


def unknown_top_keys(
    cfg: Mapping[str, Any], overrides: Sequence[str], outside: object = "", all_unknown: bool = False
) -> list[Problem]:
    """A problem for every key at the top of a pipeline that is much like a known one, and that nothing refers to.

    Keys that resemble none may be read by stages or programs of the user's own. Those that overrides add, which
    `unknown_additions` is about, and names that begin with `_` are passed over.

    Args:
        cfg: the pipeline.
        overrides: those of the command line.
        outside: what else may refer to keys, such as the block `hydra`, as it is written.
        all_unknown: also those that resemble no known key.
    """
    known, added = _known_at_the_top(), {_added_key(override) for override in overrides}
    written = f"{plain(cfg, resolve=False)} {plain(outside, resolve=False)}"
    unknown = [key for key in map(str, cfg) if key not in {*known, *added} and not key.startswith("_")]
    near = {key: nearest(key, known, _MUCH_ALIKE) for key in unknown if not _is_referred_to(key, written)}
    return [
        Problem(f"no packaged stage knows a setting {key!r}{hint}; it has no effect", key)
        for key, hint in near.items()
        if hint or all_unknown
    ]


def _known_at_the_top() -> set[str]:
    return {*top_keys(), *FORMER_CODE_MODIFIER_KEYS, "hydra"}


def _added_key(override: str) -> str:
    """The key at the top that an override adds with `+`; empty for others."""
    return re.split(r"[.=]", override.lstrip("+"), maxsplit=1)[0] if override.startswith("+") else ""


def _is_referred_to(key: str, written: str) -> bool:
    """Whether an interpolation has the key in it, also as an argument of a resolver."""
    return re.search(rf"\$\{{[^{{}}]*(?<!\w){re.escape(key)}(?!\w)", written) is not None


def names_taken(stages: Sequence[object]) -> list[Problem]:
    """A problem for every one of these stages that another package registers, although it is packaged here."""
    return [
        Problem(
            f"the packaged stage of this name runs, not {module}, which another package has registered",
            name,
            f"Give that entry point of {ENTRY_POINT_GROUP} another name",
        )
        for name, module in names_taken_twice().items()
        if name in stages
    ]


def code_modifiers(cfg: Mapping[str, Any]) -> list[str] | None:
    """The columns that join `code` in every group-by, or None.

    The two other names that release 0.1 gave the key are accepted with a deprecation warning.
    """
    modifiers = cfg.get("code_modifiers")
    for former in FORMER_CODE_MODIFIER_KEYS:
        if modifiers is None and cfg.get(former) is not None:
            message = f"The key `{former}` is now called `code_modifiers`; rename it."
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            logger.warning(message)
            modifiers = cfg[former]
    if isinstance(modifiers, str):
        what = f"must be null or a list of column names, not {modifiers!r}."
        raise InputError(Problem(what, "code_modifiers", joint=" "))
    return None if modifiers is None else [str(m) for m in modifiers]


def config_value(cfg: Mapping[str, Any], key: str) -> Any:
    """The value of a mandatory key; where it is missing, an error that says how to give it."""
    value = OmegaConf.select(cfg, key) if OmegaConf.is_config(cfg) else cfg.get(key)
    if value is None:
        raise InputError(not_set(key))
    return value
