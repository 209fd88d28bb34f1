"""The package to copy in `examples/own_package`: renamed as its README says, installed, tested and run."""

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from helpers import Preprocessing, measurements

ROOT = Path(__file__).parents[1]
SCRIPT = Path(sys.executable).parent / "MEDS_transforms"
NAME = "ward_stages"
MORNING, NOON = datetime(2024, 5, 1, 8), datetime(2024, 5, 1, 12)
SHARD = measurements((1, None, "SEX//F"), (1, MORNING, "VITAL//pulse"), (1, NOON, "VITAL//pulse"), (1, NOON, "LAB//Na"))

pytestmark = pytest.mark.slow


def run(*command: object, folder: Path, site: Path | None = None, status: int = 0) -> str:
    env = {**os.environ, "PYTHONPATH": str(site or "")}
    ran = subprocess.run(
        [*map(str, command)], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A copy of the package, with the name that the commands of its README give it."""
    folder = tmp_path_factory.mktemp("own") / "package"
    shutil.copytree(ROOT / "examples" / "own_package", folder, ignore=shutil.ignore_patterns("__pycache__"))
    section = (folder / "README.md").read_text(encoding="utf-8").partition("## Make it yours")[2]
    [commands] = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    run("bash", "-euc", commands.replace("NAME", NAME), folder=folder)
    return folder


@pytest.fixture(scope="module")
def site(package) -> Path:
    """A folder into which the package is installed, beside the environment of the tests."""
    site = package.parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", site, package, folder=package)
    return site


def test_nothing_of_the_former_name_is_left(package):
    texts = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.*") if path.is_file()}
    assert [name for name, text in texts.items() if "my_stages" in text] == []
    assert (package / "src" / NAME / "keep_first_of_day.py").is_file()


def test_its_tests_pass(package, site):
    printed = run(sys.executable, "-m", "pytest", "-W", "error", folder=package, site=site)
    assert re.search(r"^=+ \d+ passed in", printed, re.MULTILINE)


def test_its_stage_is_listed_and_explained(package, site):
    listed = run(SCRIPT, "stages", folder=package, site=site)
    assert f"\n{NAME}" in listed
    assert re.search(r"^keep_first_of_day +Keeps the first measurement", listed, re.MULTILINE)
    shown = run(sys.executable, "-m", "MEDS_transforms.cli", "keep_first_of_day", "--help", folder=package, site=site)
    assert "  - codes (text or null; default null): A regular expression" in shown


def test_its_pipeline_runs_from_the_copied_file(package, site, tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"train/0": SHARD})
    shutil.copy(package / "pipeline.yaml", tmp_path)
    arguments = ["pipeline.yaml", f"input_dir={x.dataset}", f"cohort_dir={x.cohort}"]
    run(SCRIPT, "run", *arguments, folder=tmp_path, site=site)
    assert x.shards(x.cohort / "data")["train/0"]["code"].to_list() == ["SEX//F", "VITAL//pulse", "LAB//Na"]
    unknown = subprocess.run([SCRIPT, "run", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert unknown.returncode == 1  # without the package nothing knows its stage
    assert "keep_first_of_day" in unknown.stderr
