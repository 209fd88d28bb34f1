"""Configurations as plain Python values, and where a value in them comes from."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_REFERENCE = re.compile(r"\$\{\s*([^{}:]+?)\s*\}")
_FROM_OUTSIDE = re.compile(r"\$\{\s*(\.|(?!load_dataset\b)[\w.]+\s*:)")
"""A resolver, which may read the environment or a file; or a relative path, which is not followed. The variables of a
dataset are plain values."""
_UNKNOWN = "${.}"


def plain(value: Any, resolve: bool = True) -> Any:
    """A value as plain Python containers, with `resolve` without interpolations."""
    return OmegaConf.to_container(value, resolve=resolve) if OmegaConf.is_config(value) else value


def plain_where_known(value: Any) -> Any:
    """As `plain`, but what cannot be resolved yet stays as it was written.

    >>> plain_where_known(OmegaConf.create({"a": 1, "b": "${a}", "c": "${oc.env:SURELY_NOT_SET}"}))
    {'a': 1, 'b': 1, 'c': '${oc.env:SURELY_NOT_SET}'}
    """
    if isinstance(value, DictConfig):
        return {key: item_where_known(value, key) for key in value}
    if isinstance(value, ListConfig):
        return [item_where_known(value, at) for at in range(len(value))]
    return value


def item_where_known(config: Any, key: Any) -> Any:
    """The value of a key, or the item of a list, as `plain_where_known` gives it."""
    if not OmegaConf.is_config(config):
        return config[key]
    try:
        return "???" if OmegaConf.is_missing(config, key) else plain_where_known(config[key])
    except OmegaConfBaseException:
        return plain(config, resolve=False)[key]


def as_written(config: Any, path: Iterable[str | int]) -> Any:
    """What stands at a path, with its interpolations: the last one on the way, where the path leads through it.

    None where there is nothing at the path, as in a configuration that was put together in Python.
    """
    found = plain(config, resolve=False)
    for key in path:
        if isinstance(found, str):
            break
        try:
            found = found[key]
        except (KeyError, IndexError, TypeError):
            return None
    return found


def may_be_secret(written: Any, config: Any) -> bool:
    """Whether a value may come from outside the configuration, such as from the environment.

    Args:
        written: the value with its interpolations.
        config: the whole configuration.
    """
    text = str(written)
    if _FROM_OUTSIDE.search(text):
        return True
    plain_config = plain(config, resolve=False)
    return any(may_be_secret(_at(plain_config, path), plain_config) for path in _REFERENCE.findall(text))


def _at(config: Any, path: str) -> Any:
    found = config
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return found if isinstance(found, str) else _UNKNOWN
        found = found[key]
    return found
