"""The notebook of the documentation runs, and puts out what its page shows."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import SCRIPTS

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "guides" / "notebook.ipynb"
_SECONDS = re.compile(r"\d+\.\d s\b")


def generator():
    spec = importlib.util.spec_from_file_location("gen_notebook", DOCS / "gen_notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(path: Path) -> list[str]:
    """What each cell of code puts out, but for the seconds that something took."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    shown = ["".join(generator().outputs_of(cell["outputs"])) for cell in cells if cell["cell_type"] == "code"]
    return [_SECONDS.sub("… s", text) for text in shown]


@pytest.mark.slow
def test_the_notebook_puts_out_what_it_shows(tmp_path):
    shutil.copy(NOTEBOOK, tmp_path)
    command = [SCRIPTS / "jupyter-execute", "--inplace", NOTEBOOK.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / NOTEBOOK.name) == outputs(NOTEBOOK)


def test_the_page_has_every_cell_and_what_it_put_out():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    page = generator().page(notebook)
    assert page.startswith("# In a notebook\n\n")
    assert f"]({NOTEBOOK.name})" in page
    at = 0
    for cell in notebook["cells"]:
        at = page.index("".join(cell["source"]), at)
    assert "Stage 1 of 7, shard_events: done, 2 of 2 units, " in page
    assert page.count("```") == 2 * (page.count("```python\n") + page.count("```text\n"))


def test_an_output_that_a_page_cannot_show_is_an_error():
    cell = {
        "cell_type": "code",
        "source": ["1 / 0"],
        "outputs": [{"output_type": "error", "ename": "ZeroDivisionError"}],
    }
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        [*generator().parts_of(cell)]
