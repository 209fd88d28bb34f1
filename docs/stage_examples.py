"""An example of every stage for its page: docs/examples/<stage>.yaml is run when the documentation is built.

An example file has these keys:

    about       what to look at, in a sentence or two
    files       the input: tables as csv, whatever the suffix of their name, and other text
    after       another stage, whose example is run before in the same folder, with its files and settings
    pipeline    what the pipeline file says; its stages are, unless named, all of the extraction, or this one
    input       the files that the page shows before the stage,
    output      and after it

The stage is run by what its script runs, on a pipeline file, so that the page shows what the script gives.
"""

import atexit
import html
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from textwrap import dedent
from typing import Any

import polars as pl
import yaml

from MEDS_transforms.dataset.schema import COLUMNS, MANDATORY_TYPES
from MEDS_transforms.settings.packaged import EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML
from MEDS_transforms.stages import EXTRACT, packaged_stages

FOLDER = Path(__file__).parent / "examples"
PIPELINE = "pipeline.yaml"
LANGUAGES = {".yaml": "yaml", ".json": "json", ".csv": "text"}


@dataclass(frozen=True)
class Example:
    """An example file; `before` is the example that its key `after` names, `settings` the text below `pipeline`."""

    stage: str
    about: str
    input: list[str]
    output: list[str]
    settings: str = ""
    before: "Example | None" = None
    files: dict[str, str] = field(default_factory=dict)
    pipeline: dict[str, Any] = field(default_factory=dict)

    @property
    def chain(self) -> "list[Example]":
        """The examples to run, this one last."""
        return [*(self.before.chain if self.before else []), self]


@cache
def example_of(stage: str) -> Example | None:
    """The example of a stage; None where it has none."""
    path = FOLDER / f"{stage}.yaml"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    settings = re.search(r"^pipeline:\n((?:  .*\n)+)", text, re.MULTILINE)
    before = example_of(content.pop("after")) if "after" in content else None
    return Example(stage, before=before, settings=dedent(settings[1]) if settings else "", **content)


def pipeline_of(example: Example) -> dict[str, Any]:
    """The whole pipeline file of an example, with the settings of all examples of its chain."""
    if packaged_stages()[example.stage].prefix == EXTRACT:
        base, own = EXTRACT_CONFIG_YAML, {"input_dir": "raw", "event_conversion_config_fp": "events.yaml"}
    else:
        base, own = PREPROCESS_CONFIG_YAML, {"input_dir": "dataset", "stages": [example.stage]}
    content = {
        "defaults": [base.stem, "_self_"],
        "hydra": {"searchpath": ["pkg://MEDS_transforms.configs"]},
        "cohort_dir": "cohort",
        "strict": True,
        "etl_metadata": {"dataset_name": "example", "dataset_version": "1"},
        **own,
    }
    blocks: dict[str, Any] = {}
    for step in example.chain:
        blocks |= step.pipeline.get("stage_configs", {})
        content |= step.pipeline
    return {**content, "stage_configs": blocks}


def prepare(example: Example, folder: Path) -> None:
    """Writes the input and the pipeline file of an example."""
    for name, text in example.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            read_table(text).write_parquet(path)
        else:
            path.write_text(text, encoding="utf-8")
    (folder / PIPELINE).write_text(yaml.safe_dump(pipeline_of(example), sort_keys=False), encoding="utf-8")


def read_table(text: str) -> pl.DataFrame:
    """A table that is written as csv, with the dtypes of MEDS columns; counts are unsigned."""
    known = {c.name: c.dtype if isinstance(c.dtype, pl.DataType) else pl.UInt32() for c in COLUMNS} | MANDATORY_TYPES
    columns = next(io.StringIO(text)).strip().split(",")
    return pl.read_csv(text.encode(), schema_overrides={name: known[name] for name in columns if name in known})


