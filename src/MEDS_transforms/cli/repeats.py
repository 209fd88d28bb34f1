"""Warnings that the runner's check of all stages has logged, and that each stage and worker would log again."""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..work.environment import WARNED


@contextmanager
def without_repeats() -> Iterator[dict[str, logging.LogRecord]]:
    """Logs each warning once; gives the warnings by their digests.

    NOTE: of a warning every handler gets the same record, of its repetitions others.
    """
    first: dict[str, logging.LogRecord] = {}

    def is_new(record: logging.LogRecord) -> bool:
        return record.levelno != logging.WARNING or first.setdefault(_digest(record), record) is record

    handlers = [*logging.getLogger().handlers]
    for handler in handlers:
        handler.addFilter(is_new)
    try:
        yield first
    finally:
        for handler in handlers:
            handler.removeFilter(is_new)


def leave_out_what_the_runner_warned_of() -> None:
    """From now on, logs no warning that the runner has logged for all stages."""
    warned = set(os.environ.get(WARNED, "").split())
    for handler in logging.getLogger().handlers if warned else ():
        handler.addFilter(lambda record: record.levelno != logging.WARNING or _digest(record) not in warned)


def _digest(record: logging.LogRecord) -> str:
    return hashlib.sha256(record.getMessage().encode()).hexdigest()[:16]
