"""What the demo makes: a cohort with the outputs of all its stages, tensors, and the raw tables."""

import os
import subprocess
from pathlib import Path

import pytest

from helpers import SCRIPTS

from .datasets import make_dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset in which nothing is wrong."""
    return make_dataset(tmp_path / "dataset")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `raw`, `cohort` and `tensors`."""
    folder = tmp_path_factory.mktemp("validation") / "demo"
    environment = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", ROOT / "examples" / "demo" / "run.sh", folder]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder
