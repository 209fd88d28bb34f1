"""The accounting of pre-processing: rows, subjects and codes that go into a stage and come out."""

import json
from dataclasses import replace

import polars as pl
import pytest

from helpers import Preprocessing, measurements, write_table
from MEDS_transforms.mapreduce import map_over
from MEDS_transforms.mapreduce.mapper import plan_map
from MEDS_transforms.mapreduce.passes import run_pass
from MEDS_transforms.work.accounts import note
from MEDS_transforms.work.expected import expecting

SHARDS = {
    "train/0": measurements((1, None, "A"), (1, None, "B"), (2, None, "A", 2.0)),
    "train/1": measurements((3, None, "A")),
    "tuning/0": measurements((4, None, "C"), (2, None, "A")),
}
WHOLE = {"files": 3, "rows": 6, "subjects": 4, "codes": 3}
STAGES = ("filter_measurements", "reorder_measurements")
ORDER = {"ordered_code_patterns": ["B"]}


@pytest.fixture
def x(tmp_path) -> Preprocessing:
    x = Preprocessing(tmp_path)
    codes = pl.DataFrame({"code": ["A", "B", "C"], "code/n_subjects": [3, 1, 1], "code/n_occurrences": [4, 1, 1]})
    x.write(SHARDS, codes, {"train": [1, 2, 3], "tuning": [4]})
    return x


def account(x: Preprocessing, stage: str) -> dict:
    return json.loads((x.cohort / "metadata" / "accounting" / f"{stage}.json").read_text())


def test_what_goes_in_and_comes_out(x):
    x.run("filter_measurements", *STAGES, min_subjects_per_code=2)
    filtered = account(x, "filter_measurements")
    assert (filtered["in"], filtered["out"]) == (WHOLE, {"files": 3, "rows": 4, "subjects": 3, "codes": 1})
    assert list(filtered) == ["stage", "version", "outputs", "in", "out", "rows", "warnings"]
    assert filtered["rows"] == {"kept": 4, "dropped": WHOLE["rows"] - 4}


def test_a_stage_takes_the_figures_of_the_one_before_where_they_are_about_its_input(x):
    x.run("filter_measurements", *STAGES, min_subjects_per_code=2)
    path = x.cohort / "metadata" / "accounting" / "filter_measurements.json"
    noted = json.loads(path.read_text())
    path.write_text(json.dumps(noted | {"out": {"files": 3, "rows": 77}}))
    x.run("reorder_measurements", *STAGES, **ORDER)
    assert account(x, "reorder_measurements")["in"] == {"files": 3, "rows": 77}
    path.write_text(json.dumps(noted | {"outputs": "of others"}))
    x.run("reorder_measurements", *STAGES, **ORDER, cfg_do_overwrite=True)
    assert account(x, "reorder_measurements")["in"] == noted["out"]
    path.unlink()
    x.run("reorder_measurements", *STAGES, **ORDER, cfg_do_overwrite=True)
    assert account(x, "reorder_measurements")["in"] == noted["out"]


@pytest.mark.parametrize("changes", ["numeric_value", "code"])
@pytest.mark.parametrize("left_out", ["", "B"])
def test_subjects_and_codes_are_those_of_the_input_where_no_row_is_gone_and_codes_stay(x, left_out, changes):
    x.run("filter_measurements", *STAGES, min_subjects_per_code=1)
    path = x.cohort / "metadata" / "accounting" / "filter_measurements.json"
    noted = json.loads(path.read_text())
    path.write_text(json.dumps(noted | {"out": WHOLE | {"subjects": 77}}))

    def without(df):
        return df.filter(pl.col("code") != left_out).with_columns(numeric_value=pl.lit(7, pl.Float32))

    run_pass([plan_map(x.cfg("reorder_measurements", *STAGES, **ORDER), without, changes=(changes,))])
    found = account(x, "reorder_measurements")
    assert found["in"]["subjects"] == 77
    counted = {"files": 3, "rows": 5, "subjects": 4, "codes": 2} if left_out else WHOLE
    assert found["out"] == (counted if left_out or changes == "code" else found["in"])


def test_behind_a_stage_that_is_not_written_codes_are_counted_though_no_row_is_gone(x):
    def recoded(df):
        return df.with_columns(code=pl.lit("Z"))

    def valued(df):
        return df.with_columns(numeric_value=pl.lit(7, pl.Float32))

    first = replace(plan_map(x.cfg("filter_measurements", *STAGES), recoded), is_written=False)
    with expecting([first.expected()]):
        second = plan_map(x.cfg("reorder_measurements", *STAGES, **ORDER), valued, changes=("numeric_value",))
    run_pass([first, second])
    found = account(x, "reorder_measurements")
    assert (found["in"], found["through"]) == (WHOLE, ["filter_measurements"])
    assert found["out"] == WHOLE | {"codes": 1}


