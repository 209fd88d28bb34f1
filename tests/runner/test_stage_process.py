"""Stages that share processes are marked done as they end, whichever process says so first."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from MEDS_transforms.runner.plan import StageRun
from MEDS_transforms.runner.processes import Children
from MEDS_transforms.runner.segments import Segment
from MEDS_transforms.runner.stage_process import StageProcess
from MEDS_transforms.work import journal
from MEDS_transforms.work.environment import JOURNAL
from MEDS_transforms.work.turn import turn_to


class SlowMark:
    """The mark of a stage, on a slow disk; it counts how often it is set."""

    def __init__(self, path: Path) -> None:
        self.path, self.times = path, 0

    def set(self) -> None:
        time.sleep(0.05)
        self.times += 1


@pytest.fixture
def stages(tmp_path, monkeypatch):
    monkeypatch.setenv(JOURNAL, str(tmp_path / "notes"))
    yield [StageRun(name, ["script"], [], SlowMark(tmp_path / name)) for name in ("a", "b", "c")]
    turn_to("")


def end(*names: str) -> None:
    for name in names:
        turn_to(name)
        journal.note_ended()


def test_every_stage_that_ended_is_marked_once_also_if_two_processes_speak_at_once(tmp_path, stages):
    begun: list[str] = []
    segment = Segment(tuple(stages), tmp_path / "notes")
    process = StageProcess(segment, Children(), [], begins=lambda stage: begun.append(stage.name))
    end("a", "b")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(process._go_on, ["a line"] * 4))
    assert [stage.done.times for stage in stages] == [1, 1, 0]
    assert begun == ["b", "c"]


def test_a_stage_is_not_marked_before_those_ahead_of_it(tmp_path, stages):
    process = StageProcess(Segment(tuple(stages), tmp_path / "notes"), Children(), [])
    end("b")
    process._go_on("a line")
    assert [stage.done.times for stage in stages] == [0, 0, 0]
