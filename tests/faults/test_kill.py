"""Kill -9 at random moments: the next run resumes from there, and nothing shows afterwards."""

import os
import random
import signal
import uuid
from pathlib import Path

import polars as pl
import pytest
import yaml

from helpers import SCRIPTS

from .cohorts import SMALL, STAGES, Elsewhere
from .harness import (
    SEEDS,
    Reference,
    Workers,
    at_random_moment,
    has_log,
    kill_all_with,
    kill_during,
    processes_with,
    run_stage,
    wait_until,
)

KILLS = 3
CHANCES = 15
"""How many times a stage is started again because all its workers had ended before the kill."""

# One worker makes the reference.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", STAGES)
def test_all_workers_of_a_stage_are_killed_and_it_runs_again(reference: Reference, tmp_path, stage, seed):
    rng = random.Random(f"{stage} {seed}")
    for chance in range(CHANCES):
        x = reference.before(stage, tmp_path / str(chance))
        killed = kill_during(x, stage, 2, reference.n_files(stage), rng)
        run_stage(x, stage, 2)
        reference.check(x.cohort, stage)
        if killed:
            break
    assert killed, "the kill did not come before the workers had ended"


OVERWRITING = ["shard_events", "convert_to_sharded_events", "merge_to_MEDS_cohort"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", OVERWRITING)
def test_workers_are_killed_while_they_overwrite(reference: Reference, tmp_path, stage, seed):
    rng = random.Random(f"overwriting {stage} {seed}")
    x = reference.before(stage, tmp_path)
    run_stage(x, stage, 1)
    for path in x.cohort.glob(f"{stage}/**/*.parquet"):
        pl.read_parquet(path, glob=False).clear().write_parquet(path)  # what is not overwritten will differ
    kill_during(x, stage, 2, 2 * reference.n_files(stage), rng, "do_overwrite=True")
    run_stage(x, stage, 2, "do_overwrite=True")
    reference.check(x.cohort, stage)


def test_what_a_killed_worker_left_goes_though_all_is_done(reference: Reference, tmp_path):
    """Files as they lie about after a kill at the worst moments, beside outputs that are there."""
    stage = "merge_to_MEDS_cohort"
    x = reference.before(stage, tmp_path)
    run_stage(x, stage)
    left = ("train/.0.parquet.lock", f".provenance/.{stage}.record.lock", f".provenance/.tmp.{stage}.run.0a1b2c3d")
    for name in (*left, "train/.tmp.0.parquet"):
        (x.cohort / stage / name).mkdir() if ".run" in name else (x.cohort / stage / name).touch()
    run_stage(x, stage)
    reference.check(x.cohort, stage)


def runner(group: Workers, x: Elsewhere, mark: str) -> None:
    """Starts the whole pipeline, in part with two workers."""
    pipeline = {"defaults": ["_extract", "_self_"], "input_dir": "", "cohort_dir": "", "event_conversion_config_fp": ""}
    parallel = {"parallelize": {"n_workers": 2, "launcher": "joblib"}}
    stages = {"convert_to_sharded_events": parallel, "merge_to_MEDS_cohort": parallel}
    for name, content in (("pipeline", pipeline), ("stages", stages)):
        (group.folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    files = [f"pipeline_config_fp={group.folder}/pipeline.yaml", f"stage_runner_fp={group.folder}/stages.yaml"]
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    group.start([str(SCRIPTS / "MEDS_transform-runner"), *files, *x.overrides(*SMALL)], PATH=path, MEDS_FAULTS=mark)


@pytest.fixture
def mark():
    """What the processes of a test are known by; those that are left are killed."""
    mark = uuid.uuid4().hex
    yield mark
    kill_all_with(mark)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes through /proc")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_runner_is_killed_with_all_that_it_started_and_goes_on(reference: Reference, tmp_path, mark, seed):
    rng = random.Random(f"runner {seed}")
    group, x = Workers(tmp_path), reference.elsewhere(tmp_path / "cohort")
    for _ in range(KILLS):
        runner(group, x, mark)
        at_random_moment(group, 120, rng, x.cohort)
        kill_all_with(mark)
        group.wait()
    runner(group, x, mark)
    assert group.wait(KILLS) == [0], group.text()
    assert -signal.SIGKILL in group.wait()
    reference.check(x.cohort)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes through /proc")
@pytest.mark.parametrize("stage", ["convert_to_sharded_events", "finalize_MEDS_metadata"])
def test_only_the_runner_is_killed_and_it_goes_on_beside_the_stage_that_still_runs(
    reference: Reference, tmp_path, mark, stage
):
    group, x = Workers(tmp_path), reference.elsewhere(tmp_path / "cohort")
    runner(group, x, mark)
    wait_until(lambda: has_log(x.cohort, stage) or not group.alive)
    group.send(signal.SIGKILL)
    assert group.wait() == [-signal.SIGKILL]
    runner(group, x, mark)
    assert group.wait(1) == [0], group.text()
    wait_until(lambda: not processes_with(mark))
    reference.check(x.cohort)


def test_after_the_last_file_the_metadata_count_as_made(reference: Reference, tmp_path):
    """By hand a repeated stage says so and fails; the runner, which was killed before it noted it, continues."""
    stage = "finalize_MEDS_metadata"
    x = reference.before(stage, tmp_path)
    run_stage(x, stage)
    by_hand = x.script(stage, *SMALL)
    assert by_hand.returncode == 1
    assert "metadata already exists" in by_hand.stderr
    assert x.script(stage, *SMALL, env={"MEDS_TRANSFORMS_RESUMING": "1"}).returncode == 0
    reference.check(x.cohort, stage)