@pytest.mark.parametrize("is_written", [True, False])
def test_what_functions_note_is_in_the_account_of_their_own_stage_or_of_the_one_that_reads_their_rows(x, is_written):
    def noted(name):
        def of_shard(df):
            rows = df.lazy().collect()
            note({"noted": {name: rows.height}})
            return rows

        return of_shard

    first = replace(plan_map(x.cfg("filter_measurements", *STAGES), noted("first")), is_written=is_written)
    with expecting([first.expected()]):
        second = plan_map(x.cfg("reorder_measurements", *STAGES, **ORDER), noted("second"))
    run_pass([first, second])
    last, ours = account(x, "reorder_measurements"), {"noted": {"first": WHOLE["rows"]}}
    assert last["noted"] == {"second": WHOLE["rows"]}
    assert last.get("on_the_way") == (None if is_written else {"filter_measurements": ours})
    if is_written:
        assert account(x, "filter_measurements")["noted"] == ours["noted"]


def test_metadata_stages_count_what_they_read_and_the_codes_that_they_write(x):
    x.run("aggregate_code_metadata", aggregations=["code/n_subjects"])
    counted = account(x, "aggregate_code_metadata")
    assert counted["in"] == {"files": 2, "rows": 4, "codes": 2}
    assert counted["out"] == {"rows": 2, "codes": 2}


def test_codes_become_a_vocabulary(x):
    x.run("fit_vocabulary_indices")
    assert account(x, "fit_vocabulary_indices")["in"] == account(x, "fit_vocabulary_indices")["out"]
    assert account(x, "fit_vocabulary_indices")["out"] == {"rows": 3, "codes": 3}


def test_resharding_leaves_out_subjects_in_no_split(x):
    write_table(
        x.dataset / "metadata" / "subject_splits.parquet",
        pl.DataFrame({"subject_id": [1, 2], "split": ["train", "held_out"]}),
    )
    x.run("reshard_to_split", n_subjects_per_shard=1)
    assert account(x, "reshard_to_split")["in"] == WHOLE
    assert account(x, "reshard_to_split")["out"] == {"files": 2, "rows": 4, "subjects": 2, "codes": 2}


def test_match_and_revise(x):
    entries = [{"_matcher": {"code": "A"}, "min_subjects_per_code": 9}]
    x.run("filter_measurements", _match_revise=entries)
    assert account(x, "filter_measurements")["out"] == {"files": 3, "rows": 2, "subjects": 2, "codes": 2}


def test_tokens_and_tensors(x):
    day = pl.lit("2020-01-01").str.to_datetime(time_unit="us")
    shards = {
        name: shard.with_columns(
            time=pl.when(pl.col("code") != "B").then(day),
            code=pl.col("code").replace_strict({"A": 1, "B": 2, "C": 300}),
        )
        for name, shard in SHARDS.items()
    }
    x.write(shards)
    x.run("tokenization", "tokenization", "tensorization")
    tokens = account(x, "tokenization")
    assert (tokens["in"], tokens["out"]) == (WHOLE, {"files": 6, "rows": 6, "subjects": 4})
    x.run("tensorization", "tokenization", "tensorization")
    tensors = account(x, "tensorization")
    assert tensors["in"] == {"files": 3, "subjects": 4}
    assert tensors["out"] == {"files": 3, "rows": 5, "subjects": 5, "codes": 2}, "subject 2 is in two shards"


def test_a_shard_without_events_has_no_tensors(x):
    x.write({"train/0": measurements((1, None, "A")).with_columns(code=pl.lit(1))})
    (x.dataset / "data/train/1.parquet").unlink()
    (x.dataset / "data/tuning/0.parquet").unlink()
    x.run("tokenization", "tokenization", "tensorization")
    x.run("tensorization", "tokenization", "tensorization")
    assert account(x, "tensorization")["out"] == {"files": 1, "rows": 0, "subjects": 0, "codes": 0}


def test_without_a_cohort_nothing_is_written(tmp_path):
    write_table(tmp_path / "in" / "0.parquet", SHARDS["train/0"])
    map_over({"stage_cfg": {"data_input_dir": str(tmp_path / "in"), "output_dir": str(tmp_path / "out")}})
    assert not list(tmp_path.rglob("accounting"))
