"""Runs programs: shows their output live, writes it to a log, and passes signals on to them."""

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
"""How many seconds a program may take to end after a signal before it is killed."""
DRAIN_SECONDS = 5
"""How many seconds to keep reading after a program has ended; its children may keep its output open for ever."""
_KILLED_SECONDS = 1
"""How many seconds to wait for killed processes; one whose parent does not wait for it stays in the process table."""
_PAUSE = 0.05


class Children:
    """The programs that the runner has started, and the signal that stopped it, if any.

    A signal to the runner stops the running programs and everything that they started (each leads a process group
    of its own): first with SIGTERM; after `GRACE_SECONDS`, or at a second signal, with SIGKILL. A third
    one, or twice as many seconds, does what the first would without this class: it ends the runner.
    """

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.groups: set[int] = set()
        """The process groups that may still have running processes."""
        self.stopped_by: signal.Signals | None = None
        self._has_killed = False
        self._before: dict[int, Any] = {}
        """The handlers of signals outside of `ended_by_signals`."""

    def run(self, commands: Sequence[Sequence[str]], env: dict[str, str], sinks: Iterable[Sink]) -> int:
        """Runs programs in parallel and waits for them; after a signal, also for everything that they started.

        Returns:
            the first exit status that is not 0 (negative: the signal that killed that program), otherwise 0.

        Raises:
            OSError: a program cannot be started; the others are killed.
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
        """Waits for a program. NOTE: the system may reuse the id of a group once its last process has ended."""
        status = process.wait()
        if not _is_alive(process.pid):
            self.groups.discard(process.pid)
        return status

    def _outlive(self) -> None:
        """After a signal, waits for processes that the programs have left running; `_stop` kills them in the end.

        NOTE: submitit's local workers ignore SIGTERM.
        """
        deadline = time.monotonic() + GRACE_SECONDS + _KILLED_SECONDS
        while self.stopped_by and time.monotonic() < deadline:
            self.groups = {group for group in self.groups if _is_alive(group)}
            if not self.groups:
                return
            time.sleep(_PAUSE)

    @contextmanager
    def ended_by_signals(self) -> Iterator["Children"]:
        """Passes SIGINT, SIGTERM and SIGHUP on to the running programs instead of being killed by them."""
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread receives signals
            return
        passed_on = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN]
        self._before = {s: signal.signal(s, self._stop) for s in (*passed_on, signal.SIGALRM)}
        try:
            yield self
        finally:
            self._leave_signals()

    def _leave_signals(self) -> None:
        signal.alarm(0)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _stop(self, signum: int, _frame: FrameType | None) -> None:
        if self._has_killed:  # and waits nevertheless, for what cannot be killed
            self._leave_signals()
            signal.raise_signal(self.stopped_by or signal.SIGINT)
        elif self.stopped_by:
            self._has_killed = True
            self._send(signal.SIGKILL)
            signal.alarm(2 * GRACE_SECONDS)
        else:
            self.stopped_by = signal.Signals(signum)
            self._send(signal.SIGTERM)
            signal.alarm(GRACE_SECONDS)

    def _send(self, signum: signal.Signals) -> None:
        for group in self.groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signum)


def _is_alive(group: int) -> bool:
    """Whether a process group has any process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def copy_lines(lines: Iterable[str], sinks: list[Sink]) -> None:
    """Passes each line to every sink as soon as it arrives.

    A sink that fails (a closed terminal, a full disk) is dropped. The lines must still be read, or the program
    that writes them would block for ever.
    """
    for line in lines:
        for sink in [*sinks]:
            try:
                sink(line.rstrip("\n"))
            except (OSError, ValueError):
                sinks.remove(sink)
