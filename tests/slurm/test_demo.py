"""The demo through the runner on a Slurm cluster: with both nodes, and with one that is lost on the way."""

import re
import shutil
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


@pytest.fixture
def environment(cluster: Cluster) -> dict[str, str]:
    return {**cluster.environment, "N_WORKERS": "2"}


def test_shipped_stage_runner_file_gives_the_bytes_of_one_process(cluster, reference, environment, tmp_path):
    before = cluster.jobs()
    demo = Demo(reference.raw, tmp_path)
    for start in (demo.extract, demo.preprocess):
        with start(SLURM_RUNNER, environment=environment) as pipeline:
            pipeline.succeeds()
    assert_same_files(demo.cohort, reference.cohort)
    assert_same_files(demo.tensors, reference.tensors)
    # All stages of a pipeline were in the same jobs of the cluster, called after the first, and on both nodes.
    jobs = new_jobs(cluster, before)
    first = (EXTRACTION_STAGES[0], STAGES[len(EXTRACTION_STAGES)])
    assert [stage for stage in first if not any(job.name.startswith(f"{stage}_") for job in jobs)] == []
    logs = {path.name for cohort in (demo.cohort, demo.tensors) for path in cohort.rglob("*.log")}
    assert [stage for stage in STAGES if not any(name.startswith(f"{stage}_1_") for name in logs)] == []
    assert {job.node for job in jobs} == set(NODES)


# Half way through the extraction, and through the pre-processing.
@pytest.mark.parametrize("lost_in", ["convert_to_sharded_events", "occlude_outliers"])
def test_node_is_lost_half_way(cluster, reference, environment, tmp_path, lost_in):
    before = cluster.jobs()
    demo = Demo(reference.raw, tmp_path)
    if lost_in in EXTRACTION_STAGES:
        start, made, wanted = demo.extract, demo.cohort, reference.cohort
    else:
        start, made, wanted = demo.preprocess, demo.tensors, reference.tensors
        shutil.copytree(reference.cohort, demo.cohort)
    try:
        with start(SLURM_RUNNER, environment=environment) as pipeline:
            lost = wait_for_worker(cluster, before, made / lost_in)
            cluster.kill_node(LOST_NODE)
            pipeline.succeeds()
    finally:
        cluster.start_node(LOST_NODE)
    [again] = [job for job in cluster.jobs() if job.id == lost.id]
    assert (again.restarts, again.node) == (1, NODES[0])
    assert_same_files(made, wanted)


def wait_for_worker(cluster: Cluster, before: list[Job], folder: Path) -> Job:
    """The job on the node that is to be lost, as soon as its worker has begun the stage with this output folder."""
    found: list[Job] = []

    def at_work() -> bool:
        jobs = [job for job in new_jobs(cluster, before) if job.state == "RUNNING"]
        found[:] = [job for job in jobs if job.node == LOST_NODE and has_begun(folder, job.id.partition("_")[2])]
        return bool(found)

    wait_until(at_work, f"no worker of {folder.name} on {LOST_NODE}", seconds=120)
    return found[0]


def has_begun(folder: Path, worker: str) -> bool:
    """Whether a worker of the stage says in its log that it works."""
    logs = (folder / ".logs").rglob(f"{folder.name}_{worker}_*.log")
    begun = re.compile(f"Stage {folder.name}, worker {worker}$", re.MULTILINE)
    return any(begun.search(log.read_text()) for log in logs)
