"""Any name of a column works, literally, through the whole extraction and the stages after it."""

from importlib import import_module

import polars as pl
import pytest

from helpers import EXTRACTION_STAGES, Extraction, Preprocessing, measurements

NAMES = ["__shard", "__subject_id", "__row", "__event", "*", "^a|b$", "^.*$", "x__old", "__rank", "a b", "ä", "row"]

SPLITS = "stage_configs.split_and_shard_subjects.split_fracs"
TRAIN = (f"{SPLITS}.train=1.0", f"{SPLITS}.tuning=null", f"{SPLITS}.held_out=null")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_extraction(tmp_path, name, suffix):
    x = Extraction(tmp_path)
    wrong = {"a": ["wrong"] * 3, "b": ["wrong"] * 3}
    frame = pl.DataFrame({**wrong, "id": [1, 2, 2], name: ["p", "q", "q"], "v": [1, 2, 2]})
    x.table(f"labs.{suffix}", frame)
    x.table(f"d_labs.{suffix}", pl.DataFrame({name: ["p", "q"], "label": ["P", "Q"], "other": ["1", "2"]}))
    event = {
        "code": ["LAB", f"col({name})"],
        "time": None,
        name: name,
        "numeric_value": "v",
        "_metadata": {"d_labs": {"description": "label", name: {"col": name}}},
    }
    x.events({"labs": {"subject_id_col": "id", "lab": event}})
    for stage in EXTRACTION_STAGES:
        cfg = x.cfg(stage, *TRAIN)
        cfg.stage_configs.merge_to_MEDS_cohort.unique_by = ["subject_id", name]
        cfg.stage_configs.merge_to_MEDS_cohort.additional_sort_by = [name]
        import_module(f"MEDS_transforms.extract.{stage}").main(cfg)
    got = pl.concat([pl.read_parquet(path) for path in (x.cohort / "data").rglob("*.parquet")]).sort("subject_id")
    assert got["code"].to_list() == ["LAB//p", "LAB//q"]
    assert got.get_column(name).to_list() == ["p", "q"]
    codes = pl.read_parquet(x.cohort / "metadata/codes.parquet")
    assert codes["description"].to_list() == ["P", "Q"]
    assert codes.get_column(name).to_list() == ["p", "q"]


@pytest.mark.parametrize("name", ["__subject_id", "^a|b$", "*"])
def test_an_id_column(tmp_path, name):
    x = Extraction(tmp_path)
    x.table("labs.parquet", pl.DataFrame({"a": [7, 7], "b": [7, 7], name: [1, 2], "subject_id": ["not", "these"]}))
    x.events({"labs": {"subject_id_col": name, "lab": {"code": "A", "time": None, "text_value": "subject_id"}}})
    for stage in EXTRACTION_STAGES:
        x.run(stage, *TRAIN)
    got = pl.concat([pl.read_parquet(path) for path in (x.cohort / "data").rglob("*.parquet")]).sort("subject_id")
    assert got.select("subject_id", "text_value").rows() == [(1, "not"), (2, "these")]


def test_a_name_for_private_use_is_refused(tmp_path):
    x = Extraction(tmp_path)
    x.table("labs.parquet", pl.DataFrame({"subject_id": [1], "\ue000row": ["a"]}))
    x.events({"labs": {"lab": {"code": "col(\ue000row)", "time": None}}})
    with pytest.raises(ValueError, match=r"starts with U\+E000, which this package reserves"):
        x.run("shard_events")


OTHERS = [
    "__mean",
    "__std",
    "__index",
    "__said",
    "__is_frequent",
    "__begins_event",
    "__mask_0",
    "__rank",
    "^code$",
    "*",
]
CODES = pl.DataFrame(
    {
        "code": ["A", "B"],
        "code/vocab_index": [1, 2],
        "code/n_occurrences": [2, 1],
        "code/n_subjects": [2, 1],
        "values/mean": [1.0, 1.0],
        "values/std": [1.0, 1.0],
    }
)
STAGES = {
    "filter_subjects": {"min_measurements_per_subject": 1, "min_events_per_subject": 1},
    "filter_measurements": {"min_occurrences_per_code": 1},
    "add_time_derived_measurements": {"timeline_tokens": {"time_unit": "h"}},
    "add_record_bounds": {},
    "extract_values": {"text_value": "code"},
    "reorder_measurements": {"ordered_code_patterns": ["B"]},
    "occlude_outliers": {"stddev_cutoff": 9},
    "enforce_value_ranges": {"ranges": [{"code": "A", "max": 1.5}]},
    "flag_abnormal_values": {"ranges": [{"code": "A", "upper": 1.5}]},
    "standardize_units": {"unit_after": "^", "conversions": [{"code": "A", "from": "A", "to": "C", "factor": 2}]},
    "normalization": {},
    "reshard_to_split": {},
}


@pytest.mark.parametrize("stage", STAGES)
def test_preprocessing(tmp_path, stage):
    from datetime import datetime

    x = Preprocessing(tmp_path)
    at = datetime(2020, 1, 1)
    rows = measurements((1, at, "A", 1.0), (1, at, "B", 2.0), (2, at, "A", 1.0))
    rows = rows.with_columns(pl.Series(name, ["x", "y", "z"]) for name in OTHERS)
    x.write({"train/0": rows}, CODES, {"train": [1, 2]})
    plain = Preprocessing(tmp_path / "plain")
    plain.write({"train/0": rows.drop(pl.selectors.by_name(*OTHERS))}, CODES, {"train": [1, 2]})
    [got], [want] = (data.run(stage, **STAGES[stage]).values() for data in (x, plain))
    assert got.select(pl.selectors.by_name(*want.columns)).equals(want)
    if stage != "normalization":
        kept = got.filter(pl.col("code").is_in(["A", "B"]))
        expected = {("A", 1): "x", ("B", 1): "y", ("A", 2): "z"}
        for name in OTHERS:
            values = kept.get_column(name).to_list()
            keys = kept.select("code", "subject_id").rows()
            assert values == [expected[key] for key in keys], name
