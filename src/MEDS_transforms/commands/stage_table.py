"""`MEDS_transforms stages`: all stages, a line each."""

import ast
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..stages import PACKAGE, Stage, module_path, packaged_stages, registered_stages


def print_stages() -> None:
    """Prints the stages of this package, by the names of their scripts, and those that other packages register."""
    console = Console()
    if not console.is_terminal:  # another program reads it, a line for a stage
        console = Console(width=200)
    for prefix, stages in groupby(all_stages(), source):
        table = Table(title=prefix, title_justify="left", box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True, min_width=28)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for stage in stages:
            table.add_row(stage.name, summary(stage))
        console.print(table)


def all_stages() -> list[Stage]:
    """The stages of this package and of others."""
    return [*packaged_stages().values(), *registered_stages().values()]


def summary(stage: Stage) -> str:
    """The first line of the docstring of a stage's module, which is not imported; empty where there is none."""
    path = module_path(stage.module)
    return first_line_of_docstring(path) if path else ""


def first_line_of_docstring(path: Path) -> str:
    """The first line of the docstring of a module."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def source(stage: Stage) -> str:
    """What runs a stage: scripts whose names begin so, or the package that registers it."""
    return f"{stage.prefix}-…" if stage.module.startswith(f"{PACKAGE}.") else stage.module.partition(".")[0]
