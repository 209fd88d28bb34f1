"""Every console script under --multirun gives the bytes that one process gives."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from hydra import compose, initialize_config_dir

from faults.cohorts import contents, make_raw, strays
from helpers import EXTRACTION_STAGES, SCRIPTS, Extraction, Preprocessing, measurements
from MEDS_transforms.settings.packaged import CONFIG_DIR
from MEDS_transforms.stages import TRANSFORM, packaged_stages

PREPROCESSING_STAGES = [
    "split_subjects",
    "reshard_to_split",
    "filter_subjects",
    "add_time_derived_measurements",
    "add_record_bounds",
    "extract_values",
    "reorder_measurements",
    "bin_numeric_values",
    "aggregate_code_metadata",
    "filter_measurements",
    "occlude_outliers",
    "enforce_value_ranges",
    "standardize_units",
    "flag_abnormal_values",
    "fit_vocabulary_indices",
    "normalization",
    "tokenization",
    "tensorization",
    "batch_tensors",
]
"""Every pre-processing script once, under its own name, each with what it needs from those before it."""


def test_no_pre_processing_script_is_forgotten() -> None:
    assert {*PREPROCESSING_STAGES} == {s.name for s in packaged_stages().values() if s.prefix == TRANSFORM}


LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", []),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"]),
}
"""The module of each launcher's plugin, and settings."""

PATIENCE = 120
"""Seconds after which a stage that has not ended counts as hanging."""


@dataclass
class Pipeline:
    """The stages of a pipeline with their overrides, and copies of the cohort as one process left it after each."""

    script_prefix: str
    config: str
    stages: list[str]
    overrides: list[str]
    folder: Path
    after: dict[str, Path] = field(default_factory=dict)

    def run_in_one_process(self) -> None:
        """Runs all stages in this process."""
        cohort = self.folder / "cohort"
        for stage in self.stages:
            with initialize_config_dir(str(CONFIG_DIR), version_base=None):
                cfg = compose(self.config, [f"++stage={stage}", f"cohort_dir={cohort}", *self.overrides])
                import_module(packaged_stages()[stage].module).main(cfg)
            self.after[stage] = self.folder / "after" / stage
            shutil.copytree(cohort, self.after[stage])

    def copy_before(self, stage: str, cohort: Path) -> None:
        """Makes the cohort what it is when the stage begins."""
        cohort.mkdir(parents=True)
        if number := self.stages.index(stage):
            shutil.copytree(self.after[self.stages[number - 1]], cohort, dirs_exist_ok=True)

    def argv(self, stage: str, cohort: Path, launcher: str, named: bool) -> list[str]:
        """Two workers of a stage; with `named` the stage stands on the command line."""
        multirun = ["--multirun", "worker=range(0,2)", f"hydra/launcher={launcher}", *LAUNCHERS[launcher][1]]
        stage_override = [f"stage={stage}"] if named else []
        script = str(SCRIPTS / f"{self.script_prefix}-{stage}")
        return [script, *multirun, *stage_override, f"cohort_dir={cohort}", *self.overrides]


@pytest.fixture(scope="session")
def extraction(tmp_path_factory) -> Pipeline:
    folder = tmp_path_factory.mktemp("extraction")
    tables = Extraction(folder)
    make_raw(tables)
    overrides = [
        *(override for override in tables.overrides() if not override.startswith("cohort_dir=")),
        "stage_configs.shard_events.row_chunksize=200",
        "stage_configs.split_and_shard_subjects.n_subjects_per_shard=10",
    ]
    pipeline = Pipeline("MEDS_extract", "_extract", EXTRACTION_STAGES, overrides, folder)
    pipeline.run_in_one_process()
    return pipeline


