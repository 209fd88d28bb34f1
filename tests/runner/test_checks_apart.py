"""The check of all stages leaves nothing in the memory of the runner, which waits for as long as the pipeline runs."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

PIPELINE = """
defaults: [_preprocess, _self_]
stages: [filter_subjects, add_time_derived_measurements, reorder_measurements]
input_dir: in
cohort_dir: out
stage_configs:
  add_time_derived_measurements: {age: {DOB_code: MEDS_BIRTH, age_code: AGE, age_unit: fortnight}}
  reorder_measurements: {ordered_code_patterns: ["A", "A"]}
"""
PROGRAM = """
import json, logging, multiprocessing, os, sys
from MEDS_transforms.runner import checks
from MEDS_transforms.runner.pipeline import load_pipeline
from MEDS_transforms.runner.plan import plan
from MEDS_transforms.runner.stage_runners import read_stage_runners

logged = []
class Keep(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())
logging.getLogger().addHandler(Keep())
{before}
pipeline = load_pipeline(sys.argv[1])
found = []
try:
    plan(pipeline, read_stage_runners({{}}), checks.Path("logs"), look=checks.stage_problems_apart).checked()
except ValueError as error:
    found.append(str(error))
print(json.dumps({{"found": found, "logged": logged, "polars": "polars" in sys.modules}}))
"""


def looked_at(folder: Path, before: str = "") -> dict:
    """What the check of the pipeline finds in a process of its own, after these lines of Python."""
    (folder / "pipeline.yaml").write_text(PIPELINE)
    command = [sys.executable, "-c", PROGRAM.format(before=dedent(before)), "pipeline.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "errors": done.stderr}


def test_problems_are_found_and_polars_is_not_in_memory(tmp_path):
    found = looked_at(tmp_path)
    assert "the unit 'fortnight' is unknown" in found["found"][0]
    assert found["polars"] is (sys.platform != "linux")


@pytest.mark.parametrize(
    "before",
    [
        "import polars",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        # Lost, as by kill -9, before it can send anything.
        "checks._send_problems = lambda *_: os.kill(os.getpid(), 9)",
    ],
    ids=["polars is in memory", "other threads", "the process is lost"],
)
def test_else_the_check_runs_in_the_same_process(tmp_path, before):
    found = looked_at(tmp_path, before)
    assert "the unit 'fortnight' is unknown" in found["found"][0]
    assert found["polars"]


def test_an_error_of_the_check_itself_is_raised_here_without_a_trace_of_the_other_process(tmp_path):
    before = """
    def fail(*_):
        raise ValueError("do_overwrite must be true or false")
    checks.stage_problems = fail
    """
    found = looked_at(tmp_path, before)
    assert found["found"] == ["do_overwrite must be true or false"]
    assert found["errors"] == ""


def test_what_a_check_logs_is_logged_here(tmp_path):
    before = """
    look = checks.stage_problems
    def with_warning(*given):
        logging.getLogger("a.stage").warning("%s stages", 3)
        return look(*given)
    checks.stage_problems = with_warning
    """
    assert looked_at(tmp_path, before)["logged"] == ["3 stages"]
