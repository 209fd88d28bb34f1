"""Runs programs: their output goes live to the screen and into a log, signals to the runner end them."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from .screen import Sink

GRACE_SECONDS = 10
"""How long a program may take to end after a signal before it is killed."""
DRAIN_SECONDS = 5
"""How long to read on after a program has ended, since what it started may hold its output open for ever."""
_KILLED_SECONDS = 1
"""How long to wait for what was killed: a process that nobody asks for its status stays in the table for ever."""
_PAUSE = 0.05


class Children:
    """The programs that the runner starts, some at the same time, and the signal that ended their row.

    A signal to the runner ends the running programs with everything that they started (each leads a process group
    of its own): politely first; after `GRACE_SECONDS`, or at a second signal, at once.
    """

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.groups: set[int] = set()
        """The process groups of which something may still run."""
        self.stopped_by: signal.Signals | None = None

    def run(self, commands: Sequence[Sequence[str]], env: dict[str, str], sinks: Iterable[Sink]) -> int:
        """Runs programs side by side, each to its end; after a signal to the end of all that they started, too.

        Returns:
            The first exit status that is not 0 (negative: the signal that killed that program); else 0.

        Raises:
            OSError: one of them cannot be started; the others are killed.
        """
        self.processes, self.groups, readers = [], set(), []
        try:
            for argv in commands:
                readers.append(self._start(argv, env, [*sinks]))
        except OSError:
            self._send(signal.SIGKILL)
            raise
        finally:
            statuses = [self._wait(process) for process in self.processes]
            self._outlive()
            for process, reader in zip(self.processes, readers, strict=True):
                reader.join(DRAIN_SECONDS)
                if process.stdout and not reader.is_alive():
                    process.stdout.close()
        return next(filter(None, statuses), 0)

    def _start(self, argv: Sequence[str], env: dict[str, str], sinks: list[Sink]) -> threading.Thread:
        """Starts a program and gives the thread that reads its output."""
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self.processes.append(process)
        self.groups.add(process.pid)
        if self.stopped_by:  # the signal came while the program was being started
            self._send(signal.SIGTERM)
        reader = threading.Thread(target=copy_lines, args=(process.stdout, sinks), daemon=True)
        reader.start()
        return reader

    def _wait(self, process: subprocess.Popen[str]) -> int:
        """Waits for a program. NOTE: the number of a group is forgotten with its last process; it may be given anew."""
        status = process.wait()
        if not _is_alive(process.pid):
            self.groups.discard(process.pid)
        return status

    def _outlive(self) -> None:
        """After a signal, waits for what the programs have left running; see `_stop` for how long.

        NOTE: submitit's local workers take no notice of a polite signal.
        """
        deadline = time.monotonic() + GRACE_SECONDS + _KILLED_SECONDS
        while self.stopped_by and time.monotonic() < deadline:
            self.groups = {group for group in self.groups if _is_alive(group)}
            if not self.groups:
                return
            time.sleep(_PAUSE)

    @contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """Passes interrupts, terminations and hang-ups on to the running programs instead of dying of them."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread receives signals
            return
        passed_on = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN]
        before: dict[int, Any] = {s: signal.signal(s, self._stop) for s in (*passed_on, signal.SIGALRM)}
        try:
            yield
        finally:
            signal.alarm(0)
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _stop(self, signum: int, _frame: FrameType | None) -> None:
        if self.stopped_by:
            self._send(signal.SIGKILL)
        else:
            self.stopped_by = signal.Signals(signum)
            self._send(signal.SIGTERM)
            signal.alarm(GRACE_SECONDS)

    def _send(self, signum: signal.Signals) -> None:
        for group in self.groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signum)


def _is_alive(group: int) -> bool:
    """Whether there is a process in a group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def copy_lines(lines: Iterable[str], sinks: list[Sink]) -> None:
    """Hands each line to every sink as soon as it is there.

    A sink that fails (a closed terminal, a full disk) is given up: the lines must be read all the same, or
    the program that writes them would wait for ever.
    """
    for line in lines:
        for sink in [*sinks]:
            try:
                sink(line.rstrip("\n"))
            except (OSError, ValueError):
                sinks.remove(sink)
