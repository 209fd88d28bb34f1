"""Limits of the filter stages: whole numbers, or null for no limit."""

from collections.abc import Mapping
from typing import Any

from ..errors import WrongTypeError


def read_limit(stage_cfg: Mapping[str, Any], key: str) -> int | None:
    """The limit at a key of a stage's block, or None.

    Raises:
        TypeError: it is not an integer.
    """
    value = stage_cfg.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise WrongTypeError(f"{key} must be an integer, or null for no limit, not {value!r}.")
    return value
