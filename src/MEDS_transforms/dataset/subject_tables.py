"""Tables that a user gives, and that say one thing of each subject: its split, or its group."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..errors import InputError, MissingInputError, Problems, counted, listed, nearest
from ..settings.layout import TABLE_SUFFIXES
from .dtypes import is_text
from .io import scan_parquet
from .schema import SUBJECT_ID
from .subjects import subject_ids

Ids = Callable[[pl.Series, str], pl.Series]
"""Subject ids as they are compared, of a column and its place; see `subjects.subject_ids`."""


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.name.lower().endswith(TABLE_SUFFIXES)


def read_subject_table(path: Path, key: str, column: str, ids: Ids = subject_ids, nulls: bool = False) -> pl.DataFrame:
    """The subjects of a table, each once, with what a column says of them as text; rows in the order of the file.

    Args:
        path: a parquet or csv file with the columns subject_id and `column`; others are left alone.
        key: the setting that names the file, for messages.
        column: text, or integers.
        ids: what makes subject ids of the column.
        nulls: whether the column may be null; such rows are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be used; the message lists all that is wrong with it.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no file {path} ({key})", remedy="Check the path.")
    found = Findings(path, Problems(f"The table that {key} names cannot be used"))
    table = _read(path, column, found)
    if table.is_empty():
        found.add("it has no rows", "Fill it, or remove the key")
    rows = table.select(_ids(table[SUBJECT_ID], ids, found), _texts(table[column], found))
    found.problems.raise_if_any()
    for name in [SUBJECT_ID] if nulls else [SUBJECT_ID, column]:
        if n := rows[name].null_count():
            found.add(f"null in {counted(n, 'row')}", "Fill it in there, or remove these rows", name)
    known = rows.drop_nulls().unique(maintain_order=True)
    _check_unique(known, column, found)
    found.problems.raise_if_any()
    return known


@dataclass(frozen=True)
class Findings:
    """What is wrong with a table, each with its file and column."""

    path: Path
    problems: Problems

    def add(self, what: str, remedy: str, column: str = "") -> None:
        """Notes one problem."""
        self.problems.add(what, f"{self.path}, column {column}" if column else str(self.path), remedy)


def _read(path: Path, column: str, found: Findings) -> pl.DataFrame:
    """The two columns.

    Raises:
        ValueError: there is no such table.
    """
    wanted = [SUBJECT_ID, column]
    try:
        is_text = ".csv" in path.name.lower()
        table = pl.read_csv(path, infer_schema=False, glob=False).lazy() if is_text else scan_parquet(path)
        names = table.collect_schema().names()
        for name in wanted:
            if name not in names:
                what = f"there is no column {name}{nearest(name, names)}; it has {listed(names)}"
                found.add(what, f"Name its columns {SUBJECT_ID} and {column}")
        found.problems.raise_if_any()
        return table.select(wanted).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        found.add(f"it cannot be read: {str(error).splitlines()[0]}", "Get a new copy")
        found.problems.raise_if_any()
        raise


def _ids(ids: pl.Series, convert: Ids, found: Findings) -> pl.Series:
    try:
        return convert(ids, SUBJECT_ID).alias(SUBJECT_ID)
    except InputError as error:
        [problem] = error.problems
        found.add(problem.what, "Correct them", SUBJECT_ID)
        return ids


def _texts(values: pl.Series, found: Findings) -> pl.Series:
    if not (is_text(values.dtype) or values.dtype.is_integer() or values.dtype == pl.Null):
        found.add(f"must be text or integers, not {values.dtype}", "Cast it", values.name)
        return values
    return values.cast(pl.String).replace("", None)


def _check_unique(rows: pl.DataFrame, column: str, found: Findings) -> None:
    if (twice := rows.filter(pl.col(SUBJECT_ID).is_duplicated())).is_empty():
        return
    subject = twice[SUBJECT_ID][0]
    values = ", ".join(map(repr, twice.filter(pl.col(SUBJECT_ID) == subject)[column]))
    what = f"{counted(twice[SUBJECT_ID].n_unique(), 'subject')} with several values, such as {subject!r} with {values}"
    found.add(what, "Keep one for each subject", column)
