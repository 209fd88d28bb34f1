"""`MEDS_transforms version`: this package and those that results depend on."""

import platform
from importlib.metadata import version

from rich.console import Console

from .. import __version__
from ..stages import PACKAGE

DEPENDENCIES = ("polars", "pyarrow", "meds", "nested_ragged_tensors", "hydra-core")


def print_versions() -> None:
    """Prints the versions, a line each."""
    found = {PACKAGE: __version__, "Python": platform.python_version()}
    found |= {name: version(name) for name in DEPENDENCIES}
    for name, number in found.items():
        Console(highlight=False).print(f"{name} {number}")
