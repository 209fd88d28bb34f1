"""Real tables must become what release 0.1 made of them, where the contract does not say otherwise.

The tables are no part of the project. They are looked for in the folder that the environment variable
MEDS_SHARED_DATA names, else in `../shared/data` beside the repository: every folder there with `raw/`,
`event_cfgs.yaml` and `expected/extraction/` is one dataset.
"""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from helpers import EXTRACTION_STAGES, SCRIPTS, assert_same_cohort

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("MEDS_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
PARTS = ("raw", "event_cfgs.yaml", "expected/extraction")
DATASETS = [f for f in sorted(SHARED_DATA.glob("*")) if all((f / part).exists() for part in PARTS)]

pytestmark = pytest.mark.slow


@pytest.fixture(params=DATASETS or [None], ids=lambda folder: folder.name if folder else "none")
def dataset(request) -> Path:
    """A folder with raw tables, event conversion file and expected result."""
    if request.param is None:
        pytest.skip(f"no datasets in {SHARED_DATA}; name their folder in the environment variable MEDS_SHARED_DATA")
    return request.param


def overrides(dataset: Path, cohort: Path) -> list[str]:
    """With what the expected results were made."""
    return [
        f"input_dir={dataset}/raw",
        f"cohort_dir={cohort}",
        f"event_conversion_config_fp={dataset}/event_cfgs.yaml",
        "etl_metadata.dataset_name=D",
        "etl_metadata.dataset_version='1.0'",
        "stage_configs.split_and_shard_subjects.n_subjects_per_shard=20",
        "stage_configs.shard_events.row_chunksize=20000",
        "seed=1",
    ]


def run(*argv: str | Path, **env: str) -> None:
    """Runs a script, which must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False, env={**os.environ, **env})
    assert done.returncode == 0, done.stdout + done.stderr


def test_stage_by_stage(dataset, tmp_path):
    for stage in EXTRACTION_STAGES:
        run(SCRIPTS / f"MEDS_extract-{stage}", *overrides(dataset, tmp_path))
    assert_same_cohort(tmp_path, dataset / "expected" / "extraction")


def test_through_the_runner_with_two_workers(dataset, tmp_path):
    cohort, pipeline, stages = tmp_path / "cohort", tmp_path / "pipeline.yaml", tmp_path / "stages.yaml"
    pipeline.write_text(yaml.safe_dump({"defaults": ["_extract", "_self_"]}))
    stages.write_text(yaml.safe_dump({"parallelize": {"n_workers": 2, "launcher": "joblib"}}))
    files = [f"pipeline_config_fp={pipeline}", f"stage_runner_fp={stages}"]
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    run(SCRIPTS / "MEDS_transform-runner", *files, *overrides(dataset, cohort), PATH=path)
    assert_same_cohort(cohort, dataset / "expected" / "extraction")
