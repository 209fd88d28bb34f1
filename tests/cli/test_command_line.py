"""Words that users type, and what is said of those that cannot be understood."""

import subprocess

import pytest

from helpers import SCRIPTS, Extraction
from MEDS_transforms.cli.command_line import mistake, understood


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("input_dir=/a/b", "input_dir=/a/b"),
        ("input_dir=/data/a=b", "input_dir='/data/a=b'"),
        ("input_dir=/data/My Data (1), new", "input_dir='/data/My Data (1), new'"),
        ("input_dir=./it's", r"input_dir='./it\'s'"),
        ("input_dir=/a/${oc.env:X}", "input_dir=/a/${oc.env:X}"),
        ("input_dir='/a=b'", "input_dir='/a=b'"),
        ("seed=2", "seed=2"),
        ("--config-dir=/a b", "--config-dir=/a b"),
    ],
)
def test_paths_are_taken_as_they_are(typed, read):
    assert understood([typed]) == [read]


def test_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert understood(["cohort_dir=~/x"]) == ["cohort_dir=/home/me/x"]


def test_values_of_a_sweep_stay_apart():
    argv = ["--multirun", "input_dir=/a,/b"]
    assert understood(argv) == argv


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--workers", "2"], ["--workers", "key=value", "stage_runner_fp", "n_workers", "worker=0"]),
        (["--seed", "2"], ["--seed", "seed=2"]),
        (["--config-nme=x"], ["--config-nme", "did you mean '--config-name'"]),
        (["stages=[a,", "b]", "seed=1"], ["stages=[a,", "'stages=[a, b]'"]),
    ],
)
def test_what_is_wrong_is_said(argv, said):
    message = mistake(argv)
    assert message is not None
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    "argv", [["--help"], ["--cfg", "job"], ["-m", "worker=range(0,2)"], ["a=[1,2]"], ["a={b: 1}"], ["a=')'"], ["a=b)"]]
)
def test_what_is_not_wrong(argv):
    assert mistake(argv) is None


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("MEDS_extract-shard_events", ["cohort_dri=x"], ["cohort_dri", "did you mean 'cohort_dir'"]),
        ("MEDS_extract-shard_events", ["n_workers=2"], ["n_workers", "stage_runner_fp"]),
        ("MEDS_extract-shard_events", ["--workers", "2"], ["--workers", "stage_runner_fp"]),
        ("MEDS_transform-runner", ["--workers", "2"], ["--workers", "stage_runner_fp"]),
        ("MEDS_transform-runner", ["stages=[a,", "b]"], ["'stages=[a, b]'"]),
    ],
)
def test_scripts_say_so(tmp_path, script, arguments, said):
    ran = subprocess.run([SCRIPTS / script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr
    for part in said:
        assert part in ran.stderr


def test_a_folder_with_all_that_hydra_does_not_like(tmp_path):
    x = Extraction(tmp_path / "a=b, (c) [d] {e} it's $x")
    x.table("labs.csv", "subject_id,code\n1,A\n")
    x.events({"labs": {"lab": {"code": "A", "time": None}}})
    ran = x.script("shard_events")
    assert ran.returncode == 0, ran.stderr
    assert x.chunk("labs", 0, 1).height == 1
