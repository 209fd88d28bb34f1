"""Columns of the user's work under any name, also names that polars or the stages themselves could take for others."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from helpers import Extraction, Preprocessing, measurements

ODD = [
    *("__shard", "__subject_id", "__row", "__event", "*", "^a|b$", "x__old", "x", "__rank", "__said", "__mask_0"),
    *("__is_frequent", "__index", "__mean", "__std", "__begins_event", "self", "key0", "added0", "a", "b"),
]
CODES = pl.DataFrame(
    {
        "code": ["A", "B"],
        "code/n_occurrences": [3, 1],
        "code/vocab_index": [1, 2],
        "values/mean": [1.0, 2.0],
        "values/std": [1.0, 1.0],
    }
)
ROWS = measurements((1, None, "A", 1.0), (1, None, "B", 9.0), (2, None, "A", 2.0), (2, None, "A", 8.0))
ODD_VALUES = {name: [f"{name}{n}" for n in range(ROWS.height)] for name in ODD}
STAGES = {
    "filter_subjects": {"min_measurements_per_subject": 0},
    "filter_measurements": {"min_occurrences_per_code": 2},
    "add_time_derived_measurements": {"time_of_day": {"endpoints": [6, 12]}},
    "add_record_bounds": {"start": {"offset": -1}},
    "extract_values": {"numeric_value": "numeric_value"},
    "reorder_measurements": {"ordered_code_patterns": ["B"]},
    "occlude_outliers": {"stddev_cutoff": 1},
    "enforce_value_ranges": {"ranges": [{"code": "A", "max": 1.5}]},
    "bin_numeric_values": {"bin_with_columns": [], "custom_bins": {"A": [1.5]}},
    "flag_abnormal_values": {"ranges": [{"code": "A", "upper": 1.5}]},
    "standardize_units": {"unit_after": "^", "conversions": [{"code": "A", "from": "A", "to": "C", "factor": 2}]},
    "normalization": {},
    "reshard_to_split": {"n_subjects_per_shard": 1},
}


@pytest.mark.parametrize("rows", [3, 1_000_003], ids=["one_batch", "two_batches"])
def test_an_extraction(tmp_path, rows):
    x = Extraction(tmp_path)
    ids = [1, 2, 1] if rows == 3 else [1, *([2] * (rows - 2)), 1]
    raw = pl.DataFrame({"id": ids} | {name: pl.repeat(f"{name}!", rows, eager=True) for name in ODD})
    x.table("t.parquet", raw.with_row_index("n"))
    meta = pl.DataFrame({"n": ["0"], "^a|b$": ["B"], "a": ["no"], "x": ["old"]})
    x.table("m.parquet", meta)
    event = {"code": ["C", "col(^a|b$)", "col(*)"], "time": None, **{n: n for n in ODD}, "n": "n"}
    described = {"code": "C", "time": None, "_metadata": {"m": {"^a|b$": "^a|b$", "self": "a", "x": "x"}}}
    x.events({"subject_id_col": "id", "t": {"e": event, "d": described}})
    overrides = ["merge_to_MEDS_cohort.additional_sort_by=['^a|b$', '*']"]
    x.shards({"train/0": [1], "train/1": [2]})
    for stage in ("shard_events", "convert_to_sharded_events", "merge_to_MEDS_cohort"):
        x.run(stage, *[o.removeprefix(stage) for o in overrides if o.startswith(stage)])
    found = pl.read_parquet(x.cohort / "merge_to_MEDS_cohort/train/0.parquet").filter(pl.col("n").is_not_null())
    assert found["code"].unique().to_list() == ["C//^a|b$!//*!"]
    assert found["n"].sort().to_list() == [0, rows - 1]
    for name in ODD:
        assert [*{*found[name].to_list()}] == [f"{name}!"]
    if rows == 3:
        for stage in ("extract_code_metadata", "finalize_MEDS_metadata", "finalize_MEDS_data"):
            x.run(stage)
        codes = pl.read_parquet(x.cohort / "metadata/codes.parquet").filter(code="C")
        assert [codes[name].to_list() for name in ("^a|b$", "self", "x")] == [["B"], ["no"], ["old"]]


@pytest.mark.parametrize("unique_by", [["^a|b$"], ["*"]])
def test_rows_are_unique_by_exactly_this_column(tmp_path, unique_by):
    x = Extraction(tmp_path)
    x.table("t.parquet", pl.DataFrame({"id": [1, 1], "^a|b$": ["s", "s"], "*": ["s", "s"], "a": ["1", "2"], "b": "3"}))
    x.events({"t": {"subject_id_col": "id", "e": {"code": "C", "time": None, **{c: c for c in ("^a|b$", "*", "a")}}}})
    x.shards({"train/0": [1]})
    for stage in ("shard_events", "convert_to_sharded_events"):
        x.run(stage)
    x.run("merge_to_MEDS_cohort", f".unique_by={unique_by}")
    assert pl.read_parquet(x.cohort / "merge_to_MEDS_cohort/train/0.parquet")["a"].to_list() == ["1"]


# With match & revise only those that neither move nor make rows, nor change the type of all codes.
NO_PARTS = ("reshard_to_split", "add_time_derived_measurements", "add_record_bounds", "normalization")
IN_PARTS = [(stage, True) for stage in STAGES if stage not in NO_PARTS]


@pytest.mark.parametrize(("stage", "match_revise"), [*((stage, False) for stage in STAGES), *IN_PARTS])
def test_a_stage_leaves_other_columns_as_they_are(tmp_path, stage, match_revise):
    block = STAGES[stage] | ({"_match_revise": [{"_matcher": {"code": "A"}}]} if match_revise else {})
    found = []
    for folder, rows in (("plain", ROWS), ("odd", ROWS.with_columns(pl.Series(n, v) for n, v in ODD_VALUES.items()))):
        x = Preprocessing(tmp_path / folder)
        x.write({"train/0": rows.with_row_index("n")}, CODES, {"train": [1, 2]})
        found.append(x.run(stage, **block))
    plain, odd = found
    assert plain.keys() == odd.keys()
    for name, rows in plain.items():
        assert_frame_equal(odd[name].select(rows.columns), rows)
        for column in set(ODD) & {*odd[name].columns}:
            expected = [None if n is None else f"{column}{n}" for n in rows["n"].to_list()]
            assert odd[name][column].to_list() == expected
        if stage != "normalization":
            assert set(ODD) <= {*odd[name].columns}


@pytest.mark.parametrize("modifier", ["^a|b$", "*", "__weight", "__said", "key0", "count"])
def test_code_modifiers(tmp_path, modifier):
    x = Preprocessing(tmp_path)
    rows = ROWS.with_columns(pl.Series(modifier, ["u", "u", "u", "v"]), a=pl.lit("a"), b=pl.lit("b"))
    x.write({"train/0": rows}, None, {"train": [1, 2]})
    wanted = ["code/n_occurrences", "values/mean", "values/std", {"name": "values/quantiles", "quantiles": [0.5]}]
    x.run("aggregate_code_metadata", cfg_code_modifiers=[modifier], aggregations=wanted)
    codes = pl.read_parquet(x.cohort / "metadata/codes.parquet", glob=False)
    key = [codes["code"].to_list(), codes[modifier].to_list(), codes["code/n_occurrences"].to_list()]
    assert key == [["A", "A", "B"], ["u", "v", "u"], [2, 1, 1]]
    y = Preprocessing(tmp_path / "y")
    y.write({"train/0": rows}, codes)
    y.run("fit_vocabulary_indices", cfg_code_modifiers=[modifier])
    y.write({"train/0": rows}, pl.read_parquet(y.cohort / "metadata/codes.parquet", glob=False))
    z = Preprocessing(tmp_path / "z")
    z.write({"train/0": rows}, pl.read_parquet(y.cohort / "metadata/codes.parquet", glob=False))
    normalized = z.run("normalization", cfg_code_modifiers=[modifier])
    assert normalized["train/0"]["code"].to_list() == [1, 3, 1, 2]
    w = Preprocessing(tmp_path / "w")
    w.write({"train/0": rows}, codes)
    kept = w.run("filter_measurements", cfg_code_modifiers=[modifier], min_occurrences_per_code=2)
    assert kept["train/0"]["numeric_value"].to_list() == [1.0, 2.0]


@pytest.mark.parametrize("ids", [["1", "2"], [1.0, 2.0]])
@pytest.mark.parametrize("name", ["^a|b$", "*"])
def test_subject_ids_and_times(tmp_path, name, ids):
    x = Extraction(tmp_path)
    x.table("t.parquet", pl.DataFrame({name: ids, "^t|a$": ["2020-01-01", None], "a": "x", "b": "y", "t": "z"}))
    event = {"code": "C", "time": "col(^t|a$)", "time_format": "%Y-%m-%d"}
    x.events({"subject_id_col": name, "t": {"e": event}})
    x.shards({"train/0": [1, 2]})
    for stage in ("shard_events", "convert_to_sharded_events", "merge_to_MEDS_cohort"):
        x.run(stage)
    assert pl.read_parquet(x.cohort / "merge_to_MEDS_cohort/train/0.parquet")["subject_id"].to_list() == [1]
