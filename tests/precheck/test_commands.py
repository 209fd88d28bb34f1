"""The commands that check, and the runner that checks first, as people call them."""

import json
import subprocess
from pathlib import Path

import polars as pl
import pytest

from helpers import SCRIPTS, files_below, write_table
from MEDS_transforms.remarks import Remark, Severity

from .broken import Raw, labs, patients
from .test_broken_inputs import EXTRACTION, matching


def call(script: str, *args: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [SCRIPTS / script, *args]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8"
    )


@pytest.fixture
def x(tmp_path) -> Raw:
    return Raw.in_folder(tmp_path)


def test_a_good_pipeline(x):
    before = files_below(x.folder, logs=True)
    ran = call("MEDS_transforms", "check", x.pipeline_fp, folder=x.folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = {line.split()[0]: line for line in ran.stdout.splitlines() if line.split()}
    assert rows["labs.lab"].split()[1:6] == ["all", "120", "120", "0", "%"]
    assert "LAB//HB" in rows["labs.lab"]
    assert "2020-01-01 00:00:00" in rows["labs.lab"]
    assert rows["shard_events"].split()[1:5] == ["runs", "1", "1", "kept"]
    assert "free on the file system of" in ran.stdout
    assert ran.stderr == ""
    assert files_below(x.folder, logs=True) == before


def test_json_is_all_that_is_printed(x):
    x.first("value", "<5")
    ran = call("MEDS_transforms", "check", x.pipeline_fp, "--json", folder=x.folder)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert ran.stderr == ""
    assert report["ok"] is True
    [warning, note] = report["remarks"]
    assert {**warning, "what": ""} == {
        "severity": "warning",
        "kind": "values_lost",
        "where": "labs.lab",
        "what": "",
        "remedy": warning["remedy"],
    }
    assert note["kind"] == "disk_space"
    [lab] = [event for event in report["events"] if event["event"] == "lab"]
    assert lab == {
        "table": "labs",
        "event": "lab",
        "sampled_rows": 120,
        "is_whole": True,
        "measurements": 120,
        "estimated_measurements": 120,
        "dropped": {},
        "share_dropped": 0.0,
        "code": "LAB//HB",
        "time": "2020-01-01T00:00:00",
        "values": {"numeric_value": {"given": 120, "lost": 1, "kept_as_text": 0}},
    }
    assert report["stages"][0] == {
        "name": "shard_events",
        "action": "run",
        "why": "",
        "workers": 1,
        "process": 1,
        "keeps": True,
    }


BY_COMMAND = ["a table is missing", "no time parses", "too few subjects", "no pipeline", "the cohort is a file"]


@pytest.mark.parametrize("name", BY_COMMAND)
def test_broken_inputs_have_status_1(x, name):
    [case] = [case for case in EXTRACTION if case.name == name]
    given = case.broken(x) or ()
    ran = call("MEDS_transforms", "check", x.pipeline_fp, *given, "--json", folder=x.folder)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    found = [Remark(**{**one, "severity": Severity(one["severity"])}) for one in json.loads(ran.stdout)["remarks"]]
    assert matching(case, found)
    shown = call("MEDS_transforms", "check", x.pipeline_fp, *given, folder=x.folder)
    assert shown.returncode == 1
    assert "error  " in shown.stdout


def test_the_script_of_the_extraction_takes_the_arguments_of_its_stages(x):
    ran = call("MEDS_extract-check", *x.overrides(), "--json", folder=x.folder)
    assert ran.returncode == 0, ran.stderr
    assert [stage["name"] for stage in json.loads(ran.stdout)["stages"]][:2] == [
        "shard_events",
        "split_and_shard_subjects",
    ]
    wrong = call("MEDS_extract-check", *x.overrides("sed=2"), folder=x.folder)
    assert wrong.returncode == 1
    assert "did you mean 'seed'" in wrong.stdout
    own = call("MEDS_extract-check", f"--config-dir={x.folder}", "--config-name=pipeline", "--json", folder=x.folder)
    assert own.returncode == 0, own.stdout


def test_what_is_done_is_said_and_not_looked_at_again(x):
    assert call("MEDS_transforms", "run", x.pipeline_fp, folder=x.folder).returncode == 0
    report = x.report()
    assert {stage.action for stage in report.stages} == {"skip"}
    assert not report.events
    assert not report.remarks


def run(x: Raw, *args: str) -> subprocess.CompletedProcess[str]:
    return call("MEDS_transform-runner", "pipeline_config_fp=pipeline.yaml", *args, folder=x.folder)


def test_the_runner_lists_all_errors_before_any_work(x):
    x.first("subject_id", "P7")
    x.table("patients.csv", patients().with_columns(born=pl.lit("1.1.1950")))
    ran = run(x, "etl_metadata.dataset_name=null")
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: The pipeline")
    for said in ("'P7'", "patients.birth.time", "they look like '1.1.1950'", "dataset_name is not set"):
        assert said in ran.stderr
    assert "Stage 1 of" not in ran.stdout
    assert files_below(x.cohort) == []


def test_the_runner_need_not_check(x):
    x.first("subject_id", "P7")
    ran = run(x, "check=False")
    assert ran.returncode == 1
    assert "Stage 1 of 7" in ran.stdout
    assert "'P7'" in ran.stdout


def test_the_runner_goes_on_with_warnings(x):
    x.first("taken", "yesterday", "x")
    ran = run(x, "limits.times_not_parsed=0.5")
    assert ran.returncode == 0, ran.stderr
    before, _, after = ran.stdout.partition("Stage 1 of 7")
    assert "2 of 120 (1.7 %), such as 'yesterday', 'x'" in before
    assert after


def test_a_stage_of_the_users_own_still_runs(x):
    script = x.folder / "mine.py"
    script.write_text("from pathlib import Path\nPath('ran').touch()\n")
    x.write_pipeline(mine={"_script": f"python {script}"})
    stages = ["shard_events", "mine"]
    assert x.report(f"stages=[{','.join(stages)}]").is_ok
    ran = run(x, f"stages=[{','.join(stages)}]")
    assert ran.returncode == 0, ran.stderr
    assert (x.folder / "ran").exists()


def test_the_yield_is_what_the_run_accounts_for(x):
    """Of every event: the rows that were read, those that give measurements, and why the others do not."""
    odd = ["2020-01-01", "", None, "2020-13-01 00:00", "2020-02-02 02:02", "2020-02-02 02:02"]
    rows = labs()
    times, tests = pl.Series([*odd, *rows["taken"][6:]]), pl.Series([None, *rows["test"][1:]])
    changed = rows.with_columns(taken=times, test=tests, value=pl.lit("<5"))
    write_table(x.raw / "labs.csv", pl.concat([changed, changed.tail(5)]))
    report = x.report()
    x.run_until("convert_to_sharded_events")
    account = json.loads((x.cohort / "metadata/accounting/convert_to_sharded_events.json").read_text())["events"]
    for one in report.events:
        counts = account[one.table][one.event]
        dropped = {cause: number for cause, number in counts["dropped"].items() if number}
        assert (one.sampled_rows, one.measurements, one.dropped) == (counts["rows"], counts["measurements"], dropped)
    assert {*report.events[-1].dropped} == {"time_null", "time_not_parsed", "duplicate"}
