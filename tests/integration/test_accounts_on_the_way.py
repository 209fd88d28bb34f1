"""What stages did to rows is accounted for, whether their own outputs are kept or not."""

import json

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from helpers import Preprocessing, measurements_with_ties
from MEDS_transforms import run_pipeline

HEAD = {"stage", "version", "outputs", "in", "out", "warnings", "through", "on_the_way"}
LAB, AGGREGATE = {"regex": "^LAB"}, "MEDS_transform-aggregate_code_metadata"
STAGES = {
    "reshard_to_split": {"n_subjects_per_shard": 25},
    "standardize_units": {
        "unit_after": "^LAB//",
        "conversions": [{"code": "LAB//mg", "from": "mg", "to": "g", "factor": 0.5}],
    },
    "enforce_value_ranges": {"ranges": [{"code": LAB, "min": 0.1}]},
    "filter_subjects": {"min_measurements_per_subject": 60},
    "add_record_bounds": {"end": {"code": "END"}},
    "add_time_derived_measurements": {"age": None, "timeline_tokens": {"time_unit": "days"}},
    "flag_abnormal_values": {"ranges": [{"code": LAB, "lower": 0.3, "upper": 0.6}]},
    "counts": {"_script": AGGREGATE, "aggregations": ["code/n_occurrences", "code/n_subjects"]},
    "filter_measurements": {"min_occurrences_per_code": 50},
    "fit_outlier_detection": {},
    "occlude_outliers": {"stddev_cutoff": 1},
    "bin_numeric_values": {"bin_with_columns": [], "custom_bins": [{"code": {"regex": "HIGH$"}, "edges": [0.9]}]},
    "fit_normalization": {},
    "fit_vocabulary_indices": {},
    "normalization": {},
    "tokenization": {},
}
NOTING = [*[*STAGES][:7], "filter_measurements", "occlude_outliers", "bin_numeric_values", "normalization"]


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory):
    """The folders of what all stages made, by whether intermediate data were kept."""
    folder, found = tmp_path_factory.mktemp("accounts"), {}
    x, rng = Preprocessing(folder), np.random.default_rng(1)
    of_code = rng.choice(["LAB//mg", "LAB//g", "OTHER", "RARE", "IN_TUNING"], 20_000, p=[0.4, 0.4, 0.19, 0.001, 0.009])
    rows = measurements_with_ties(20_000).with_columns(
        code=pl.Series(of_code), numeric_value=pl.Series(rng.random(20_000), dtype=pl.Float32)
    )
    is_train = pl.col("subject_id") < 150
    rows = rows.filter(~is_train | (pl.col("code") != "IN_TUNING"))
    shards = {str(n): rows.filter(pl.col("subject_id") % 3 == n).sort("subject_id", "time") for n in range(3)}
    x.write(shards, splits={"train": [*range(150)], "tuning": [*range(150, 250)]})
    for kept in (True, False):
        cohort = folder / f"kept_{kept}"
        run_pipeline(
            {"stages": [*STAGES], "stage_configs": STAGES, "input_dir": x.dataset, "cohort_dir": cohort},
            keep_intermediates=kept,
            progress="plain",
        )
        found[kept] = cohort
    return found


@pytest.fixture(scope="module")
def accounts(cohorts):
    """The accounts of all stages, by whether intermediate data were kept."""
    files = {kept: (cohort / "metadata" / "accounting").glob("*.json") for kept, cohort in cohorts.items()}
    return {kept: {path.stem: json.loads(path.read_text()) for path in paths} for kept, paths in files.items()}


def test_the_results_are_the_same(cohorts):
    kept, lean = ({path.relative_to(cohort): path for path in results(cohort)} for cohort in cohorts.values())
    assert kept.keys() == lean.keys()
    assert len(kept) > 5
    for name, path in kept.items():
        assert_frame_equal(pl.read_parquet(path, glob=False), pl.read_parquet(lean[name], glob=False))


def results(cohort):
    return [path for folder in ("data", "metadata") for path in (cohort / folder).rglob("*.parquet")]


def test_the_last_stage_tells_what_those_before_it_did(accounts):
    kept, lean = accounts[True], accounts[False]["tokenization"]
    assert lean["through"] == [stage for stage in STAGES if stage in NOTING]
    own = {stage: {key: part for key, part in kept[stage].items() if key not in HEAD} for stage in NOTING}
    assert lean["on_the_way"] == own
    assert all(own.values())
    assert (lean["in"], lean["out"]) == (kept["reshard_to_split"]["in"], kept["tokenization"]["out"])


def test_what_is_told_is_what_became_of_the_rows(accounts):
    kept = accounts[True]
    rows = {stage: kept[stage]["in"]["rows"] - kept[stage]["out"]["rows"] for stage in NOTING}
    assert kept["reshard_to_split"]["rows"] == {"left_out": rows["reshard_to_split"]}
    assert kept["add_time_derived_measurements"]["rows"] == {"added": -rows["add_time_derived_measurements"]}
    for stage in ("filter_measurements", "normalization"):
        assert kept[stage]["rows"] == {"kept": kept[stage]["out"]["rows"], "dropped": rows[stage]}
    subjects = kept["filter_subjects"]
    assert subjects["subjects"]["kept"] == subjects["out"]["subjects"]
    assert sum(subjects["subjects"].values()) == subjects["in"]["subjects"]
    assert all(kept["occlude_outliers"]["values"].values())


def test_a_stage_that_reads_the_train_split_alone_tells_of_that_alone(accounts):
    of_train, of_all = accounts[False]["counts"], accounts[False]["tokenization"]
    assert of_train["through"] == of_all["through"][:7]
    assert "rows" not in of_train["in"]
    removed = [of["on_the_way"]["enforce_value_ranges"]["values"]["removed"] for of in (of_train, of_all)]
    assert 0 < removed[0] < removed[1]