@cache
def folder_of(stage: str) -> Path:
    """A folder in which the example of a stage, and those before it, have been run; it goes when the build ends."""
    example = example_of(stage)
    if example is None:
        raise ValueError(f"{stage} has no example: {FOLDER / stage}.yaml is missing.")
    if example.before:
        folder = folder_of(example.before.stage)
    else:
        folder = Path(mkdtemp(prefix="example-"))
        atexit.register(rmtree, folder)
    prepare(example, folder)
    run(stage, folder)
    return folder


def run(stage: str, folder: Path) -> None:
    """Runs a stage, as its script does, in a folder that `prepare` has filled."""
    from hydra import compose, initialize_config_dir

    from MEDS_transforms.cli.script import run_stage

    with chdir(folder), quiet(), initialize_config_dir(str(folder.resolve()), version_base=None):
        cfg = compose(Path(PIPELINE).stem, [f"++stage={stage}"])
        run_stage(packaged_stages()[stage].module, cfg, stage)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the stages' logs out of those of the build."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def example_section(stage: str) -> str:
    """The section of a stage's page, in Markdown: input, settings and output; empty where there is no example."""
    example = example_of(stage)
    if example is None:
        return ""
    folder = folder_of(stage)
    settings = f'```yaml title="{PIPELINE}"\n{example.settings}```' if example.settings else "The defaults."
    parts = ["## Example", example.about.strip()]
    parts += ["### Input", *(show_file(folder, file) for file in example.input)]
    parts += ["### Settings", settings]
    parts += ["### Output", *(show_file(folder, file) for file in example.output)]
    return "\n\n".join(parts)


def show_file(folder: Path, file: str) -> str:
    """A file in Markdown: tables and tensors as tables below its name, all else as it is."""
    path = folder / file
    if path.suffix == ".parquet":
        return show_frame(file, pl.read_parquet(path, glob=False))
    if path.suffix in (".nrt", ".safetensors"):
        return show_frame(file, read_tensors(path))
    text = path.read_text(encoding="utf-8")
    text = json.dumps(json.loads(text)) if path.suffix == ".json" else text
    return f'```{LANGUAGES[path.suffix]} title="{file}"\n{text.rstrip()}\n```'


def read_tensors(path: Path) -> pl.DataFrame:
    """The tensors of a file, a row each."""
    from safetensors.numpy import load_file

    tensors = sorted(load_file(path).items())
    rows = [{"tensor": name, "dtype": str(tensor.dtype), "values": show(tensor.tolist())} for name, tensor in tensors]
    return pl.DataFrame(rows)


def show_frame(title: str, frame: pl.DataFrame) -> str:
    """A frame as a table in Markdown, with the dtypes of its columns, below the name of its file."""
    head = [f"{escaped(name)}<br><small>{short(dtype)}</small>" for name, dtype in frame.schema.items()]
    numbers = ["--:" if dtype.is_numeric() else "---" for dtype in frame.dtypes]
    rows = [head, numbers, *([as_cell(value) for value in row] for row in frame.rows())]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f'<div class="frame" markdown>\n\n<p class="filename">{html.escape(title)}</p>\n\n{table}\n\n</div>'


def short(dtype: pl.DataType) -> str:
    """A dtype without the words that say nothing here."""
    return re.sub(r"time_unit='(\w+)', time_zone=None", r"\1", str(dtype))


def as_cell(value: Any) -> str:
    """A value as the cell of a table; null is marked, so that it is not taken for text."""
    return '<span class="null">null</span>' if value is None else escaped(show(value))


def show(value: Any) -> str:
    """A value as text, floats with what digits matter of their 32 bits."""
    if isinstance(value, list):
        return f"[{', '.join(show(item) for item in value)}]"
    if isinstance(value, float):
        return "NaN" if value != value else f"{value:.7g}" if value % 1 else f"{value:.1f}"
    return "null" if value is None else str(value)


def escaped(text: str) -> str:
    """Text that neither Markdown nor HTML takes for more than text."""
    return re.sub(r"([\\`*_{}\[\]|~^#])", r"\\\1", html.escape(text, quote=False))
