"""What the runner tells of stages at work, from the notes of their workers."""

import os
import socket

import pytest

from MEDS_transforms.runner.figures import DONE, FAILED, Looks
from MEDS_transforms.runner.plan import StageRun
from MEDS_transforms.runner.segments import Segment
from MEDS_transforms.runner.shown import in_words
from MEDS_transforms.work import journal
from MEDS_transforms.work.environment import JOURNAL
from MEDS_transforms.work.following import Followed
from MEDS_transforms.work.turn import turn_to

ME = f"{socket.gethostname()}-{os.getpid()}"


@pytest.fixture
def looks(tmp_path, monkeypatch):
    monkeypatch.setenv(JOURNAL, str(tmp_path / "notes"))
    stages = tuple(StageRun(name, ["script"], [], None) for name in ("a", "b", "c"))
    yield Looks(Segment(stages, tmp_path / "notes"), {"a": 4, "b": 5, "c": 6}, 9, list)
    turn_to("")


def work(tmp_path, stage: str, planned: int, made: int, rows: int | None = None) -> None:
    turn_to(stage)
    units = [tmp_path / f"{stage}{number}" for number in range(planned)]
    journal.note_plan(units)
    for unit in units[:made]:
        journal.note_made(unit, rows)


def test_stages_that_have_planned_their_work_share_a_pass_and_later_ones_do_not(tmp_path, looks):
    looks.begin("a")
    assert [(f.stage, f.done, f.all) for f in looks.look()] == [("a", 0, 0)]
    looks.began["a"] -= 100
    work(tmp_path, "a", 4, 2, 10)
    work(tmp_path, "b", 3, 1)
    of_a, of_b = looks.look()
    assert (of_a.number, of_a.of, of_a.done, of_a.all, of_a.rows) == (4, 9, 2, 4, 20)
    assert (of_b.done, of_b.all, of_b.rows, of_b.rows_per_second) == (1, 3, None, None)
    assert of_a.together == of_b.together == ("a", "b")
    assert of_b.seconds >= 100  # the clock of a pass is that of its first stage
    assert (of_a.workers, of_a.memory > 2**20) == (1, True)
    looks.end("a", DONE)
    looks.end("b", DONE)
    looks.begin("c")
    assert [f.together for f in looks.look()] == [("c",)]


def test_what_was_there_before_is_done_but_says_nothing_of_the_time_left(tmp_path, looks):
    looks.begin("a")
    work(tmp_path, "a", 4, 0)
    journal.note_done(tmp_path / "a0")
    [figures] = looks.look()
    assert (figures.done, figures.seconds_left) == (1, None)
    journal.note_made(tmp_path / "a1", None)
    [figures] = looks.look()
    assert (figures.done, figures.seconds_left) == (2, pytest.approx(2 * figures.seconds, abs=0.1))


@pytest.mark.parametrize(("state", "done"), [(DONE, 4), (FAILED, 2)])
def test_a_stage_that_is_done_has_all_its_units_though_a_killed_worker_noted_fewer(tmp_path, looks, state, done):
    work(tmp_path, "a", 4, 2)
    last = looks.end("a", state)
    assert (last.state, last.done, last.all) == (state, done, 4)


def test_the_memory_is_that_of_live_processes_here_and_as_noted_elsewhere(tmp_path, looks):
    work(tmp_path, "a", 1, 0)
    for name, memory in (("other-host-17", 2**50), (f"{socket.gethostname()}-99999999", 2**60)):
        (tmp_path / "notes" / "a" / f"{name}.jsonl").write_text(f'["made", ["x", null, {memory}]]\n')
    [figures] = looks.look()
    assert figures.workers == 2
    assert 2**50 + 2**20 < figures.memory < 2**51


def test_the_time_in_a_queue_says_nothing_of_the_time_left(tmp_path, looks):
    looks.begin("a")
    looks.began["a"] -= 3600
    looks.look()
    work(tmp_path, "a", 4, 2, 10)
    [figures] = looks.look()
    assert figures.seconds >= 3600
    assert figures.seconds_left < 3600
    assert figures.rows_per_second > 0


def test_a_line_that_is_half_written_counts_when_it_is_whole(tmp_path):
    path, followed = tmp_path / "h-1.jsonl", Followed(tmp_path)
    path.write_text('["planned", ["x", "y"]]\n["made", ["x", 3,')
    followed.read_on("h-1")
    assert (followed.planned, followed.done) == ({"x", "y"}, set())
    with path.open("a") as file:
        file.write(' 5]]\nnonsense\n["done", "y"]\n')
    followed.read_on("h-1")
    followed.read_on("h-1")
    assert (followed.done, followed.made, followed.rows, followed.memory) == ({"x", "y"}, 1, 3, {"h-1": 5})


def test_words_of_several_stages_are_about_all_of_them(tmp_path, looks):
    work(tmp_path, "a", 1200, 0)
    work(tmp_path, "b", 3, 1, 7)
    looks.begin("a")
    assert in_words(*looks.look())[0] == "1 of 1,203 units"
