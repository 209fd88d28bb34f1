"""Other tools for MEDS read the demo's dataset: the commands of docs/guides/downstream.md, and what is to be seen then.

`make downstream` runs these tests. Each tool has an environment of its own, in `.venv-downstream`, which stays.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from .page import ROOT, Section, sections

ENVIRONMENTS = ROOT / ".venv-downstream"
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
Check = Callable[[Path, str], None]
POTASSIUM = "LAB//50971//mmol/L"

pytestmark = [
    pytest.mark.skipif("MEDS_DOWNSTREAM" not in os.environ, reason="installs other tools: make downstream"),
    pytest.mark.xdist_group("downstream"),
    pytest.mark.timeout(1800),
]


def environment(requirement: str) -> Path:
    """The scripts of the environment that has this requirement; made unless it is there."""
    folder = ENVIRONMENTS / re.sub(r"\W", "_", requirement)
    stamp = folder / ".installed"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        installed = subprocess.run(
            [folder / "bin" / "python", *PIP, requirement], capture_output=True, text=True, check=False
        )
        if installed.returncode:
            reason = next(
                (line for line in installed.stderr.splitlines() if line.startswith("ERROR")), "no reason given"
            )
            pytest.skip(f"{requirement} cannot be installed here: {reason}")
        stamp.touch()
    return folder / "bin"


def bash(commands: str, folder: Path, scripts: Path) -> str:
    """What commands print, with nothing on the PATH but the system's and these scripts; they must succeed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**env, "PATH": f"{scripts}{os.pathsep}{os.defpath}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the demo."""
    folder = tmp_path_factory.mktemp("downstream")
    bash("MEDS_transforms demo", folder, Path(sys.executable).parent)
    return folder


def measurements(folder: Path, split: str = "*") -> pl.DataFrame:
    return pl.read_parquet(folder / "demo" / "cohort" / "data" / split / "*.parquet", missing_columns="insert")


def labels(folder: Path, split: str = "*") -> pl.DataFrame:
    return pl.read_parquet(folder / "tasks" / "high_potassium" / split / "*.parquet")


def the_database_is_verified(folder: Path, printed: str) -> None:
    first = measurements(folder).filter(subject_id=10000).head(5)
    assert "Test passed!" in printed
    assert printed.splitlines()[-5:] == [
        f"{time} {code} {value}" for time, code, value in first.select("time", "code", "numeric_value").iter_rows()
    ]


def labels_say_what_the_measurements_do(folder: Path, _printed: str) -> None:
    """Each label is of a time a day after an admission, and true if a high value comes before the next discharge."""
    rows, found = measurements(folder), labels(folder)
    times = rows.select("subject_id", "time", "code", "numeric_value").drop_nulls("time")
    admitted = times.filter(pl.col("code").str.starts_with("HOSPITAL_ADMISSION//"))
    assert found.height > 600
    assert found.join(
        admitted.select("subject_id", pl.col("time").dt.offset_by("24h")),
        left_on=["subject_id", "prediction_time"],
        right_on=["subject_id", "time"],
        how="anti",
    ).is_empty()
    later = found.join(times, on="subject_id").filter(pl.col("time") > pl.col("prediction_time"))
    key = ["subject_id", "prediction_time"]
    ends = later.filter(code="HOSPITAL_DISCHARGE").group_by(key).agg(end=pl.col("time").min())
    high = later.join(ends, on=key).filter(
        pl.col("time") <= pl.col("end"), pl.col("code") == POTASSIUM, pl.col("numeric_value") > 5
    )
    expected = found.select(*key).join(high.select(key).unique(), on=key, how="semi").sort(key)
    assert 10 < expected.height < found.height
    assert found.filter("boolean_value").select(key).sort(key).equals(expected)


def a_batch_has_the_subjects(folder: Path, printed: str) -> None:
    assert f"{measurements(folder, 'train')['subject_id'].n_unique()} subjects\n" in printed
    assert "Batch size: 8\n" in printed
    assert "Static data: (8, " in printed


def items_are_the_same(folder: Path, printed: str) -> None:
    assert f"{measurements(folder, 'train')['subject_id'].n_unique()} subjects, the same\n" in printed


def items_have_the_labels(folder: Path, printed: str) -> None:
    found = labels(folder, "train")
    assert f"{found.height} items\n{found['boolean_value'].sum()} with a high potassium\n" in printed


def features_count_the_codes(folder: Path, _printed: str) -> None:
    counted = pl.read_parquet(folder / "downstream" / "features" / "metadata" / "codes.parquet")
    features = dict(counted.select("code", "count").iter_rows())
    rows = measurements(folder)
    for static, suffix in ((True, "static/present"), (False, "code")):
        of_codes = rows.filter(pl.col("time").is_null() == static).group_by("code").len()
        expected = {f"{code}/{suffix}": n for code, n in of_codes.iter_rows()}
        assert {name: n for name, n in features.items() if name.endswith(f"/{suffix}")} == expected


SEEN: dict[str, Check] = {
    "Random access: meds_reader": the_database_is_verified,
    "Cohorts and labels: ACES": labels_say_what_the_measurements_do,
    "Batches for PyTorch: meds-torch-data": a_batch_has_the_subjects,
    "Tensors of this package: meds-torch-data": items_are_the_same,
    "Labels in batches: meds-torch-data with ACES": items_have_the_labels,
    "Tables of features: MEDS-Tab": features_count_the_codes,
}
"""By section, what its commands made is compared with the dataset by this."""


@pytest.mark.parametrize("section", [*sections()], ids=lambda section: section.title.partition(":")[2].strip())
def test_commands_of_the_page(section: Section, folder: Path) -> None:
    if section.title.endswith("with ACES") and not (folder / "tasks" / "high_potassium").exists():
        pytest.skip("ACES made no labels")
    scripts = environment(section.requirement)
    printed = ""
    for name, text in section.steps:
        if name:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        else:
            is_ours = text.startswith("MEDS_transforms ")
            printed += bash(text, folder, Path(sys.executable).parent if is_ours else scripts)
    SEEN[section.title](folder, printed)
