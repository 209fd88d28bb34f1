"""A small extraction whose workers are killed, paused and started again at random moments.

Everything random comes from a seed, which is part of each test's name. Environment variables:

- MEDS_FAULTS_REPEATS (default 1): how many seeds each random test is run with. Twenty take about half an hour.
- MEDS_FAULTS_SEED (default 1): the first seed.

Moments are counted in files that appear in the cohort, not in seconds, so that they fall into the work of a stage
however fast the machine is. Every wait ends after `PATIENCE` seconds with an error.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from helpers import EXTRACTION_STAGES, SCRIPTS, Extraction, files_below

FIRST_SEED = int(os.environ.get("MEDS_FAULTS_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("MEDS_FAULTS_REPEATS", "1")))

PATIENCE = 120
"""Seconds after which a worker that has not ended counts as hanging."""

SMALL = (
    "stage_configs.shard_events.row_chunksize=50",
    "stage_configs.split_and_shard_subjects.n_subjects_per_shard=6",
)
"""Overrides that give many chunks (17) and shards (8) of few rows."""

LOG_FILES = 4
"""Files that a script makes before it begins to work: its log, and three of Hydra's."""

NOT_STRAY = {".logs", ".shards.json", ".chunks.json"}

EVENTS = {
    "patients": {
        "sex": {"code": ["SEX", "col(sex)"], "time": None},
        "birth": {"code": "BIRTH", "time": "col(born)", "time_format": "%Y-%m-%d"},
    },
    "hosp/admissions": {
        "subject_id_col": "mrn",
        "admission": {
            "code": ["ADMISSION", "col(ward)"],
            "time": "col(at)",
            "_metadata": {"wards": {"floor": "floor"}},
        },
    },
    "hosp/labs": {
        "lab": {
            "code": ["LAB", "col(item)"],
            "time": "col(at)",
            "time_format": "%Y-%m-%d %H:%M:%S",
            "numeric_value": "value",
            "text_value": "value",
            "_metadata": {"hosp/d_labs": {"description": "title", "parent_codes": "LOINC/{loinc}"}},
        }
    },
}


def make_raw(x: Extraction, seed: int = 1) -> None:
    """Three tables with 40 subjects in three formats, two tables of metadata, and the event conversion file."""
    rng = random.Random(seed)
    subjects, items, wards = range(100, 140), [f"{i:03}" for i in range(12)], ["ICU", "A", "B"]

    def times(n: int) -> list[datetime]:
        return [datetime(2020, 1, 1) + timedelta(minutes=rng.randrange(100_000)) for _ in range(n)]

    patients = {"subject_id": [*subjects], "sex": rng.choices("FM", k=40), "born": ["1950-02-03"] * 40}
    labs = {
        "subject_id": rng.choices(subjects, k=700),
        "item": rng.choices(items, k=700),
        "value": [rng.choice(["neg", str(rng.random())]) for _ in range(700)],
        "at": map(str, times(700)),
    }
    admissions = {"mrn": rng.choices(subjects, k=90), "ward": rng.choices(wards, k=90), "at": times(90)}
    x.table("patients.csv", pl.DataFrame(patients))
    x.table("hosp/labs.csv.gz", pl.DataFrame(labs | {"at": list(labs["at"])}))
    x.table("hosp/admissions.parquet", pl.DataFrame(admissions))
    titles = {"item": items, "title": [f"Lab {i}" for i in items], "loinc": [f"{i}-1" for i in items]}
    x.table("hosp/d_labs.csv", pl.DataFrame(titles))
    x.table("wards.parquet", pl.DataFrame({"ward": wards, "floor": [1, 2, 3]}))
    x.events(EVENTS)


@dataclass
class Reference:
    """An undisturbed extraction with one worker, and its cohort as it was after every stage."""

    x: Extraction
    after: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> "Reference":
        reference = cls(Extraction(folder))
        make_raw(reference.x)
        for stage in EXTRACTION_STAGES:
            run_stage(reference.x, stage)
            reference.after[stage] = folder / "after" / stage
            shutil.copytree(reference.x.cohort, reference.after[stage])
        return reference

    def before(self, stage: str, cohort: Path) -> Extraction:
        """An extraction of the same tables to `cohort`, up to the stage."""
        done = EXTRACTION_STAGES[: EXTRACTION_STAGES.index(stage)]
        if done:
            shutil.copytree(self.after[done[-1]], cohort, ignore=shutil.ignore_patterns(".logs"), dirs_exist_ok=True)
        return Elsewhere(self.x.folder, cohort)

    def n_files(self, stage: str) -> int:
        """How many files the stage makes, logs aside."""
        done = EXTRACTION_STAGES[: EXTRACTION_STAGES.index(stage)]
        before = files_below(self.after[done[-1]]) if done else []
        return len(files_below(self.after[stage])) - len(before)

    def check(self, cohort: Path, stage: str = EXTRACTION_STAGES[-1]) -> None:
        """Fails unless the cohort is, byte for byte, what it was after the stage, with nothing left lying about."""
        got, want = contents(cohort), contents(self.after[stage])
        assert strays(cohort) == []
        assert sorted(got) == sorted(want)
        assert [name for name in want if got[name] != want[name]] == []


