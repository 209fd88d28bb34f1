"""Faults of the program or of the machine: their tracebacks go to the log files, once."""

import logging
import traceback
from contextlib import suppress
from pathlib import Path

from ..errors import is_explained

logger = logging.getLogger(__name__)

_LOGGED = "_meds_transforms_log"


def log_fault(error: BaseException) -> Path | None:
    """Writes the traceback of a fault to the log files, unless it is there already; not to the screen.

    Returns:
        the log file; None for an error whose message says it all, or where there is no log file.
    """
    if is_explained(error):
        return None
    if not hasattr(error, _LOGGED):
        trace = "".join(traceback.format_exception(error))
        with suppress(AttributeError):  # an exception that takes no attributes is logged as often as it is met
            setattr(error, _LOGGED, log_to_files(trace.rstrip()))
    logged: Path | None = getattr(error, _LOGGED, None)
    return logged


def log_to_files(message: str) -> Path | None:
    """Logs an error, but not to the screen; gives the log file, if there is one."""
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, message, (), None)
    path = None
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            with suppress(OSError):  # the error itself may be a full disk
                if handler.handle(record):  # else it is the log of another stage
                    path = Path(handler.baseFilename)
    return path
