"""Imports run one way, as CONTRIBUTING.md has it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import MEDS_transforms
from MEDS_transforms.stages import PACKAGE, packaged_stages

ROOT = Path(MEDS_transforms.__file__).parent
CONTRIBUTING = (ROOT.parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
[SENTENCE] = re.findall(r"^Imports run one way: ([^.]+)\.", CONTRIBUTING, re.MULTILINE)
LAYERS = [re.findall(r"\w+", names) for names in SENTENCE.split("→")]
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
STAGES = {stage.module for stage in packaged_stages().values()}
OF_STAGES = {module.split(".")[1] for module in STAGES}
MODULES = {
    ".".join([PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]): path for path in sorted(ROOT.rglob("*.py"))
}


def imports(module: str) -> Iterator[str]:
    """The modules, or names in modules, of the package that a module imports, wherever it does so."""
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join(filter(None, [*above, node.module, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def layer(name: str) -> str:
    """The part of the package that a module, or a name in one, belongs to; "" of another package."""
    package, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    if package != PACKAGE:
        return ""
    return {**dict.fromkeys(OF_STAGES, "stages"), "stages": "table of stages"}.get(part, part)


def test_the_layers_are_those_of_the_package():
    assert set(RANKS) - {"stages"} <= {path.stem for path in ROOT.iterdir()}
    assert len(LAYERS) >= 5


@pytest.mark.parametrize("module", [module for module in MODULES if layer(module) in RANKS])
def test_a_module_imports_from_layers_below_its_own(module):
    upwards = [
        name
        for name in imports(module)
        if layer(name) in RANKS and layer(name) != layer(module) and RANKS[layer(name)] <= RANKS[layer(module)]
    ]
    assert not upwards


@pytest.mark.parametrize("module", [module for module in MODULES if layer(module) in ("stages", "runner")])
def test_neither_a_stage_nor_the_runner_imports_a_stage(module):
    assert [name for name in imports(module) for stage in STAGES if f"{name}.".startswith(f"{stage}.")] == []
    assert layer(module) != "stages" or [name for name in imports(module) if layer(name) == "runner"] == []


def test_the_table_of_stages_imports_nothing_of_the_package():
    assert [name for name in imports(f"{PACKAGE}.stages") if name.startswith(PACKAGE)] == []
