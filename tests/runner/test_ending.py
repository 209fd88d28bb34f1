"""The last lines of a run say where the result is, what is in it, and what stages have warned of."""

import subprocess

import pytest

from helpers import SCRIPTS, Extraction
from MEDS_transforms.runner.ending import account_of
from MEDS_transforms.settings.layout import accounting_path


def test_a_run_ends_with_its_result_and_the_warnings_of_stages(tmp_path):
    x = Extraction(tmp_path)
    x.table("labs.csv", "patient,taken,test,value\n1,2020-01-01,CRP,12\n2,2020-01-02,CRP,7\n2,2020-01-02 08:30,CRP,8\n")
    event = {"code": ["LAB", "col(test)"], "time": "col(taken)", "time_format": "%Y-%m-%d", "numeric_value": "value"}
    x.events({"subject_id_col": "patient", "labs": {"lab": event}})
    fractions = {"split_fracs": {"train": 1, "tuning": None, "held_out": None}}
    (tmp_path / "pipe.yaml").write_text(x.pipeline(split_and_shard_subjects=fractions))
    command = [SCRIPTS / "MEDS_transforms", "run", tmp_path / "pipe.yaml", "check=False"]
    for _ in range(2):  # also where all is done before
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        ending = ran.stdout[ran.stdout.index("All 7 stages are done.") :]
        assert f"The result is in {x.cohort / 'data'}: 2 measurements of 2 subjects." in ending
        assert "There was 1 warning:" in ending
        assert ending.count("labs.lab: times that no time_format reads") == 1


@pytest.mark.parametrize("content", [None, "[1]", "{"])
def test_an_account_that_is_none_counts_as_none(tmp_path, content):
    path = accounting_path(tmp_path, "a")
    path.parent.mkdir(parents=True)
    if content:
        path.write_text(content)
    assert account_of(tmp_path, "a") == {}


def test_what_was_warned_of_before_the_stages_ran_is_repeated_and_counted(tmp_path):
    x = Extraction(tmp_path)
    rows = "".join(f"{n},2020-01-0{n},Hämoglobin {n},{n}\n" for n in range(1, 10))
    x.table("labs.csv", ("patient,taken,test,value\n" + rows).encode())
    event = {"code": ["LAB", "col(test)"], "time": "col(taken)", "time_format": "%Y-%m-%d", "numeric_value": "value"}
    x.events({"subject_id_col": "patient", "labs": {"encoding": "cp1252", "lab": event}})
    (tmp_path / "pipe.yaml").write_text(x.pipeline())
    command = [SCRIPTS / "MEDS_transforms", "run", tmp_path / "pipe.yaml"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    before, _, ending = ran.stdout.partition("All 7 stages are done.")
    assert "There was 1 warning:" in ending
    for part in (before, ending):
        assert part.count("is valid UTF-8, but read as cp1252") == 1
