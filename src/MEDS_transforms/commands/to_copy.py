"""The files that come with the package for people to copy: the pipelines in `configs/`, and the demo.

They are in the repository's top folders, where people look for them, and the build puts them into the wheel as
`MEDS_transforms/to_copy`. An editable installation uses those of the repository.
"""

from pathlib import Path

from rich.console import Console

from ..errors import MissingInputError
from ..interrupts import put_off
from ..stages import ROOT
from ..work.files import publish

CONFIGS, DEMO = "configs", "examples/demo"
PLACES = (ROOT / "to_copy", ROOT.parents[1])
"""Where the folders are: in the wheel, in the repository."""
SCHEMA_COMMENT = "# yaml-language-server: "
"""NOTE: the schema that it names is beside the original, not beside the copy."""


def folder_to_copy(name: str) -> Path:
    """The folder that the package, or the repository, has under this name.

    Raises:
        MissingInputError: the installation does not have it.
    """
    for place in PLACES:
        if (place / name).is_dir():
            return place / name
    raise MissingInputError(f"The files of {name} did not come along. Install the package again: pip install .")


def copy_configs(folder: Path) -> None:
    """Copies the pipelines and stage-runner files to a folder; files that are there stay as they are."""
    for source in sorted(folder_to_copy(CONFIGS).glob("*.yaml")):
        copy_file(source, folder / source.name)


def copy_file(source: Path, path: Path) -> None:
    """Copies a YAML file, unless there is one, which its owner may have edited; says on the screen which it was."""
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith(SCHEMA_COMMENT))
    said = "made"
    if not path.exists():
        with put_off():
            publish(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
    else:
        said = "as it was" if path.read_text(encoding="utf-8") == text else "kept as you have it"
    Console(highlight=False).print(f"{path}: {said}", soft_wrap=True, markup=False)
