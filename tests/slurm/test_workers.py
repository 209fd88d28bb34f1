"""Workers of one stage on a Slurm cluster: where they run, what they may use, and what if one of them is killed."""

import os
import signal
import sys
from collections import Counter

import pytest

from .cluster import Cluster
from .configuration import NODES
from .pipelines import LAUNCHER, NotedCopy, assert_same_files, command, new_jobs
from .processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]


@pytest.fixture
def stage(cluster: Cluster, tmp_path) -> NotedCopy:
    return NotedCopy(tmp_path, cluster)


@pytest.fixture
def reference(stage: NotedCopy, tmp_path):
    """The cohort that one process makes."""
    with stage.run(tmp_path / "reference") as one_process:
        one_process.succeeds()
    stage.forget()
    return tmp_path / "reference"


def test_both_nodes_share_a_stage(cluster, stage, reference, tmp_path):
    # Else, on a busy machine, both jobs can come to one node while the other still ends jobs of the test before.
    wait_until(lambda: cluster.idle_nodes() == {*NODES}, "the nodes do not become idle")
    before = cluster.jobs()
    stage.hold(*stage.shards)
    with stage.run_on_cluster(tmp_path / "cohort") as two_workers:
        # No worker gets further than its first shard before the other has one as well.
        wait_until(lambda: len(stage.takings()) == 2, lambda: two_workers.text())
        stage.let_go()
        two_workers.succeeds()
    assert {taking["node"] for taking in stage.takings()} == set(NODES)
    assert {job.node for job in new_jobs(cluster, before)} == set(NODES)
    assert sorted(taking["shard"] for taking in stage.takings()) == list(stage.shards)
    assert_same_files(tmp_path / "cohort", reference)


def test_runner_in_a_job_of_its_own(stage, reference, tmp_path):
    own_job = ["srun", "--ntasks=1", "--cpus-per-task=1", "--mem-per-cpu=1G"]
    with stage.run_on_cluster(tmp_path / "cohort", within=own_job) as two_workers:
        two_workers.succeeds()
    # The workers have what their jobs were given, not what the runner's was.
    assert {taking["threads"] for taking in stage.takings()} == {LAUNCHER["cpus_per_task"]}
    assert_same_files(tmp_path / "cohort", reference)


def test_killed_worker_is_made_up_for(cluster, stage, reference, tmp_path):
    before = cluster.jobs()
    held, others = stage.shards[0], list(stage.shards[1:])
    stage.hold(held)
    with stage.run_on_cluster(tmp_path / "cohort") as two_workers:
        # The sibling leaves out the shard that is held, and ends: nobody is left to make it.
        wait_until(lambda: states(cluster, before) == ["COMPLETED", "RUNNING"], lambda: two_workers.text())
        assert made(tmp_path / "cohort") == others
        [victim] = [taking["pid"] for taking in stage.takings() if taking["shard"] == held]
        os.kill(victim, signal.SIGKILL)
        stage.let_go()
        two_workers.succeeds()
    taken = Counter(taking["shard"] for taking in stage.takings())
    assert taken == {held: 2, **dict.fromkeys(others, 1)}
    assert "FAILED" in states(cluster, before)
    assert_same_files(tmp_path / "cohort", reference)


def states(cluster, before) -> list[str]:
    return sorted(job.state for job in new_jobs(cluster, before))


def made(cohort) -> list[str]:
    return sorted(path.stem for path in cohort.rglob("*.parquet") if not path.name.startswith("."))


@pytest.mark.parametrize(
    ("cpus", "by_user", "threads"),
    [
        pytest.param(1, None, 1, id="one CPU"),
        pytest.param(3, None, 3, id="three CPUs"),
        pytest.param(1, "2", 2, id="user's own number"),
    ],
)
def test_worker_has_a_thread_per_cpu_of_its_job(stage, tmp_path, cpus, by_user, threads):
    environment = {name: value for name, value in stage.environment.items() if name != "POLARS_MAX_THREADS"}
    by_user = {"POLARS_MAX_THREADS": by_user} if by_user else {}
    launcher = [f"hydra.launcher.{key}={value}" for key, value in {**LAUNCHER, "cpus_per_task": cpus}.items()]
    argv = [
        *(sys.executable, str(stage.script), "--multirun", "worker=0", "hydra/launcher=submitit_slurm", *launcher),
        *(f"input_dir={stage.data.dataset}", f"cohort_dir={tmp_path / 'cohort'}"),
        *("stages=[noted_copy]", f"+stage_configs.noted_copy.notes={stage.notes}"),
    ]
    with command(tmp_path, argv, {**environment, **by_user}) as one_worker:
        one_worker.succeeds()
    assert {taking["threads"] for taking in stage.takings()} == {threads}
