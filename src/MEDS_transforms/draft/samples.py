"""Finds the raw tables below a folder, and looks at some rows of each."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from ..dataset.columns import columns as as_columns
from ..dataset.dtypes import has_text
from ..errors import InputError, Problems
from ..extract.raw.spans import Span
from ..extract.raw.table import RawTable
from ..work.raw_tables import Format, Part, find_parts, tables_below
from .files import NotTables
from .sniff import dialect_of, is_blank

NO_ROWS = "no rows"
"""What is said of a table without any."""
FIRST_ROWS = 10_000
"""Rows that are looked at from the beginning of a table."""
FURTHER_ROWS = 5_000
"""Rows that are looked at further on, where they can be reached without reading those before them."""
KEY_ROWS = 1_000_000
"""Rows of which keys are read, to see whether they repeat and what else has them; of copies, rows that are compared."""
KEY_BLOCK = 2**22
"""Bytes of text that are read at a time, where many rows are."""

_BLOCK = 2**19
_LARGE = 2**20


@dataclass(frozen=True, eq=False)
class Sample:
    """A raw table, and some of its rows.

    Args:
        raw: the table.
        rows: rows from the beginning and, of large tables, from further on; columns of text files are text.
        whole: whether these are all rows.
        first: how many of them are from the beginning.
    """

    raw: RawTable
    rows: pl.DataFrame
    whole: bool
    first: int

    @property
    def name(self) -> str:
        """The table's name in an event conversion file."""
        return self.raw.name

    @property
    def is_text(self) -> bool:
        """Whether its dtypes are inferred."""
        return any(part.format is Format.TEXT for part in self.raw.parts)

    @property
    def looked_at(self) -> str:
        """In words, which rows these are."""
        if self.whole and not self.rows.height:
            return NO_ROWS
        if self.whole:
            return f"all {self.rows.height:,} rows"
        further = f" and {self.rows.height - self.first:,} further on" if self.rows.height > self.first else ""
        return f"the first {self.first:,} rows{further}"


def find_samples(folder: Path, apart_from: Collection[Path], without: NotTables | None = None) -> list[Sample]:
    """Samples of all tables below a folder, in the order of their names, but for what is known to be none.

    Raises:
        InputError: there are no tables, or some cannot be read; the message lists these.
    """
    if not folder.is_dir():
        what = f"{folder} is no folder" if folder.exists() else f"There is no folder {folder}"
        raise InputError(f"{what}. Name the folder with the raw tables.")
    found, problems, without = [], Problems("Tables cannot be read"), without or NotTables()
    apart_from = [*apart_from, *without.outputs]
    for name in table_names(folder, apart_from, without.copies):
        try:
            found.append(sample_of(name, find_parts(folder, name, apart_from)))
        except InputError as error:
            problems.add(str(error))
    problems.raise_if_any()
    if not found:
        passed_over = "".join(f" {sentence}." for sentence in without.told(folder))
        raise InputError(
            f"There are no tables below {folder}: no parquet, feather or text files (.csv, .tsv, .txt; compressed or "
            f"not). Name the folder with the raw tables.{passed_over}"
        )
    return found


def table_names(folder: Path, apart_from: Collection[Path], copies: Collection[str] = ()) -> list[str]:
    """The names of the tables below a folder; files that differ in a number alone, with the same columns, are one.

    `copies` are tables to leave out.
    """
    files = dict(sorted(tables_below(folder, apart_from)))
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name in (name for name in files if name not in copies):
        pattern = f"{name.rpartition('/')[0]}/{re.sub(r'[0-9]+', '*', Path(name).name)}".removeprefix("/")
        groups.setdefault((pattern, _header(folder, name) if "*" in pattern else ()), []).append(name)
    names = []
    for (pattern, _), members in groups.items():
        names += _names_of(pattern, members, files) if len(members) > 1 else members
    return sorted(names)


def _names_of(pattern: str, members: list[str], files: Collection[str]) -> list[str]:
    """The name of the table that files are parts of: their folder where nothing else is in it, else a pattern.

    Where the pattern fits other files as well, each is a table.
    """
    parent = pattern.rpartition("/")[0]
    beside = [name for name in files if name.rpartition("/")[0] == parent or name.startswith(f"{parent}/")]
    if parent and {*beside} == {*members} and parent not in files:
        return [parent]
    pattern = re.sub(r"\*(\W?\*)+", "*", pattern)
    fitting = [n for n in files if n.count("/") == pattern.count("/") and fnmatchcase(n, pattern)]
    return [pattern] if {*fitting} == {*members} else members


