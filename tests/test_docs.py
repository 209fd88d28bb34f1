"""README and documentation are true: commands run, files parse, outputs are what is printed.

CONTRIBUTING.md says what a block's title, or the comment before it, means. A page's blocks run in order, in a
folder that has `configs/`, `examples/` and the demo's tables.
"""

import ast
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
import yaml
from omegaconf import OmegaConf

import MEDS_transforms
from MEDS_transforms import INFERRED_STAGE_KEYS, utils
from MEDS_transforms.commands.app import app
from MEDS_transforms.runner.stage_runners import PARALLELIZE_KEYS
from MEDS_transforms.settings.declarations import known_keys
from MEDS_transforms.stages import packaged_stages

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = {
    *(ROOT / "docs" / "stages" / f"{name}.md" for name in ["index", *packaged_stages()]),
    *(ROOT / "docs" / "reference" / f"{name}.md" for name in ["columns", "commands"]),
    ROOT / "docs" / "guides" / "notebook.md",
}
"""Pages that are written when the documentation is built."""
SCRIPTS = Path(sys.executable).parent
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[a-z ]+?)(?:: (?P<argument>[^\n]*?))? -->\n)?"
    r"```(?P<language>\w*)(?: title=\"(?P<title>[^\"\n]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MARKS_WITH_ARGUMENT = {"excerpt", "cohort", "checked", "not run"}
