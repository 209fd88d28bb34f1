"""Workers of any stage, which are killed, paused and started again at random moments.

Everything random comes from a seed, which is part of each test's name. Environment variables:

- MEDS_FAULTS_REPEATS (default 1): how many seeds each random test is run with. Each takes some minutes.
- MEDS_FAULTS_SEED (default 1): the first seed.

Moments are counted in files that appear in the cohort, not in seconds, so that they fall into the work of a stage
however fast the machine is. Every wait ends after `PATIENCE` seconds with an error.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from helpers import Extraction, files_below

from .cohorts import (
    EXTRACTION,
    PIPELINES,
    Elsewhere,
    command,
    contents,
    intermediate_folders,
    make_raw,
    pipeline_of,
    strays,
)

FIRST_SEED = int(os.environ.get("MEDS_FAULTS_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("MEDS_FAULTS_REPEATS", "1")))

PATIENCE = 120
"""Seconds after which a worker that has not ended counts as hanging."""

LOG_FILES = 4
"""Files that a script makes before it begins to work: its log, and three of Hydra's."""


@dataclass
class Reference:
    """Undisturbed runs of all pipelines with one worker, and their cohorts as they were after every stage."""

    folder: Path
    after: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each stage took."""

    @classmethod
    def make(cls, folder: Path) -> "Reference":
        reference = cls(folder)
        make_raw(Extraction(folder))
        for number, pipeline in enumerate(PIPELINES):
            x = reference.elsewhere(folder / f"cohort_{number}")
            for stage in pipeline.stages:
                started = time.monotonic()
                run_stage(x, stage)
                reference.seconds[stage] = time.monotonic() - started
                reference.after[stage] = folder / "after" / stage
                shutil.copytree(x.cohort, reference.after[stage])
        return reference

    def elsewhere(self, cohort: Path, dataset: Path | None = None) -> Elsewhere:
        """Runs on the same tables and the same dataset, or another, with their results in `cohort`."""
        return Elsewhere(self.folder, cohort, dataset or self.after.get(EXTRACTION.stages[-1]))

    def before(self, stage: str, cohort: Path) -> Elsewhere:
        """The same with what the stages before this one made."""
        if previous := self._previous(stage):
            shutil.copytree(previous, cohort, ignore=shutil.ignore_patterns(".logs"), dirs_exist_ok=True)
        return self.elsewhere(cohort)

    def _previous(self, stage: str) -> Path | None:
        stages = pipeline_of(stage).stages
        return self.after[stages[stages.index(stage) - 1]] if stage != stages[0] else None

    def n_files(self, stage: str) -> int:
        """How many files the stage makes, logs aside."""
        previous = self._previous(stage)
        return len(files_below(self.after[stage])) - len(files_below(previous) if previous else [])

    def folders(self, stage: str) -> list[str]:
        """The folders of the cohort in which the stage makes files, logs among them."""
        previous = self._previous(stage)
        before = files_below(previous, logs=True) if previous else []
        new = {*files_below(self.after[stage], logs=True)} - {*before}
        return sorted({name.partition("/")[0] for name in new})

    def check(self, cohort: Path, stage: str = EXTRACTION.stages[-1], only_results: bool = False) -> None:
        """Fails unless the cohort is, byte for byte, what it was after the stage, with nothing left lying about.

        `only_results`: of data that stages pass on there is to be nothing, and accounts may be others.
        """
        got, want = contents(cohort), contents(self.after[stage])
        if only_results:
            passed_on = [*intermediate_folders(pipeline_of(stage)), "metadata/accounting"]
            got, want = (
                {name: data for name, data in files.items() if not name.startswith("metadata/accounting/")}
                for files in (got, want)
            )
            want = {name: data for name, data in want.items() if not name.startswith(tuple(f"{f}/" for f in passed_on))}
        assert not (left := strays(cohort)), f"left lying about: {left}"
        assert not (missing := sorted(want.keys() - got.keys())), f"missing: {missing}"
        assert not (more := sorted(got.keys() - want.keys())), f"too much: {more}"
        assert not (differ := sorted(name for name in want if got[name] != want[name])), f"differ: {differ}"


class Workers:
    """Processes of one stage, each with a log of what it printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.printed: list[Path] = []

    def start(self, argv: list[str], **env: str) -> subprocess.Popen[bytes]:
        """Starts a process in a session of its own."""
        self.printed.append(self.folder / f"printed_{time.monotonic_ns()}.txt")
        with self.printed[-1].open("wb") as out:
            process = subprocess.Popen(
                argv,
                cwd=self.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "POLARS_MAX_THREADS": "1", **env},
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    @property
    def alive(self) -> bool:
        return any(process.poll() is None for process in self.processes)

    def send(self, signum: signal.Signals, *which: int) -> None:
        """Sends a signal to some workers, or to all."""
        for number in which or range(len(self.processes)):
            if self.processes[number].poll() is None:
                self.processes[number].send_signal(signum)

    def wait(self, *which: int) -> list[int]:
        """The exit statuses of some workers, or of all, once they have ended."""
        deadline = time.monotonic() + PATIENCE
        chosen = [self.processes[number] for number in which] if which else self.processes
        try:
            return [process.wait(max(0.0, deadline - time.monotonic())) for process in chosen]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"hangs for {PATIENCE} s: {self.text()}") from None

    def end(self) -> None:
        """Kills -9 those that have not ended."""
        self.send(signal.SIGKILL)
        self.wait()

    def text(self) -> str:
        """What the workers printed."""
        return "\n".join(path.read_text(errors="replace") for path in self.printed)


