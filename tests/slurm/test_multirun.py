"""Console scripts of stages that are started by hand, with --multirun, as jobs of a Slurm cluster."""

import pytest

from faults.cohorts import contents, strays
from helpers import SCRIPTS

from .configuration import NODES
from .pipelines import LAUNCHER, Demo, command, new_jobs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

MULTIRUN = ["--multirun", "worker=range(0,2)", "hydra/launcher=submitit_slurm"]
MULTIRUN += [f"hydra.launcher.{key}={value}" for key, value in LAUNCHER.items()]


@pytest.mark.parametrize("named", [True, False], ids=["with stage=", "without stage="])
@pytest.mark.parametrize("script", ["MEDS_extract-shard_events", "MEDS_transform-filter_subjects"])
def test_first_stage_of_a_pipeline(cluster, reference, tmp_path, script, named):
    before, stage = cluster.jobs(), script.partition("-")[2]
    extracts = script.startswith("MEDS_extract")
    demo = Demo(reference.raw, tmp_path)
    folders = [f"input_dir={reference.cohort}", f"cohort_dir={demo.tensors}"]
    argv = [str(SCRIPTS / script), *MULTIRUN, *(demo.extraction() if extracts else folders)]
    with command(tmp_path, [*argv, *([f"stage={stage}"] if named else [])], cluster.environment) as two_workers:
        two_workers.succeeds()
    got = demo.cohort if extracts else demo.tensors
    want = contents(reference.cohort if extracts else reference.tensors)
    made = (f"{stage}/", f"metadata/accounting/{stage}.json")
    assert contents(got) == {name: data for name, data in want.items() if name.startswith(made)} != {}
    assert strays(got) == []
    # On which nodes does not matter: where a job ends before the other begins, both have the same one.
    assert [job.node in NODES for job in new_jobs(cluster, before)] == [True, True]
