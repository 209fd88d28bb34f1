"""Writes a draft as YAML that people read and edit: a line for each key, with why it is so."""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from .model import Draft, Entry, TableDraft
from .samples import NO_ROWS

WIDTH = 120
UNSURE = "unsure:"
"""What is searched for in a draft."""

_PLAIN = re.compile(r"[^\W\d][\w./ -]*(?:\([\w ./-]+\))?")
_ONE_SPLIT = "    split_fracs: {train: 1, tuning: null, held_out: null} # so few subjects are not split\n"
_WORDS = {"null", "true", "false", "yes", "no", "off", "y", "n"}


def event_file_text(draft: Draft, folder: str) -> str:
    """The event conversion file of a draft."""
    head = f"A draft, made by MEDS_transforms init of {folder}: how the rows of its tables become measurements."
    lines = _comment(f'{head} Read it, and look for "{UNSURE}". Guide: docs/guides/event_conversion.md', 0)
    lines += [line for entry in draft.entries for line in _entry(entry, 0)]
    for table in draft.tables:
        lines += ["", *_table(table)]
    for sentence in draft.passed_over:
        lines += ["", *_comment(sentence, 0)]
    return "\n".join(lines) + "\n"


def _table(table: TableDraft) -> Iterator[str]:
    looked_at = f"{table.looked_at} looked at" if table.looked_at not in ("", NO_ROWS) else table.looked_at
    yield from _comment("; ".join(filter(None, [looked_at, table.note])), 0)
    if table.unsure:
        yield from _comment(f"{UNSURE} {table.unsure}", 0)
    has_block = table.events or table.entries
    yield f"{'' if has_block else '# '}{inline(table.name)}{':' if has_block else ''}"
    yield from (line for entry in table.entries for line in _entry(entry, 2))
    for event in table.events:
        yield f"  {inline(event.name)}:"
        yield from (line for entry in event.entries for line in _entry(entry, 4))
    if table.left_out:
        yield from _left_out(table)


def _left_out(table: TableDraft) -> Iterator[str]:
    where = "an event" if table.events else "the _metadata of an event"
    addable = any(left.line for left in table.left_out)
    yield "  # Left out" + (f". To keep one, put its line into {where}, without the #:" if addable else ":")
    for left in table.left_out:
        added = f"{inline(left.line)}: {inline(left.column)}"
        line = f"  #   {added}" if left.line else f"  #   ({left.column or inline(left.column)})"
        yield f"{line}  # {left.why}"


def _entry(entry: Entry, indent: int) -> Iterator[str]:
    if entry.unsure:
        yield from _comment(f"{UNSURE} {entry.unsure}", indent)
    yield from _value(entry, indent)
    yield from (f"{' ' * indent}# {line}" for line in entry.addable)


def _value(entry: Entry, indent: int) -> Iterator[str]:
    line = f"{' ' * indent}{inline(entry.key)}: {inline(entry.value)}"
    if (len(line) > WIDTH and isinstance(entry.value, dict | list)) or entry.key == "_metadata":
        yield from _comment(entry.why, indent)
        yield f"{' ' * indent}{inline(entry.key)}:"
        yield from _block(entry.value, indent + 2)
    elif not entry.why:
        yield line
    elif len(line) + len(entry.why) + 4 <= WIDTH:
        yield f"{line}  # {entry.why}"
    else:
        yield from _comment(entry.why, indent)
        yield line


def _block(value: object, indent: int) -> Iterator[str]:
    space = " " * indent
    if isinstance(value, list):
        yield from (f"{space}- {inline(item)}" for item in value)
        return
    assert isinstance(value, dict)
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield f"{space}{inline(key)}:"
            yield from _block(inner, indent + 2)
        else:
            yield f"{space}{inline(key)}: {inline(inner)}"


def _comment(text: str, indent: int) -> list[str]:
    start = f"{' ' * indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False)


def inline(value: object) -> str:
    """A value as YAML in one line.

    >>> inline(["LAB", "col(item)", "12", "%Y"]), inline({"a": None})
    ('[LAB, col(item), "12", "%Y"]', '{a: null}')
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inline(key)}: {inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    is_plain = isinstance(value, str) and _PLAIN.fullmatch(value) and value == value.strip()
    return str(value) if is_plain and str(value).lower() not in _WORDS else json.dumps(value, ensure_ascii=False)


def pipeline_file_text(input_dir: Path, cohort_dir: Path, event_file: Path, dataset_name: str, one_split: bool) -> str:
    """The pipeline file of a draft, which builds on the packaged one; `one_split`: for too few subjects for three."""
    split = _ONE_SPLIT if one_split else ""
    return f"""\
# A draft, made by MEDS_transforms init: where the tables and the dataset are. Guide: docs/guides/runner.md
#
#   MEDS_transforms run pipeline.yaml

defaults:
  - _extract # the packaged pipeline, on which this file builds; it has the stages and their defaults
  - _self_

hydra:
  searchpath:
    - pkg://MEDS_transforms.configs

input_dir: {inline(str(input_dir))} # the folder of raw tables
cohort_dir: {inline(str(cohort_dir))} # the folder of the dataset; the finished parts are data/ and metadata/
event_conversion_config_fp: {inline(str(event_file))} # which rows become which measurements

etl_metadata: # goes into metadata/dataset.json
  dataset_name: {inline(dataset_name)}
  dataset_version: "1"

strict: true # a misspelt key is an error

# Further keys: MEDS_extract-<stage> --help, and configs/extraction.yaml, which has them all.
stage_configs:
  shard_events:
    row_chunksize: 200000000 # rows per chunk, the default; more workers need smaller chunks
  split_and_shard_subjects:
    n_subjects_per_shard: 50000 # the default
{split}  finalize_MEDS_metadata:
    include_all_codes: true # every code has a row in codes.parquet, as the MEDS standard requires
"""