@contextmanager
def workers(x: Extraction, stage: str, n: int, *overrides: str) -> Iterator[Workers]:
    """Starts workers 0 to n - 1 of a stage; none outlives the block."""
    group = Workers(x.folder)
    try:
        for worker in range(n):
            group.start(command(x, stage, f"worker={worker}", *overrides))
        yield group
    finally:
        group.end()


def run_stage(x: Extraction, stage: str, n: int = 1, *overrides: str) -> None:
    """Runs a stage to its end with n workers."""
    with workers(x, stage, n, *overrides) as group:
        assert_success(group, stage, *range(n))


def assert_success(group: Workers, stage: str, *which: int) -> None:
    """Fails unless some workers end well.

    By contract a repeated finalize_MEDS_metadata fails with FileExistsError where everything is there already.
    """
    statuses = group.wait(*which)
    repeated = stage == "finalize_MEDS_metadata" and "metadata already exists" in group.text()
    assert {*statuses} <= ({0, 1} if repeated else {0}), group.text()


def kill_during(x: Extraction, stage: str, n: int, n_files: int, rng: random.Random, *overrides: str) -> int:
    """Starts n workers and kills -9 all of them at a random moment of a stage that makes so many files.

    Returns:
        how many of them were killed; the others had ended.
    """
    with workers(x, stage, n, *overrides) as group:
        at_random_moment(group, n_files + n * LOG_FILES, rng, x.cohort)
        group.send(signal.SIGKILL)
        return sum(status == -signal.SIGKILL for status in group.wait())


def at_random_moment(group: Workers, n_files: int, rng: random.Random, *folders: Path, logs: bool = True) -> None:
    """Returns when a random number of files, up to `n_files`, has appeared below folders, or all have ended.

    Without `logs` only what a stage makes when it works counts: outputs, and unfinished files and locks too.
    """
    after, pause = rng.randint(1, n_files), rng.choice([0.0, 0.001, 0.01, 0.03] if logs else [0.0, 0.001, 0.003])
    seen = everything_below(*folders, logs=logs)
    before = len(seen)

    def enough() -> bool:
        seen.update(everything_below(*folders, logs=logs))
        return len(seen) - before >= after

    wait_until(lambda: enough() or not group.alive)
    time.sleep(pause)


def wait_until(happens: Callable[[], bool]) -> None:
    """Looks again and again, with short pauses, until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline, f"has not happened in {PATIENCE} s"
        time.sleep(0.001)


def everything_below(*folders: Path, logs: bool = True) -> set[str]:
    """Files below folders; what is renamed or removed meanwhile does not matter."""
    found = {f"{at}/{name}" for folder in folders for at, _, names in os.walk(folder) for name in names}
    return found if logs else {name for name in found if "/.logs/" not in name}


def has_log(cohort: Path, stage: str) -> bool:
    """Whether a worker of the stage has opened its log."""
    # NOTE: not by rglob, which stumbles over folders that workers remove meanwhile.
    return any(Path(path).name.startswith(f"{stage}_") and path.endswith(".log") for path in everything_below(cohort))


def holds_claim(pid: int) -> bool:
    """Whether a process has the file of a lock open (Linux)."""
    with suppress(OSError):
        return any(str(fd.readlink()).endswith(".lock") for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def processes_with(mark: str) -> list[int]:
    """The processes that have a variable with this value in their environment (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def kill_all_with(mark: str) -> None:
    """Kills -9 every process with this mark, and those that they start meanwhile."""
    while pids := processes_with(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
