"""The newer line's event language: files as its documentation shows them give what the newest release makes of them."""

import json
import subprocess

import polars as pl
import pytest

from extract.newer_cases import CASES, extraction, rows
from faults.cohorts import CONFIGS
from helpers import SCRIPTS, Extraction, files_below


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_measurements_are_those_of_the_newest_release(tmp_path, case):
    x = extraction(tmp_path, case.tables, case.event_file)
    assert rows(x.shard("merge_to_MEDS_cohort", "train/0")) == case.measurements


def codes(df):
    found = [{key: value for key, value in row.items() if value is not None} for row in df.rows(named=True)]
    return sorted(found, key=lambda row: row["code"])


@pytest.mark.parametrize("case", [case for case in CASES if "_metadata" in case.event_file], ids=lambda case: case.name)
def test_codes_are_described_as_in_the_newest_release(tmp_path, case):
    x = extraction(tmp_path, case.tables, case.event_file, "extract_code_metadata")
    df = pl.read_parquet(x.cohort / "extract_code_metadata" / "codes.parquet", glob=False)
    assert codes(df) == case.codes


@pytest.mark.slow
def test_chunks_that_describe_codes_are_there_though_they_are_not_kept(tmp_path):
    case = next(case for case in CASES if case.name == "several metadata tables")
    found = []
    for kept in ("true", "false"):
        x = Extraction(tmp_path / kept)
        for name, content in case.tables.items():
            x.table(name, content)
        x.events(case.event_file)
        command = [
            SCRIPTS / "MEDS_transform-runner",
            f"pipeline_config_fp={CONFIGS}/extraction.yaml",
            f"keep_intermediates={kept}",
        ]
        ran = subprocess.run([*command, *x.overrides()], capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        found.append((x.cohort / "metadata/codes.parquet").read_bytes())
    assert found[0] == found[1]
    assert files_below(x.cohort / "shard_events") == []


def test_it_is_counted_what_metadata_tables_are_about(tmp_path):
    case = next(case for case in CASES if case.name == "metadata by all and by some components")
    x = extraction(tmp_path, case.tables, case.event_file, "extract_code_metadata")
    account = json.loads((x.cohort / "metadata" / "accounting" / "extract_code_metadata.json").read_text())
    counts = account["metadata_tables"]["lab_dictionary"]["labs.lab"]
    assert counts["examples"] == {"rows_unmatched": ["NA, mmol/L"]}
    numbers = {key: value for key, value in counts.items() if key != "examples"}
    assert numbers == {"rows": 4, "rows_matched": 3, "rows_unmatched": 1, "codes_matched": 3, "codes_unmatched": 0}
    assert (account["codes"]["in_data"], account["codes"]["undescribed"]) == (6, 0)
