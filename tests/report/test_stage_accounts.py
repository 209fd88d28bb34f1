"""What is read of the notes that stages leave."""

import json
from pathlib import Path

from helpers import ONE_SPLIT, Extraction
from MEDS_transforms.report.stage_accounts import Flow, StageNotes, read_stage_notes
from MEDS_transforms.report.stage_sections import event_table


def test_rows_and_causes_of_an_extraction(extraction: Extraction):
    extraction.run_until("finalize_MEDS_data", ONE_SPLIT)
    notes = read_stage_notes(extraction.cohort)
    assert [*notes.accounts] == [*notes.records]
    order = [*notes.accounts]
    assert order[:4] == [
        "shard_events",
        "split_and_shard_subjects",
        "convert_to_sharded_events",
        "merge_to_MEDS_cohort",
    ]
    assert notes.flows[0] == Flow("convert_to_sharded_events", 7, 3)
    assert (notes.flows[0].kept, notes.flows[0].removed, notes.flows[0].added) == (3, 4, 0)
    assert [(flow.stage, flow.read, flow.written) for flow in notes.flows[1:]] == [
        ("merge_to_MEDS_cohort", 3, 3),
        ("finalize_MEDS_data", 3, 3),
    ]
    table = event_table(notes.events)
    [row] = table.rows
    figures = dict(zip(table.headings, row, strict=True))
    assert {key: figures[key] for key in ("Table", "Event", "Rows", "Measurements")} == {
        "Table": "labs",
        "Event": "lab",
        "Rows": 7,
        "Measurements": 3,
    }
    assert figures["Dropped"] == "no subject 1, time null 1, time not parsed 1, duplicate 1"
    assert figures["Lost"] == "numeric value 1"
    assert [(stage, one["kind"]) for stage, one in notes.warnings] == [
        ("convert_to_sharded_events", "times_not_parsed")
    ]


def test_stages_without_records_are_in_the_order_of_the_packaged_pipelines(tmp_path: Path):
    folder = tmp_path / "metadata" / "accounting"
    folder.mkdir(parents=True)
    for stage in ("tokenization", "finalize_MEDS_data", "shard_events", "own"):
        (folder / f"{stage}.json").write_text(json.dumps({"stage": stage, "version": "x"}))
    (folder / "broken.json").write_text("{")
    found = read_stage_notes(tmp_path)
    assert [*found.accounts] == ["shard_events", "finalize_MEDS_data", "tokenization", "own"]
    assert (found.flows, found.versions) == ([], ["x"])


def test_nothing_is_known_of_other_datasets(tmp_path: Path):
    assert read_stage_notes(tmp_path) == read_stage_notes(None) == StageNotes()


def test_rows_that_a_stage_adds():
    flow = Flow("add_time_derived_measurements", 5, 8)
    assert (flow.kept, flow.removed, flow.added) == (5, 0, 3)


def test_stages_come_after_those_that_they_read(tmp_path: Path):
    for stage, reads in (("a_last", "z_first"), ("z_first", None)):
        inputs = {"data": {"folder": "..", "files": {}, "made_by": {reads: "digest"}}} if reads else {}
        path = tmp_path / stage / ".provenance" / f"{stage}.record"
        path.parent.mkdir(parents=True)
        made_by = {"version": "x", "settings": {}, "inputs": inputs}
        path.write_text(json.dumps({"made_by": made_by, "outputs": {}, "watched": {}, "own_folder": None}))
    assert [*read_stage_notes(tmp_path).records] == ["z_first", "a_last"]
