"""Nothing is lost without a word: whole extractions by the runner, and what they say of every row."""

import json
import subprocess

import pytest
import yaml

from helpers import EXTRACTION_STAGES, SCRIPTS, Extraction, files_below

STAGES = [stage for stage in EXTRACTION_STAGES if stage != "extract_code_metadata"]  # no table has metadata here


def extract(x: Extraction, *overrides: str, n_workers: int = 1) -> subprocess.CompletedProcess[str]:
    """Runs the whole extraction, all subjects in one split and two to a shard."""
    splits = {"n_subjects_per_shard": 2, "split_fracs": {"train": 1, "tuning": None, "held_out": None}}
    pipeline = x.pipeline(shard_events={"row_chunksize": 20}, split_and_shard_subjects=splits)
    runners = {"parallelize": {"n_workers": n_workers, "launcher": "joblib"}} if n_workers > 1 else {}
    (x.folder / "extract.yaml").write_text(pipeline)
    (x.folder / "runners.yaml").write_text(yaml.safe_dump(runners))
    arguments = ["pipeline_config_fp=extract.yaml", "stage_runner_fp=runners.yaml", *overrides]
    command = [SCRIPTS / "MEDS_transform-runner", *arguments]
    return subprocess.run(command, cwd=x.folder, capture_output=True, text=True, timeout=300, check=False)


def accounts(x: Extraction) -> dict[str, str]:
    folder = x.cohort / "metadata" / "accounting"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def event(x: Extraction) -> dict:
    """The figures of the only event of the only table."""
    [of_table] = json.loads(accounts(x)["convert_to_sharded_events"])["events"].values()
    [figures] = of_table.values()
    assert figures["rows"] == figures["measurements"] + sum(figures["dropped"].values())
    return figures


DAYS = [f"2020-01-{day:02}" for day in range(1, 11)]


def write_dropped_times(x: Extraction) -> None:
    """Ten times as the format has them, each followed by nine with a time of day."""
    times = [time for day in DAYS for time in [day, *(f"{day} {hour}:00:00" for hour in range(10, 19))]]
    rows = [f"{number % 5},{time},A{number}" for number, time in enumerate(times)]
    x.table("diagnosis.csv", "\n".join(["sid,timestamp,code", *rows]) + "\n")
    block = {"code": ["col(code)"], "time": "col(timestamp)", "time_format": "%Y-%m-%d"}
    x.events({"subject_id_col": "sid", "diagnosis": {"diagnosis": block}})


def write_lost_numbers(x: Extraction) -> None:
    """Values that are no numbers: below a limit, with a comma, with blanks."""
    values = ["<5"] * 20 + ['"1,5"'] * 20 + [" 7 "] * 3 + ["8.5"] * 3
    rows = [f"{number % 5},{DAYS[number % 10]},{'CRP' if number else 'HB'},{v}" for number, v in enumerate(values)]
    x.table("labs.csv", "\n".join(["sid,t,code,val", *rows]) + "\n")
    block = {"code": ["col(code)"], "time": "col(t)", "time_format": "%Y-%m-%d", "numeric_value": "val"}
    x.events({"subject_id_col": "sid", "labs": {"lab": block}})


def write_null_words(x: Extraction) -> None:
    """Words for null."""
    x.table("l.csv", "MRN,when,test,val\n1,2020-01-01,HR,80\n2,NULL,HR,NULL\n3,2020-01-03,NULL,\\N\n")
    block = {"code": ["LAB", "col(test)"], "time": "col(when)", "time_format": "%Y-%m-%d", "numeric_value": "val"}
    x.events({"subject_id_col": "MRN", "l": {"e": block}})


@pytest.fixture
def x(tmp_path) -> Extraction:
    return Extraction(tmp_path)


@pytest.mark.slow
def test_rows_whose_time_does_not_parse_are_counted_and_a_limit_makes_them_an_error(x):
    write_dropped_times(x)
    ran = extract(x, "limits.times_not_parsed=0.5")
    assert ran.returncode == 1
    assert "[limits.times_not_parsed: 0.5]. Add a format, or correct the table, or raise the limit" in ran.stderr
    assert not files_below(x.cohort), "the runner sees it before any work, if it is to check"
    ran = extract(x, "limits.times_not_parsed=0.5", "check=False")
    assert ran.returncode == 1
    assert "90 of 100 (90 %), such as '2020-01-01 10:00:00', '2020-01-01 11:00:00'" in ran.stdout + ran.stderr
    assert "[limits.times_not_parsed: 0.5]" in ran.stdout + ran.stderr
    assert "Running it again" not in ran.stdout + ran.stderr
    assert "convert_to_sharded_events" not in accounts(x)
    pieces = {path: path.stat().st_ino for path in (x.cohort / "convert_to_sharded_events").rglob("*.parquet")}
    assert pieces
    ran = extract(x, "limits.times_not_parsed=0.9")
    assert ran.returncode == 0, ran.stderr
    assert "Stage 2 of 7, split_and_shard_subjects, is already done" in ran.stdout
    assert "WARNING] - diagnosis.diagnosis: times that no time_format reads" in ran.stdout
    assert pieces == {path: path.stat().st_ino for path in pieces}
    assert (event(x)["measurements"], event(x)["dropped"]["time_not_parsed"]) == (10, 90)
    assert sorted(accounts(x)) == sorted(STAGES)
    assert "is already done" in extract(x, "limits.times_not_parsed=0").stdout, "what is done is done"


@pytest.mark.slow
def test_values_that_are_no_number_are_counted_with_examples(x):
    write_lost_numbers(x)
    ran = extract(x)
    assert ran.returncode == 0, ran.stderr
    figures = event(x)
    assert figures["lost"] == {"numeric_value": 43}
    assert figures["examples"] == {"numeric_value": ["<5", "1,5", " 7 "]}
    assert "numeric value: '<5', '1,5', ' 7 '" in ran.stdout


@pytest.mark.slow
def test_words_for_null_are_seen_where_they_stand_for_a_time_or_a_value(x):
    write_null_words(x)
    ran = extract(x)
    assert ran.returncode == 0, ran.stderr
    figures = event(x)
    assert (figures["measurements"], figures["dropped"]["time_not_parsed"]) == (2, 1)
    assert figures["lost"] == {"numeric_value": 1}
    assert figures["examples"] == {"time_not_parsed": ["NULL"], "numeric_value": ["\\N"]}


@pytest.mark.slow
def test_the_files_are_the_same_for_one_worker_and_for_three(x, tmp_path):
    write_dropped_times(x)
    assert extract(x).returncode == 0
    one = accounts(x)
    other = Extraction(tmp_path / "other")
    write_dropped_times(other)
    ran = extract(other, n_workers=3)
    assert ran.returncode == 0, ran.stderr
    assert accounts(other) == one
