"""What the stages of extraction write down of every row: files, warnings, and limits."""

import json

import polars as pl
import pytest

from helpers import Extraction, files_below

LAB = {"code": ["LAB", "col(test)"], "time": "col(t)", "time_format": "%Y-%m-%d", "numeric_value": "n"}
SHARDS = {"train/0": [1, 2], "train/1": [3], "held_out/0": [3]}
LABS = pl.DataFrame(
    {
        "subject_id": [1, 2, 3, None, 9, 1, 2, 1, 1],
        "test": ["a", "b", "a", "a", "a", "b", "b", "a", None],
        "t": ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04", "2020-01-05", None, "soon", "2020-01-01", "?"],
        "n": ["1", "<5", "2", "3", "4", "5", "6", "1", "7"],
    }
)


def account(x: Extraction, stage: str) -> dict:
    return json.loads((x.cohort / "metadata" / "accounting" / f"{stage}.json").read_text())


def convert(x: Extraction, table: pl.DataFrame = LABS, *overrides: str, rows: int = 100) -> dict:
    x.table("labs.parquet", table)
    x.events({"labs": {"lab": LAB}})
    x.run("shard_events", f".row_chunksize={rows}")
    x.shards(SHARDS)
    x.run("convert_to_sharded_events", *overrides)
    return account(x, "convert_to_sharded_events")


@pytest.mark.parametrize("batch_rows", [2, 100])
def test_every_row_of_a_chunk_is_accounted_for_however_it_is_read(x, monkeypatch, batch_rows):
    monkeypatch.setattr("MEDS_transforms.extract.chunks.Chunk.batch_rows", batch_rows)
    content = convert(x)
    assert content["tables"] == {"labs": {"rows": 9, "repeated_for_shards": 1}}
    assert content["events"]["labs"]["lab"] == {
        "rows": 10,
        "measurements": 4,
        "dropped": {
            "no_subject": 1,
            "in_no_shard": 1,
            "not_chosen": 0,
            "time_null": 1,
            "time_not_parsed": 2,
            "code_null": 0,
            "duplicate": 1,
        },
        "lost": {"numeric_value": 1},
        "examples": {"time_not_parsed": ["soon", "?"], "numeric_value": ["<5"]},
    }


def test_chunks_are_added_up_and_what_is_left_for_the_merge_is_counted_there(x):
    content = convert(x, rows=5)
    event = content["events"]["labs"]["lab"]
    assert (event["rows"], event["measurements"], event["dropped"]["duplicate"]) == (10, 5, 0)
    x.run("merge_to_MEDS_cohort", ".unique_by='*'")
    merged = account(x, "merge_to_MEDS_cohort")
    assert (merged["in"], merged["dropped"]) == ({"rows": 5}, {"duplicate": 1})
    assert merged["out"] == {"files": 3, "rows": 4, "subjects": 3, "codes": 2}
    x.run("finalize_MEDS_data")
    assert account(x, "finalize_MEDS_data")["in"] == account(x, "finalize_MEDS_data")["out"] == merged["out"]


def test_tables_splits_and_metadata(x):
    convert(x)
    assert account(x, "shard_events")["tables"] == {"labs": {"rows": 9, "chunks": 1}}
    x.run("split_and_shard_subjects", "do_overwrite=True", ".split_fracs={train: 0.5, tuning: null, held_out: 0.5}")
    for stage in ("convert_to_sharded_events", "merge_to_MEDS_cohort"):
        x.run(stage, "do_overwrite=True")
    splits = account(x, "split_and_shard_subjects")["splits"]
    assert {split: figures["shards"] for split, figures in splits.items()} == {"train": 1, "held_out": 1}
    x.run("finalize_MEDS_metadata")
    metadata = account(x, "finalize_MEDS_metadata")
    assert metadata["metadata"] == {"codes": 0, "subjects": 4}
    assert {split: figures["subjects"] for split, figures in splits.items()} == {
        split: figures["subjects"] for split, figures in metadata["splits"].items()
    }


