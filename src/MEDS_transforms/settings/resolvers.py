"""The OmegaConf resolvers by which the packaged YAML files ask for what only Python knows.

Importing this module registers them: `current_script_name`, `populate_stage`, `get_script_docstring`,
`get_package_name`, `get_package_version`, `load_yaml_file` and `load_dataset`.
"""

import ast
import os
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import MissingInputError
from ..stages import PACKAGE, module_path
from .dataset_variables import load_dataset
from .folders import populate_stage
from .packaged import register_stage_blocks, with_packaged_blocks
from .words import list_of_keys

SCRIPT_NAME = "MEDS_TRANSFORMS_SCRIPT_NAME"
"""Environment variable with the name of the script that launched this process."""
_LAUNCHERS = ("joblib.", "submitit.")


class Script:
    """The running script, where one of the package's own entry points started it: its stage and its module."""

    running: "Script | None" = None

    def __init__(self, stage: str, module: str) -> None:
        self.stage = stage
        self.module = module


def current_script_name() -> str:
    """The stage that the running script is named after.

    A user's own console script is named after the module its `main` comes from, any other script after its
    file.

    NOTE: the program of a launched worker is the launcher's own; its environment tells the script's name.
    """
    if Script.running:
        return Script.running.stage
    program = sys.modules.get("__main__")
    spec = getattr(program, "__spec__", None)
    if spec is not None and spec.name.startswith(_LAUNCHERS) and SCRIPT_NAME in os.environ:
        return os.environ[SCRIPT_NAME]
    module: str = getattr(getattr(program, "main", None), "__module__", "__main__")
    name = Path(sys.argv[0]).stem.removeprefix("MEDS_extract-").removeprefix("MEDS_transform-")
    if module != "__main__":
        name = module.rpartition(".")[2]
    os.environ[SCRIPT_NAME] = name
    return name


def get_script_docstring() -> str:
    """What the running script says of itself: the docstring of its module, or of its `main` function.

    NOTE: the package's own modules are read, not imported, since importing them loads polars and `--help` need
    not wait for that.
    """
    if Script.running:
        return stage_help(Script.running.stage, Script.running.module)
    main = getattr(sys.modules.get("__main__"), "main", None)
    module = sys.modules.get(getattr(main, "__module__", "__main__"))
    return (getattr(main, "__doc__", None) or getattr(module, "__doc__", None) or "").strip()


def stage_help(stage: str, module: str) -> str:
    """What a stage does, by the docstring of its module, and its keys."""
    return "\n\n".join(filter(None, [module_docstring(module), list_of_keys(stage)]))


def module_docstring(module: str) -> str:
    """The docstring of a module that need not be imported."""
    path = module_path(module)
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" if path else ""


def load_yaml_file(path: str | None) -> DictConfig | ListConfig:
    """The content of a YAML file, empty where no path is given.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path:
        return OmegaConf.create({})
    if not Path(path).is_file():
        raise MissingInputError(f"There is no file {path}. Check the path.")
    return OmegaConf.load(path)


def get_package_version() -> str:
    """The version of this package."""
    from .. import __version__

    return __version__


def _populate_stage(
    stage: str, input_dir: str, cohort_dir: str, stages: Any, stage_configs: Any, *, _root_: DictConfig
) -> dict[str, Any]:
    """Resolver: `populate_stage`, with packaged blocks in place of those that are left empty."""
    filled = with_packaged_blocks(_root_)
    blocks = stage_configs if filled is _root_ else filled.stage_configs
    return populate_stage(stage, input_dir, cohort_dir, stages, blocks)


def _register_resolvers() -> None:
    resolvers = {
        "current_script_name": current_script_name,
        "populate_stage": _populate_stage,
        # For Hydra's template, in which a lone $ would be the beginning of a placeholder.
        "get_script_docstring": lambda: get_script_docstring().replace("$", "$$"),
        "get_package_name": lambda: PACKAGE,
        "get_package_version": get_package_version,
        "load_yaml_file": load_yaml_file,
        "load_dataset": load_dataset,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


_register_resolvers()
register_stage_blocks()
