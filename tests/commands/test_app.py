"""The command `MEDS_transforms`, as people call it."""

import subprocess
import sys
from pathlib import Path

import pytest

import MEDS_transforms
from MEDS_transforms.stages import packaged_stages

SCRIPT = Path(sys.executable).parent / "MEDS_transforms"


def call(*args: str | Path, folder: Path | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Calls the command and checks its status."""
    ran = subprocess.run(
        [SCRIPT, *args], cwd=folder, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8"
    )
    assert ran.returncode == status, ran.stderr
    return ran


def test_without_a_command_it_lists_them():
    shown = call(status=2).stdout
    assert "run" in shown
    assert "stages" in shown


def test_the_module_is_the_command():
    ran = subprocess.run(
        [sys.executable, "-m", "MEDS_transforms", "version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == call("version").stdout
    assert f"MEDS_transforms {MEDS_transforms.__version__}\n" in ran.stdout


def test_stages_has_a_line_for_each():
    lines = call("stages").stdout.splitlines()
    for stage in packaged_stages():
        [line] = [line for line in lines if line.split()[:1] == [stage]]
        assert len(line.split()) > 4


def test_a_misspelt_command_is_named_with_the_one_that_is_meant():
    assert "Did you mean 'stages'?" in call("stagse", status=2).stderr


@pytest.mark.parametrize("args", ["run nope.yaml", "run pipeline_config_fp=nope.yaml", "clean nope.yaml"])
def test_a_missing_pipeline_is_one_message(args, tmp_path):
    error = call(*args.split(), folder=tmp_path, status=1).stderr
    assert error.startswith(f"error: There is no pipeline file {tmp_path / 'nope.yaml'}")
    assert "Traceback" not in error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_shells(shell, monkeypatch):
    monkeypatch.setenv("_MEDS_TRANSFORMS_COMPLETE", f"source_{shell}")
    assert "MEDS_transforms" in call().stdout
