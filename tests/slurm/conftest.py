"""One Slurm cluster for all tests of this folder, and what one process makes of the demo's tables."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from .cluster import Cluster, why_not
from .pipelines import ROOT, Demo


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A cluster of two nodes; what a test kills of it, the test brings back."""
    if reason := why_not():
        pytest.skip(reason)
    cluster = Cluster.start(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.stop()


# The cluster is named so that nothing is made where there can be none.
@pytest.fixture(scope="session")
def reference(cluster, tmp_path_factory) -> Demo:  # noqa: ARG001
    """The demo by one process."""
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, ROOT / "examples/demo/make_tables.py", folder / "raw"], check=True)
    demo = Demo(folder / "raw", folder)
    with demo.extract() as extraction:
        extraction.succeeds()
    with demo.preprocess() as preprocessing:
        preprocessing.succeeds()
    return demo
