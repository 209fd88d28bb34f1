"""A function becomes a Hydra application; whatever goes wrong becomes one message and an exit status."""

import gc
import logging
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

from ..errors import InputError, StageError, explain, is_explained, wants_trace
from ..work.environment import RESUMING, RUN
from ..work.faults import log_fault, log_to_files
from ..work.journal import note_error
from .command_line import mistake, understood, unknown_key
from .help import print_help
from .threads import THREADS, share_cores

logger = logging.getLogger(__name__)

_OPEN_FILES = 65_536
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
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic of polars is no Exception
            if trace:
                raise
            message = said_of(error)
            log_to_files(message)
            note_error(message)
            if os.getpid() == launching_process:
                give_up(message)
            raise StageError(message) from None

    gc.freeze()  # what is imported lives as long as the process: no collection, nor its end, has to visit it
    name = os.environ.get(RUN) if RESUMING in os.environ else None
    with _environment(_FULL_ERROR, "1"), _environment(RUN, name or secrets.token_hex(8)):
        try:
            prepare_process()
            sys.argv[1:] = understood(sys.argv[1:])
            if wrong := mistake(sys.argv[1:]):
                raise InputError(wrong)
            share_cores(sys.argv[1:])
            if not print_help(sys.argv[1:], config):
                hydra.main(version_base=None, config_path=str(config.parent), config_name=config.stem)(task)()
        except KeyboardInterrupt:
            give_up("Interrupted. The same command goes on from here.", 128 + signal.SIGINT)
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if trace:
                raise
            if isinstance(error, HydraException | OmegaConfBaseException):
                note_error(explain(error))  # of the configuration, and the same another time; a launcher's may not be
            give_up(_about_overrides(error, config) or said_of(error))
        finally:
            finish_output()


def _about_overrides(error: BaseException, config: Path) -> str | None:
    """What is wrong with the command line, where Hydra has refused it; None where that is not so, or not known."""
    if not isinstance(error, HydraException):
        return None
    with suppress(Exception):  # then Hydra's own words must do
        return unknown_key(sys.argv[1:], config)
    return None


def said_of(error: BaseException) -> str:
    """The message for an error; of a fault of the program or the machine, with where its traceback is."""
    message = explain(error)
    if is_explained(error):
        return message
    if path := log_fault(error):
        return f"{message}\nThis is no mistake in your settings that we know of. The traceback is in {path}."
    return f"{message}\n{''.join(traceback.format_exception(error)).rstrip()}"


def prepare_process() -> None:
    """Makes a process fit for work: as many open files as it may have, and no noise where nobody reads its output.

    Raises:
        InputError: POLARS_MAX_THREADS is no positive number.
    """
    threads = os.environ.get(THREADS)
    if threads is not None and not (threads.isdecimal() and int(threads) > 0):
        raise InputError(f"The environment variable {THREADS} must be a number of threads from 1 on, not {threads!r}.")
    logging.raiseExceptions = False  # a log line that cannot be shown, into a closed pipe say, does no harm
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < (wanted := min(hard, _OPEN_FILES) if hard > 0 else _OPEN_FILES):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def finish_output() -> None:
    """Writes out what was printed; where nobody takes it (`| head`, a full disk), the work decides the exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def give_up(message: str, status: int = 1) -> NoReturn:
    """Ends the script with a message."""
    with suppress(OSError, ValueError):
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
