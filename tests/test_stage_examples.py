"""The pages of stages show what the scripts really make of the examples in docs/examples."""

import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from helpers import SCRIPTS
from MEDS_transforms.stages import packaged_stages

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "docs"))
stage_examples = import_module("stage_examples")
STAGES = sorted(packaged_stages())

pytestmark = pytest.mark.xdist_group("stage_examples")  # one worker runs the chain of the extraction


def test_every_stage_has_an_example_and_every_example_a_stage():
    assert sorted(path.stem for path in stage_examples.FOLDER.iterdir()) == STAGES


@pytest.fixture(scope="module")
def run_by_scripts(tmp_path_factory):
    """Gives the folder in which the real scripts have run a stage's example, and those before it."""

    @cache
    def folder_of(stage: str) -> Path:
        example = stage_examples.example_of(stage)
        folder = folder_of(example.before.stage) if example.before else tmp_path_factory.mktemp(stage)
        stage_examples.prepare(example, folder)
        script = SCRIPTS / packaged_stages()[stage].script
        ran = subprocess.run(
            [script, "--config-dir=.", "--config-name=pipeline"],
            cwd=folder,
            env={**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "WARNING" not in ran.stdout
        return folder

    return folder_of


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_the_page_shows_what_the_script_makes(stage, run_by_scripts):
    example = stage_examples.example_of(stage)
    folder = run_by_scripts(stage)
    section = stage_examples.example_section(stage)
    given, _, made = section.partition("### Settings")
    assert all(stage_examples.show_file(folder, file) in given for file in example.input)
    assert all(stage_examples.show_file(folder, file) in made for file in example.output)
    assert example.settings in made


def test_settings_are_shown_as_the_example_has_them():
    example = stage_examples.example_of("reorder_measurements")
    assert example.settings == (
        'stage_configs:\n  reorder_measurements:\n    ordered_code_patterns: ["^VITAL//", "^LAB//"]\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, '<span class="null">null</span>'),
        ("null", "null"),
        ("A|B_C", "A\\|B\\_C"),
        ("<5", "&lt;5"),
        (4.0, "4.0"),
        (float("nan"), "NaN"),
        (1.25e-7, "1.25e-07"),
        ([[1, None], []], "\\[\\[1, null\\], \\[\\]\\]"),
    ],
)
def test_values_are_shown_as_what_they_are(value, text):
    assert stage_examples.as_cell(value) == text
