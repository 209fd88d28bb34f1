"""Ctrl-C at any moment ends a command with one line and status 130; nothing is left, and the same command goes on.

Moments are seeded, and counted from the one at which the package answers signals. Every wait ends with a failure.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers import SCRIPTS, Extraction, files_below, wait_until
from MEDS_transforms.interrupts import script_of

PROGRAM = SCRIPTS / "MEDS_transforms"
PATIENCE = 60
"""Seconds after which a command that has been interrupted counts as hanging."""
N_MOMENTS = 10
AGAIN = "error: Interrupted. Run the same command to continue."

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at processes in /proc")


@dataclass(frozen=True)
class Ended:
    """How a command has ended: its status, and what it has printed."""

    status: int
    out: str
    err: str

    def complaints(self, message: str) -> list[str]:
        """What is wrong with the end of a command that was interrupted, or had just ended of itself."""
        said = [line for line in self.err.splitlines() if line.startswith("error: ")]
        wrong = {
            f"status {self.status}": self.status not in (0, 130),
            f"said {said}": said != ([message] if self.status else []),
            f"trace: {self.out}{self.err}": any(s in self.out + self.err for s in ("Traceback", "Exception ignored")),
        }
        return [what for what, is_so in wrong.items() if is_so]


def answers_signals(pid: int) -> bool:
    """Whether a process catches SIGTERM, which Python itself does not, or has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1) or "State:\tZ" in status


def interrupted(argv: Sequence[object], moment: float, folder: Path, to_all: bool = True) -> Ended:
    """Runs a command, which is interrupted so many seconds after it has begun: its process group, or it alone."""
    process = subprocess.Popen(
        [*map(str, argv)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: answers_signals(process.pid))
        time.sleep(moment)
        if process.poll() is None:
            (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return Ended(process.returncode, out, err)


def processes_about(folder: Path) -> list[str]:
    """The command lines of processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [words for words in [path.read_text().replace("\0", " ")] if str(folder) in words]
    return found


def results(x: Extraction) -> dict[str, bytes]:
    """What a run has made, but for logs and for the file with the time at which it was made."""
    names = [name for name in files_below(x.cohort) if not name.endswith("dataset.json")]
    return {name: (x.cohort / name).read_bytes() for name in names}


@pytest.fixture
def x(tmp_path) -> Extraction:
    """A small extraction."""
    x = Extraction(tmp_path)
    rows = "".join(f"{i % 40},2020-01-{1 + i % 28:02},C{i % 5},{i}\n" for i in range(400))
    x.table("labs.csv", f"patient,taken,test,value\n{rows}")
    event = {"code": ["LAB", "col(test)"], "time": "col(taken)", "time_format": "%Y-%m-%d", "numeric_value": "value"}
    x.events({"subject_id_col": "patient", "labs": {"lab": event}})
    (tmp_path / "pipe.yaml").write_text(x.pipeline())
    return x


def moments(seconds: float, number: int, seed: int = 1) -> list[float]:
    """Moments spread over a time, one in each equal part of it."""
    drawn = random.Random(seed)
    return [seconds * (part + drawn.random()) / number for part in range(number)]


def duration(argv: Sequence[object], folder: Path) -> float:
    """How long a command takes that is not interrupted."""
    started = time.monotonic()
    subprocess.run([*map(str, argv)], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    return time.monotonic() - started


@pytest.mark.slow
def test_a_run_that_is_interrupted_at_any_moment_says_so_and_goes_on(x):
    run = [PROGRAM, "run", x.folder / "pipe.yaml"]
    seconds, wanted, found = duration(run, x.folder), results(x), dict[float, list[str]]()
    for moment in moments(seconds, N_MOMENTS):
        shutil.rmtree(x.cohort)
        ended = interrupted(run, moment, x.folder)
        complaints = ended.complaints(AGAIN) + [f"left: {words}" for words in processes_about(x.folder)]
        again = subprocess.run([*map(str, run)], capture_output=True, text=True, timeout=PATIENCE, check=False)
        complaints += [again.stderr] if again.returncode else []
        complaints += [] if results(x) == wanted else ["other bytes"]
        found |= {moment: complaints} if complaints else {}
    assert not found


def commands(x: Extraction) -> dict[str, list[object]]:
    """The other commands, which write at most one file or two."""
    return {
        "check": [x.folder / "pipe.yaml"],
        "validate": [x.cohort],
        "report": [x.cohort, "-o", x.folder / "report.html"],
        "init": [x.raw, "--output-dir", x.folder / "draft", "--force"],
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "to_all"), [("check", True), ("validate", False), ("report", True), ("init", True), ("init", False)]
)
def test_other_commands_that_are_interrupted_say_so(x, command, to_all):
    duration([PROGRAM, "run", x.folder / "pipe.yaml"], x.folder)
    argv = [PROGRAM, command, *commands(x)[command]]
    for moment in moments(duration(argv, x.folder), 3):
        ended = interrupted(argv, moment, x.folder, to_all)
        assert not ended.complaints("error: Interrupted."), moment
        assert not processes_about(x.folder)
        assert command != "init" or not [*x.folder.rglob(".tmp.*")]


@pytest.mark.slow
def test_the_demo_that_is_interrupted_says_so_once_and_leaves_nothing_running(tmp_path):
    argv = [PROGRAM, "demo", tmp_path / "demo"]
    seconds = duration(argv, tmp_path)
    for moment in moments(seconds, 3):
        shutil.rmtree(tmp_path / "demo", ignore_errors=True)
        ended = interrupted(argv, moment, tmp_path)
        of_demo, of_run = ended.complaints("error: Interrupted."), ended.complaints(AGAIN)
        assert not of_demo or not of_run, (moment, of_demo, of_run)
        assert not processes_about(tmp_path)


HOOK = """
import os, signal
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))
"""


@pytest.fixture
def interrupted_in_fork(tmp_path, monkeypatch) -> None:
    """Processes are interrupted within `fork`, where Python forgets what is raised."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


