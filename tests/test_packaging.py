"""What is installed: console scripts, their help, the packaged configuration, the pages made from them."""

import ast
import importlib.util
import pydoc
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import MEDS_transforms
from helpers import EXTRACTION_STAGES
from MEDS_transforms.dataset.schema import COLUMNS
from MEDS_transforms.settings.declarations import common_keys, stage_block
from MEDS_transforms.stages import EXTRACT, console_scripts, module_path, packaged_blocks, packaged_stages

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSOLE_SCRIPTS = console_scripts()
STAGE_SCRIPTS = [stage.script for stage in packaged_stages().values()]
PACKAGE = Path(MEDS_transforms.__file__).parent


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
    installed = {e.name: e.value for e in entry_points(group="console_scripts") if e.name.startswith("MEDS_")}
    assert installed == CONSOLE_SCRIPTS
    extraction = [stage.script for stage in packaged_stages().values() if stage.prefix == EXTRACT]
    assert sorted(extraction) == sorted(f"MEDS_extract-{stage}" for stage in EXTRACTION_STAGES)
    assert "scripts" in PYPROJECT["project"]["dynamic"]


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


HEAVY = {"polars", "pyarrow", "numpy"}


@pytest.mark.parametrize("script", sorted(CONSOLE_SCRIPTS))
def test_help_needs_nothing_heavy_and_leaves_nothing(script: str, tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = [sys.argv[1], '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print(*sorted({HEAVY} & set(sys.modules)), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, SCRIPTS / script]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr.split() == []
    assert [*tmp_path.iterdir()] == []


PUBLIC_NAMES = set(re.findall(r"^  (\w+)  ", MEDS_transforms.__doc__ or "", re.MULTILINE))


@pytest.mark.parametrize("modules", ["", ".errors", ".cli.script", ".stages", ".runner.run"])
def test_an_import_loads_nothing_heavy(modules: str) -> None:
    code = f"import sys, MEDS_transforms{modules}; dir(MEDS_transforms); print(*{HEAVY} & set(sys.modules))"
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


@pytest.mark.parametrize("stage", sorted(packaged_blocks()))
def test_every_key_of_every_stage_is_declared(stage: str) -> None:
    block = stage_block(stage)
    assert block is not None
    settings = set(block.default) - set(common_keys())
    assert {name for name, key in block.keys.items() if key.meaning and key.own_schema} == settings


def test_pages_are_written_for_the_stages_with_a_script(gen_stages: ModuleType) -> None:
    pages = gen_stages.find_stages()
    assert sorted(page.stage.script for page in pages) == sorted(STAGE_SCRIPTS)
    assert [page.name for page in pages][: len(EXTRACTION_STAGES)] == EXTRACTION_STAGES
    index = gen_stages.index_page(pages)
    for page in pages:
        text = gen_stages.stage_page(page)
        docstring = ast.get_docstring(ast.parse(module_path(page.stage.module).read_text(encoding="utf-8")))
        assert docstring
        assert " ".join(docstring.split()) in " ".join(text.split())
        assert text.startswith(f"# {page.name}\n")
        assert all(f"- {key} (" in text for key in stage_block(page.name).keys)
        assert f"]({page.name}.md)" in index
        assert yaml.safe_load(text.rpartition("```yaml\n")[2].partition("```")[0])[page.name] is not None


def test_navigation_lists_the_stages(gen_stages: ModuleType) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["hooks"] == ["docs/gen_stages.py", "docs/gen_speed.py"]
    nav = gen_stages.on_config(config)["nav"]
    listed = next(section["Stages"] for section in nav if "Stages" in section)
    assert listed[0] == "stages/index.md"
    pages = [page for group in listed[1:] for pages in group.values() for page in pages]
    assert pages == [{page.name: f"stages/{page.name}.md"} for page in gen_stages.find_stages()]
    assert [len(pages) for group in listed[1:] for pages in group.values()] == [len(EXTRACTION_STAGES), 19]


def test_the_page_of_columns_has_them_all(gen_stages: ModuleType) -> None:
    page = gen_stages.columns_page()
    assert "| `numeric_value` | Float32 | the one that the code implies | its value |\n" in page
    assert "| `time` | Datetime(us) |" in page
    assert page.count("\n| `") == len(COLUMNS)


def test_changelog_has_the_version() -> None:
    assert f"## [{MEDS_transforms.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["README.md", "Makefile", "src/MEDS_transforms/cli/launchers.py"])
def test_extras_are_named_as_every_pip_knows_them(path: str) -> None:
    """NOTE: a wheel has the normalized names of its extras, and pip before 23.3 does not normalize what it is told."""
    text = (ROOT / path).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:has-|\[|\"|,)(\w+[-_]parallelism)\b", text))
    assert named
    assert named <= {name.replace("_", "-") for name in PYPROJECT["project"]["optional-dependencies"]}
