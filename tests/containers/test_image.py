"""The Dockerfile and .devcontainer: what they name exists, and the files that are copied make the package.

NOTE: nothing here builds an image; `make lint` has hadolint look at the Dockerfile.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import takewhile
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from MEDS_transforms.stages import console_scripts

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {name.replace("_", "-") for name in PYPROJECT["optional-dependencies"]}
DEVCONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
DEVCONTAINER_KEYS = {"name", "image", "build", "features", "postCreateCommand", "remoteEnv", "containerEnv", "mounts"}
"""Of the specification's keys those that a container of one image has use for."""


@pytest.fixture(scope="module")
def instructions(tmp_path_factory) -> list[tuple[str, str]]:
    """The instructions of the Dockerfile; the parser works on a copy, since it opens files for writing."""
    copy = shutil.copy(ROOT / "Dockerfile", tmp_path_factory.mktemp("docker") / "Dockerfile")
    return [(step["instruction"], step["value"]) for step in DockerfileParser(path=str(copy)).structure]


def values(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [value for instruction, value in instructions if instruction == name]


def not_ignored() -> set[str]:
    """The top names that .dockerignore lets through."""
    ignored, *exceptions = (
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and line[0] != "#" and not line.startswith("**")
    )
    assert ignored == "*"
    assert all(line.startswith("!") for line in exceptions)
    return {line[1:] for line in exceptions}


def wheel_of(folder: Path, to: Path) -> dict[str, bytes]:
    """The files of the wheel that a folder makes."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", to, folder], check=True)
    [path] = to.glob("*.whl")
    with zipfile.ZipFile(path) as content:
        return {name: content.read(name) for name in content.namelist()}


def test_the_files_that_are_copied_make_the_package(instructions, tmp_path):
    context = tmp_path / "context"
    for sources, target in (value.rsplit(maxsplit=1) for value in values(instructions, "COPY")):
        for source in sources.split():
            assert source.partition("/")[0] in not_ignored()
            to = context / (source if target == "./" else target)
            to.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, to)
    assert wheel_of(context, tmp_path / "from copies") == wheel_of(ROOT, tmp_path / "from repository")


def test_what_is_not_ignored_exists():
    assert [name for name in not_ignored() if not (ROOT / name).exists()] == []


def test_base_images_have_one_minor_version_of_python_that_the_package_supports(instructions):
    versions = {re.fullmatch(r"python:(3\.\d+)-slim( AS \w+)?", image)[1] for image in values(instructions, "FROM")}
    assert len(versions) == 1
    assert PYPROJECT["requires-python"] == ">=3.11"
    assert int(versions.pop().partition(".")[2]) >= 11


def test_extras_exist(instructions):
    [default] = [value for value in values(instructions, "ARG") if value.startswith("EXTRAS=")]
    named = re.findall(r"[\w-]+", default.partition("=")[2])
    comments = "\n".join(values(instructions, "COMMENT"))
    named += [name for names in re.findall(r"EXTRAS=\[([^\]]+)\]", comments) for name in names.split(",")]
    assert len(named) >= 3
    assert {*named} <= EXTRAS


def test_the_guide_names_the_extras_of_the_image(instructions):
    [default] = [value for value in values(instructions, "ARG") if value.startswith("EXTRAS=")]
    guide = (ROOT / "docs" / "guides" / "docker.md").read_text(encoding="utf-8")
    [said] = re.findall(r"the extras ([^,]+),", guide)
    assert re.findall(r"`([\w-]+)`", said) == re.findall(r"[\w-]+", default.partition("=")[2])


def test_it_does_not_run_as_root(instructions):
    """By number: Kubernetes cannot tell what a name means."""
    user = re.fullmatch(r"(\d+):(\d+)", values(instructions, "USER")[-1])
    assert user
    assert int(user[1]) > 0
    after = [*takewhile(lambda step: step[0] != "USER", reversed(instructions))]
    assert not {"RUN", "COPY", "ADD"} & {instruction for instruction, _ in after}


def test_the_entry_point_is_a_console_script(instructions):
    [entry_point] = values(instructions, "ENTRYPOINT")
    [script] = json.loads(entry_point)
    assert script in console_scripts()


def test_labels_are_those_of_the_package(instructions):
    [text] = values(instructions, "LABEL")
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', text))
    assert labels["title"] == PYPROJECT["name"]
    assert labels["licenses"] == PYPROJECT["license"]
    assert {"description", "version"} <= {*labels}


def test_devcontainer_names_what_exists():
    assert {*DEVCONTAINER} - {"customizations"} <= DEVCONTAINER_KEYS
    assert re.search(r":3\.\d+$", DEVCONTAINER["image"])
    [extra] = re.findall(r"^make \.venv/\.has-([\w-]+)$", DEVCONTAINER["postCreateCommand"])
    assert extra in EXTRAS
    settings = DEVCONTAINER["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"] == "${containerWorkspaceFolder}/.venv/bin/python"
    assert [folder for folder in settings["python.testing.pytestArgs"] if not (ROOT / folder).is_dir()] == []
