"""In what two makers of outputs differ."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .provenance import FILES, Maker


def is_same_for(old: Maker, new: Maker, sources: Iterable[str]) -> bool:
    """Whether two makers differ at most in input files that none of the sources is or holds.

    So it is where a stage failed because of one table, and that table was corrected: what was made of others is as it
    would be now. A source that is empty stands for all inputs.
    """
    if (old.version, old.settings) != (new.version, new.settings) or old.inputs.keys() != new.inputs.keys():
        return False
    changed: set[str] = set()
    for role, was in old.inputs.items():
        now = new.inputs[role]
        if {**was, FILES: None} != {**now, FILES: None}:
            return False
        if FILES not in was or FILES not in now:
            continue  # by a maker that is the same
        changed.update(
            os.path.normpath(f"{now['folder']}/{name}")
            for name in was[FILES].keys() | now[FILES].keys()
            if was[FILES].get(name) != now[FILES].get(name)
        )
    return not any(
        not source or path == source or path.startswith(f"{source}/") for source in sources for path in changed
    )


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """What differs between two makers, a line each: `settings.cutoff: 4.5 -> 3`.

    >>> differences({"a": {"x": 1}, "b": [1]}, {"a": {"x": 2}, "b": [1]})
    ['a.x: 1 -> 2']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*old, *new])
        found = [line for key in keys for line in _of_key(old, new, key, f"{where}.{key}" if where else str(key))]
        return found or (["the order of " + (where or "the keys")] if list(old) != list(new) else [])
    return [] if old == new and type(old) is type(new) else [f"{where}: {_shown(old)} -> {_shown(new)}"]


def _of_key(old: Mapping[Any, Any], new: Mapping[Any, Any], key: Any, where: str) -> Iterable[str]:
    if key in old and key in new:
        return differences(old[key], new[key], where)
    return [f"{where}: {_shown(old[key])} -> (none)" if key in old else f"{where}: (none) -> {_shown(new[key])}"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}…"