@pytest.fixture(scope="session")
def preprocessing(tmp_path_factory) -> Pipeline:
    folder = tmp_path_factory.mktemp("preprocessing")
    dataset = Preprocessing(folder)
    write_dataset(dataset)
    blocks = [
        "reshard_to_split.n_subjects_per_shard=4",
        "filter_subjects.min_events_per_subject=3",
        "extract_values.source={literal: invented}",
        "reorder_measurements.ordered_code_patterns=[VITAL,LAB]",
        "aggregate_code_metadata.aggregations=[code/n_subjects,code/n_occurrences,values/n_occurrences,"
        "values/mean,values/std]",
        "filter_measurements.min_subjects_per_code=2",
        "occlude_outliers.stddev_cutoff=1.5",
        "enforce_value_ranges.ranges=[{code: LAB//potassium, max: 20}]",
        "bin_numeric_values.bin_with_columns=[]",
        "bin_numeric_values.custom_bins={VITAL//pulse: [4, 9]}",
    ]
    overrides = [
        f"input_dir={dataset.dataset}",
        f"stages=[{','.join(PREPROCESSING_STAGES)}]",
        "polling_time=1",
        *(f"++stage_configs.{block}" for block in blocks),
    ]
    pipeline = Pipeline("MEDS_transform", "_preprocess", PREPROCESSING_STAGES, overrides, folder)
    pipeline.run_in_one_process()
    return pipeline


def write_dataset(dataset: Preprocessing) -> None:
    """Twenty subjects in three shards that know nothing of the splits."""

    def rows(subject: int) -> Iterator[tuple]:
        yield subject, datetime(1980, 1, subject + 1), "MEDS_BIRTH"
        for n in range(2 + subject % 4):
            time = datetime(2020, 1, 1) + timedelta(days=subject, hours=7 * n)
            for code in ("LAB//potassium", "LAB//sodium", "VITAL//pulse"):
                yield subject, time, code, float((subject * 31 + n * 17 + len(code)) % 23)
        yield subject, datetime(2021, 1, 1), f"RARE//{subject % 10}"

    subjects = range(20)
    shards = {
        f"part{n}": measurements(*(row for subject in subjects if subject % 3 == n for row in rows(subject)))
        for n in range(3)
    }
    codes = pl.DataFrame({"code": ["LAB//potassium"], "description": ["Potassium"], "parent_codes": [["LOINC/1"]]})
    splits = {"train": [*range(12)], "tuning": [*range(12, 16)], "held_out": [*range(16, 20)]}
    dataset.write(shards, codes, splits)


@contextmanager
def started(argv: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A program; neither it nor the workers that it started outlive the block."""
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(argv, cwd=folder, env=environment, start_new_session=True, **pipes)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def check(pipeline: Pipeline, stage: str, folder: Path, launcher: str = "joblib", named: bool = False) -> None:
    module = LAUNCHERS[launcher][0]
    if find_spec(module.partition(".")[0]) is None or find_spec(module) is None:
        pytest.skip(f"the launcher {launcher} is not installed: there is no {module}")
    cohort = folder / "cohort"
    pipeline.copy_before(stage, cohort)
    with started(pipeline.argv(stage, cohort, launcher, named), folder) as process:
        printed, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, printed
    got, want = contents(cohort), contents(pipeline.after[stage])
    assert strays(cohort) == []
    assert sorted(got) == sorted(want)
    assert [name for name in want if got[name] != want[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", EXTRACTION_STAGES)
def test_extraction_stage(extraction, tmp_path, stage):
    check(extraction, stage, tmp_path, named=True)


@pytest.mark.slow
@pytest.mark.parametrize("stage", PREPROCESSING_STAGES)
def test_preprocessing_stage(preprocessing, tmp_path, stage):
    check(preprocessing, stage, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["filter_subjects", "aggregate_code_metadata"])
def test_stages_of_both_kinds_by_the_other_launcher(preprocessing, tmp_path, stage):
    """One that maps and one that reduces. Any stage is started in the same way by any launcher."""
    check(preprocessing, stage, tmp_path, "submitit_local", named=True)
