"""Which stages share a process."""

import sys
from pathlib import Path

import pytest

from MEDS_transforms.runner.done import DoneMark
from MEDS_transforms.runner.plan import StageRun
from MEDS_transforms.runner.segments import STAGES_KEY, Segment, segment_from
from MEDS_transforms.runner.stage_runners import Parallel
from MEDS_transforms.work import journal
from MEDS_transforms.work.environment import JOURNAL
from MEDS_transforms.work.turn import turn_to

BESIDE = Path(sys.executable).parent
CONFIG = ["--config-dir=/x", "--config-name=p"]


def stage(name: str, *program: str, parallel: Parallel | None = None) -> StageRun:
    words = list(program) or [str(BESIDE / f"MEDS_transform-{name}")]
    return StageRun(
        name, [*words, *CONFIG], [f"stage={name}"], DoneMark(Path(f"/logs/{name}.done"), name), parallel or Parallel()
    )


FIRST = stage("filter_subjects")
COUNT = stage("counts", str(BESIDE / "MEDS_transform-aggregate_code_metadata"))


@pytest.mark.parametrize(
    ("other", "joins"),
    [
        (stage("normalization"), True),
        (COUNT, True),
        (stage("extra", sys.executable, "-m", "MEDS_transforms.cli", "normalization"), True),
        (stage("extra", sys.executable, "-m", "MEDS_transforms.cli", "normalization", "seed=3"), False),
        (stage("own", "python", "own.py"), False),
        (stage("normalization", "/elsewhere/bin/MEDS_transform-normalization"), False),
        (stage("normalization", str(BESIDE / "MEDS_transform-normalization"), "seed=3"), False),
        (stage("normalization", parallel=Parallel(2, "joblib")), False),
    ],
)
def test_a_stage_joins_another_that_this_installation_runs_in_the_same_way(other, joins):
    assert segment_from([FIRST, other], fuse=True).stages == ((FIRST, other) if joins else (FIRST,))
    assert segment_from([FIRST, other], fuse=False).stages == (FIRST,)


def test_a_segment_begins_with_whatever_comes_first():
    own = stage("own", "python", "own.py")
    assert segment_from([own, FIRST], fuse=True).stages == (own,)


def test_a_single_stage_is_run_by_its_own_script():
    assert segment_from([FIRST], fuse=True).commands(1) == FIRST.commands(1)


def test_several_are_run_by_a_worker_that_is_told_their_scripts():
    [command] = segment_from([FIRST, COUNT], fuse=True).commands(1)
    assert command[:5] == [sys.executable, "-m", "MEDS_transforms.runner.worker", *CONFIG]
    scripts = "{filter_subjects:filter_subjects,counts:aggregate_code_metadata}"
    assert command[5:] == ["stage=filter_subjects", f"++{STAGES_KEY}={scripts}"]


def test_all_workers_are_started_again_where_stages_are_still_to_come():
    parallel = Parallel(3, "processes")
    both = Segment((stage("filter_subjects", parallel=parallel), stage("normalization", parallel=parallel)), Path("/j"))
    assert [argv[-1] for argv in both.commands(1)] == ["worker=0", "worker=1", "worker=2"]


def test_the_stage_at_work_is_the_first_that_has_not_ended(tmp_path, monkeypatch):
    monkeypatch.setenv(JOURNAL, str(tmp_path))
    segment = Segment((FIRST, COUNT), tmp_path)
    try:
        turn_to("filter_subjects")
        journal.note_plan([tmp_path / "a"])
        assert (segment.name, segment.work().missing) == ("filter_subjects", [str(tmp_path / "a")])
        journal.note_ended()
        assert (segment.name, segment.work().missing) == ("counts", [])
        turn_to("counts")
        journal.note_ended()
        assert segment.name == "counts"
    finally:
        turn_to("")


def test_of_stages_that_share_a_pass_the_one_that_failed_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(JOURNAL, str(tmp_path))
    segment = Segment((FIRST, COUNT), tmp_path)
    try:
        for name in ("filter_subjects", "counts"):
            turn_to(name)
            journal.note_plan([tmp_path / name])
        journal.note_error("a bad row")
    finally:
        turn_to("")
    assert segment.name == "counts"
