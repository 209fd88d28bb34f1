"""Writes a documentation page per stage, from the stage's docstring and its commented YAML.

mkdocs-gen-files runs this file when the documentation is built. The stages are those of the table in
stages.py. Modules are read, not imported: the documentation needs none of the package's
requirements.
"""

import ast
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "MEDS_transforms"


@dataclass(frozen=True)
class Stage:
    """A stage as the documentation needs it."""

    name: str
    script: str
    docstring: str
    yaml: str

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, in one line."""
        return " ".join(self.docstring.partition("\n\n")[0].split())


def find_stages(package: Path = PACKAGE) -> list[Stage]:
    """The stages of the package's table, in its order. NOTE: the table is run by itself, without the package."""
    table = runpy.run_path(str(package / "stages.py"))
    return [read_stage(name, table["script_of"](name)) for name in table["STAGES"]]


def read_stage(name: str, script: str) -> Stage:
    """Looks up the module and the YAML of a stage, which both bear its name."""
    modules = sorted(PACKAGE.glob(f"*/{name}.py"))
    if len(modules) != 1:
        raise ValueError(f"{script} should have one module {name}.py below {PACKAGE}, it has {modules}.")
    docstring = ast.get_docstring(ast.parse(modules[0].read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{modules[0]} has no docstring: it is the help of {script}, and its page.")
    config = PACKAGE / "configs" / "stage_configs" / f"{name}.yaml"
    return Stage(name, script, docstring, config.read_text(encoding="utf-8") if config.is_file() else "")


def as_markdown(docstring: str) -> str:
    """A docstring with the empty line that Markdown wants before a list."""
    return re.sub(r"^(\S.*)\n(?= *- )", r"\1\n\n", docstring, flags=re.MULTILINE)


def stage_page(stage: Stage) -> str:
    """The page of one stage."""
    parts = [f"# {stage.name}", f"Script: `{stage.script}`", as_markdown(stage.docstring)]
    if stage.yaml:
        parts += ["## Keys and defaults", f"```yaml\n{stage.yaml.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def index_page(stages: list[Stage]) -> str:
    """The page that lists the stages."""
    rows = "\n".join(f"| [{s.name}]({s.name}.md) | {s.summary} |" for s in stages)
    return (
        "# Stages\n\nEach stage is a script. The pages are made from the scripts' own help and the packaged "
        "configuration.\n\n"
        f"| stage | what it does |\n|---|---|\n{rows}\n"
    )


def write_pages() -> None:
    """Hands the pages to mkdocs."""
    import mkdocs_gen_files

    stages = find_stages()
    pages = {stage.name: stage_page(stage) for stage in stages} | {"index": index_page(stages)}
    for name, text in pages.items():
        with mkdocs_gen_files.open(f"stages/{name}.md", "w") as page:
            page.write(text)


# NOTE: mkdocs-gen-files runs the file under this name; the tests import it.
if __name__ == "<run_path>":
    write_pages()
