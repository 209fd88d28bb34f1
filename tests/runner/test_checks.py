"""Which module's check looks at a stage's configuration."""

import pytest

from MEDS_transforms.runner.checks import packaged_module
from MEDS_transforms.stages import packaged_stages


@pytest.mark.parametrize("stage", packaged_stages().values(), ids=lambda stage: stage.name)
@pytest.mark.parametrize("form", ["{}", "/venv/bin/{}", "{}.exe"])
def test_packaged_scripts(stage, form):
    assert packaged_module([form.format(stage.script), "--config-dir=."]) == stage.module


@pytest.mark.parametrize("program", [[], ["python"], ["shard_events"], ["MEDS_transform-shard_events"]])
def test_other_programs(program):
    assert packaged_module(program) is None