MARKS_WITHOUT = {"output", "fails", "message"}
CONFIGS = ROOT / "src" / "MEDS_transforms" / "configs"
FORMER_NAMES = {
    *("map_over", "rwlock_wrap", "identity_fn", "read_and_filter_fntr", "bind_compute_fn", "match_revise_fntr"),
    *("shard_iterator", "shard_iterator_by_shard_map", "shuffle_shards", "is_complete_parquet_file"),
    *("CONFIG_YAML", "META_KEYS", "get_supported_fp", "shard_subjects", "get_and_validate_data_schema", "main"),
    *("cfg_to_expr", "matcher_to_expr", "is_matcher"),
}
"""What earlier releases let people import, beside what `utils` has."""
STAGES: list[str] = yaml.safe_load((CONFIGS / "_extract.yaml").read_text(encoding="utf-8"))["stages"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the file that its title names, its text, and the comment before it."""

    line: int
    language: str
    title: str | None
    text: str
    mark: str | None
    argument: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield Block(
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            found["title"],
            found["text"],
            found["mark"],
            found["argument"],
        )


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}


def bash(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def is_part(part: object, whole: object) -> bool:
    """Whether every key of `part` is in `whole` with the same value, mappings key by key."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
    return part == whole


@pytest.fixture(scope="session")
def demo_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's raw tables."""
    folder = tmp_path_factory.mktemp("demo") / "raw"
    subprocess.run([sys.executable, ROOT / "examples" / "demo" / "make_tables.py", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def demo_cohort(demo_raw: Path) -> Path:
    """The dataset that `make demo` makes, with the settings of examples/demo/run.sh."""
    folder = demo_raw.parent
    shutil.copy(ROOT / "examples" / "demo" / "event_cfgs.yaml", folder / "events.yaml")
    arguments = (
        "input_dir=raw cohort_dir=cohort event_conversion_config_fp=events.yaml "
        "etl_metadata.dataset_name=demo etl_metadata.dataset_version=1.0 "
        "stage_configs.shard_events.row_chunksize=5000 "
        "stage_configs.split_and_shard_subjects.n_subjects_per_shard=100 "
        "stage_configs.finalize_MEDS_metadata.include_all_codes=True"
    )
    commands = "\n".join(f"MEDS_extract-{stage} {arguments}" for stage in STAGES)
    ran = bash(commands, folder)
    assert ran.returncode == 0, ran.stderr
    return folder / "cohort"


@pytest.fixture
def page_folder(tmp_path: Path, demo_raw: Path) -> Path:
    """The folder that a page's commands run in."""
    for name in ("configs", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(demo_raw, tmp_path / "demo" / "raw")
    return tmp_path


def run(block: Block, folder: Path, where: str) -> str:
    """Runs a block of commands; returns what it printed."""
    ran = bash(block.text, folder)
    if block.mark != "fails":
        assert ran.returncode == 0, f"{where} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout
    assert ran.returncode != 0, f"{where} should fail"
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran.stdout


def act_on(block: Block, folder: Path, where: str, printed: str) -> str:
    """Does what a block asks for; returns what was printed last."""
    if block.title is not None:
        path = folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    elif block.mark == "excerpt":
        whole = yaml.safe_load((folder / (block.argument or "")).read_text(encoding="utf-8"))
        assert is_part(yaml.safe_load(block.text), whole), f"{where} is not part of {block.argument}"
    elif block.mark == "output":
        assert block.text == printed, f"{where} shows something else than what is printed:\n{printed}"
    elif block.language == "bash" and block.mark != "not run":
        return run(block, folder, where)
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if any(blocks(p))], ids=name_of)
def test_what_a_page_shows_is_true(page: Path, page_folder: Path, request: pytest.FixtureRequest) -> None:
    printed = ""
    for block in blocks(page):
        if block.mark == "cohort":
            shutil.copytree(request.getfixturevalue("demo_cohort"), page_folder / (block.argument or ""))
        printed = act_on(block, page_folder, f"{name_of(page)}:{block.line}", printed)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = list(blocks(page))
    assert text.count("```") == 2 * len(found), "a fence that the tests do not see"
    for block in found:
        where = f"{name_of(page)}:{block.line}"
        if block.mark is None:
            assert block.title or block.language == "bash", f"{where}: a block that is neither run nor checked"
        elif block.title:
            raise AssertionError(f"{where}: a block with a title is a file; it needs no mark")
        else:
            known = MARKS_WITH_ARGUMENT if block.argument else MARKS_WITHOUT
            assert block.mark in known, f"{where}: unknown mark {block.mark!r}"
        if block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict), where


def fixed_parts_of_messages() -> list[str]:
    """The fixed parts, of two words or more, of all texts in the source, the longest first."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in CONFIGS.parent.rglob("*.py")]
    texts = {
        " ".join(node.value.split())
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return sorted((text for text in texts if " " in text), key=len, reverse=True)


def test_messages_are_quoted_as_the_source_has_them() -> None:
    """What is left of a quoted message without the fixed parts of the source are values, not words in a row."""
    quoted = {
        f"{name_of(page)}:{block.line}": " ".join(block.text.split())
        for page in PAGES
        for block in blocks(page)
        if block.mark == "not run" and block.text.startswith("error: ")
    }
    assert len(quoted) >= 2
    for where, message in quoted.items():
        for part in fixed_parts_of_messages():
            message = message.replace(part, " | ")
        stale = re.search(r"\b[a-z]+ [a-z]+ [a-z]+\b", message)
        assert stale is None, f"{where}: {stale and stale[0]!r} is not in any message of the source"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if (page.parent / t).resolve() not in GENERATED and not (page.parent / t).exists()]
    assert not missing


def test_built_pages_work_from_disk() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["use_directory_urls"] is False
    plugins = [plugin if isinstance(plugin, str) else next(iter(plugin)) for plugin in config["plugins"]]
    assert {"search", "offline"} <= set(plugins)
    assert config["theme"]["font"] is False
    [shim] = config["extra"]["polyfills"]
    assert "iframe-worker" in shim
    assert (ROOT / "docs" / shim).is_file()


def test_readme_names_its_files_outside_of_titles() -> None:
    """The sites that show a README hide the titles of its blocks."""
    assert [block.line for block in blocks(ROOT / "README.md") if block.title] == []


def test_api_page_documents_the_public_functions() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^::: (\S+)", page, re.MULTILINE))
    assert all(pkgutil.resolve_name(name).__doc__ for name in documented)
    named = {name.rpartition(".")[2] for name in documented} | set(re.findall(r"[\w/]+", page))
    assert set(MEDS_transforms.__all__) <= named
    assert {*utils.__all__, *FORMER_NAMES} <= named


def test_import_paths_that_the_api_page_lists_work() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`MEDS_transforms\..*?) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) >= 6
    for modules, names in rows:
        for module in re.findall(r"`([\w.]+)`", modules):
            found = importlib.import_module(module)
            assert all(hasattr(found, name) for name in re.findall(r"`(\w+)`", names.partition("(")[0]))


def test_page_of_commands_has_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    commands = importlib.import_module("gen_commands")
    page = commands.commands_page(commands.generated())
    for name, command in typer.main.get_command(app).commands.items():
        assert f"## `MEDS_transforms {name}`\n" in page
        first_line = (command.help or "").splitlines()[0]
        assert f"| [`MEDS_transforms {name}`](#meds_transforms-{name}) | {first_line}" in page


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "docs/tutorial/extraction.md"])
def test_make_targets_that_are_named_exist(path: str) -> None:
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", (ROOT / path).read_text(encoding="utf-8"), re.M))
    assert named
    assert {first or second for first, second in named} <= rules


def keys_in_table(heading: str) -> set[str]:
    """The keys in the first column of the table below a heading of the configuration page."""
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    section = re.split(r"^#+ ", page.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", section, re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


def leaves(config: str) -> set[str]:
    """The keys of a packaged configuration, those of `etl_metadata` with their path."""
    content = OmegaConf.to_container(OmegaConf.load(CONFIGS / config))
    assert isinstance(content, dict)
    nested = {f"etl_metadata.{key}" for key in content.pop("etl_metadata", {})}
    return {str(key) for key in content if key != "defaults"} | nested


def test_reference_lists_every_key_of_every_pipeline() -> None:
    assert keys_in_table("Keys of every pipeline") == leaves("_pipeline.yaml")


@pytest.mark.parametrize("config", ["_extract", "_preprocess"])
def test_reference_lists_every_key_of_a_packaged_pipeline(config: str) -> None:
    own = leaves(f"{config}.yaml") - leaves("_pipeline.yaml")
    assert keys_in_table(f"Keys of `{config}`") == own


def test_reference_lists_every_key_of_event_files() -> None:
    declared = yaml.safe_load((CONFIGS / "_event.yaml").read_text(encoding="utf-8"))
    event = declared.pop("event")
    assert keys_in_table("Keys of tables") == set(declared)
    assert keys_in_table("Keys of events") == set(event)


def test_reference_lists_every_variable_of_a_dataset() -> None:
    assert keys_in_table("Variables of a dataset") == set(yaml.safe_load((CONFIGS / "_dataset.yaml").read_text()))


def test_reference_lists_the_inferred_keys() -> None:
    assert keys_in_table("Where a stage reads and writes") == set(INFERRED_STAGE_KEYS)


def test_reference_lists_every_resolver() -> None:
    named = keys_in_table("Resolvers")
    assert len(named) >= 6
    assert all(OmegaConf.has_resolver(name) for name in named)


def mapping_paths(content: object, prefix: str = "") -> set[str]:
    if not isinstance(content, dict):
        return {prefix}
    return {p for key, value in content.items() for p in mapping_paths(value, f"{prefix}.{key}".lstrip("."))}


@pytest.mark.parametrize("name", ["extract", "preprocess"])
def test_pipeline_to_copy_has_every_key_with_a_comment(name: str) -> None:
    text = (ROOT / "configs" / {"extract": "extraction.yaml", "preprocess": "preprocessing.yaml"}[name]).read_text()
    content = yaml.safe_load(text)
    derived = {
        "stage",
        "stage_cfg",
        "dataset",
        "description",
        "hydra",
        "etl_metadata.package_name",
        "etl_metadata.package_version",
    }
    if name == "preprocess":
        derived |= {"etl_metadata.dataset_name", "etl_metadata.dataset_version"}  # they come along with the dataset
    packaged = yaml.safe_load((CONFIGS / f"_{name}.yaml").read_text())
    assert content["stages"] == packaged["stages"]
    assert leaves("_pipeline.yaml") | leaves(f"_{name}.yaml") <= derived | {
        *content,
        *(f"etl_metadata.{key}" for key in content["etl_metadata"]),
    }
    for stage in content["stages"]:
        path = CONFIGS / "stage_configs" / f"{stage}.yaml"
        defaults = (yaml.safe_load(path.read_text())[stage] if path.is_file() else None) or {}
        defaults = {key: value for key, value in defaults.items() if not key.startswith("_")}
        assert not defaults or mapping_paths(defaults) <= mapping_paths(content["stage_configs"][stage])
    uncommented = [
        line
        for before, line in zip(["", *text.splitlines()], text.splitlines(), strict=False)
        if re.match(r"\s*[\w-]+: *\S", line) and "#" not in line and not before.strip().startswith("#")
    ]
    assert [line for line in uncommented if not re.match(r" {6}(train|tuning|held_out): ", line)] == []


def test_pipeline_to_copy_lists_all_codes_and_is_strict() -> None:
    content = yaml.safe_load((ROOT / "configs" / "extraction.yaml").read_text(encoding="utf-8"))
    assert content["stage_configs"]["finalize_MEDS_metadata"]["include_all_codes"] is True
    assert content["strict"] is True


@pytest.mark.parametrize("stage", ["fit_outlier_detection", "fit_normalization"])
def test_pipeline_to_copy_computes_exact_statistics(stage: str) -> None:
    content = yaml.safe_load((ROOT / "configs" / "preprocessing.yaml").read_text(encoding="utf-8"))
    aggregations = content["stage_configs"][stage]["aggregations"]
    assert {"values/mean", "values/std"} <= set(aggregations)
    assert not {"values/sum", "values/sum_sqd"} & set(aggregations)


@pytest.mark.parametrize("name", ["serial", "local", "slurm"])
def test_stage_runner_files_have_known_keys_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PARTITION", "cpu")
    loaded = OmegaConf.load(ROOT / "configs" / f"stage_runner_{name}.yaml")
    content = OmegaConf.to_container(loaded, resolve=True)
    assert isinstance(content, dict)
    default = content.pop("parallelize")
    assert all(known_keys(stage) is not None for stage in content)
    for block in [default, *(stage["parallelize"] for stage in content.values())]:
        assert set(block or {}) <= set(PARALLELIZE_KEYS)
