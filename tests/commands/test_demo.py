"""`MEDS_transforms demo` and `configs`: the same from a wheel as from the repository, and nobody's edits are lost."""

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from helpers import files_below

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SCRIPTS = Path(sys.executable).parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-deps", "--no-index"]


@dataclass(frozen=True)
class Installation:
    """Where the package is: what goes on the PYTHONPATH, and the command."""

    path: str
    script: Path

    def call(self, *args: object, folder: Path, status: int = 0) -> str:
        """Calls the command in a folder, with no script on the PATH; returns what it printed, errors too."""
        env = {**os.environ, "PYTHONPATH": self.path, "PATH": os.defpath, "COLUMNS": "120"}
        ran = subprocess.run(
            [self.script, *map(str, args)],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == status, ran.stdout
        return ran.stdout


HERE = Installation("", SCRIPTS / "MEDS_transforms")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel) -> Installation:
    """The wheel in a folder of its own; of the repository nothing is seen."""
    site = wheel.parent / "site"
    subprocess.run([*PIP, "install", *OFFLINE, "--target", site, wheel], check=True)
    return Installation(str(site), site / "bin" / "MEDS_transforms")


def originals() -> dict[str, Path]:
    """What the wheel has besides the modules: name in the wheel, file of the repository."""
    demo = ROOT / "examples" / "demo"
    paths = [*CONFIGS.glob("*.yaml"), *demo.glob("*.py"), *demo.glob("*.yaml")]
    return {f"MEDS_transforms/to_copy/{path.relative_to(ROOT).as_posix()}": path for path in paths}


def test_the_wheel_has_the_files_to_copy_and_nothing_else_besides_modules(wheel):
    with zipfile.ZipFile(wheel) as content:
        packed = {name: content.read(name) for name in content.namelist() if name.startswith("MEDS_transforms/to_copy")}
        tops = {name.partition("/")[0] for name in content.namelist()}
    assert packed == {name: path.read_bytes() for name, path in originals().items()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"MEDS_transforms"}


@pytest.mark.slow
def test_the_demo_of_a_wheel_makes_the_bytes_of_make_demo(installed, tmp_path):
    printed = installed.call("demo", folder=tmp_path)
    assert f"$ python {installed.path}" in printed
    assert [folder for folder in ("src", "configs", "examples") if str(ROOT / folder) in printed] == []
    repository = tmp_path / "repository"
    env = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", ROOT / "examples/demo/run.sh", repository], env=env, check=True, capture_output=True)
    made = files_below(tmp_path / "demo")
    assert made == files_below(repository)
    assert {"cohort/data/train/2.parquet", "tensors/data/train/2.nrt", "raw/hosp/patients.csv"} <= {*made}
    timed = {"cohort/metadata/dataset.json", "tensors/metadata/dataset.json"}
    differing = [n for n in made if (tmp_path / "demo" / n).read_bytes() != (repository / n).read_bytes()]
    assert {*differing} <= timed | {n for n in made if n.startswith((".", "cohort/.", "tensors/."))}


def shown_commands(printed: str) -> list[str]:
    return [line.removeprefix("$ ") for line in printed.splitlines() if line.startswith("$ ")]


@pytest.mark.slow
def test_the_demo_shows_its_commands_and_continues_what_is_there(tmp_path):
    first = HERE.call("demo", "a demo", "keep_intermediates=false", folder=tmp_path)
    extract, preprocess, show = shown_commands(first)
    assert extract.startswith("MEDS_transforms run 'a demo/configs/extraction.yaml' ")
    assert preprocess.endswith(" keep_intermediates=false")
    env = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    for command, said in {
        extract: "All 7 stages are done",
        preprocess: "All 11 stages are done",
        show: "SEX//F",
    }.items():
        ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        assert said in ran.stdout
        assert "done in" not in ran.stdout  # nothing was made again

    events = tmp_path / "a demo" / "event_cfgs.yaml"
    events.write_text(events.read_text(encoding="utf-8").replace("[SEX,", "[GENDER,"), encoding="utf-8")
    refused = HERE.call("demo", "a demo", "keep_intermediates=false", folder=tmp_path, status=1)
    assert f"{Path('a demo') / 'event_cfgs.yaml'}: kept as you have it" in refused
    assert "do_overwrite=True" in refused
    assert len(shown_commands(refused)) == 1
    again = HERE.call("demo", "a demo", "keep_intermediates=false", "do_overwrite=True", folder=tmp_path)
    assert "GENDER//F" in again


def test_a_setting_is_not_taken_for_the_folder(tmp_path):
    said = HERE.call("demo", "seed=2", folder=tmp_path, status=1)
    assert said.startswith("error: seed=2 is where the folder should be")
    assert [*tmp_path.iterdir()] == []


def test_the_recipe_does_not_touch_the_repository_itself():
    ran = subprocess.run(["bash", ROOT / "examples/demo/run.sh", "."], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "a folder of its own" in ran.stderr
    assert CONFIGS.is_dir()


@pytest.mark.parametrize("source", ["repository", "wheel"])
def test_configs_are_those_of_the_repository_without_the_line_for_editors(source, request, tmp_path):
    installation = HERE if source == "repository" else request.getfixturevalue("installed")
    installation.call("configs", folder=tmp_path)
    copies = sorted((tmp_path / "configs").iterdir())
    assert [path.name for path in copies] == sorted(path.name for path in CONFIGS.glob("*.yaml"))
    for path in copies:
        text, original = (p.read_text(encoding="utf-8") for p in (path, CONFIGS / path.name))
        assert yaml.safe_load(text) == yaml.safe_load(original)
        assert text == "\n".join(line for line in original.split("\n") if "$schema=" not in line)


def test_a_copy_that_was_edited_is_kept(tmp_path):
    HERE.call("configs", "mine", folder=tmp_path)
    edited = tmp_path / "mine" / "extraction.yaml"
    edited.write_text("seed: 7\n", encoding="utf-8")
    said = HERE.call("configs", "mine", folder=tmp_path)
    assert edited.read_text(encoding="utf-8") == "seed: 7\n"
    assert f"{Path('mine') / 'extraction.yaml'}: kept as you have it\n" in said
    assert f"{Path('mine') / 'preprocessing.yaml'}: as it was\n" in said


def test_a_file_in_place_of_the_folder_is_one_message(tmp_path):
    (tmp_path / "mine").write_text("")
    said = HERE.call("configs", "mine", folder=tmp_path, status=1)
    assert said.startswith("error: A file, or a link to nothing, is where a folder should be: mine")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("mine",), r"mine has tables \(patients\.csv\): name another folder"),
        (("new", "other"), r"other is no setting: write KEY=VALUE"),
        (("seed=2",), r"seed=2 is where the folder should be"),
    ],
)
def test_what_the_demo_refuses_it_refuses_before_it_writes(tmp_path, args, said):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "patients.csv").write_text("id\n1\n")
    assert re.search(f"^error: {said}", HERE.call("demo", *args, folder=tmp_path, status=1))
    assert files_below(tmp_path) == ["mine/patients.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
