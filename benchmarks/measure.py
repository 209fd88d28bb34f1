"""Runs and measures a command; describes the machine and what a peer has installed.

Only the standard library is imported: until a child has replaced itself by its command, its memory is that of this
process, so the smallest peak that can be measured is the size of this process.
"""

import json
import os
import platform
import resource
import signal
import subprocess
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

POLL_SECONDS = 0.1
MIB = 2**20
PACKAGES = ("MEDS_transforms", "polars", "pyarrow", "meds", "numpy", "hydra-core")

VERSIONS_SCRIPT = """
import importlib.metadata, json, platform, sys
versions = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        versions[name] = None
print(json.dumps(versions))
"""
COMPILE_SCRIPT = """
import compileall, importlib.util
for folder in importlib.util.find_spec("MEDS_transforms").submodule_search_locations:
    compileall.compile_dir(folder, quiet=2)
"""
COUNT_SCRIPT = """
import pathlib, sys
import pyarrow.parquet as pq
print(sum(pq.ParquetFile(file).metadata.num_rows for file in pathlib.Path(sys.argv[1]).rglob("*.parquet")))
"""


@dataclass(frozen=True)
class Measurement:
    """Time and memory that a command took."""

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


class CommandError(RuntimeError):
    """A measured command failed."""


def environment() -> dict[str, str]:
    """The environment without variables that would make a peer import modules of another installation."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def measured(command: list[str], log: Path) -> Measurement:
    """Runs a command in its own process group and measures it; raises CommandError if it fails."""
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    start = time.perf_counter()
    pid = os.posix_spawn(
        command[0],
        command,
        environment(),
        setpgroup=0,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, log, writing, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)],
    )
    with TreeMemory(pid) as memory:
        status, usage = waited(pid)
        wall = time.perf_counter() - start
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise CommandError(f"{' '.join(command)}\nended with status {status}. The end of {log}:\n{tail}")
    process, tree = usage.ru_maxrss * 1024 / MIB, memory.peak / MIB  # Linux counts ru_maxrss in KiB
    return Measurement(wall, usage.ru_utime + usage.ru_stime, max(process, tree), process, tree)


def waited(pid: int) -> tuple[int, resource.struct_rusage]:
    """The exit status and resource usage of a child; stops the child if this process is interrupted."""
    try:
        _, status, usage = os.wait4(pid, 0)
    except BaseException:
        os.killpg(pid, signal.SIGTERM)  # not SIGKILL: the runner passes it on
        os.waitpid(pid, 0)
        raise
    return os.waitstatus_to_exitcode(status), usage


class TreeMemory:
    """Polls the resident memory of a process and all its descendants, in a thread, while its block runs."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.peak = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.poll, daemon=True)

    def poll(self) -> None:
        """Polls until the block ends."""
        while not self.ended.wait(POLL_SECONDS):
            self.peak = max(self.peak, resident_bytes(self.root))

    def __enter__(self) -> "TreeMemory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()


def resident_bytes(root: int) -> int:
    """The resident memory of a process and its descendants; shared pages count once per process."""
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
    return sum(pages.get(process, 0) for process in family) * os.sysconf("SC_PAGE_SIZE")


def machine() -> dict[str, object]:
    """Processor, cores, memory and operating system."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "os": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def asked(python: Path, script: str, *arguments: str) -> str:
    """The output of a short script, run by a peer's Python."""
    command = [str(python), "-c", script, *arguments]
    return subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout.strip()


def versions(python: Path) -> dict[str, str | None]:
    """The versions of Python and of relevant packages that a peer has."""
    return json.loads(asked(python, VERSIONS_SCRIPT, *PACKAGES))


def compile_modules(python: Path) -> None:
    """Makes the files of byte code that pip makes where it installs, and that a working tree may lack."""
    asked(python, COMPILE_SCRIPT)


def n_rows(python: Path, folder: Path) -> int:
    """The number of rows in all parquet files below a folder."""
    return int(asked(python, COUNT_SCRIPT, str(folder)))


def as_record(measurement: Measurement) -> dict[str, float]:
    """The figures for JSON, rounded to three decimals."""
    return {name: round(value, 3) for name, value in asdict(measurement).items()}
