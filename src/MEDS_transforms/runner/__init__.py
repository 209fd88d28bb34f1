"""Runs the stages of a pipeline, in order, each by its own script; what is done is skipped."""

from .run import main, run, split_overrides

__all__ = ["main", "run", "split_overrides"]
