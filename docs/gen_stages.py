"""Writes a documentation page per stage, from its docstring, its example, its keys and its YAML, and one of columns.

mkdocs-gen-files runs this file when the documentation is built, and mkdocs itself calls `on_config`, which lists the
pages in the navigation. The stages are those of `MEDS_transforms.stages`. Their modules are read, not imported.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from MEDS_transforms.dataset.schema import COLUMNS
from MEDS_transforms.settings.packaged import EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML
from MEDS_transforms.settings.resolvers import module_docstring
from MEDS_transforms.settings.words import list_of_keys
from MEDS_transforms.stages import EXTRACT, Stage, packaged_stages

# NOTE: mkdocs-gen-files does not look for modules beside the one that it runs.
sys.path.append(str(Path(__file__).parent))
from stage_examples import example_section

GROUPS = {True: "Raw tables to a dataset", False: "A dataset to tensors"}
"""Headings of stages, by whether they are of the extraction."""


@dataclass(frozen=True)
class Page:
    """A stage as the documentation needs it."""

    stage: Stage
    docstring: str
    yaml: str

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name

    @property
    def group(self) -> str:
        """The heading that it is listed below."""
        return GROUPS[self.stage.prefix == EXTRACT]

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, in one line."""
        return " ".join(self.docstring.partition("\n\n")[0].split())


def find_stages() -> list[Page]:
    """The stages of the package: those of the packaged pipelines in their order, then the others."""
    pipelines = (yaml.safe_load(path.read_text()) for path in (EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML))
    order = [stage for pipeline in pipelines for stage in pipeline["stages"]]
    stages = packaged_stages()
    first = [name for name in order if name in stages]
    return [read_stage(stages[name]) for name in dict.fromkeys([*first, *stages])]


def read_stage(stage: Stage) -> Page:
    """Reads what a stage's files say."""
    docstring = module_docstring(stage.module)
    if not docstring:
        raise ValueError(f"{stage.module} has no docstring: it is the help of {stage.script}, and its page.")
    text = stage.block_fp.read_text(encoding="utf-8") if stage.block_fp else ""
    without_declarations = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE)
    return Page(stage, docstring, without_declarations)


def as_markdown(docstring: str) -> str:
    """A docstring with the empty line that Markdown wants before a list."""
    return re.sub(r"^(\S.*)\n(?= *- )", r"\1\n\n", docstring, flags=re.MULTILINE)


def stage_page(page: Page) -> str:
    """The page of one stage."""
    parts = [f"# {page.name}", f"Script: `{page.stage.script}`", as_markdown(page.docstring)]
    parts += [section for section in [example_section(page.name)] if section]
    parts += ["## Keys", as_markdown(list_of_keys(page.name))]
    parts += ["## Defaults", f"```yaml\n{page.yaml.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def index_page(stages: list[Page]) -> str:
    """The page that lists the stages."""
    parts = [
        "# Stages",
        "Each stage is a script, and each page shows what its script makes of a small example. "
        "`MEDS_transforms stages` prints this list.",
    ]
    for group, pages in grouped(stages):
        rows = "\n".join(f"| [{page.name}]({page.name}.md) | {page.summary} |" for page in pages)
        parts.append(f"## {group}\n\n| stage | what it does |\n|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def grouped(stages: list[Page]) -> Iterator[tuple[str, list[Page]]]:
    """The headings, each with its stages."""
    for group in GROUPS.values():
        yield group, [page for page in stages if page.group == group]


def columns_page() -> str:
    """The page of the columns, with a table for each kind of file."""
    parts = ["# Columns", "Every column that the stages read or write by name. Other columns are carried along."]
    for found_in in dict.fromkeys(column.found_in for column in COLUMNS):
        columns = [column for column in COLUMNS if column.found_in == found_in]
        rows = "\n".join(f"| `{c.name}` | {_dtype(c.dtype)} | {c.unit} | {c.meaning} |" for c in columns)
        parts.append(f"## {found_in.capitalize()}\n\n| column | dtype | unit | meaning |\n|---|---|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _dtype(dtype: Any) -> str:
    """A dtype without the names of its parameters."""
    return str(dtype).replace("time_unit='us', time_zone=None", "us")


def write_pages() -> None:
    """Hands the pages to mkdocs."""
    import mkdocs_gen_files

    stages = find_stages()
    pages = {f"stages/{page.name}": stage_page(page) for page in stages}
    pages |= {"stages/index": index_page(stages), "reference/columns": columns_page()}
    for name, text in pages.items():
        with mkdocs_gen_files.open(f"{name}.md", "w") as page:
            page.write(text)


def on_config(config: Any) -> Any:
    """Adds the pages to the section "Stages" of the navigation; an event of mkdocs."""
    for section in config["nav"]:
        if "Stages" in section:
            section["Stages"] += [
                {group: [{page.name: f"stages/{page.name}.md"} for page in pages]}
                for group, pages in grouped(find_stages())
            ]
    return config


# NOTE: mkdocs-gen-files runs the file under this name; the tests import it.
if __name__ == "<run_path>":
    write_pages()
