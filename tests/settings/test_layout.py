"""The names of a cohort's files are spelled in one place."""

import ast
from pathlib import Path

import MEDS_transforms
from MEDS_transforms.settings import layout

FILES = {value for name, value in vars(layout).items() if name.endswith("_FILE")}


def test_no_other_module_spells_the_name_of_a_file():
    package = Path(MEDS_transforms.__file__).parent
    spelled = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in FILES
    }
    assert spelled == {"settings/layout.py"}
