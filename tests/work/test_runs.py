"""The folder of a run, which one worker removes while another looks into it."""

import subprocess
import sys

import pytest

from MEDS_transforms.work.runs import Run

COMES_AND_GOES = """
import os, sys
print("begun", flush=True)
for _ in range(20_000):
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
        assert other.stdout.readline() == "begun\n"
        looks = 0
        while other.poll() is None:
            assert look(run) == nothing
            looks += 1
    assert other.returncode == 0
    assert looks > 1000
