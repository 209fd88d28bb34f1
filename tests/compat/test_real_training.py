"""The pipeline of all steps, written for the demo's hospital, runs on real data with another file of variables."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import yaml

from helpers import SCRIPTS
from MEDS_transforms.tensors import TensorDataset

from .test_real_preprocessing import DATASETS, run

ROOT = Path(__file__).parents[2]
VARIABLES = {
    "admission_codes": {"regex": "^HOSPITAL_ADMISSION//"},
    "discharge_codes": {"regex": "^HOSPITAL_DISCHARGE//"},
    "unit_after": "^LAB//[^/]+//",
    "conversions": [{"code": {"regex": "^LAB//50912//"}, "from": "mg/dL", "to": "umol/L", "factor": 88.42}],
    "value_ranges": [{"code": {"regex": "^LAB//50971//"}, "min": 0, "max": 20}],
    "reference_ranges": [{"code": {"regex": "^LAB//50912//"}, "lower": 35, "upper": 106}],
}
CREATININE = "LAB//50912//mg/dL"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The measurements of a real dataset, and the cohort that the pipeline makes of it."""
    found = [folder for folder in DATASETS if folder.name == "mimic-iv-demo"]
    if not found:
        pytest.skip("no dataset mimic-iv-demo; name its parent folder in the environment variable MEDS_SHARED_DATA")
    folder, dataset = tmp_path_factory.mktemp("training"), found[0] / "expected" / "extraction"
    (folder / "variables.yaml").write_text(yaml.safe_dump(VARIABLES))
    run(
        SCRIPTS / "MEDS_transforms",
        "run",
        ROOT / "configs" / "training.yaml",
        f"dataset_fp={folder}/variables.yaml",
        f"input_dir={dataset}",
        f"cohort_dir={folder}/cohort",
    )
    return pl.read_parquet(dataset / "data/*/*.parquet", missing_columns="insert"), folder / "cohort"


def test_every_subject_is_in_one_split(real):
    rows, cohort = real
    splits = pl.read_parquet(cohort / "metadata" / "subject_splits.parquet")
    assert sorted(splits["subject_id"]) == sorted(set(rows["subject_id"]))


def test_the_tensors_have_what_was_measured_in_the_units_and_with_the_flags_of_the_variables(real):
    rows, cohort = real
    codes = pl.read_parquet(cohort / "metadata" / "codes.parquet")
    name_of = dict(codes.select("code/vocab_index", "code").iter_rows())
    dataset = TensorDataset.open(cohort, "train")
    got = Counter()
    for item in (dataset[i] for i in range(len(dataset))):
        got.update(flag_of(name_of[int(code)]) for code in item.code if "LAB//50912//" in name_of[int(code)])
    ours = set(dataset.subject_ids.tolist())
    want = Counter(
        "NO VALUE" if value is None else "LOW" if value * 88.42 < 35 else "HIGH" if value * 88.42 > 106 else "NORMAL"
        for subject, code, value in rows.select("subject_id", "code", "numeric_value").iter_rows()
        if code == CREATININE and subject in ours
    )
    assert got == want


def flag_of(code: str) -> str:
    """The flag in a code such as LAB//50912//umol/L//NORMAL//value_[70.0,90.0)."""
    parts = code.removeprefix("LAB//50912//").split("//")
    assert parts[0] == ("umol/L" if len(parts) > 1 else "mg/dL")
    return parts[1] if len(parts) > 1 else "NO VALUE"


def test_stays_begin_and_end_with_the_codes_of_the_variables(real):
    _, cohort = real
    codes = set(pl.read_parquet(cohort / "metadata" / "codes.parquet")["code"].drop_nulls())
    assert {"PAD", "UNK", "RECORD_END", "TIMELINE//END"} <= codes
    assert any(code.startswith("TIME_SINCE//ADMISSION//hours") for code in codes)
