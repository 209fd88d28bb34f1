"""Runs the stages of a pipeline, in order, each by its own script; what is done is skipped."""

from typing import Any

__all__ = ["main", "split_overrides"]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first asked for: so `python -m` can run each module of the package."""
    if name in ("main", "split_overrides"):
        from . import run as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