def test_what_metadata_tables_match(x, caplog):
    x.table("labs.parquet", LABS)
    x.table("names.csv", "test,title\na,A lab\nz,Zinc\n,Nothing\nb,\n")
    x.table("other.csv", "test,title\nA,A lab\n")
    names = {name: {"description": "title"} for name in ("names", "other")}
    x.events({"labs": {"lab": LAB | {"_metadata": names}, "seen": {"code": "SEEN", "time": None}}})
    x.run("shard_events")
    x.shards(SHARDS)
    for stage in ("convert_to_sharded_events", "merge_to_MEDS_cohort", "extract_code_metadata"):
        x.run(stage)
    content = account(x, "extract_code_metadata")
    assert content["metadata_tables"]["names"]["labs.lab"] == {
        "rows": 4,
        "rows_matched": 2,
        "rows_unmatched": 2,
        "codes_matched": 1,
        "codes_unmatched": 1,
        "examples": {"rows_unmatched": ["LAB//z", "LAB//UNK"], "codes_unmatched": ["LAB//b"]},
    }
    assert content["codes"] == {
        "in_data": 3,
        "described": 1,
        "undescribed": 2,
        "examples": {"undescribed": ["LAB//b", "SEEN"]},
    }
    [warning] = content["warnings"]
    assert (warning["kind"], warning["where"]) == ("metadata_without_match", "labs.lab")
    assert "the metadata table other describes no code of the data in 1 rows" in warning["message"]
    assert "Codes of the table are 'LAB//A'; of the data, 'LAB//a', 'LAB//b'" in warning["message"]
    assert warning["message"] in caplog.text


def test_of_outputs_that_are_kept_without_figures_there_is_the_number(x):
    convert(x, rows=5)
    folder = x.cohort / "convert_to_sharded_events"
    (folder / ".provenance/convert_to_sharded_events.record").unlink()  # as of release 0.1
    for path in folder.rglob("[[]5-9).parquet"):
        path.unlink()
    x.run("convert_to_sharded_events", "keep_existing=True")
    content = account(x, "convert_to_sharded_events")
    assert content["uncounted_files"] == 5, "a piece for each of three shards, and two files that are always there"
    assert content["events"]["labs"]["lab"]["rows"] == 4


def test_times_that_do_not_parse_are_a_warning_with_examples(x, caplog):
    [warning] = convert(x)["warnings"]
    assert warning["kind"] == "times_not_parsed"
    assert "labs.lab: times that no time_format reads, so that their rows are dropped: 2 of 7 (29 %)" in caplog.text
    assert "such as 'soon', '?'" in caplog.text


def test_a_limit_is_an_error_and_a_higher_one_computes_nothing_anew(x):
    folder = x.cohort / "convert_to_sharded_events"
    record = ".provenance/convert_to_sharded_events.record"
    for _ in range(2):
        with pytest.raises(ValueError, match=r"(?s)labs\.lab: times that.*2 of 7.*\[limits\.times_not_parsed: 0\.2\]"):
            convert(x, LABS, "limits.times_not_parsed=0.2", "limits.values_lost=1")
        assert not (x.cohort / "metadata/accounting/convert_to_sharded_events.json").exists()
        assert record not in files_below(folder, logs=True)
    made = {path: path.stat().st_ino for path in folder.rglob("*.parquet")}
    x.run("convert_to_sharded_events", "limits.times_not_parsed=0.3")
    assert made == {path: path.stat().st_ino for path in folder.rglob("*.parquet")}
    assert record in files_below(folder, logs=True)
    assert account(x, "convert_to_sharded_events")["events"]["labs"]["lab"]["rows"] == 10
    x.run("convert_to_sharded_events", "limits.times_not_parsed=0")  # what is done is done