def _header(folder: Path, name: str) -> tuple[str, ...]:
    """The columns of a file, in the order of their names, as parts may have them in any."""
    parts = find_parts(folder, name)
    if not any(part.path.stat().st_size for part in parts):
        return ()
    return tuple(sorted(RawTable(name, parts, dialect_of(parts)).columns))


def sample_of(name: str, parts: list[Part]) -> Sample:
    """A look at a table.

    Raises:
        InputError: it cannot be read.
    """
    raw = RawTable(name, parts, dialect_of(parts), block=_BLOCK)
    try:
        return _sample(raw)
    except InputError:
        if raw.is_empty or all(part.format is Format.TEXT and is_blank(part.path) for part in parts):
            return Sample(raw, pl.DataFrame(), True, 0)
        with suppress(InputError):  # the first error tells more, if quotes are not the reason
            return _sample(replace(raw, dialect=replace(raw.dialect, quote=None)))
        raise


def _sample(raw: RawTable) -> Sample:
    columns = _readable_columns(raw)
    schema = raw.schema(columns, columns, infer_rows=1)
    first = _head(raw.frames(schema), FIRST_ROWS + 1, schema)
    if first.height <= FIRST_ROWS:
        return Sample(raw, first, True, first.height)
    first = first.head(FIRST_ROWS)
    further = [_further(raw, schema, span) for span in _spans_further_on(raw)]
    rows = pl.concat([first, *further])
    return Sample(raw, rows, False, FIRST_ROWS)


def _readable_columns(raw: RawTable) -> list[str]:
    """The columns of a table, but for those of bytes that are no text."""
    no_text = []
    for name in raw.columns_of_bytes:
        schema = raw.schema([name], [], infer_rows=1)
        try:
            _head(raw.frames(schema), FIRST_ROWS + 1, schema)
        except InputError:
            no_text.append(name)
    return [name for name in raw.columns if name not in no_text]


def _head(frames: Iterator[pl.DataFrame], n_rows: int, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    found, height = [pl.DataFrame(schema=schema)], 0
    for frame in frames:
        found.append(frame)
        height += frame.height
        if height >= n_rows:
            break
    return pl.concat(found).head(n_rows)


def _further(raw: RawTable, schema: Mapping[str, pl.DataType], span: Span) -> pl.DataFrame:
    """NOTE: a line end in the middle of a text may be in quotes; rows that are wrong for that are not looked at."""
    try:
        return _head(raw.frames(schema, [span]), span.rows, schema)
    except InputError:
        return pl.DataFrame(schema=schema)


def _spans_further_on(raw: RawTable) -> Iterator[Span]:
    """Rows of the last file: its first where there are others, else some in its middle, if they can be reached."""
    number = len(raw.parts) - 1
    last = raw.parts[number]
    if number:
        yield Span(number, 0, FURTHER_ROWS)
    elif last.format is Format.PARQUET:
        n_rows = pq.read_metadata(last.path).num_rows
        start = max(n_rows // 2, FIRST_ROWS)
        yield Span(0, start, min(FURTHER_ROWS, n_rows - start))
    elif last.format is Format.TEXT and raw.has_places(FIRST_ROWS) and last.path.stat().st_size > _LARGE:
        yield Span(0, FIRST_ROWS, FURTHER_ROWS, start=_row_near_middle(last.path))


def _row_near_middle(path: Path) -> int:
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        file.readline()
        return file.tell()


def sampled(sample: Sample, names: Iterable[str]) -> pl.DataFrame:
    """Columns of the rows that were looked at, as text."""
    return sample.rows.select(as_text(name, sample.rows.schema[name]) for name in names)


@cache
def read_columns(sample: Sample, names: tuple[str, ...]) -> pl.DataFrame:
    """The distinct rows of columns, as text, without those in which one is null; of `KEY_ROWS` rows at most."""
    if sample.whole:
        return sampled(sample, names).drop_nulls().unique()
    raw = replace(sample.raw, block=KEY_BLOCK)
    schema = raw.schema(names, names, infer_rows=1)
    found, height = [], 0
    for frame in raw.frames(schema):
        found.append(frame.select(as_text(name, schema[name]) for name in names).drop_nulls().unique())
        height += frame.height
        if height >= KEY_ROWS:
            break
    return pl.concat(found).unique()


def as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as it is written in a code; null where it is not a number, but of a dtype of numbers."""
    [column] = as_columns([name])
    if not has_text(dtype):
        return pl.lit(None, pl.String).alias(name)
    if dtype.is_float():
        return column.fill_nan(None).cast(pl.String).str.replace(r"\.0$", "")
    return column.cast(pl.String, strict=False)