@dataclass
class Elsewhere(Extraction):
    """An extraction whose cohort is anywhere."""

    cohort_dir: Path

    @property
    def cohort(self) -> Path:
        return self.cohort_dir


def contents(cohort: Path) -> dict[str, bytes]:
    """The bytes of every file of a cohort, but not when it was made, nor logs."""
    files = {name: (cohort / name).read_bytes() for name in files_below(cohort)}
    if dataset := files.get("metadata/dataset.json"):
        undated = {key: value for key, value in json.loads(dataset).items() if key != "created_at"}
        files["metadata/dataset.json"] = json.dumps(undated).encode()
    return {name: data for name, data in files.items() if not name.startswith(".logs/")}


def strays(cohort: Path) -> list[str]:
    """Hidden files and folders that nobody needs: locks, unfinished files, marks of runs."""
    hidden = [p.relative_to(cohort) for p in cohort.rglob(".*")]
    return sorted(str(p) for p in hidden if p.name not in NOT_STRAY and ".logs" not in p.parts)


def written(cohort: Path, stage: str) -> Counter[str]:
    """How often the logs of a stage's workers say that they made each output."""
    line = re.compile(r"- (?!Stage )(\S+): .*\d s$|- (\S+): \d+ codes$")
    logs = cohort.rglob(f"{stage}_*.log")
    found = (line.search(text) for path in logs for text in path.read_text().splitlines())
    return Counter(match[1] or match[2] for match in found if match)


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

    def text(self) -> str:
        """What the workers printed."""
        return "\n".join(path.read_text(errors="replace") for path in self.printed)


def command(x: Extraction, stage: str, *options: str) -> list[str]:
    """The command line of a stage; flags go first."""
    flags = [option for option in options if option.startswith("--")]
    overrides = [option for option in options if option not in flags]
    return [str(SCRIPTS / f"MEDS_extract-{stage}"), *flags, *x.overrides(*SMALL, *overrides)]


@contextmanager
def workers(x: Extraction, stage: str, n: int, *overrides: str) -> Iterator[Workers]:
    """Starts workers 0 to n - 1 of a stage; none outlives the block."""
    group = Workers(x.folder)
    try:
        for worker in range(n):
            group.start(command(x, stage, f"worker={worker}", *overrides))
        yield group
    finally:
        group.send(signal.SIGKILL)
        group.wait()


def run_stage(x: Extraction, stage: str, n: int = 1, *overrides: str) -> None:
    """Runs a stage to its end with n workers.

    By contract a repeated finalize_MEDS_metadata fails with FileExistsError where everything is there already.
    """
    with workers(x, stage, n, *overrides) as group:
        statuses = group.wait()
        if stage == "finalize_MEDS_metadata" and statuses[0] == 1 and "are there already" in group.text():
            statuses[0] = 0
        assert statuses == [0] * n, group.text()


def kill_during(x: Extraction, stage: str, n: int, n_files: int, rng: random.Random, *overrides: str) -> int:
    """Starts n workers and kills -9 all of them at a random moment of a stage that makes so many files.

    Returns:
        how many of them were killed; the others had ended.
    """
    with workers(x, stage, n, *overrides) as group:
        at_random_moment(group, x.cohort, n_files + n * LOG_FILES, rng)
        group.send(signal.SIGKILL)
        return sum(status == -signal.SIGKILL for status in group.wait())


def at_random_moment(group: Workers, cohort: Path, n_files: int, rng: random.Random) -> None:
    """Returns when a random number of files, up to `n_files`, has appeared below `cohort`, or all have ended."""
    after, pause = rng.randint(1, n_files), rng.choice([0.0, 0.001, 0.01, 0.1])
    seen = everything_below(cohort)
    before = len(seen)

    def enough() -> bool:
        seen.update(everything_below(cohort))
        return len(seen) - before >= after

    wait_until(lambda: enough() or not group.alive)
    time.sleep(pause)


def wait_until(happens: Callable[[], bool]) -> None:
    """Looks again and again, with short pauses, until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline, f"has not happened in {PATIENCE} s"
        time.sleep(0.001)


def everything_below(folder: Path) -> set[str]:
    """Files below a folder; what is renamed or removed meanwhile does not matter."""
    return {f"{at}/{name}" for at, _, names in os.walk(folder) for name in names}


def has_log(cohort: Path, stage: str) -> bool:
    """Whether a worker of the stage has opened its log."""
    # NOTE: not by rglob, which stumbles over folders that workers remove meanwhile.
    return any(Path(path).name.startswith(f"{stage}_") and path.endswith(".log") for path in everything_below(cohort))


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
