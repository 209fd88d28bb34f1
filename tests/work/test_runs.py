"""The folder of a run: one worker removes it while another looks into it, and threads read there."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from MEDS_transforms.work import runs
from MEDS_transforms.work.provenance import Maker, OutputFile
from MEDS_transforms.work.runs import Generation, Noted, Run

LOOKS = 2000
COMES_AND_GOES = """
import os, sys
print("begun", flush=True)
while True:
    os.mkdir(sys.argv[1])
    os.rmdir(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("look", "nothing"),
    [(Run.generation, None), (Run.others_at_work, []), (Run.all_files, set())],
    ids=["generation", "others_at_work", "all_files"],
)
def test_a_folder_that_vanishes_while_it_is_listed_holds_nothing(tmp_path, look, nothing):
    run = Run(tmp_path, "stage")
    run.path.parent.mkdir(parents=True)
    command = [sys.executable, "-c", COMES_AND_GOES, str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "begun\n"
            assert [look(run) for _ in range(LOOKS)] == [nothing] * LOOKS
            assert other.poll() is None
        finally:
            other.kill()


GENERATION = Generation(Maker("1", {}))
UNITS = [f"{number}.parquet" for number in range(2000)]


@pytest.fixture
def run(tmp_path):
    """A run that has begun."""
    run = Run(tmp_path, "stage")
    run.path.mkdir(parents=True)
    assert run.begin(GENERATION)
    return run


def test_a_generation_is_read_once_until_another_is_in_force(run, monkeypatch):
    read = []
    monkeypatch.setattr(runs.json, "load", lambda file: read.append(file.name) or json.loads(file.read()))
    assert [run.generation().token for _ in range(3)] == [GENERATION.token] * 3
    assert len(read) == 1
    following = Generation(Maker("2", {}), number=2)
    Run(run.path.parents[1], "stage").begin(following)
    assert run.generation().made_by == following.made_by
    assert run.is_in_force(following)
    Run(run.path.parents[1], "stage").end()
    assert run.generation() is None
    run.path.mkdir()
    again = Generation(Maker("3", {}))
    assert run.begin(again)
    assert run.generation().token == again.token
    assert len(read) == 3


def test_a_thread_that_has_read_on_knows_what_another_was_just_reading(run):
    for unit in UNITS:
        run.note(GENERATION, unit, Noted({unit: OutputFile(1, "0")}))
    notes, together = run.notes(Generation(Maker("2", {}))), Barrier(8)
    notes.prefix = GENERATION.token

    def known(_: int) -> int:
        together.wait()
        notes.read_on()
        return len(notes.units)

    with ThreadPoolExecutor(8) as threads:
        assert [*threads.map(known, range(8))] == [len(UNITS)] * 8
    assert {len(noted) for noted in notes.units.values()} == {1}
