"""Scripts of the user's own, in the way of release 0.1, that do nothing but call `map_over`: they can share a process.

    @hydra.main(version_base=None, config_path=…, config_name=…)
    def main(cfg):
        map_over(cfg, compute_fn=drop_low_values)

    if __name__ == "__main__":
        main()

Any other script is run by itself.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ..settings.calls import is_one_call

MAP_OVER = "map_over"
_WORDS = 4
"""Python, the script, and the two options that give it the pipeline."""


def own_script(program: Sequence[str]) -> Path | None:
    """The script that a command runs by the running Python, if all it does is to call `map_over`."""
    if len(program) != _WORDS or not program[1].endswith(".py") or not _is_this_python(Path(program[0])):
        return None
    path = Path(program[1]).absolute()
    try:
        return path if _main_of(ast.parse(path.read_text(encoding="utf-8"))) else None
    except (OSError, ValueError, SyntaxError):
        return None


@cache
def load_main(path: Path) -> Callable[[Any], object]:
    """The function of a configuration that a script runs, without Hydra; its module is imported under another name."""
    name = _main_of(ast.parse(path.read_text(encoding="utf-8")))
    spec = spec_from_file_location(f"_own_script_{path.stem}", path)
    assert name
    assert spec
    assert spec.loader
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # as for a program, whose own modules lie beside it
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    main: Callable[[Any], object] = inspect.unwrap(getattr(module, name))
    return main


def _is_this_python(program: Path) -> bool:
    return program.name.startswith("python") and program.parent == Path(sys.executable).parent


def _main_of(script: ast.Module) -> str | None:
    """The function that a script runs as a program, if Hydra calls it and all it does is to call `map_over`."""
    functions = {node.name: node for node in script.body if isinstance(node, ast.FunctionDef)}
    called = [
        name
        for node in script.body
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) and len(node.body) == 1
        for name in functions
        if ast.unparse(node.body[0]) == f"{name}()"
    ]
    if len(called) != 1:
        return None
    [name] = called
    decorators = [ast.unparse(decorator) for decorator in functions[name].decorator_list]
    by_hydra = len(decorators) == 1 and decorators[0].startswith("hydra.main(")
    return name if by_hydra and is_one_call(functions[name], MAP_OVER) else None