@pytest.mark.usefixtures("interrupted_in_fork")
def test_an_interrupt_within_fork_ends_a_run(x):
    argv = [PROGRAM, "run", x.folder / "pipe.yaml"]
    ended = subprocess.run([*map(str, argv)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 130
    assert ended.stderr.splitlines()[-1] == AGAIN
    assert not Ended(ended.returncode, ended.stdout, ended.stderr).complaints(AGAIN)


@pytest.mark.usefixtures("interrupted_in_fork")
def test_an_interrupt_within_fork_is_not_forgotten_in_python(x):
    program = f"""
from MEDS_transforms import run_pipeline
try:
    run_pipeline({str(x.folder / "pipe.yaml")!r})
except KeyboardInterrupt:
    print("interrupted")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stdout.splitlines()[-1:]) == (0, ["interrupted"]), ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_an_interrupt_while_files_are_written_leaves_none_unfinished(tmp_path):
    program = f"""
import signal
from pathlib import Path
from MEDS_transforms import interrupts
from MEDS_transforms.work.files import publish
interrupts.answer_interrupts("MEDS_transforms", ["MEDS_transforms", "init"])
def write(path):
    path.write_text("whole")
    signal.raise_signal(signal.SIGINT)
with interrupts.put_off():
    publish(Path({str(tmp_path / "a.yaml")!r}), write)
    publish(Path({str(tmp_path / "b.yaml")!r}), write)
print("not reached")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "error: Interrupted.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "b.yaml"]


def test_a_third_interrupt_ends_a_runner_that_hangs():
    program = """
import threading
from MEDS_transforms.runner.processes import Children
with Children().ended_by_signals():
    print("hangs", flush=True)
    threading.Event().wait()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "hangs\n"
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # two at once would be one
    assert process.wait(PATIENCE) == -signal.SIGINT
    process.stdout.close()


@pytest.mark.parametrize(
    ("argv", "orig_argv", "script"),
    [
        (["/bin/MEDS_transforms", "run"], ["python", "/bin/MEDS_transforms", "run"], "MEDS_transforms"),
        (["C:/MEDS_transform-runner.exe"], ["python", "C:/MEDS_transform-runner.exe"], "MEDS_transform-runner"),
        (["-m", "run", "p.yaml"], ["python", "-X", "dev", "-m", "MEDS_transforms", "run", "p.yaml"], "MEDS_transforms"),
        (["-m"], ["python", "-m", "MEDS_transforms.runner"], "MEDS_transform-runner"),
        (["-m", "x"], ["python", "-m", "MEDS_transforms.runner.worker", "x"], ""),
        (["-c"], ["python", "-c", "import MEDS_transforms"], ""),
        (["/bin/jupyter", "MEDS_transforms"], ["python", "/bin/jupyter", "MEDS_transforms"], ""),
        ([""], ["python"], ""),
        ([], [], ""),
    ],
)
def test_only_commands_of_the_package_answer_interrupts(argv, orig_argv, script):
    assert script_of(argv, orig_argv) == script
