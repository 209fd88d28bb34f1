"""The demo through the runner on a Slurm cluster: with both nodes, and with one that is lost half way."""

import re
from pathlib import Path

import pytest
import yaml

from helpers import EXTRACTION_STAGES

from .cluster import Cluster, Job
from .configuration import NODES
from .pipelines import CONFIGS, SLURM_RUNNER, Demo, assert_same_files, new_jobs
from .processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

STAGES = [*EXTRACTION_STAGES, *yaml.safe_load((CONFIGS / "preprocessing.yaml").read_text())["stages"]]

LOST_NODE = NODES[1]
LOST_IN = "convert_to_sharded_events"
"""The stage that is running when the node is lost: the third of seven."""


@pytest.fixture
def environment(cluster: Cluster) -> dict[str, str]:
    return {**cluster.environment, "N_WORKERS": "2"}


def test_shipped_stage_runner_file_gives_the_bytes_of_one_process(cluster, reference, environment, tmp_path):
    before = cluster.jobs()
    demo = Demo(reference.raw, tmp_path)
    with demo.extract(SLURM_RUNNER, environment=environment) as extraction:
        extraction.succeeds()
    with demo.preprocess(SLURM_RUNNER, environment=environment) as preprocessing:
        preprocessing.succeeds()
    assert_same_files(demo.cohort, reference.cohort)
    assert_same_files(demo.tensors, reference.tensors)
    # Every stage was jobs of the cluster, and they were on both nodes.
    jobs = new_jobs(cluster, before)
    assert [stage for stage in STAGES if not any(job.name.startswith(f"{stage}_") for job in jobs)] == []
    assert {job.node for job in jobs} == set(NODES)


def test_node_lost_half_way_through_the_extraction(cluster, reference, environment, tmp_path):
    before = cluster.jobs()
    demo = Demo(reference.raw, tmp_path)
    try:
        with demo.extract(SLURM_RUNNER, environment=environment) as extraction:
            lost = wait_for_worker(cluster, before, demo.cohort)
            cluster.kill_node(LOST_NODE)
            extraction.succeeds()
    finally:
        cluster.start_node(LOST_NODE)
    [again] = [job for job in cluster.jobs() if job.id == lost.id]
    assert (again.restarts, again.node) == (1, NODES[0])
    assert_same_files(demo.cohort, reference.cohort)


def wait_for_worker(cluster: Cluster, before: list[Job], cohort: Path) -> Job:
    """The job on the node that is to be lost, as soon as its worker has begun the stage."""
    found: list[Job] = []

    def at_work() -> bool:
        jobs = [job for job in new_jobs(cluster, before) if job.name.startswith(LOST_IN) and job.state == "RUNNING"]
        found[:] = [job for job in jobs if job.node == LOST_NODE and has_begun(cohort, job.id.partition("_")[2])]
        return bool(found)

    wait_until(at_work, f"no worker of {LOST_IN} on {LOST_NODE}", seconds=120)
    return found[0]


def has_begun(cohort: Path, worker: str) -> bool:
    """Whether a worker of the stage says in its log that it is at work."""
    logs = (cohort / LOST_IN / ".logs").rglob(f"{LOST_IN}_{worker}_*.log")
    return any(re.search(f"Stage {LOST_IN}, worker {worker}$", log.read_text(), re.MULTILINE) for log in logs)
