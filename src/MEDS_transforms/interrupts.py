"""Ctrl-C ends a command with one line and status 130, whatever it is doing; SIGTERM does so with status 143.

This begins with the import of the package, where the process runs a command of it; elsewhere signals stay as they are.

NOTE: Python itself raises a KeyboardInterrupt, at any place. Where nobody can catch it, it is printed and forgotten:
within `fork`, say, with the lock of the logs still held, for which the next thread that logs waits for ever. So nothing
is raised: the process ends at once. Whatever it writes gets its name when it is whole (`work.files`).
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ERROR_PREFIX = "error: "
"""With which the message of an error begins on the screen."""
CONTINUE = "Run the same command to continue."

_PACKAGE, _RUNNER = "MEDS_transforms", "MEDS_transform-runner"
_SCRIPTS = (_PACKAGE, _RUNNER, "MEDS_extract-check")
_MODULES = {_PACKAGE: _PACKAGE, f"{_PACKAGE}.runner": _RUNNER}
"""What `python -m` runs, with the script that does the same."""


def script_of(argv: list[str], orig_argv: list[str]) -> str:
    """The script that a process runs; empty, where it is none of this package's commands.

    NOTE: while `python -m` imports the package, `argv` does not name the module yet.

    >>> script_of(["/bin/MEDS_transforms", "run"], ["python", "/bin/MEDS_transforms", "run"])
    'MEDS_transforms'
    >>> script_of(["-m", "seed=1"], ["python", "-m", "MEDS_transforms.runner", "seed=1"])
    'MEDS_transform-runner'
    """
    if argv[:1] == ["-m"]:
        return _MODULES.get(orig_argv[-len(argv)], "")
    name = Path(argv[0]).name.removesuffix(".exe") if argv else ""
    return name if name in _SCRIPTS else ""


def answer_interrupts(script: str, argv: list[str]) -> None:
    """From here on, signals end the process; but for those that are ignored, as nohup and shells have it."""
    again = f" {CONTINUE}" if script == _RUNNER or argv[1:2] in (["run"], ["clean"]) else ""
    pid = os.getpid()

    def end(signum: int, _frame: FrameType | None) -> None:
        if os.getpid() == pid:  # else it is a fork, of which nobody waits for words
            _kill_forks()
            how = "Interrupted." if signum == signal.SIGINT else f"Stopped by {signal.Signals(signum).name}."
            with suppress(OSError):
                os.write(2, f"{ERROR_PREFIX}{how}{again}\n".encode())
        os._exit(128 + signum)

    for signum in _not_ignored():
        signal.signal(signum, end)
        atexit.register(signal.signal, signum, signal.SIG_IGN)  # all is done; Python drops handlers before it ends


def _kill_forks() -> None:
    if multiprocessing := sys.modules.get("multiprocessing"):
        for child in multiprocessing.active_children():
            child.kill()
            child.join(1)


def _not_ignored() -> list[signal.Signals]:
    return [signum for signum in SIGNALS if signal.getsignal(signum) != signal.SIG_IGN]


@contextmanager
def held_back() -> Iterator[set[Any]]:
    """Lets signals wait until the end of the block; gives the mask for `let_through` in a process forked there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through(mask: set[Any]) -> None:
    """Lets signals end a forked process without a word."""
    for signum in _not_ignored():
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def passed_on(to: Callable[[int], object]) -> Iterator[list[int]]:
    """Hands signals on instead of ending the process; gives those that came."""
    came: list[int] = []

    def hand_on(signum: int, _frame: FrameType | None) -> None:
        came.append(signum)
        to(signum)

    before: dict[int, Any] = {signum: signal.signal(signum, hand_on) for signum in _not_ignored()}
    try:
        yield came
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def put_off() -> Iterator[None]:
    """Lets signals wait until the end of a short block that must be whole, in whichever thread they arrive.

    NOTE: other than with `held_back`, which is for forks: a signal that the main thread blocks goes to another one, of
    polars say, and Python answers it all the same. Only the main thread may change that; elsewhere signals do not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    try:
        with passed_on(lambda _: None) as came:
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


if _script := script_of(sys.argv, sys.orig_argv):
    answer_interrupts(_script, sys.argv)
