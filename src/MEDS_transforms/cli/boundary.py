"""A function becomes a Hydra application; whatever goes wrong becomes one message and an exit status."""

import os
import secrets
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ..errors import InputError, NoFolderError, StageError, explain, is_explained, wants_trace
from ..interrupts import CONTINUE, ERROR_PREFIX
from ..settings.declarations import lists_for_blocks
from ..work.environment import RESUMING, RUN
from ..work.faults import log_fault, log_to_files
from ..work.journal import note_error
from .command_line import mistake, understood, unknown_key, unreadable
from .help import composed_config, config_file, print_help
from .launchers import launcher_not_found, not_installed
from .overrides import side_by_side
from .process import beginning, forgive_broken_output, raise_file_limit
from .threads import check_threads, share_cores

_FULL_ERROR = "HYDRA_FULL_ERROR"
"""NOTE: unless it is 1, Hydra itself prints the better part of a trace; then errors would not get to us."""


def hydra_script(run: Callable[[DictConfig], None], config: Path) -> None:
    """Runs a function as a Hydra application; an error becomes one message and exit status 1.

    Under a launcher `run` is pickled and called in other processes. With HYDRA_FULL_ERROR=1 errors pass through
    and Python prints their traces.
    """
    trace = wants_trace()
    task = _reporting(run, trace)
    forgive_broken_output()
    raise_file_limit()
    name = os.environ.get(RUN) if RESUMING in os.environ else None
    with beginning(), _environment(_FULL_ERROR, "1"), _environment(RUN, name or secrets.token_hex(8)):
        try:
            check_threads()
            sys.argv[1:] = understood(sys.argv[1:])
            if wrong := mistake(sys.argv[1:]) or unreadable(sys.argv[1:]):
                raise InputError(wrong)
            sys.argv[1:] = side_by_side(sys.argv[1:])
            share_cores(sys.argv[1:])
            if not print_help(sys.argv[1:], config):
                hydra.main(version_base=None, config_path=str(config.parent), config_name=config.stem)(task)()
        except KeyboardInterrupt:
            give_up(f"Interrupted. {CONTINUE}", 128 + signal.SIGINT)
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if trace:
                raise
            if isinstance(error, FileExistsError) and error.filename:  # Hydra itself makes the folder of the logs
                error = NoFolderError(error.filename)
            if isinstance(error, HydraException | OmegaConfBaseException):
                note_error(explain(error))  # of the configuration, and the same another time; a launcher's may not be
            give_up(_what_is_refused(error, config) or message_for(error))


def _reporting(run: Callable[[DictConfig], None], trace: bool) -> Callable[[DictConfig], None]:
    """The function, whose errors become one message in the log and for the runner, also in a launcher's processes.

    With `trace` they pass through.
    """
    launching_process, full_error = os.getpid(), os.environ.get(_FULL_ERROR, "0")

    def task(cfg: DictConfig) -> None:
        os.environ[_FULL_ERROR] = full_error
        forgive_broken_output()  # in a worker it is not yet so
        raise_file_limit()
        try:
            run(cfg)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic of polars is not an Exception
            if trace:
                raise
            message = message_for(error)
            log_to_files(message)
            note_error(message)
            if os.getpid() == launching_process:
                give_up(message)
            raise StageError(message) from None

    return task


def _what_is_refused(error: BaseException, config: Path) -> str | None:
    """What is wrong with the command line or the configuration file, where Hydra has refused them; None if unknown."""
    if not isinstance(error, HydraException):
        return None
    if launcher := launcher_not_found(str(error)):
        return not_installed(launcher).below(f"hydra/launcher={launcher}")
    with suppress(Exception):  # then Hydra's own words must do
        file = config_file(sys.argv[1:], config)
        if wrong := lists_for_blocks(file):
            return f"{file}: {wrong}"
        cfg = composed_config(sys.argv[1:], config, with_overrides=False)
        return unknown_key(sys.argv[1:], cfg) if cfg is not None else None
    return None


def message_for(error: BaseException) -> str:
    """The message for an error; for a bug or a machine problem, with the place of its traceback."""
    message = explain(error)
    if is_explained(error):
        return message
    if path := log_fault(error):
        return (
            f"{message}\nThis looks like a bug or a machine problem, not a mistake in your settings. "
            f"The traceback is in {path}."
        )
    return f"{message}\n{''.join(traceback.format_exception(error)).rstrip()}"


def give_up(message: str, status: int = 1) -> NoReturn:
    """Ends the script with a message."""
    print(f"{ERROR_PREFIX}{message}", file=sys.stderr)  # noqa: T201
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