@pytest.mark.parametrize(
    ("stage", "limit"),
    [
        ("convert_to_sharded_events", "values_lost=0"),
        ("convert_to_sharded_events", "rows_dropped=0.3"),
        ("convert_to_sharded_events", "duplicates=0.05"),
        ("merge_to_MEDS_cohort", "duplicates=0"),
    ],
)
def test_limits_of_what_is_otherwise_just_a_figure(x, stage, limit):
    last = LABS.tail(2).with_columns(t=pl.lit("2020-01-01"), test=pl.lit("a"), n=pl.lit("1"))
    convert(x, pl.concat([LABS, last]), rows=9)
    if stage != "convert_to_sharded_events":
        x.run(stage, ".unique_by='*'")
    with pytest.raises(ValueError, match=rf"\[limits\.{limit.replace('=', ': ')}\]"):
        x.run(stage, f"limits.{limit}", ".unique_by='*'", "do_overwrite=True")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("limits.times_not_parsed=2", r"limits\.times_not_parsed must be a number from 0 to 1 or null, not 2"),
        ("limits.one_code=x", r"limits\.one_code must be a whole number of at least 0 or null, not 'x'"),
        (
            "limits.times_parsed=1",
            r"limits\.times_parsed: there is no such key \(did you mean 'times_not_parsed'\?\); known are day_month,",
        ),
        ("limits=1", r"limits must be a block of keys"),
    ],
)
def test_limits_that_are_none(x, override, message):
    with pytest.raises(ValueError, match=message):
        convert(x, LABS, override)


def test_the_table_in_the_log_is_plain_text(x, caplog):
    caplog.set_level("INFO")
    convert(x)
    [text] = [record.getMessage() for record in caplog.records if record.getMessage().startswith("What convert")]
    assert "\x1b" not in text
    lines = [line.split() for line in text.splitlines()]
    assert ["tables", "rows", "repeated", "for", "shards"] in lines
    assert ["labs", "9", "1"] in lines
    assert any(line[:3] == ["labs.lab", "10", "4"] for line in lines)


@pytest.mark.parametrize(
    ("values", "text_value", "warned"),
    [
        (["7,5"] * 30, False, "none of 30 values of 'n' is a number, such as '7,5'. Set decimal: ','"),
        (["7,5"] * 16 + ["7"] * 14, False, "16 of 30 (53 %) of the values of 'n' are no numbers"),
        (["7,5"] * 15 + ["7"] * 15, False, None),
        (["7,5"] * 30, True, "none of 30 values of 'n' is a number"),
        (["7,5"] * 29 + ["7"], True, None),
        (["7,5"] * 19, True, None),
        ([" "] * 30, False, None),
    ],
)
def test_an_event_without_numbers_is_warned_of(tmp_path, values, text_value, warned):
    x = Extraction(tmp_path)
    x.table("labs.parquet", pl.DataFrame({"subject_id": 1, "test": "a", "t": "2020-01-01", "n": values}))
    x.events({"labs": {"lab": LAB | ({"text_value": "n"} if text_value else {})}})
    x.run("shard_events", ".row_chunksize=4")
    x.shards(SHARDS)
    x.run("convert_to_sharded_events")
    found = [one for one in account(x, "convert_to_sharded_events")["warnings"] if one["kind"] == "no_numbers"]
    assert [one["where"] for one in found] == (["labs.lab"] if warned else [])
    assert all(warned in one["message"] for one in found)


def test_rows_without_a_match_in_a_joined_table_are_warned_of_and_may_be_limited(x):
    x.table("labs.parquet", LABS.drop("subject_id").with_columns(stay=pl.int_range(9)))
    x.table("stays.csv", "stay,subject_id\n" + "".join(f"{n},1\n" for n in range(7)))
    x.events({"labs": {"join": {"table": "stays", "on": "stay", "columns": ["subject_id"]}, "lab": LAB}})
    x.run("shard_events")
    [warning] = account(x, "shard_events")["warnings"]
    assert (warning["kind"], warning["where"]) == ("rows_unmatched", "labs.join")
    assert warning["message"] == "rows that have no match in stays: 2 of 9 (22 %), such as 7, 8"
    with pytest.raises(ValueError, match=r"labs\.join: rows that have no match.*\[limits\.rows_unmatched: 0\.2\]"):
        x.run("shard_events", "limits.rows_unmatched=0.2", "do_overwrite=True")
