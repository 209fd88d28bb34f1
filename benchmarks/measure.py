"""Runs a command and measures the time, the memory and the reading and writing of all its processes.

Only the standard library is imported: until a child has replaced itself by its command, its memory is that of this
process, so the smallest peak that can be measured is the size of this process.
"""

import os
import resource
import signal
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

POLL_SECONDS = 0.1
MIB = 2**20
IO_COUNTERS = {
    "read_mib": "rchar",
    "written_mib": "wchar",
    "disk_read_mib": "read_bytes",
    "disk_written_mib": "write_bytes",
}
"""The figures of reading and writing, and their names in /proc/<pid>/io."""


@dataclass(frozen=True)
class Measurement:
    """What a command took."""

    wall_s: float
    """Time from its start to its end."""
    cpu_s: float
    """User and system time of the process and of all descendants that were waited for."""
    peak_mib: float
    """Peak resident memory: the larger of the next two."""
    peak_process_mib: float
    """Peak resident memory of the biggest process, exact, as reported by the kernel."""
    peak_tree_mib: float
    """Peak resident memory of all processes together, polled; shared pages count once per process."""
    read_mib: float = 0
    """What the processes asked the system to read, from memory or disk; files that they map do not count."""
    written_mib: float = 0
    """What they asked the system to write."""
    disk_read_mib: float = 0
    """What had to be read from disk for them, mapped files included; little where files are in memory."""
    disk_written_mib: float = 0
    """What they made the system write to disk, now or later."""


class CommandError(RuntimeError):
    """A measured command failed, or took too long; `reason` says which, without paths."""

    def __init__(self, message: str, reason: str = "it failed") -> None:
        super().__init__(message)
        self.reason = reason


def environment(folder: Path | None = None) -> dict[str, str]:
    """The environment without variables that would make a peer import modules of another installation.

    A peer's own folder of scripts comes first, since scripts may call others by name.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept if folder is None else {**kept, "PATH": f"{folder}{os.pathsep}{kept.get('PATH', os.defpath)}"}


def measured(command: list[str], log: Path, folder: Path | None = None, limit_s: float | None = None) -> Measurement:
    """Runs a command in its own process group and measures it; raises CommandError if it fails or takes too long."""
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    start = time.perf_counter()
    pid = os.posix_spawn(
        command[0],
        command,
        environment(folder),
        setpgroup=0,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, log, writing, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)],
    )
    with Tree(pid, limit_s) as tree:
        status, usage = waited(pid, tree)
        wall = time.perf_counter() - start
    if status or tree.is_late:
        reason = f"it took more than {limit_s:g} s" if tree.is_late else f"it ended with status {status}"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise CommandError(f"{' '.join(command)}\n{reason}. The end of {log}:\n{tail}", f"{log.stem}: {reason}")
    process, all_processes = usage.ru_maxrss * 1024 / MIB, tree.peak / MIB  # Linux counts ru_maxrss in KiB
    io = {figure: tree.io[counter] / MIB for figure, counter in IO_COUNTERS.items()}
    cpu = usage.ru_utime + usage.ru_stime
    return Measurement(wall, cpu, max(process, all_processes), process, all_processes, **io)


def waited(pid: int, tree: "Tree") -> tuple[int, resource.struct_rusage]:
    """The exit status and resource usage of a child; stops the child if this process is interrupted.

    NOTE: until it is waited for, an ended process still has its counters, which include those of all descendants that
    it waited for.
    """
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        tree.count_io([pid])
        _, status, usage = os.wait4(pid, 0)
    except BaseException:
        os.killpg(pid, signal.SIGTERM)  # not SIGKILL: the runner passes it on
        os.waitpid(pid, 0)
        raise
    return os.waitstatus_to_exitcode(status), usage


class Tree:
    """Polls a process and all its descendants, in a thread, while its block runs; stops them after a limit."""

    def __init__(self, root: int, limit_s: float | None = None) -> None:
        self.root = root
        self.peak = 0
        self.io: Counter[str] = Counter()
        self.ends = None if limit_s is None else time.monotonic() + limit_s
        self.is_late = False
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.poll, daemon=True)

    def poll(self) -> None:
        """Polls until the block ends."""
        while not self.ended.wait(POLL_SECONDS):
            resident = resident_bytes(self.root)
            self.peak = max(self.peak, sum(resident.values()))
            self.count_io(resident)
            if self.ends is not None and time.monotonic() > self.ends and not self.is_late:
                self.is_late = True
                os.killpg(self.root, signal.SIGTERM)

    def count_io(self, processes: "dict[int, int] | list[int]") -> None:
        """Keeps the largest sum of each counter of these processes."""
        now: Counter[str] = Counter()
        for process in processes:
            now += io_counters(process)
        self.io |= now  # the larger of the two, counter by counter

    def __enter__(self) -> "Tree":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()


def io_counters(process: int) -> Counter[str]:
    """What a process, and the descendants that it waited for, have read and written; empty if that cannot be known."""
    try:
        lines = Path(f"/proc/{process}/io").read_text().splitlines()
    except OSError:  # it has ended in the meantime, or belongs to another user
        return Counter()
    return Counter({name: int(value) for name, _, value in (line.partition(": ") for line in lines)})


def resident_bytes(root: int) -> dict[int, int]:
    """The resident memory of a process and of each of its descendants; shared pages count in each."""
    children: dict[int, list[int]] = {}
    pages = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            # The command's name, in parentheses, may hold blanks; after it: state, parent, …
            fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended in the meantime
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.name))
        pages[int(entry.name)] = int(fields[21])
    family = [root]
    for process in family:
        family += children.get(process, [])
    return {process: pages.get(process, 0) * os.sysconf("SC_PAGE_SIZE") for process in family}


def as_record(measurement: Measurement) -> dict[str, float]:
    """The figures for JSON, rounded to three decimals."""
    return {name: round(value, 3) for name, value in asdict(measurement).items()}
