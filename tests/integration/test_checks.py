"""What the configuration alone shows is said before the first stage, all at once; nothing is written."""

import json
import subprocess

import polars as pl
import pytest
import yaml

from helpers import SCRIPTS, Extraction, Preprocessing, files_below, measurements

EVENT = {"code": ["LAB", "col(test)"], "time": "col(at)", "time_format": "%Y", "numeric_value": "value"}


@pytest.fixture
def x(tmp_path) -> Extraction:
    x = Extraction(tmp_path)
    x.table("labs.csv", "subject_id,test,at,value,ok\n1,A,2020,1.5,true\n2,B,2021,2.5,false\n")
    x.table("d_labs.csv", "test,label\nA,a\n")
    return x


def run(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe.yaml", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def extract(x: Extraction, event, *arguments: str, table=None, **stage_configs) -> subprocess.CompletedProcess[str]:
    x.events({"labs": {**(table or {}), "lab": event}})
    splits = {"split_and_shard_subjects": {"split_fracs": {"train": 1.0, "tuning": None, "held_out": None}}}
    (x.folder / "pipe.yaml").write_text(x.pipeline(**splits | stage_configs))
    return run(x.folder, *arguments)


def assert_nothing_ran(x, ran, *said: str) -> None:
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr
    for part in said:
        assert part in ran.stderr
    assert "Stage 1 of" not in ran.stdout
    items = [line for line in ran.stderr.splitlines() if line.startswith("      - ")]
    assert len(items) == len({*items}), "one mistake is said once"
    assert files_below(x.cohort) == [] or files_below(x.cohort) == [".logs/.runner.lock"]


METADATA = {"d_labs": {"description": "lable"}}
WRONG = {
    "no time_format": ({**EVENT, "time_format": None}, ["labs.lab.time", "time_format"]),
    "a column that is not a time": ({**EVENT, "time": "col(ok)", "time_format": None}, ["labs.lab.time", "'ok'"]),
    "a column of a metadata table": ({**EVENT, "_metadata": METADATA}, ["lable", "did you mean 'label'"]),
    "a name that two stages read": ({**EVENT, "_metadata": {"../d": {"description": "x"}}}, ["'../d'", "'..'"]),
    "a metadata table": ({**EVENT, "_metadata": {"d_lab": {"description": "x"}}}, ["d_lab", "did you mean 'd_labs'"]),
    "a pattern": (
        {**EVENT, "_metadata": {"d_labs": {"x": {"extract": {"from": "label", "regex": "("}}}}},
        ["regular expression"],
    ),
    "a key nearly known": ({**EVENT, "time_format": None, "time_fromat": "%Y"}, ["did you mean 'time_format'"]),
    "the newer language": ({**EVENT, "code": "$test"}, ["'$test'", "col(name)"]),
    "newer f-strings": ({**EVENT, "code": 'f"LAB//{$test}"'}, ["later releases"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_event_files(x, case):
    event, said = WRONG[case]
    assert_nothing_ran(x, extract(x, event), *said)


def test_ids_that_are_none(x):
    assert_nothing_ran(x, extract(x, EVENT, table={"subject_id_col": "ok"}), "column ok", "Boolean")


def test_all_that_is_wrong_comes_at_once(x):
    splits = {"split_fracs": {"train": 0.5, "tuning": None, "held_out": None}}
    ran = extract(
        x,
        {**EVENT, "time_format": None},
        "etl_metadata.dataset_name=null",
        split_and_shard_subjects=splits,
        merge_to_MEDS_cohort={"unique_by": "code"},
    )
    assert_nothing_ran(
        x,
        ran,
        *("shard_events: ", "labs.lab.time", "split_and_shard_subjects: ", "sum to 1"),
        *("merge_to_MEDS_cohort.unique_by", "finalize_MEDS_metadata: ", "etl_metadata.dataset_name is not set"),
    )


def test_external_splits(x):
    (x.folder / "splits.json").write_text(json.dumps({"train": ["x"]}))
    splits = {"external_splits_json_fp": str(x.folder / "splits.json")}
    ran = extract(x, EVENT, split_and_shard_subjects=splits)
    assert_nothing_ran(x, ran, "splits.json", "integer")


def test_what_may_be_meant_is_a_warning(x):
    x.table("more.csv", "subject_id\n1\n")
    ran = extract(x, {**EVENT, "code": ["LAB", "test"], "numeric_val": "value", "text": "col(test)"})
    assert ran.returncode == 0, ran.stderr
    for said in ("did you mean 'numeric_value'", "Write col(test)", "Write just that", "skipped: d_labs, more"):
        before, _, ending = ran.stdout.partition("stages are done.")
        assert before.count(said) == 1, "once before the stages, not by every one that reads the file"
        assert ending.count(said) == 1, "once more at the end"
    alone = x.script("shard_events", "do_overwrite=True")
    assert "did you mean 'numeric_value'" in alone.stdout


def test_a_good_one_has_no_warning(x):
    ran = extract(x, {**EVENT, "_metadata": {"d_labs": {"description": "label"}}, "text": "test", "value_of": "ok"})
    assert ran.returncode == 0, ran.stderr
    assert "did you mean" not in ran.stdout
    assert "WARNING" not in ran.stdout


SETTINGS = {
    "reorder_measurements": ({"ordered_code_patterns": ["("]}, "ordered_code_patterns[0]"),
    "extract_values": ({"x": {"y": 1}}, "extract_values has"),
    "add_time_derived_measurements": ({"age": {"age_unit": "eons"}}, "'eons' is unknown"),
    "add_record_bounds": ({"end": {"offset_unit": "eons"}}, "end: offset_unit: the unit 'eons' is unknown"),
    "aggregate_code_metadata": ({"aggregations": ["code/n"]}, "'code/n' is unknown"),
    "fit_vocabulary_indices": ({"ordering_method": "x"}, "ordering_method must be"),
    "occlude_outliers": ({"stddev_cutoff": -1}, "stage_configs.occlude_outliers.stddev_cutoff must be"),
    "enforce_value_ranges": ({"ranges": [{"code": "A", "mim": 1}]}, "ranges[0].mim: there is no such key"),
    "bin_numeric_values": ({"code_with_bin_name": "{cod}"}, "there is no {cod} (did you mean 'code'?)"),
    "flag_abnormal_values": ({"ranges": [{"code": "A", "lower": 1, "upper": 0}]}, "lower is greater than upper"),
    "standardize_units": ({"conversions": [{"from": "lb", "factor": 2}]}, "there is a conversion without 'to'"),
    "filter_subjects": ({"min_events_per_subject": "x"}, "min_events_per_subject must be a whole number"),
    "filter_measurements": ({"_match_revise": [{"_matcher": {"code": {"regex": "("}}}]}, "_match_revise[0]._matcher"),
    "tokenization": ({"train_only": True}, "tokenization.train_only must be false or null"),
    "tensorization": ({"_match_revise": [{"_matcher": {}}]}, "tensorization cannot match and revise. Remove the key"),
    "reshard_to_split": ({"train_only": True}, "train_only"),
}


def test_settings_of_every_stage(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": measurements((1, None, "A"))})
    pipeline = {
        "defaults": ["_preprocess", "_self_"],
        "input_dir": str(x.dataset),
        "cohort_dir": str(x.cohort),
        "stages": [*SETTINGS],
        "stage_configs": {stage: block for stage, (block, _) in SETTINGS.items()},
    }
    (tmp_path / "pipe.yaml").write_text(yaml.safe_dump(pipeline))
    ran = run(tmp_path)
    assert_nothing_ran(x, ran, *(said for _, said in SETTINGS.values()))


def test_a_mistake_in_a_value_is_not_reported_again_by_the_check_of_the_stage(tmp_path):
    x = Preprocessing(tmp_path)
    wrong = {
        "add_time_derived_measurements": {"age": 3},
        "aggregate_code_metadata": {"aggregations": []},
        "reorder_measurements": {"ordered_code_patterns": "B"},
        "occlude_outliers": {},
        "normalization": {"_match_revise": [{"_matcher": {"code": {"regex": "("}}}]},
    }
    pipeline = {
        "defaults": ["_preprocess", "_self_"],
        "input_dir": str(x.dataset),
        "cohort_dir": str(x.cohort),
        "code_modifiers": "unit",
        "stages": [*wrong],
        "stage_configs": wrong,
    }
    (tmp_path / "pipe.yaml").write_text(yaml.safe_dump(pipeline))
    ran = run(tmp_path)
    assert_nothing_ran(x, ran)
    found = [line.removeprefix("  - ") for line in ran.stderr.splitlines() if line.startswith("  - ")]
    assert [line.split()[0] for line in found] == [
        "code_modifiers",
        "stage_configs.add_time_derived_measurements.age",
        "stage_configs.aggregate_code_metadata.aggregations",
        "stage_configs.reorder_measurements.ordered_code_patterns",
        "normalization:",
    ]


def test_a_pipeline_that_is_done_is_not_checked(x):
    """What it was made from may be gone by then, or in use."""
    assert extract(x, EVENT).returncode == 0
    ran = extract(x, EVENT)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("is already done") == 7
    assert pl.read_parquet(x.cohort / "data/train/0.parquet").height == 2
