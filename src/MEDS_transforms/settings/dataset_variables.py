"""The variables of a dataset, in a file of its own, to which pipelines refer as `${dataset.<name>}`.

`configs/_dataset.yaml` declares those that have a meaning of their own, with their defaults. A pipeline that refers to
nothing else runs on another dataset once `dataset_fp` names the other file.
"""

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import InputError, MissingInputError, Problems, nearest
from ..stages import ROOT
from .checks import wrong_values
from .declarations import Key, read_keys
from .yaml_file import read_yaml

_ALIKE = 0.8
"""How similar, from 0 to 1, a name must be to that of a known variable to be taken for a slip of the pen."""


@cache
def dataset_keys() -> dict[str, Key]:
    """The variables that are declared."""
    return read_keys(ROOT / "configs" / "_dataset.yaml")


def load_dataset(path: str | None) -> DictConfig:
    """The variables in a file, and the defaults of those that it does not set; just these without a file.

    Those that are set nowhere are left out, so that to refer to them is an error.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML or no mapping, a value is not what its variable allows, or a name is much like that
            of a known variable.
    """
    return _variables(*_version(Path(path))) if path else _variables()


@lru_cache(maxsize=1)
def _variables(path: Path | None = None, _version: tuple[int, ...] = ()) -> DictConfig:
    """The variables in one version of a file: of plain values, so that all that refer to them may share them."""
    defaults = {name: key.default for name, key in dataset_keys().items() if key.default != "???"}
    return OmegaConf.create({**defaults, **(_read(path) if path else {})})


def _version(path: Path) -> tuple[Path, tuple[int, ...]]:
    if not path.is_file():
        raise MissingInputError(f"There is no file {path} (dataset_fp)", remedy="Check the path.")
    file = path.stat()
    return path, (file.st_ino, file.st_mtime_ns, file.st_size)


def _read(path: Path) -> dict[str, Any]:
    """The variables that a file sets."""
    given = read_yaml(path)
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise InputError(f"{path} must map names of variables to values (dataset_fp), not {given!r:.80}.")
    known, problems = dataset_keys(), Problems("The variables of the dataset cannot be used")
    for name, value in given.items():
        where = f"{path}: {name}"
        if name not in known and (hint := nearest(name, known, _ALIKE)):
            problems.add(f"there is no such variable{hint}", where, "For one of your own, use another name")
        if "${" in str(value):
            problems.add(f"must be a plain value, not {value!r}", where)
    declared = {name: value for name, value in given.items() if name in known}
    problems.found += [problem.below(str(path)) for problem in wrong_values(known, declared, "")]
    problems.raise_if_any()
    return given
