"""Processes that are known by a variable in their environment, and the end of them.

As a program it ends whatever is left of a cluster:

    processes.py NAME=VALUE        kills the processes with this variable, once its standard input is closed
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE = 60
"""Seconds within which whatever is asked for must have happened."""
LONGEST_LIFE = 1800
"""Seconds after which a cluster is ended, come what may."""


def processes_with(*variables: str) -> list[int]:
    """The processes that have all these `NAME=value` in their environment."""
    wanted, pids = {variable.encode() for variable in variables}, []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted <= set(path.read_bytes().split(b"\0")):
                pids.append(int(path.parent.name))
    return pids


def kill_all(*variables: str) -> None:
    """Kills -9 all processes with these variables, and those that they start meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while (pids := processes_with(*variables)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def wait_until(happens: Callable[[], object], otherwise: str | Callable[[], str], seconds: float = PATIENCE) -> None:
    """Returns as soon as something is so; an error that says what is wrong if it is not for a long time."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise if isinstance(otherwise, str) else otherwise())
        time.sleep(0.05)


if __name__ == "__main__":
    # The pipe closes when the process that started the cluster closes it, or dies, however it dies.
    select.select([sys.stdin], [], [], LONGEST_LIFE)
    kill_all(sys.argv[1])
