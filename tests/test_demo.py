"""The demo: the tables are the same each time, and the recipe of `make demo` works, and works again."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "examples" / "demo"
SCRIPTS = Path(sys.executable).parent


def make_tables(folder: Path, *arguments: str) -> dict[str, str]:
    """Makes the tables; gives the hash of each file."""
    subprocess.run([sys.executable, DEMO / "make_tables.py", folder, *arguments], check=True)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}
    return subprocess.run(
        ["bash", DEMO / "run.sh", folder],
        cwd=folder.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first, second = make_tables(tmp_path / "a"), make_tables(tmp_path / "b")
    assert set(first) == {
        "hosp/admissions.parquet",
        "hosp/d_labs.csv",
        "hosp/labs.csv.gz",
        "hosp/patients.csv",
        "icu/vitals.parquet",
    }
    assert first == second


def test_another_seed_gives_other_rows_of_the_same_codes(tmp_path: Path) -> None:
    first, second = make_tables(tmp_path / "a"), make_tables(tmp_path / "b", "--seed", "2")
    assert {name for name in first if first[name] == second[name]} == {"hosp/d_labs.csv"}


def test_number_of_subjects(tmp_path: Path) -> None:
    make_tables(tmp_path, "--subjects", "12")
    assert pl.read_csv(tmp_path / "hosp" / "patients.csv")["patient"].n_unique() == 12


def test_make_demo_calls_the_recipe() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[-1] == "bash examples/demo/run.sh demo"


@pytest.mark.slow
def test_recipe_makes_a_dataset_and_tensors_and_shows_them(tmp_path: Path) -> None:
    folder = tmp_path / "a demo, here"
    cohort = folder / "cohort"
    outputs, tensors = [], []
    for _ in range(2):
        ran = run_demo(folder)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        outputs.append({p: p.read_bytes() for p in sorted((cohort / "data").rglob("*.parquet"))})
        tensors.append({p: p.read_bytes() for p in sorted((cohort.parent / "tensors" / "data").rglob("*.nrt"))})
        for shown in (
            "train/2",
            "held_out",
            "VITAL//heart_rate",
            "Potassium",
            f"{cohort}/metadata/codes.parquet",
            "The tensor of subject 1",
            "TIME_OF_DAY//[",
            f"{cohort.parent}/tensors/data",
        ):
            assert shown in ran.stdout
    assert len(outputs[0]) == 5
    assert outputs[0] == outputs[1]
    assert [p.stem for p in tensors[0]] == [p.stem for p in outputs[0]]
    assert tensors[0] == tensors[1]
    data = pl.concat([pl.read_parquet(path, glob=False) for path in outputs[0]], how="diagonal_relaxed")
    codes = pl.read_parquet(cohort / "metadata" / "codes.parquet", glob=False)
    assert data["subject_id"].n_unique() == 300
    assert set(data["code"].unique()) == set(codes["code"])


def test_show_says_what_is_missing(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, DEMO / "show.py", tmp_path], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert f"There is no MEDS data in {tmp_path / 'data'}" in ran.stderr
