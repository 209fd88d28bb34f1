"""The benchmarks run as their README says, here with few rows and the installation under test as the only peer."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = Path(sys.executable).parent


def run(program: str, *arguments: object) -> None:
    command = [sys.executable, BENCHMARKS / program, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def results(folder: Path, name: str) -> dict:
    (file,) = folder.glob(f"*-{name}.json")
    return json.loads(file.read_text(encoding="utf-8"))


def test_preprocessing_of_the_cohort_that_extraction_left(tmp_path):
    """Every benchmark has folders of its own: pre-processing once began by deleting the cohort that it was to read."""
    raw, work, found = tmp_path / "raw", tmp_path / "work", tmp_path / "results"
    run("synthetic_tables.py", "--format", "csv", "--scale", 0.001, "--output", raw)
    common = ["--peer", f"new={SCRIPTS}", "--repeat", 1, "--work", work, "--results", found]
    run("extraction.py", "--raw", raw, *common, "--name", "csv")
    run("preprocessing.py", "--cohort", work / "extraction-new/cohort", *common, "--name", "preprocessing")
    extracted, tensors = (results(found, name)["runs"][0]["n_measurements"] for name in ("csv", "preprocessing"))
    assert 0 < extracted < tensors  # since rows derived from time are added
