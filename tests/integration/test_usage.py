"""What workers took for their stages is written down by every process that runs them."""

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from helpers import SCRIPTS, Preprocessing, measurements
from MEDS_transforms import __version__
from MEDS_transforms.work.usage import USAGE_DIR

KEYS = ["stage", "worker", "host", "pid", "begin", "end", "wall_seconds", "cpu_seconds", "peak_memory", "units", "rows"]
KEYS += ["pass", "version"]
N_SHARDS = 6
STAGES = ["filter_subjects", "reorder_measurements", "count_code_occurrences"]


@pytest.fixture
def x(tmp_path) -> Preprocessing:
    x = Preprocessing(tmp_path)
    x.write({f"train/{n}": measurements((n, None, "A"), (n, None, "B", 1.0)) for n in range(N_SHARDS)})
    return x


def usage(cohort: Path) -> list[dict]:
    """All lines, each as the report reads it."""
    lines = [json.loads(t) for path in (cohort / USAGE_DIR).glob("*.jsonl") for t in path.read_text().splitlines()]
    for line in lines:
        assert [*line] == KEYS
        assert datetime.fromisoformat(line["begin"]).utcoffset().total_seconds() == 0
        assert datetime.fromisoformat(line["begin"]) <= datetime.fromisoformat(line["end"])
        assert line["wall_seconds"] > 0
        assert line["cpu_seconds"] > 0
        assert line["peak_memory"] > 2**20
        assert line["version"] == __version__
    return lines


def runs(x: Preprocessing, runner: str = "", **blocks) -> subprocess.CompletedProcess[str]:
    pipeline = {"defaults": ["_preprocess", "_self_"], "stages": STAGES, "stage_configs": blocks}
    folders = {"input_dir": str(x.dataset), "cohort_dir": str(x.cohort)}
    (x.folder / "pipe.yaml").write_text(yaml.safe_dump(pipeline | folders))
    (x.folder / "runner.yaml").write_text(runner)
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe.yaml", "stage_runner_fp=runner.yaml"]
    return subprocess.run(command, cwd=x.folder, capture_output=True, text=True, timeout=120, check=False)


def test_a_script_leaves_a_line_in_a_file_of_its_own_each_time(x):
    for worker in (3, 4):
        assert x.script("filter_subjects", f"worker={worker}").returncode == 0
    first, second = sorted(usage(x.cohort), key=lambda line: line["worker"])
    assert (first["stage"], first["worker"], first["pass"]) == ("filter_subjects", 3, ["filter_subjects"])
    assert (first["units"], first["rows"]) == (N_SHARDS, 2 * N_SHARDS)
    assert (second["units"], second["rows"]) == (0, None)
    assert len([*(x.cohort / USAGE_DIR).iterdir()]) == 2


@pytest.mark.parametrize("launcher", ["processes", "joblib"])
def test_workers_of_a_pipeline_leave_a_line_for_each_stage_they_shared(x, launcher):
    done = runs(
        x,
        f"parallelize: {{n_workers: 2, launcher: {launcher}}}",
        reorder_measurements={"ordered_code_patterns": ["B", "A"]},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = usage(x.cohort)
    assert {(line["stage"], line["worker"]) for line in lines} <= {(s, w) for s in STAGES for w in (0, 1)}
    for stage in STAGES[:2]:
        of_stage = [line for line in lines if line["stage"] == stage]
        assert sum(line["units"] for line in of_stage) == N_SHARDS
        assert sum(line["rows"] or 0 for line in of_stage) == 2 * N_SHARDS
    assert all(line["pass"] == STAGES for line in lines)


def test_stages_of_a_pass_share_out_what_their_process_took(x):
    done = runs(x)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = usage(x.cohort)
    assert [line["stage"] for line in lines] == STAGES
    assert len({(line["pid"], line["begin"], line["peak_memory"]) for line in lines}) == 1
    shares = [line["cpu_seconds"] / line["wall_seconds"] for line in lines]
    assert shares == pytest.approx([shares[0]] * len(lines))
    assert [line["units"] for line in lines] == [N_SHARDS, N_SHARDS, N_SHARDS + 1]  # the last one merges its counts


def test_a_stage_that_fails_leaves_no_line_and_stages_before_it_do(x):
    done = runs(x, "reorder_measurements: {script: 'false'}")
    assert done.returncode == 1
    assert [line["stage"] for line in usage(x.cohort)] == ["filter_subjects"]


@pytest.mark.parametrize("in_the_way", ["a file", "a folder without permission"])
def test_a_stage_is_done_also_where_no_line_can_be_written(x, in_the_way):
    folder = x.cohort / USAGE_DIR
    folder.parent.mkdir(parents=True)
    if in_the_way == "a file":
        folder.touch()
    else:
        folder.mkdir(mode=0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
    done = x.script("filter_subjects")
    assert done.returncode == 0, done.stderr
    assert len(x.shards(x.cohort / "data")) == N_SHARDS
