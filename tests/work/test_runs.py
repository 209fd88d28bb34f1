"""The folder of a run, which one worker removes while another looks into it."""

import subprocess
import sys

import pytest

from MEDS_transforms.work.runs import Run

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
