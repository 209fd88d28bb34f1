"""A function becomes a Hydra application; whatever goes wrong becomes one message and an exit status."""

import gc
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ..errors import StageError, explain, wants_trace
from ..work.environment import RESUMING, RUN
from ..work.journal import note_error
from .help import print_help
from .threads import share_cores

logger = logging.getLogger(__name__)

_FULL_ERROR = "HYDRA_FULL_ERROR"
"""NOTE: unless it is 1, Hydra itself prints the better part of a trace; then errors would not get to us."""


def hydra_script(run: Callable[[DictConfig], None], config: Path) -> None:
    """Runs a function as a Hydra application; an error becomes one message and exit status 1.

    Under a launcher `run` is pickled and called in other processes. With HYDRA_FULL_ERROR=1 errors pass through
    and Python prints their traces.
    """
    launching_process, full_error = os.getpid(), os.environ.get(_FULL_ERROR, "0")
    trace = wants_trace()

    def task(cfg: DictConfig) -> None:
        os.environ[_FULL_ERROR] = full_error
        try:
            run(cfg)
        except Exception as error:
            if trace:
                raise
            message = explain(error)
            _log_to_files(message)
            note_error(message)
            if os.getpid() == launching_process:
                give_up(message)
            raise StageError(message) from None

    gc.freeze()  # what is imported lives as long as the process: no collection, nor its end, has to visit it
    name = os.environ.get(RUN) if RESUMING in os.environ else None
    with _environment(_FULL_ERROR, "1"), _environment(RUN, name or secrets.token_hex(8)):
        try:
            share_cores(sys.argv[1:])
            if not print_help(sys.argv[1:], config):
                hydra.main(version_base=None, config_path=str(config.parent), config_name=config.stem)(task)()
        except KeyboardInterrupt:
            give_up("Interrupted. The same command goes on from here.", 128 + signal.SIGINT)
        except Exception as error:
            if trace:
                raise
            if isinstance(error, HydraException | OmegaConfBaseException):
                note_error(explain(error))  # of the configuration, and the same another time; a launcher's may not be
            give_up(explain(error))


def _log_to_files(message: str) -> None:
    """Logs an error, but not to the console, where it is to stand once, at the end."""
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, message, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            with suppress(OSError):  # the error itself may be a full disk
                handler.handle(record)


def give_up(message: str, status: int = 1) -> NoReturn:
    """Ends the script with a message."""
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets an environment variable, for this process and those it starts, and puts back what was there."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
