"""A small valid dataset, and ways to break it."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Break = Callable[[Path], object]

TRAIN_0, TRAIN_1, TUNING, HELD_OUT = (
    "data/train/0.parquet",
    "data/train/1.parquet",
    "data/tuning/0.parquet",
    "data/held_out/0.parquet",
)
CODES, SPLITS, DATASET = "metadata/codes.parquet", "metadata/subject_splits.parquet", "metadata/dataset.json"
SCHEMA = pa.schema(
    {"subject_id": pa.int64(), "time": pa.timestamp("us"), "code": pa.string(), "numeric_value": pa.float32()}
)
DESCRIBED = {"MEDS_BIRTH": "birth", "MEDS_DEATH": "death", "SEX//F": "female", "LAB": None, "GROUP": "a group"}


def life(subject: int, dies: bool = True) -> list[tuple[Any, ...]]:
    """Six rows of a subject, five of one that does not die; static first."""
    years = [(None, "SEX//F"), (1950, "MEDS_BIRTH"), (2001, "LAB"), (2001, "LAB"), (2010, "LAB"), (2010, "MEDS_DEATH")]
    rows = [(subject, year and datetime(year, 1, 2), code, 0.5 if code == "LAB" else None) for year, code in years]
    return rows if dies else rows[:-1]


def table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Rows as an arrow table."""
    return pa.table(
        [pa.array(values, f.type) for values, f in zip(zip(*rows, strict=True), schema, strict=True)], schema
    )


def write(root: Path, name: str, content: pa.Table, **options: Any) -> None:
    """Writes a parquet file of a dataset."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, root / name, **options)


def make_dataset(root: Path, meds_version: str = "0.4.1") -> Path:
    """Writes a dataset in which nothing is wrong: subjects 1, 2 | 3 in train, 4 in tuning, 5 in held_out."""
    write(root, TRAIN_0, table([*life(2), *life(1)]))  # subjects need no order
    write(root, TRAIN_1, table(life(3, dies=False)))
    write(root, TUNING, table(life(4)))
    write(root, HELD_OUT, table(life(5)))
    codes = {
        "code": [*DESCRIBED],
        "description": [*DESCRIBED.values()],
        "parent_codes": [None, None, None, ["GROUP"], []],
    }
    types = {"code": pa.string(), "description": pa.string(), "parent_codes": pa.list_(pa.string())}
    write(root, CODES, pa.table(codes, pa.schema(types)))
    splits = {"subject_id": [1, 2, 3, 4, 5], "split": ["train", "train", "train", "tuning", "held_out"]}
    write(root, SPLITS, pa.table(splits))
    about = {"dataset_name": "D", "meds_version": meds_version, "created_at": "2026-01-31T12:00:00"}
    (root / DATASET).write_text(json.dumps(about))
    return root


def change(name: str, how: Callable[[pa.Table], pa.Table]) -> Break:
    """Reads a file, changes it and writes it again."""
    return lambda root: write(root, name, how(pq.ParquetFile(root / name).read()))


def cells(name: str, column: str, *values: tuple[int, Any]) -> Break:
    """Puts other values into some rows of a column: pairs of row and value."""

    def put(found: pa.Table) -> pa.Table:
        content = found[column].to_pylist()
        for row, value in values:
            content[row] = value
        at = found.schema.get_field_index(column)
        return found.set_column(at, found.schema.field(at), pa.array(content, found.schema.field(at).type))

    return change(name, put)


def cast(name: str, column: str, to: pa.DataType) -> Break:
    """Gives a column another type."""

    def put(found: pa.Table) -> pa.Table:
        return found.set_column(found.schema.get_field_index(column), column, found[column].cast(to))

    return change(name, put)


def encoded(name: str, column: str) -> Break:
    """Gives a column of text a dictionary."""
    return change(
        name,
        lambda found: found.set_column(
            found.schema.get_field_index(column), column, found[column].combine_chunks().dictionary_encode()
        ),
    )


def in_order(name: str, *rows: int) -> Break:
    """Takes some rows of a file, in this order."""
    return change(name, lambda found: found.take(list(rows)))


def add(name: str, column: str, values: pa.Array) -> Break:
    """Adds a column."""
    return change(name, lambda found: found.append_column(column, values))


def drop(name: str, *columns: str) -> Break:
    """Drops columns."""
    return change(name, lambda found: found.drop_columns(list(columns)))


def rename(name: str, **names: str) -> Break:
    """Gives columns other names."""
    return change(name, lambda found: found.rename_columns([names.get(n, n) for n in found.column_names]))


def more(name: str, **row: Any) -> Break:
    """Adds a row."""
    return change(name, lambda found: pa.concat_tables([found, pa.Table.from_pylist([row], found.schema)]))


def without(name: str) -> Break:
    """Removes a file."""
    return lambda root: (root / name).unlink()


def put(name: str, content: bytes = b"") -> Break:
    """Writes a file, and its folder."""

    def write_it(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return write_it


def cut(name: str, n: int) -> Break:
    """Leaves out the last bytes of a file."""
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-n])


def damaged(name: str) -> Break:
    """Overwrites the first pages of a file, but neither its first word nor its footer."""

    def spoil(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[4:60] = b"\xff" * 56
        (root / name).write_bytes(content)

    return spoil


def garbled(name: str, text: bytes) -> Break:
    """Makes a text in a file one that is no UTF-8, wherever it stands."""

    def spoil(root: Path) -> None:
        write(root, name, pq.ParquetFile(root / name).read(), compression="none", store_schema=False)
        content = (root / name).read_bytes()
        assert text in content
        (root / name).write_bytes(content.replace(text, b"\xff" * len(text)))

    return spoil


def says(**about: Any) -> Break:
    """Adds to what dataset.json says."""
    return lambda root: (root / DATASET).write_text(json.dumps({**json.loads((root / DATASET).read_text()), **about}))


def link(name: str, target: str) -> Break:
    """Makes a link."""
    return lambda root: (root / name).symlink_to(target)


def dangling(name: str) -> Break:
    """Makes a file a link to nothing."""
    return together(without(name), link(name, "gone"))


def together(*breaks: Break) -> Break:
    """One after the other."""
    return lambda root: [each(root) for each in breaks]
