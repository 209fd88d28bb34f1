"""Real datasets must become, through every stage, what release 0.1 made of them, where the contract does not differ.

The datasets are no part of the project. They are looked for in the folder that the environment variable
MEDS_SHARED_DATA names, else in `../shared/data` beside the repository: every folder there with `preprocessing.yaml` and
`expected/preprocessing/` is one, and the extracted dataset in `expected/extraction/` is what the stages begin with.
Each of `cases/case_<name>.yaml` is a pipeline of its own, with its result in `expected/cases/<name>/`.

What differs on purpose: a value whose code has no values in the train split is neither inlier nor outlier, and a code
without values has no quantiles instead of a struct of nulls.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from safetensors.numpy import load_file

from helpers import SCRIPTS, files_below
from MEDS_transforms.dataset.schema import CODE, VOCAB_INDEX

SHARED_DATA = Path(os.environ.get("MEDS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
DATASETS = [f for f in sorted(SHARED_DATA.glob("*")) if (f / "preprocessing.yaml").is_file()]
STAGES = [
    (f, stage) for f in DATASETS for stage in yaml.safe_load((f / "preprocessing.yaml").read_text())["stages"]
] or [None]
CASES = [(f, case) for f in DATASETS for case in sorted(f.glob("cases/case_*.yaml"))] or [None]

QUANTILES = "values/quantiles"
N_VALUES = "values/n_occurrences"
IS_INLIER = "numeric_value/is_inlier"

pytestmark = pytest.mark.slow


def name_of(param: object) -> str:
    return "/".join(getattr(part, "stem", str(part)) for part in param) if isinstance(param, tuple) else "none"


def given(param: object) -> tuple[Path, object]:
    if param is None:
        pytest.skip(f"no datasets in {SHARED_DATA}; name their folder in the environment variable MEDS_SHARED_DATA")
    assert isinstance(param, tuple)
    return param


def run(*argv: str | Path) -> None:
    """Runs a script, which must succeed."""
    env = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def run_pipeline(pipeline: Path, dataset: Path, cohort: Path, *more: str) -> None:
    folders = [f"input_dir={dataset}/expected/extraction", f"cohort_dir={cohort}"]
    run(SCRIPTS / "MEDS_transform-runner", f"pipeline_config_fp={pipeline}", *folders, *more)


def assert_same_files(got: Path, want: Path, below: str, rounding: float) -> None:
    """Fails unless every table, tensor file and shard map below a folder is there, alone, and the same.

    Columns and their order, dtypes, rows and their order are compared; floats of merged code metadata may differ by
    `rounding`, relative.
    """
    suffixes = (".parquet", ".nrt", ".shards.json")
    names = [name for name in files_below(want / below) if name.endswith(suffixes)]
    assert names
    brought_along = ("subject_splits.parquet",)
    found = [name for name in files_below(got / below) if name.endswith(suffixes) and name not in brought_along]
    assert found == names
    for name in names:
        path, wanted = got / below / name, want / below / name
        if name.endswith(".parquet"):
            of_merged = rounding if path.name == "codes.parquet" else 0
            assert_same_table(path, corrected(wanted, pl.read_parquet(wanted, glob=False), want), of_merged)
        elif name.endswith(".nrt"):
            assert_same_tensors(path, wanted)
        else:
            assert list(json.loads(path.read_text()).items()) == list(json.loads(wanted.read_text()).items())


def corrected(path: Path, table: pl.DataFrame, expected: Path) -> pl.DataFrame:
    """A table of release 0.1 with what is right instead."""
    if IS_INLIER in table.columns and "occlude_outliers" in path.parts:
        codes = pl.read_parquet(expected / "fit_outlier_detection" / "codes.parquet", glob=False)
        without_values = codes.filter(pl.col(N_VALUES) == 0)[CODE]
        table = table.with_columns(pl.when(~pl.col(CODE).is_in(without_values.implode())).then(IS_INLIER))
    if QUANTILES in table.columns and isinstance(table.schema[QUANTILES], pl.Struct):
        table = table.with_columns(pl.when(pl.col(N_VALUES) > 0).then(QUANTILES))
    return table


def assert_same_table(path: Path, want: pl.DataFrame, rounding: float) -> None:
    got = pl.read_parquet(path, glob=False)
    if QUANTILES in want.columns and not isinstance(want.schema[QUANTILES], pl.Struct):
        # What a part keeps of the values, before all parts are merged, is nobody's but the stage's own.
        got, want = got.drop(QUANTILES), want.drop(QUANTILES)
    try:
        assert_frame_equal(got, want, check_exact=not rounding, rel_tol=rounding, abs_tol=rounding / 1000)
    except AssertionError as error:
        error.add_note(str(path))
        raise


def assert_same_tensors(path: Path, want: Path) -> None:
    got, tensors = load_file(path), load_file(want)
    assert got.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(got[name], tensor, strict=True, err_msg=f"{path}: {name}")
    assert path.read_bytes() == want.read_bytes()


ROUNDING_OF_SUMS = 1e-6
"""How far merged sums may be apart: the last digit that release 0.1 gives depends on how many threads it had."""


@pytest.mark.parametrize("param", STAGES, ids=name_of)
def test_stage_on_the_given_results_of_those_before(param, tmp_path):
    """Equal to the bit, but for merged sums."""
    dataset, stage = given(param)
    expected = dataset / "expected" / "preprocessing"
    makes = {"tensorization": "data", "fit_vocabulary_indices": "metadata"}.get(stage, stage)
    for folder in expected.iterdir():
        if folder.name not in (makes, "data"):
            (tmp_path / folder.name).symlink_to(folder)
    sums = (expected / makes / "codes.parquet").is_file() and makes != "metadata"
    script = SCRIPTS / f"MEDS_transform-{'aggregate_code_metadata' if sums else stage}"
    run(
        script,
        f"--config-dir={dataset}",
        "--config-name=preprocessing",
        f"input_dir={dataset}/expected/extraction",
        f"cohort_dir={tmp_path}",
        f"stage={stage}",
        "hydra.searchpath=[pkg://MEDS_transforms.configs]",
        f"log_dir={tmp_path}/logs",
    )
    assert_same_files(tmp_path, expected, makes, ROUNDING_OF_SUMS if sums else 0)


@pytest.mark.parametrize("dataset", DATASETS or [None], ids=lambda dataset: dataset.name if dataset else "none")
def test_whole_pipeline_with_two_workers(dataset, tmp_path):
    """The same vocabulary, events and codes; the same values, but for few codes.

    Where the deviation of a code is small against its mean, it depends on the last digits of 32-bit sums by more than
    rounding, and with it the code's normalized values and, seldom, whether one is an outlier.
    """
    given((dataset,) if dataset else None)
    stages, cohort, expected = tmp_path / "stages.yaml", tmp_path / "cohort", dataset / "expected" / "preprocessing"
    stages.write_text(yaml.safe_dump({"parallelize": {"n_workers": 2, "launcher": "joblib"}}))
    run_pipeline(dataset / "preprocessing.yaml", dataset, cohort, f"stage_runner_fp={stages}")
    indices = [pl.read_parquet(root / "metadata/codes.parquet", glob=False) for root in (cohort, expected)]
    assert_frame_equal(*(codes.select(CODE, VOCAB_INDEX) for codes in indices))
    names = files_below(expected / "data")
    assert [name for name in files_below(cohort / "data") if not name.startswith(".logs")] == names
    n, n_near, n_missing = 0, 0, 0
    for name in names:
        got, want = load_file(cohort / "data" / name), load_file(expected / "data" / name)
        values, wanted = got.pop("dim2/numeric_value"), want.pop("dim2/numeric_value")
        assert got.keys() == want.keys()
        for tensor, array in want.items():
            np.testing.assert_array_equal(got[tensor], array, strict=True)
        n += len(values)
        n_near += np.isclose(values, wanted, rtol=ROUNDING_OF_SUMS, atol=ROUNDING_OF_SUMS, equal_nan=True).sum()
        n_missing += (np.isnan(values) != np.isnan(wanted)).sum()
    assert n_near > 0.99 * n
    assert n_missing < 0.0001 * n


@pytest.mark.parametrize("param", CASES, ids=name_of)
def test_case(param, tmp_path):
    dataset, case = given(param)
    expected = dataset / "expected" / "cases" / case.stem.removeprefix("case_")
    run_pipeline(case, dataset, tmp_path)
    for folder in sorted(f.name for f in expected.iterdir()):
        sums = (expected / "metadata").is_dir() and folder != "data"
        assert_same_files(tmp_path, expected, folder, ROUNDING_OF_SUMS if sums else 0)
