"""The private cluster: nothing of it outlives the process that started it."""

import subprocess
import sys
from pathlib import Path

import pytest

from .cluster import why_not
from .processes import processes_with, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

CRASHES = """
import os, subprocess, sys
from pathlib import Path
from slurm.cluster import Cluster
from slurm.processes import wait_until

cluster = Cluster.start(Path(sys.argv[1]))
job = ["sbatch", "--output=/dev/null", "--cpus-per-task=4", "--wrap=srun sleep 300"]
for _ in range(2):
    subprocess.run(job, env=cluster.environment, check=True)
wait_until(lambda: len(cluster.running()) == 2, cluster.logs)
os.kill(os.getpid(), 9)
"""


def test_nothing_outlives_a_crash(tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    tests = Path(__file__).parents[1]
    crashed = subprocess.run([sys.executable, "-c", CRASHES, tmp_path], cwd=tests, timeout=120, check=False)
    assert crashed.returncode == -9
    mark = f"SLURM_CONF={tmp_path}/slurm.conf"
    wait_until(lambda: not processes_with(mark), lambda: f"still there: {processes_with(mark)}")
