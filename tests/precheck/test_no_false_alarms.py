"""Data that are as they should be give no error and no warning."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import SCRIPTS
from MEDS_transforms.precheck.report import Report
from MEDS_transforms.remarks import Severity
from MEDS_transforms.runner.check import runner_report

ROOT = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("MEDS_SHARED_DATA") or ROOT.parent / "shared" / "data")
MIMIC = SHARED_DATA / "mimic-iv-demo"
needs_mimic = pytest.mark.skipif(
    not MIMIC.is_dir(), reason=f"There is no {MIMIC}; MEDS_SHARED_DATA may name its folder"
)
DATASET = ["etl_metadata.dataset_name=D", "etl_metadata.dataset_version=1"]


def serious(report: Report) -> list[str]:
    """The errors and warnings of a report."""
    return [str(remark) for remark in report.remarks if remark.severity is not Severity.NOTE]


def check(pipeline: Path, input_dir: Path, cohort_dir: Path, *args: str) -> Report:
    return runner_report(
        [f"pipeline_config_fp={pipeline}", f"input_dir={input_dir}", f"cohort_dir={cohort_dir}", *args]
    )


def test_the_demo(tmp_path):
    subprocess.run([sys.executable, ROOT / "examples/demo/make_tables.py", tmp_path / "raw"], check=True)
    args = [f"event_conversion_config_fp={ROOT / 'examples/demo/event_cfgs.yaml'}", *DATASET]
    extraction = ROOT / "configs/extraction.yaml"
    report = check(extraction, tmp_path / "raw", tmp_path / "cohort", *args)
    assert serious(report) == []
    assert len(report.events) == 7
    assert all(one.code and one.is_whole and one.measurements for one in report.events)
    folders = [f"input_dir={tmp_path / 'raw'}", f"cohort_dir={tmp_path / 'cohort'}"]
    command = [SCRIPTS / "MEDS_transform-runner", f"pipeline_config_fp={extraction}", *folders, *args]
    subprocess.run(command, check=True, capture_output=True)
    tensors = check(ROOT / "configs/preprocessing.yaml", tmp_path / "cohort", tmp_path / "tensors")
    assert serious(tensors) == []


@needs_mimic
def test_mimic_iv(tmp_path):
    args = [f"event_conversion_config_fp={MIMIC / 'event_cfgs.yaml'}", *DATASET]
    report = check(ROOT / "configs/extraction.yaml", MIMIC / "raw", tmp_path / "cohort", *args)
    assert serious(report) == []
    tensors = check(MIMIC / "preprocessing.yaml", MIMIC / "expected/extraction", tmp_path / "tensors")
    assert serious(tensors) == []


@pytest.mark.parametrize("n_subjects", [3, 300])
def test_generated_datasets(tmp_path, n_subjects):
    """NOTE: the program may be in another environment, as it needs other versions."""
    name = "build_sample_MEDS_dataset"
    program = shutil.which(name, path=os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", "")]))
    if program is None:
        pytest.skip(f"There is no {name} (pip install meds-testing-helpers) on the PATH")
    command = [program, f"N_subjects={n_subjects}", f"output_dir={tmp_path / 'dataset'}"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    report = check(ROOT / "configs/preprocessing.yaml", tmp_path / "dataset", tmp_path / "tensors")
    assert serious(report) == []
