"""Writes the page of the notebook: its text, its code, and the outputs of its last execution.

mkdocs-gen-files runs this file when the documentation is built. The page is plain Markdown, which needs no script or
style from another host. `jupyter execute --inplace docs/guides/notebook.ipynb`, in an empty folder, makes new outputs;
`tests/docs/test_notebook.py` checks that they are those that are shown.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent / "guides" / "notebook.ipynb"
PAGE = "guides/notebook.md"
DOWNLOAD = f"[Download this notebook]({NOTEBOOK.name}), and run it in an empty folder."


def page(notebook: dict[str, Any]) -> str:
    """The page of a notebook."""
    parts = [part for cell in notebook["cells"] for part in parts_of(cell)]
    return "\n\n".join([*parts[:1], DOWNLOAD, *parts[1:]]) + "\n"


def parts_of(cell: dict[str, Any]) -> Iterator[str]:
    """A cell in Markdown: text as it is, code and what it has put out as blocks."""
    if cell["cell_type"] == "markdown":
        yield "".join(cell["source"])
        return
    yield fenced("python", "".join(cell["source"]))
    if shown := "".join(outputs_of(cell["outputs"])).rstrip():
        yield fenced("text", shown)


def outputs_of(outputs: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What a cell has put out, as plain text, in its order.

    Raises:
        ValueError: it is an error, or nothing of it is text.
    """
    for output in outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain")
        if text is None:
            raise ValueError(f"There is no text in the notebook's output {output}.")
        yield "".join(text) if output["output_type"] == "stream" else "".join(text) + "\n"


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"


# NOTE: mkdocs-gen-files runs the file under this name; the tests import it.
if __name__ == "<run_path>":
    import mkdocs_gen_files

    with mkdocs_gen_files.open(PAGE, "w") as file:
        file.write(page(json.loads(NOTEBOOK.read_text(encoding="utf-8"))))
