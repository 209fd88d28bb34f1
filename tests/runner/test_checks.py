"""Which stage a command runs, so that its module can check the configuration."""

import pytest

from MEDS_transforms.runner.checks import stage_of
from MEDS_transforms.stages import packaged_stages


@pytest.mark.parametrize("stage", packaged_stages().values(), ids=lambda stage: stage.name)
@pytest.mark.parametrize("form", ["{}", "/venv/bin/{}", "{}.exe"])
def test_packaged_scripts(stage, form):
    assert stage_of([form.format(stage.script), "--config-dir=."]) == stage


def test_a_stage_that_is_run_by_name():
    assert stage_of(["python", "-m", "MEDS_transforms.cli", "normalization"]) == packaged_stages()["normalization"]


@pytest.mark.parametrize("program", [[], ["python"], ["shard_events"], ["MEDS_transform-shard_events"]])
def test_other_programs(program):
    assert stage_of(program) is None
