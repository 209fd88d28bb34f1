"""The files of "Add a stage" in CONTRIBUTING.md are all that a new stage needs."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest

import MEDS_transforms
from helpers import Preprocessing, measurements

ROOT = Path(__file__).parents[1]
SHARD = measurements((1, None, "A"), (1, None, "B"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the package and of the documentation's generator, with the stage of CONTRIBUTING.md added."""
    folder = tmp_path_factory.mktemp("copy")
    package = folder / "src" / "MEDS_transforms"
    shutil.copytree(Path(MEDS_transforms.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("docs", "hatch_build.py", "pyproject.toml", "README.md", "mkdocs.yml"):
        copy_to = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy_to(ROOT / name, folder / name)
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = guide.partition("## Add a stage")[2].partition("\n## ")[0]
    blocks = re.findall(r"   ```(\w+)\n(.*?)\n   ```", section, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "yaml", "yaml"]
    module, keys, example = (textwrap.dedent(text) + "\n" for _, text in blocks)
    (package / "filters" / "drop_codes.py").write_text(module)
    (package / "configs" / "stage_configs" / "drop_codes.yaml").write_text(keys)
    (folder / "docs" / "examples" / "drop_codes.yaml").write_text(example)
    return folder


def python(copy: Path, *args: object, folder: Path | None = None) -> str:
    env = {**os.environ, "PYTHONPATH": str(copy / "src")}
    command = [sys.executable, *map(str, args)]
    ran = subprocess.run(command, cwd=folder or copy, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def x(tmp_path) -> Preprocessing:
    x = Preprocessing(tmp_path)
    x.write({"train/0": SHARD})
    return x


def codes(x: Preprocessing) -> list[str]:
    return pl.read_parquet(x.cohort / "data" / "train" / "0.parquet")["code"].to_list()


def test_the_runner_runs_it_by_name(copy, x):
    (x.folder / "pipeline.yaml").write_text(
        "defaults: [_preprocess, _self_]\nhydra: {searchpath: [pkg://MEDS_transforms.configs]}\n"
        f"input_dir: {x.dataset}\ncohort_dir: {x.cohort}\nstages: [drop_codes]\n"
    )
    drop = "stage_configs.drop_codes.codes=[A]"
    python(copy, "-m", "MEDS_transforms.runner", "pipeline_config_fp=pipeline.yaml", drop, folder=x.folder)
    assert codes(x) == ["B"]


def test_its_module_is_a_program(copy, x):
    _, *arguments = x.arguments("drop_codes", ".codes=[B]")
    python(copy, "-m", "MEDS_transforms.filters.drop_codes", *arguments)
    assert codes(x) == ["A"]


def test_help_explains_it(copy):
    text = python(copy, "-m", "MEDS_transforms.cli", "drop_codes", "--help")
    assert text.startswith("== MEDS/drop_codes ==\n")
    assert "Drops measurements by their code.\n" in text
    assert "  - codes (list of text; default []): The codes to drop.\n" in text


def test_the_build_makes_a_console_script_of_it(copy):
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from MEDS_transforms.stages import console_scripts\n"
        "print(console_scripts()['MEDS_transform-drop_codes'])"
    )
    assert python(copy, "-c", code) == "MEDS_transforms.cli.script:main\n"


def test_the_documentation_has_a_page_of_it(copy):
    code = (
        "import sys; sys.path.insert(0, 'docs')\n"
        "import gen_stages\n"
        "[page] = [page for page in gen_stages.find_stages() if page.name == 'drop_codes']\n"
        "print(gen_stages.stage_page(page))\n"
        "config = gen_stages.on_config({'nav': [{'Stages': []}]})\n"
        "assert {'drop_codes': 'stages/drop_codes.md'} in config['nav'][0]['Stages'][-1]['A dataset to tensors']"
    )
    page = python(copy, "-c", code)
    assert page.startswith("# drop_codes\n\nScript: `MEDS_transform-drop_codes`\n\nDrops measurements by their code.")
    assert "- codes (list of text; default []): The codes to drop." in page
    given, _, made = page.partition("### Output")
    assert [row in given for row in ("| 1 | 2024-03-05 11:00:00 | B | 4.1 |", " | A | ")] == [True, True]
    assert [row in made for row in ("| 1 | 2024-03-05 11:00:00 | B | 4.1 |", " | A | ")] == [True, False]


def test_the_schema_for_editors_has_its_keys(copy, tmp_path):
    python(copy, "-m", "MEDS_transforms.settings.json_schemas", tmp_path)
    assert '"The codes to drop."' in (tmp_path / "pipeline.json").read_text()
