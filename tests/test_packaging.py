"""What is installed: console scripts, their help, the packaged configuration, the pages made from them."""

import ast
import importlib.util
import pydoc
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import MEDS_transforms
from MEDS_transforms.stages import STAGES, is_extraction, script_of

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
STAGE_SCRIPTS = [script_of(stage) for stage in STAGES]
CONSOLE_SCRIPTS = [*STAGE_SCRIPTS, "MEDS_transform-runner"]
PACKAGE = Path(MEDS_transforms.__file__).parent
EXTRACTION = [stage for stage, module in STAGES.items() if is_extraction(module)]


def stage_of(script: str) -> str:
    return script.partition("-")[2]


def show_help(script: str) -> str:
    ran = subprocess.run([SCRIPTS / script, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def gen_stages() -> ModuleType:
    """The generator of the stage pages."""
    spec = importlib.util.spec_from_file_location("gen_stages", ROOT / "docs" / "gen_stages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gen_stages"] = module
    spec.loader.exec_module(module)
    return module


def test_installed_scripts_are_those_of_the_project() -> None:
    installed = {e.name for e in entry_points(group="console_scripts") if e.name.startswith("MEDS_")}
    assert installed == set(CONSOLE_SCRIPTS)
    assert {f"MEDS_extract-{stage}" for stage in EXTRACTION} <= set(installed)


@pytest.mark.parametrize("script", STAGE_SCRIPTS)
def test_help_names_the_stage_and_every_key(script: str) -> None:
    stage = stage_of(script)
    defaults = yaml.safe_load((PACKAGE / "configs" / "stage_configs" / f"{stage}.yaml").read_text())
    assert list(defaults) == [stage]
    text = show_help(script)
    assert text.startswith(f"== MEDS/{stage} ==\n")
    description = text.partition("**Stage description:**")[2]
    inferred = MEDS_transforms.INFERRED_STAGE_KEYS
    keys = [key for key in defaults[stage] or {} if key not in inferred and not key.startswith("_")]
    unexplained = [key for key in keys if not re.search(rf"\b{key}\b", description)]
    assert len(description.split()) > 10
    assert not unexplained


def test_runner_help_names_its_keys() -> None:
    text = show_help("MEDS_transform-runner")
    for key in ("pipeline_config_fp", "stage_runner_fp", "do_profile"):
        assert key in text


@pytest.mark.parametrize("script", sorted(CONSOLE_SCRIPTS))
def test_help_needs_neither_polars_nor_pyarrow(script: str) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = [sys.argv[1], '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print(*sorted({'polars', 'pyarrow'} & set(sys.modules)), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, SCRIPTS / script], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stderr.split() == []


PUBLIC_NAMES = set(re.findall(r"^  (\w+)  ", MEDS_transforms.__doc__ or "", re.MULTILINE))


def test_package_imports_neither_polars_nor_pyarrow() -> None:
    code = "import sys, MEDS_transforms; dir(MEDS_transforms); print(*{'polars', 'pyarrow'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == []


def test_docstring_of_the_package_lists_its_public_names() -> None:
    assert set(MEDS_transforms.__all__) - {"__version__"} == PUBLIC_NAMES
    assert set(dir(MEDS_transforms)) >= PUBLIC_NAMES


@pytest.mark.parametrize("name", sorted(PUBLIC_NAMES))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(MEDS_transforms, name) is not None


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="map_ovr"):
        MEDS_transforms.map_ovr  # noqa: B018


def test_help_of_the_package_explains_its_functions() -> None:
    text = pydoc.render_doc(MEDS_transforms, renderer=pydoc.plaintext)
    assert "map_over(cfg" in text
    assert "rwlock_wrap(in_fp" in text


def test_every_key_of_every_stage_has_a_comment() -> None:
    for path in sorted((PACKAGE / "configs" / "stage_configs").glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for before, line in pairwise(lines):
            key = re.fullmatch(r"  (\w+):.*", line)
            if key and not key[1].startswith("_") and key[1] not in MEDS_transforms.INFERRED_STAGE_KEYS:
                assert before.strip().startswith("#"), f"{path.name}: {key[1]}"


def test_pages_are_written_for_the_stages_with_a_script(gen_stages: ModuleType) -> None:
    stages = gen_stages.find_stages()
    assert [stage.script for stage in stages] == STAGE_SCRIPTS
    index = gen_stages.index_page(stages)
    for stage in stages:
        page = gen_stages.stage_page(stage)
        module = next(PACKAGE.glob(f"*/{stage.name}.py"))
        docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
        assert docstring
        assert " ".join(docstring.split()) in " ".join(page.split())
        assert page.startswith(f"# {stage.name}\n")
        assert f"]({stage.name}.md)" in index
        assert yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])[stage.name] is not None


def test_navigation_lists_the_stages(gen_stages: ModuleType) -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = next(section["Stages"] for section in nav if "Stages" in section)[1:]
    assert listed == [{s.name: f"stages/{s.name}.md"} for s in gen_stages.find_stages()]


def test_changelog_has_the_version() -> None:
    assert f"## [{MEDS_transforms.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["README.md", "Makefile", "src/MEDS_transforms/runner/plan.py"])
def test_extras_are_named_as_every_pip_knows_them(path: str) -> None:
    """NOTE: a wheel has the normalized names of its extras, and pip before 23.3 does not normalize what it is told."""
    text = (ROOT / path).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:has-|\[|\")(\w+[-_]parallelism)\b", text))
    assert named
    assert named <= {name.replace("_", "-") for name in PYPROJECT["project"]["optional-dependencies"]}


@pytest.mark.parametrize(
    "module",
    [
        *(f"MEDS_transforms.{module}" for module in STAGES.values()),
        "MEDS_transforms.runner",
        "MEDS_transforms.runner.run",
    ]
    + [f"MEDS_transforms.{name}" for name in ("aggregate_code_metadata", "fit_vocabulary_indices", "reshard_to_split")],
)
def test_modules_run_as_programs(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "**Pipeline description:**" in ran.stdout
    assert "RuntimeWarning" not in ran.stderr
