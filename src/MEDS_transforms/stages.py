"""The table of stages: what each is called, which module runs it, and where its keys are declared.

A stage of this package is a module in one of `FOLDERS` and a file of the same name in `configs/stage_configs`. A stage
of another package is an entry point of the group `MEDS_transforms.stages` (stage = module), with `<module>.yaml` beside
the module. Console scripts, defaults lists, help, documentation and tests follow from this table;
`python -m MEDS_transforms.stages` prints it.

NOTE: the build reads this file before the package is installed, so it imports the standard library alone.
"""

import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PACKAGE = "MEDS_transforms"
ROOT = Path(__file__).parent
BLOCKS_DIR = ROOT / "configs" / "stage_configs"
STAGE_KEYS_FP = ROOT / "configs" / "_stage.yaml"
"""The keys that every stage has."""
ENTRY_POINT_GROUP = "MEDS_transforms.stages"
EXTRACT, TRANSFORM = "MEDS_extract", "MEDS_transform"
FOLDERS = {"extract": EXTRACT, "filters": TRANSFORM, "metadata": TRANSFORM, "transforms": TRANSFORM}
"""Where the modules of stages are, and what their scripts' names begin with."""


@dataclass(frozen=True)
class Stage:
    """One stage: its name, its module, the file of its keys (None: it declares none), and its script's prefix."""

    name: str
    module: str
    block_fp: Path | None
    prefix: str = TRANSFORM

    @property
    def script(self) -> str:
        """The name of the stage's console script; stages of other packages need not have one."""
        return f"{self.prefix}-{self.name}"


@cache
def packaged_stages() -> dict[str, Stage]:
    """The stages of this package by name, folder by folder."""
    blocks = packaged_blocks()
    return {
        module.stem: Stage(module.stem, f"{PACKAGE}.{folder}.{module.stem}", blocks[module.stem], prefix)
        for folder, prefix in FOLDERS.items()
        for module in sorted((ROOT / folder).glob("*.py"))
        if module.stem in blocks
    }


@cache
def packaged_blocks() -> dict[str, Path]:
    """The files with the default blocks of stages; some are of stages that another stage's script runs."""
    return {path.stem: path for path in sorted(BLOCKS_DIR.glob("*.yaml"))}


@cache
def registered_stages() -> dict[str, Stage]:
    """The stages that other packages register, by name; the names of packaged stages are taken."""
    return {entry.name: _registered(entry) for entry in _entry_points() if entry.name not in packaged_blocks()}


def names_taken_twice() -> dict[str, str]:
    """The modules that other packages register under the names of packaged stages, which count instead."""
    return {entry.name: entry.value for entry in _entry_points() if entry.name in packaged_blocks()}


@cache
def _entry_points() -> list["EntryPoint"]:
    if not _is_group_in_use():
        return []
    from importlib.metadata import entry_points

    return [*entry_points(group=ENTRY_POINT_GROUP)]


def _is_group_in_use() -> bool:
    """Whether the files of any installed package name the group.

    NOTE: a look at these files takes a tenth of the time that the import of importlib.metadata does, for which every
    `--help` would wait.
    """
    files = (file for folder in sys.path for file in Path(folder).glob("*-info/entry_points.txt"))
    return any(ENTRY_POINT_GROUP in file.read_text(encoding="utf-8", errors="replace") for file in files)


def _registered(entry: "EntryPoint") -> Stage:
    path = module_path(entry.value)
    block_fp = path.with_suffix(".yaml") if path else None
    return Stage(entry.name, entry.value, block_fp if block_fp and block_fp.is_file() else None)


def module_path(module: str) -> Path | None:
    """The file of a module, without importing it or its parents; None where there is none.

    >>> module_path("MEDS_transforms.filters.filter_subjects").name
    'filter_subjects.py'
    """
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    candidates = (Path(folder, *rest).with_suffix(".py") for folder in spec.submodule_search_locations or ())
    return next((path for path in candidates if path.is_file()), None)


def find_stage(name: str) -> Stage | None:
    """The stage of this name, of this package or another; None if there is none."""
    return packaged_stages().get(name) or registered_stages().get(name)


def block_fp(name: str) -> Path | None:
    """The file that declares the keys of a stage; None where nothing is known of it."""
    if name in packaged_blocks():
        return packaged_blocks()[name]
    return registered_stages()[name].block_fp if name in registered_stages() else None


def block_names(prefix: str) -> list[str]:
    """The blocks that a pipeline of extraction or of transforms has by default, those of other packages in both."""
    stages = packaged_stages()
    own = [name for name in packaged_blocks() if (stages[name].prefix if name in stages else TRANSFORM) == prefix]
    return [*own, *(name for name, stage in registered_stages().items() if stage.block_fp)]


def console_scripts() -> dict[str, str]:
    """The console scripts of this package, as `[project.scripts]` lists them."""
    scripts = {stage.script: f"{PACKAGE}.cli.script:main" for stage in packaged_stages().values()}
    scripts[f"{EXTRACT}-check"] = f"{PACKAGE}.commands.app:check_extraction"
    return scripts | {f"{TRANSFORM}-runner": f"{PACKAGE}.runner:main", PACKAGE: f"{PACKAGE}.commands.app:main"}


if __name__ == "__main__":
    for stage in (packaged_stages() | registered_stages()).values():
        print(f"{stage.name:32}{stage.module}")  # noqa: T201
