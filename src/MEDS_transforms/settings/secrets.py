"""Which values of a configuration come from environment variables, and so may be secrets.

OmegaConf's resolver `oc.env` is replaced by one that does the same and tells who listens which variables are read. So
a value is traced through any number of `${...}`, and through the arguments of any resolver. Importing this module does
it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import ListConfig, OmegaConf
from omegaconf.resolvers import oc

_listeners: list[set[str]] = []


@contextmanager
def variables_read() -> Iterator[set[str]]:
    """Collects the names of the environment variables that are read meanwhile, by way of a configuration."""
    names: set[str] = set()
    _listeners.append(names)
    try:
        yield names
    finally:
        _listeners[:] = [other for other in _listeners if other is not names]


def variables_in(config: Any) -> set[str]:
    """The names of the environment variables that values of a configuration come from, at any depth.

    What cannot be resolved has no value.
    """
    names: set[str] = set()
    waiting: list[Any] = [config]
    seen: list[Any] = []
    while waiting:
        container = waiting.pop()
        if not OmegaConf.is_config(container) or any(container is other for other in seen):
            continue
        seen.append(container)
        for key in range(len(container)) if isinstance(container, ListConfig) else list(container):
            variables, item = _traced(container, key)
            names |= variables
            waiting.append(item)
    return names


def replace_secrets(value: Any, config: Any, replace: Callable[[Any, list[str]], Any]) -> Any:
    """A resolved value, in which `replace(value, variables)` stands for all that comes from environment variables.

    `config` is what the value was resolved from; a value without it stays.
    """
    if isinstance(value, dict):
        return {key: _replaced(item, config, key, replace) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, config, number, replace) for number, item in enumerate(value)]
    return value


def _replaced(value: Any, config: Any, key: Any, replace: Callable[[Any, list[str]], Any]) -> Any:
    variables, item = _traced(config, key)
    if variables:
        return replace(value, sorted(variables))
    return replace_secrets(value, item, replace) if OmegaConf.is_config(item) else value


def _traced(config: Any, key: Any) -> tuple[set[str], Any]:
    """The variables that are read to resolve a key, and what it holds; None where that cannot be resolved."""
    with variables_read() as variables:
        try:
            return variables, config[key]
        except Exception:  # whatever a resolver raises; or there is no such key
            return variables, None


def _env(name: str, *default: Any) -> Any:
    if name in os.environ:
        for names in _listeners:
            names.add(name)
    return oc.env(name, *default)


OmegaConf.register_new_resolver("oc.env", _env, replace=True)
