"""The tensors in PyTorch: the tests of the reader, and the page on training, in the environment of a tool that has it.

PyTorch is large; so it is not installed a second time.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import MEDS_transforms
from test_docs import ROOT, blocks

from .test_tools import bash, environment

PAGE = ROOT / "docs" / "guides" / "training.md"
HAS_PYTORCH = "meds-torch-data"

pytestmark = [
    pytest.mark.skipif("MEDS_DOWNSTREAM" not in os.environ, reason="installs other tools: make downstream"),
    pytest.mark.xdist_group("downstream"),
    pytest.mark.timeout(1800),
]


def ran(folder: Path, *arguments: str | Path) -> str:
    """What the environment's Python prints, with this package in place of the other that has its name."""
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(MEDS_transforms.__file__).parents[1]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the other package has one
    }
    command = [environment(HAS_PYTORCH) / "python", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_reader_with_pytorch() -> None:
    alone = ("--noconftest", "-c", os.devnull, "-p", "no:cacheprovider", "--rootdir", ROOT / "tests", "-q")
    printed = ran(ROOT, "-m", "pytest", *alone, "tests/tensors/test_torch.py")
    assert "8 passed, 1 skipped" in printed


def test_the_model_of_the_page_is_trained(tmp_path: Path) -> None:
    bash("MEDS_transforms demo", tmp_path, Path(sys.executable).parent)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    commands = [block.text for block in blocks(PAGE) if block.language == "bash" and "run configs/" in block.text]
    for block in blocks(PAGE):
        if block.title:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    bash("\n".join([*commands, "python labels.py"]), tmp_path, Path(sys.executable).parent)
    printed = ran(tmp_path, "train.py").splitlines()
    assert [line.partition(":")[0] for line in printed] == ["epoch 0", "epoch 1", "epoch 2"]
