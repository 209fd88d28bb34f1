"""When a stage is run again, for what, with how many workers, and when it is given up."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from helpers import wait_until
from MEDS_transforms.runner.plan import StageRun
from MEDS_transforms.runner.retries import Failure, run_until_complete
from MEDS_transforms.runner.segments import Segment
from MEDS_transforms.runner.stage_runners import Parallel
from MEDS_transforms.work import journal
from MEDS_transforms.work.claims import claim
from MEDS_transforms.work.environment import JOURNAL


class Stage:
    """A stage of three units whose attempts go as they are told: what each does, and its exit status."""

    def __init__(self, folder: Path, max_retries: int = 2, n_workers: int = 8) -> None:
        self.units = [folder / name for name in "abc"]
        self.journal = folder / "journal"
        parallel = Parallel(n_workers, max_retries=max_retries)
        self.stage = Segment((StageRun("s", ["script"], [], folder / "s.done", parallel),), self.journal)
        self.commands: list[str] = []

    def run(self, *attempts: Callable[[], int]) -> Failure | None:
        coming = iter(attempts)

        def start(commands: list[list[str]]) -> int:
            self.commands += [argv[-1] for argv in commands]
            return next(coming)()

        failure = run_until_complete(self.stage, start, lambda: None)
        assert list(coming) == [], "fewer attempts than expected"
        return failure

    def attempt(
        self, status: int, done: str = "", planned: bool = True, error: str = "", failed: str = ""
    ) -> Callable[[], int]:
        def play() -> int:
            if planned:
                journal.note_plan(self.units)
            self.note_done(done)
            for name in failed:
                journal.note_failed(self.journal.parent / name, f"{name} is bad")
            if error:
                journal.note_error(error)
            return status

        return play

    def note_done(self, names: Iterable[str]) -> None:
        for name in names:
            journal.note_done(self.journal.parent / name)


@pytest.fixture(autouse=True)
def _journal(tmp_path, monkeypatch):
    monkeypatch.setenv(JOURNAL, str(tmp_path / "journal"))


def test_a_stage_that_succeeds_runs_once(tmp_path):
    stage = Stage(tmp_path)
    assert stage.run(stage.attempt(0, "abc")) is None
    assert stage.commands == ["worker=range(0,8)"]


def test_what_is_missing_is_done_by_no_more_workers_than_that_takes(tmp_path):
    stage = Stage(tmp_path)
    assert stage.run(stage.attempt(1, "a"), stage.attempt(1, "b"), stage.attempt(0, "c")) is None
    assert stage.commands == ["worker=range(0,8)", "worker=range(0,2)", "worker=range(0,1)"]


def test_a_failure_with_nothing_missing_is_followed_by_an_attempt_that_ends_with_success(tmp_path):
    stage = Stage(tmp_path)
    assert stage.run(stage.attempt(1, "abc"), stage.attempt(0)) is None
    assert stage.commands == ["worker=range(0,8)", "worker=range(0,1)"]


def test_what_is_made_and_refused_is_not_tried_again(tmp_path):
    def refused() -> int:
        journal.note_refused("a limit is exceeded")
        return stage.attempt(1, "abc")()

    stage = Stage(tmp_path)
    failure = stage.run(refused)
    assert failure is not None
    assert (failure.status, failure.retries, failure.work.missing) == (1, 0, [])


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_a_stage_is_given_up_after_so_many_retries(tmp_path, max_retries):
    stage = Stage(tmp_path, max_retries)
    failure = stage.run(*[stage.attempt(7, "a")] * (max_retries + 1))
    assert failure is not None
    assert (failure.status, failure.retries) == (7, max_retries)
    assert failure.work.missing == [str(tmp_path / "b"), str(tmp_path / "c")]


def test_an_error_before_there_is_work_is_not_tried_again(tmp_path):
    stage = Stage(tmp_path)
    failure = stage.run(stage.attempt(1, planned=False, error="no such table"))
    assert failure is not None
    assert failure.retries == 0


def test_a_unit_that_has_failed_twice_is_not_tried_again(tmp_path):
    stage = Stage(tmp_path, max_retries=5)
    failure = stage.run(stage.attempt(1, "a", failed="b"), stage.attempt(1, failed="b"))
    assert failure is not None
    assert failure.retries == 1
    assert f"{tmp_path}/b: b is bad" in failure.account()
    (tmp_path / "journal").rename(tmp_path / "before")
    assert stage.run(stage.attempt(1, "a", failed="bb")) is not None, "two workers, one attempt"


def test_a_unit_that_failed_and_then_was_done_does_not_matter(tmp_path):
    stage = Stage(tmp_path)
    assert stage.run(stage.attempt(1, "ab", failed="bb"), stage.attempt(0, "c")) is None


@pytest.mark.parametrize(
    ("status", "done", "planned", "said"),
    [
        (
            -9,
            "a",
            True,
            "Stage s was killed by SIGKILL: 2 of 3 outputs are missing. Running it again for the missing outputs (",
        ),
        (
            1,
            "abc",
            True,
            "exit status 1: no output is missing. Running it again for the steps after the outputs (retry 1 of 2)",
        ),
        (1, "", False, "exit status 1: no worker started. Running it again (retry 1 of 2)"),
        (
            0,
            "a",
            True,
            "ended without an error, but is incomplete: 2 of 3 outputs are missing. Running it again for the missing",
        ),
    ],
)
def test_what_is_said_when_a_stage_is_run_again(tmp_path, caplog, status, done, planned, said):
    stage = Stage(tmp_path)
    stage.run(stage.attempt(status, done, planned), stage.attempt(0, "abc"))
    assert said in caplog.text


@pytest.mark.parametrize("n_workers", [0, 8])
def test_a_script_that_notes_nothing_goes_by_its_exit_status(tmp_path, n_workers):
    stage = Stage(tmp_path, n_workers=n_workers)
    assert stage.run(stage.attempt(1, planned=False), stage.attempt(0, planned=False)) is None
    assert stage.commands == ["worker=range(0,8)" if n_workers else "script"] * 2, "nothing tells that fewer would do"


def test_success_with_something_missing_is_no_success(tmp_path):
    stage = Stage(tmp_path, max_retries=0)
    failure = stage.run(stage.attempt(0, "a"), stage.attempt(0, "a"))
    assert failure is not None
    assert failure.status == 0
    assert "2 of 3 outputs are missing" in failure.account()


@pytest.mark.parametrize("status", [0, 1])
def test_what_a_worker_of_before_still_holds_is_waited_for(tmp_path, status):
    """It notes its end elsewhere, or not at all: then another attempt finds it done."""
    stage = Stage(tmp_path, max_retries=1)
    held, attempted = threading.Event(), threading.Event()

    def hold() -> None:
        with claim(tmp_path / "c") as ours:
            assert ours
            held.set()
            attempted.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    looked = []

    def stop_if_told() -> None:
        looked.append(len(stage.commands))
        if len(looked) == 3:
            attempted.set()

    coming = iter([stage.attempt(status, "ab"), stage.attempt(0, "c")])

    def start(commands: list[list[str]]) -> int:
        stage.commands += [argv[-1] for argv in commands]
        return next(coming)()

    assert run_until_complete(stage.stage, start, stop_if_told) is None
    holder.join()
    assert looked[:3] == [1, 1, 1]  # not started again before the claim was free
    assert stage.commands == ["worker=range(0,8)", "worker=range(0,1)"]


def test_whoever_waits_can_be_told_to_stop(tmp_path):
    stage = Stage(tmp_path)
    release = threading.Event()

    def hold() -> None:
        with claim(tmp_path / "c"):
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    wait_until((tmp_path / ".c.lock").exists)

    def stop_if_told() -> None:
        raise SystemExit(130)

    with pytest.raises(SystemExit):
        run_until_complete(stage.stage, lambda _: stage.attempt(1, "ab")(), stop_if_told)
    release.set()
    holder.join()
