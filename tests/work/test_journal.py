"""What workers note of their work, and what can be told from it."""

import json
from pathlib import Path

import pytest

from MEDS_transforms.work import journal
from MEDS_transforms.work.claims import Staged, Unit, claim
from MEDS_transforms.work.environment import JOURNAL
from MEDS_transforms.work.journal import Work, read_journal
from MEDS_transforms.work.turn import turn_to


def touching(path: Path) -> Unit:
    def make(folder: Path) -> Staged:
        (folder / path.name).touch()
        return Staged({path: folder / path.name})

    return Unit(path, path.exists, make)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(JOURNAL, str(tmp_path / "journal"))
    return tmp_path / "journal"


def fail(*_) -> None:
    raise ValueError("a bad row")


def test_units_note_what_becomes_of_them(tmp_path, folder):
    paths = {name: tmp_path / name for name in ("made", "there", "failing", "untouched")}
    journal.note_plan(paths.values())
    paths["there"].touch()
    touching(paths["made"]).compute_once()
    Unit(paths["there"], paths["there"].exists, fail).compute_once()
    with pytest.raises(ValueError, match="a bad row"):
        Unit(paths["failing"], paths["failing"].exists, fail).compute_once()
    work = read_journal(folder)
    assert work.planned == {str(path) for path in paths.values()}
    assert work.missing == [str(paths["failing"]), str(paths["untouched"])]
    assert work.why(str(paths["failing"])) == "ValueError: a bad row …"
    assert work.why(str(paths["untouched"])) == "no worker started it"


def test_what_another_worker_does_counts_when_it_is_done(tmp_path, folder):
    out = tmp_path / "out"
    journal.note_plan([out])
    with claim(out) as ours:
        assert ours
        assert touching(out).compute_once() is False
        assert read_journal(folder).held == [str(out)]
    assert read_journal(folder).held == []
    assert read_journal(folder).missing == [str(out)]
    touching(out).compute_once()
    assert read_journal(folder).missing == []


def test_several_workers_and_half_written_lines(folder):
    folder.mkdir()
    first = [["planned", ["/a", "/b"]], ["begun", "/a"], ["done", "/a"], ["begun", "/b"]]
    lines = "\n".join(map(json.dumps, first))
    (folder / "host.of-mine-12.jsonl").write_text(lines + '\n["done", "/b')
    (folder / "other-3.jsonl").write_text('["error", "no luck"]\n')
    work = read_journal(folder)
    assert work == Work(
        {"/a", "/b"}, {"/a"}, dict.fromkeys(["/a", "/b"], "process 12 on host.of-mine"), {}, ["no luck"]
    )
    assert work.why("/b") == "its worker was lost (process 12 on host.of-mine)"


@pytest.mark.parametrize(
    ("work", "again"),
    [
        (Work(), False),
        (Work(errors=["x"]), True),
        (Work({"/a"}, errors=["x"]), False),
        (Work({"/a"}, failed={"/a": ["x"]}), False),
        (Work({"/a"}, failed={"/a": ["x", "x"]}), True),
        (Work({"/a", "/b"}, {"/a"}, failed={"/a": ["x", "x"]}), False),
    ],
)
def test_what_would_fail_again(work, again):
    assert work.would_fail_again is again


def test_without_a_runner_nothing_is_noted(tmp_path, monkeypatch):
    monkeypatch.delenv(JOURNAL, raising=False)
    journal.note_error("x")
    assert list(tmp_path.iterdir()) == []
    assert read_journal(tmp_path / "absent") == Work()


def test_a_note_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(JOURNAL, str(tmp_path / "file" / "journal"))
    journal.note_error("x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_notes_of_several_stages_are_apart(tmp_path, folder):
    try:
        for stage in ("a", "b"):
            turn_to(stage)
            journal.note_plan([tmp_path / stage])
        journal.note_ended()
    finally:
        turn_to("")
    assert read_journal(folder / "a").planned == {str(tmp_path / "a")}
    assert read_journal(folder / "b").planned == {str(tmp_path / "b")}
    assert [journal.has_ended(folder / stage) for stage in ("a", "b")] == [False, True]
