"""The files of finished datasets are MEDS as the meds package itself understands it, whatever stage comes last."""

import json
import subprocess

import polars as pl
import pytest

from helpers import SCRIPTS, Preprocessing, check_meds_codes, check_meds_data, measurements

CODES = pl.DataFrame(
    {
        "code": ["A", "B"],
        "description": ["a", None],
        "parent_codes": [["X/1"], None],
        "code/n_occurrences": [3, 1],
        "code/n_subjects": [2, 1],
        "values/mean": [1.0, None],
        "values/std": [1.0, None],
        "unit": ["kg", None],
    }
)
ROWS = measurements((1, None, "A", 1.0), (1, None, "B"), (2, None, "A", 2.0), text_value=pl.lit("x"))
STAGES = {
    "filter_subjects": {"min_measurements_per_subject": 0},
    "filter_measurements": {"min_occurrences_per_code": 2},
    "add_time_derived_measurements": {},
    "add_record_bounds": {},
    "extract_values": {"numeric_value": "numeric_value"},
    "reorder_measurements": {"ordered_code_patterns": ["B"]},
    "occlude_outliers": {"stddev_cutoff": 1},
    "enforce_value_ranges": {"ranges": [{"code": "A", "max": 1.5}]},
    "bin_numeric_values": {"bin_with_columns": [], "custom_bins": {"A": [1.5]}},
    "flag_abnormal_values": {"ranges": [{"code": "A", "upper": 1.5}]},
    "standardize_units": {"unit_after": "^", "conversions": [{"code": "A", "from": "A", "to": "C", "factor": 2}]},
    "reshard_to_split": {"n_subjects_per_shard": 1},
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("has_values", [True, False])
def test_data_of_a_last_stage(tmp_path, stage, has_values):
    x = Preprocessing(tmp_path)
    rows = ROWS if has_values or stage == "extract_values" else ROWS.drop("numeric_value")
    x.write({"train/0": rows.with_columns(subject_id=pl.col("subject_id").cast(pl.Int32))}, CODES, {"train": [1, 2]})
    assert x.run(stage, **STAGES[stage])
    if has_values:
        for path in (x.cohort / "data").rglob("*.parquet"):
            check_meds_data(path)


def test_an_own_stage_at_the_end(tmp_path):
    from MEDS_transforms import map_over

    x = Preprocessing(tmp_path)
    x.write({"train/0": ROWS}, CODES)
    map_over(x.cfg("mine"), compute_fn=lambda df: df)
    check_meds_data(x.cohort / "data/train/0.parquet")


@pytest.mark.parametrize("stage", ["fit_vocabulary_indices", "aggregate_code_metadata"])
def test_codes_of_a_last_metadata_stage(tmp_path, stage):
    x = Preprocessing(tmp_path)
    x.write({"train/0": ROWS}, CODES, {"train": [1, 2]})
    x.run(stage, **({"aggregations": ["values/sum"]} if stage.startswith("aggregate") else {}))
    path = x.cohort / "metadata/codes.parquet"
    check_meds_codes(path)
    assert pl.read_parquet(path)["parent_codes"].to_list()[0] == ["X/1"]


def test_a_pipeline_without_a_metadata_stage_carries_the_metadata_along(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"train/0": ROWS}, CODES, {"train": [1, 2]})
    (x.dataset / "metadata/dataset.json").write_text(json.dumps({"dataset_name": "D"}))
    folders = f"input_dir: {x.dataset}\ncohort_dir: {x.cohort}\n"
    (tmp_path / "pipe.yaml").write_text(f"defaults: [_preprocess, _self_]\n{folders}stages: [filter_subjects]\n")
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe.yaml"]
    one = CODES.head(1)
    for codes, overrides, expected in ((CODES, [], 2), (one, [], 1), (CODES, ["do_overwrite=True"], 2)):
        x.write({}, codes)
        done = subprocess.run([*command, *overrides], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert pl.read_parquet(x.cohort / "metadata/codes.parquet").height == expected
    assert {path.name for path in (x.cohort / "metadata").iterdir()} >= {"codes.parquet", "dataset.json"}
