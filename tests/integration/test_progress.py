"""Progress as users see it: figures on a terminal, JSON lines for programs, and nothing new for whom neither is."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from helpers import SCRIPTS, Preprocessing, measurements

N_UNITS = 5
N_SHARDS = 6
KEYS = ["time", "stage", "number", "of", "state", "pass", "done", "all", "rows", "seconds", "rows_per_second"]
KEYS += ["seconds_left", "memory", "workers"]

SLOW_STAGE = f"""
import sys, time
from pathlib import Path
from MEDS_transforms.work.journal import note_made, note_plan

units = [Path(str(number)) for number in range({N_UNITS})]
note_plan(units)
for unit in units:
    time.sleep(0.5)
    note_made(unit, 1000)
    print("made", unit, flush=True)
    if Path("fails").exists():
        sys.exit(3)
"""
"""A script of a user's own that takes long enough to be looked at."""


@pytest.fixture
def slow(tmp_path, monkeypatch) -> Path:
    """A folder with a pipeline of one slow stage."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text(SLOW_STAGE)
    block = {"_script": f"{sys.executable} {tmp_path / 'slow.py'}"}
    pipeline = {"input_dir": "in", "cohort_dir": "out", "stages": ["a"], "stage_configs": {"a": block}}
    (tmp_path / "pipe.yaml").write_text(json.dumps(pipeline | {"do_overwrite": False}))
    return tmp_path


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe.yaml", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def on_a_terminal(*args: str) -> tuple[int, str]:
    """Runs a pipeline on a terminal; gives its exit status and all that was shown."""
    ours, theirs = pty.openpty()
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe.yaml", *args]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environ)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    return process.wait(60), shown.decode()


def lines_of(stdout: str) -> dict[str, list[dict]]:
    """The lines of each stage, each as a program reads it, checked for what holds of all."""
    lines = [json.loads(line) for line in stdout.splitlines()]
    for line in lines:
        assert [*line] == KEYS
        assert 0 <= line["done"] <= line["all"]
        assert line["stage"] in line["pass"]
        assert line["workers"] == 0 or line["memory"] > 0
    by_stage = {line["stage"]: [other for other in lines if other["stage"] == line["stage"]] for line in lines}
    for of_stage in by_stage.values():
        for key in ("done", "all", "seconds"):
            assert is_monotone(line[key] for line in of_stage)
        assert [line["state"] for line in of_stage[:-1]] == ["running"] * (len(of_stage) - 1)
    return by_stage


def is_monotone(values: Iterable[float]) -> bool:
    found = [*values]
    return found == sorted(found)


@pytest.mark.usefixtures("slow")
def test_json_lines_tell_how_far_a_stage_is_and_other_output_goes_to_standard_error():
    done = run("progress=json")
    assert done.returncode == 0, done.stderr
    of_stage = lines_of(done.stdout)["a"]
    assert (of_stage[0]["done"], of_stage[0]["all"]) == (0, 0)
    assert any(0 < line["done"] < line["all"] and line["seconds_left"] > 0 for line in of_stage)
    last = of_stage[-1]
    assert (last["state"], last["done"], last["all"], last["rows"]) == ("done", N_UNITS, N_UNITS, 1000 * N_UNITS)
    assert last["rows_per_second"] >= int(last["rows"] / last["seconds"])
    assert "made 0" in done.stderr
    assert "Stage 1 of 1, a" in done.stderr
    again = lines_of(run("progress=json").stdout)["a"]
    assert [line["state"] for line in again] == ["skipped"]


def test_the_last_line_of_a_stage_that_fails_says_so(slow):
    (slow / "fails").touch()
    failed = run("progress=json")
    assert failed.returncode == 1
    last = lines_of(failed.stdout)["a"][-1]
    assert (last["state"], last["done"], last["all"]) == ("failed", 1, N_UNITS)
    assert "4 of 5 outputs are missing" in failed.stderr


@pytest.mark.usefixtures("slow")
def test_a_terminal_shows_units_rows_time_left_and_memory():
    status, shown = on_a_terminal()
    assert status == 0
    assert "Stage 1 of 1: a" in shown
    for words in (f" of {N_UNITS} units", "k rows/s", " left", " MB"):
        assert words in shown
    assert "made 0" in shown


@pytest.mark.usefixtures("slow")
def test_plain_lines_are_what_they_were_and_need_no_terminal():
    status, shown = on_a_terminal("progress=plain")
    assert status == 0
    assert "units" not in shown
    plain = run("do_overwrite=True")
    assert "made 0" in plain.stdout
    assert "units" not in plain.stdout
    assert plain.stderr == ""


def test_a_line_for_each_stage_and_what_went_wrong(slow):
    done = run("progress=stages", "hydra/job_logging=disabled")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert line.startswith(f"Stage 1 of 1, a: done, {N_UNITS} of {N_UNITS} units, ")
    (slow / "fails").touch()
    failed = run("progress=stages", "hydra/job_logging=disabled", "do_overwrite=True")
    assert failed.stdout.splitlines() == [f"Stage 1 of 1, a: failed, 1 of {N_UNITS} units"]


@pytest.mark.usefixtures("slow")
def test_another_word_is_an_error_that_names_the_nearest():
    failed = run("progress=jsno")
    assert failed.returncode == 1
    assert "progress must be one of auto, plain, stages, json, not 'jsno' (did you mean 'json'?)" in failed.stderr
    assert not [*Path("out").rglob("*.done")]


@pytest.mark.parametrize("runner", ["", "parallelize: {n_workers: 2, launcher: processes}"])
def test_stages_of_a_pass_and_several_workers(tmp_path, monkeypatch, runner):
    monkeypatch.chdir(tmp_path)
    x = Preprocessing(tmp_path)
    x.write({f"train/{n}": measurements((n, None, "A"), (n, None, "B", 1.0)) for n in range(N_SHARDS)})
    stages = ["filter_subjects", "reorder_measurements", "count_code_occurrences"]
    pipeline = {"defaults": ["_preprocess", "_self_"], "input_dir": "dataset", "cohort_dir": "cohort", "stages": stages}
    blocks = {"reorder_measurements": {"ordered_code_patterns": ["B", "A"]}}
    Path("pipe.yaml").write_text(yaml.safe_dump(pipeline | {"stage_configs": blocks}))
    Path("runner.yaml").write_text(runner)
    done = run("progress=json", "stage_runner_fp=runner.yaml")
    assert done.returncode == 0, done.stderr
    by_stage = lines_of(done.stdout)
    assert [*by_stage] == stages
    for number, (stage, lines) in enumerate(by_stage.items(), 1):
        last = lines[-1]
        merged = stage == stages[-1]
        assert (last["state"], last["number"], last["of"]) == ("done", number, len(stages))
        assert last["done"] == last["all"] == N_SHARDS + merged
        assert last["pass"] == stages
    assert by_stage[stages[0]][-1]["rows"] == 2 * N_SHARDS
