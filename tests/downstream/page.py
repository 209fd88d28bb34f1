"""What docs/guides/downstream.md says, section by section: what to install, files to write, commands to run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from test_docs import BLOCK

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "downstream.md"
PIP = "pip install "


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Args:
        title: its heading.
        requirement: what it installs.
        steps: a file's name and its text, or "" and commands; in order.
    """

    title: str
    requirement: str
    steps: list[tuple[str, str]]


def sections() -> Iterator[Section]:
    """The sections that install something."""
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        steps = [(found["title"] or "", found["text"]) for found in BLOCK.finditer(part)]
        assert steps[0][1].startswith(PIP)
        yield Section(part.partition("\n")[0], steps[0][1].removeprefix(PIP).strip(), steps[1:])
