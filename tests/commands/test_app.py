"""The command `MEDS_transforms`, as people call it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import MEDS_transforms
from helpers import EXTRACTION_STAGES, measurements, write_shards
from MEDS_transforms.stages import packaged_stages

SCRIPT = Path(sys.executable).parent / "MEDS_transforms"


def call(*args: str | Path, folder: Path | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Calls the command and checks its status."""
    ran = subprocess.run(
        [SCRIPT, *args], cwd=folder, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8"
    )
    assert ran.returncode == status, ran.stderr
    return ran


def test_without_a_command_it_lists_them():
    shown = call(status=2).stdout
    assert "run" in shown
    assert "stages" in shown


def test_the_module_is_the_command():
    ran = subprocess.run(
        [sys.executable, "-m", "MEDS_transforms", "version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == call("version").stdout
    assert f"MEDS_transforms {MEDS_transforms.__version__}\n" in ran.stdout


def test_stages_has_a_line_for_each():
    lines = call("stages").stdout.splitlines()
    for stage in packaged_stages():
        [line] = [line for line in lines if line.split()[:1] == [stage]]
        assert len(line.split()) > 4


def test_a_misspelt_command_is_named_with_the_one_that_is_meant():
    assert "Did you mean 'stages'?" in call("stagse", status=2).stderr


@pytest.mark.parametrize("args", ["run nope.yaml", "run pipeline_config_fp=nope.yaml", "clean nope.yaml"])
def test_a_missing_pipeline_is_one_message(args, tmp_path):
    error = call(*args.split(), folder=tmp_path, status=1).stderr
    assert error.startswith(f"error: There is no pipeline file {tmp_path / 'nope.yaml'}")
    assert "Traceback" not in error


@pytest.mark.parametrize("command", ["run", "check", "clean"])
def test_what_is_no_pipeline_file_is_named(command, tmp_path):
    (tmp_path / "tour").mkdir()
    event_fp = tmp_path / "event_cfgs.yaml"
    event_fp.write_text("labs:\n  lab: {code: LAB, time: col(t), time_format: '%Y'}\n")

    def said(*args: str) -> str:
        ran = call(command, *args, folder=tmp_path, status=1)
        return " ".join((ran.stdout + ran.stderr).split())

    assert f"Name its file: MEDS_transforms {command} PIPELINE.yaml" in said()
    assert "tour is a folder: name the pipeline file. There is no pipeline.yaml in it" in said("tour")
    (tmp_path / "tour" / "pipeline.yaml").touch()
    assert "tour is a folder: name the pipeline file, tour/pipeline.yaml" in said("tour")
    assert "pipeline is neither a pipeline file, which ends with .yaml, nor a setting" in said("pipeline")
    named = said("event_cfgs.yaml")
    assert f"{event_fp} is an event conversion file, not a pipeline" in named
    assert "ame the pipeline file" in named


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_shells(shell, monkeypatch):
    monkeypatch.setenv("_MEDS_TRANSFORMS_COMPLETE", f"source_{shell}")
    assert "MEDS_transforms" in call().stdout


@pytest.fixture
def dataset(tmp_path):
    write_shards(tmp_path / "dataset" / "data", {"train/0": measurements((1, None, "A", 1.5), (2, None, "B"))})
    return tmp_path / "dataset"


def test_report_writes_a_page(dataset, tmp_path):
    assert "report.html" in call("report", dataset, folder=tmp_path).stderr
    assert "Report on a MEDS dataset" in (tmp_path / "report.html").read_text(encoding="utf-8")
    call("report", dataset, dataset, "--output", "both.html", folder=tmp_path)
    assert "What differs between two MEDS datasets" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_report_leaves_out_codes_of_few_subjects(dataset, tmp_path):
    call("report", dataset, "--min-count", "2", folder=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "2 codes of fewer than 2 subjects" in page
    assert "<td data-sort=" in page
    assert 'data-sort="a">A</td>' not in page


def test_report_on_no_dataset_is_one_message(tmp_path):
    error = call("report", tmp_path / "nope", folder=tmp_path, status=1).stderr
    assert error.startswith(f"error: There is no folder {tmp_path / 'nope'}.")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("package", ["altair", "jinja2", "vl_convert"])
def test_report_without_its_packages_says_what_to_install(dataset, tmp_path, package):
    """As in an environment that lacks a package: whatever looks for it finds nothing."""
    program = f"""
import sys
from importlib.machinery import PathFinder
class Without:
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] == "{package}" else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from MEDS_transforms.commands.app import main
main(["report", {str(dataset)!r}])
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "pip install 'MEDS_transforms[report]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_run_tells_other_programs_how_far_it_is(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "labs.csv").write_text("subject_id,test\n1,CRP\n2,CRP\n3,HB\n")
    (tmp_path / "events.yaml").write_text("labs: {lab: {code: col(test), time: null}}\n")
    (tmp_path / "pipeline.yaml").write_text(
        "defaults: [_extract, _self_]\ninput_dir: raw\ncohort_dir: cohort\nevent_conversion_config_fp: events.yaml\n"
        "etl_metadata: {dataset_name: labs, dataset_version: 1}\n"
    )
    lines = [json.loads(line) for line in call("run", "--json", "pipeline.yaml", folder=tmp_path).stdout.splitlines()]
    last = {line["stage"]: line["state"] for line in lines}
    assert [*last] == EXTRACTION_STAGES
    assert {*last.values()} == {"done"}
