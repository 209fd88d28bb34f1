"""The rows of a raw table as its chunks hold them: the columns that events need, as text, by their dtypes, or both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import InputError, MissingInputError
from ..expressions.forms import Expression, as_written
from ..precheck.memory import once
from ..work.raw_tables import find_parts
from .event_file.model import Table, TableOptions
from .raw.dialect import Dialect
from .raw.joins import Join, Matches, columns_after, dtypes_added, joined, right_columns
from .raw.spans import Located, Span
from .raw.table import RawTable

_DTYPES: dict[str, pl.DataType] = {
    "str": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
}


@dataclass(frozen=True, eq=False)
class Side:
    """A table that is joined: how, its files, and the columns that are read of it."""

    join: Join
    raw: RawTable
    schema: Mapping[str, pl.DataType]


@dataclass(frozen=True, eq=False)
class TableRows:
    """The rows of a table, those of others joined to them.

    `schema` are the columns that are read. Those in `typed` are read as text and are needed by their inferred dtype,
    too: the text is then beside it, see `as_written`.
    """

    table: Table
    raw: RawTable
    schema: Mapping[str, pl.DataType]
    typed: Mapping[str, pl.DataType]
    sides: Sequence[Side] = ()

    @property
    def chunk_schema(self) -> pl.Schema:
        """The columns of the chunks."""
        read = {**self.schema, **self.typed, **{as_written(name): pl.String() for name in self.typed}}
        dtypes = _schema_with(read, self.table, self.table.before_join)
        for side in self.sides:
            dtypes |= dtypes_added(side.join, side.schema)
        dtypes = _schema_with(dtypes, self.table, self.table.after_join)
        return pl.Schema({name: dtypes[name] for name in self._chunk_columns})

    @property
    def _chunk_columns(self) -> list[str]:
        beside = [as_written(name) for name in self.typed if name in self.table.columns_as_text]
        return [*self.table.columns, *beside]

    @property
    def files(self) -> list[Path]:
        """The files that are read."""
        return [part.path for raw in (self.raw, *(side.raw for side in self.sides)) for part in raw.parts]

    @property
    def settings(self) -> dict[str, Any]:
        """What decides what is read, beside the files."""
        as_text = sorted(self.table.columns_as_text)
        joins = [str(side.join) for side in self.sides]
        settings = {"columns": self.table.columns, "as text": as_text, "joins": joins, **self.table.options.reading}
        return {**settings, "made": dict(self.table.made_by)} if self.table.made_by else settings

    def frames(self, scratch: Path, matches: Sequence[Matches]) -> Iterator[pl.DataFrame]:
        """The rows in order, some at a time.

        Args:
            scratch: a folder for temporary files.
            matches: for each of `sides` one that counts how many rows have a match.

        Raises:
            InputError: a file cannot be read, or has a value or a row that it should not have.
        """
        table = self.table
        frames: Iterator[pl.DataFrame] = (with_made(f, table, table.before_join) for f in self._typed_frames())
        for side, counts in zip(self.sides, matches, strict=True):
            right = side.raw.frames(side.schema)
            frames = joined(frames, side.join, right, side.schema, scratch, counts)
        made = (with_made(frame, table, table.after_join) for frame in frames)
        return (frame[self._chunk_columns] for frame in made)

    def has_places(self, row_chunksize: int) -> bool:
        """Whether chunks of so many rows can be read one by one: of a table that nothing is joined to, in some formats.

        NOTE: joins go through a table in parts of their own.
        """
        return not self.sides and self.raw.has_places(row_chunksize)

    def of_subjects(self) -> "TableRows":
        """The rows with the subject ids alone."""
        table = replace(self.table, events=(), joins=())
        read = {name: self.schema[name] for name in table.file_columns}
        return TableRows(table, self.raw, read, {name: self.typed[name] for name in read if name in self.typed})

    def located(self) -> Iterator[Located]:
        """The rows in order, some at a time, with their places, of a table that has them."""
        start = 0
        for part, rows, place in self.raw.located(self.schema):
            yield Located(part, self._made(self._with_typed(rows, start)), place)
            start += rows.height

    def frames_of(self, spans: Sequence[Span], start: int) -> Iterator[pl.DataFrame]:
        """The rows of spans, some at a time; `start` is the number of the first.

        Raises:
            InputError: as for `frames`.
        """
        return map(self._made, self._typed_frames(spans, start))

    def _made(self, frame: pl.DataFrame) -> pl.DataFrame:
        for made in (self.table.before_join, self.table.after_join):
            frame = with_made(frame, self.table, made)
        return frame[self._chunk_columns]

    def _typed_frames(self, spans: Sequence[Span] | None = None, start: int = 0) -> Iterator[pl.DataFrame]:
        for frame in self.raw.frames(self.schema, spans):
            yield self._with_typed(frame, start)
            start += frame.height

    def _with_typed(self, frame: pl.DataFrame, start: int) -> pl.DataFrame:
        for name, dtype in self.typed.items():
            text = frame[name]
            typed = _typed(text, dtype, self.raw.dialect)
            if (bad := (typed.is_null() & text.is_not_null()).arg_true()).len():
                raise InputError(
                    f"{self.raw.path}, column {name!r}, row {start + bad[0] + 1} after the header: {text[bad[0]]!r} "
                    f"does not fit {dtype}, the dtype inferred from the first rows. Raise "
                    "stage_configs.shard_events.infer_schema_length above that row (null: all rows), give the column's "
                    "dtype in the table's block (dtypes), or correct the value."
                )
            frame = frame.with_columns(typed, text.alias(as_written(name)))
        return frame


def open_rows(table: Table, raw: RawTable, rights: Sequence[RawTable], infer_rows: int | None) -> TableRows:
    """The rows of a table, after a look at its columns and their dtypes.

    Args:
        table: what is wanted of it.
        raw: its files.
        rights: the files of the tables that are joined to it.
        infer_rows: the rows of a text file by which dtypes are told; None: all of them.

    Raises:
        InputError: a table cannot be read, lacks columns, or has a column whose files have no common dtype.
    """
    wanted, exact = table.file_columns, [table.subject_id_col]
    as_text = (table.columns_as_text | table.keys) & {*wanted} - table.options.dtypes.keys()
    schema = raw.schema(wanted, as_text, infer_rows, exact=exact)
    twice = sorted(as_text & table.columns_as_values)
    typed = raw.schema(twice, (), infer_rows, exact=exact) if twice else {}
    typed = {name: dtype for name, dtype in typed.items() if dtype != schema[name]}
    sides = [_side(join, right, table, infer_rows) for join, right in zip(table.joins, rights, strict=True)]
    there = [*raw.columns, *table.before_join]
    for side in sides:
        there = columns_after(side.join, there)
    return TableRows(table, raw, schema, typed, sides)


def with_made(frame: pl.DataFrame, table: Table, made: Mapping[str, Expression]) -> pl.DataFrame:
    """The frame with columns that are made of others, one after the other.

    Raises:
        InputError: one of them cannot be made.
    """
    for name, found in made.items():
        try:
            frame = frame.with_columns(found.expr.alias(name))
        except pl.exceptions.PolarsError as error:
            why = str(error).splitlines()[0]
            raise InputError(f"{table.name}: {table.made_by.get(name, name)} cannot be computed: {why}") from None
    return frame


def _schema_with(
    dtypes: Mapping[str, pl.DataType], table: Table, made: Mapping[str, Expression]
) -> dict[str, pl.DataType]:
    return dict(with_made(pl.DataFrame(schema=dict(dtypes)), table, made).schema)


def _side(join: Join, raw: RawTable, table: Table, infer_rows: int | None) -> Side:
    """A table to join. Its columns are text where they are keys, or events want them as text."""
    as_text = {taken.source for name, taken in join.columns.items() if name in table.columns_as_text}
    subject = join.columns.get(table.subject_id_col)
    exact = [subject.source] if subject else []
    return Side(join, raw, raw.schema(right_columns(join), as_text | {*join.right_on}, infer_rows, exact=exact))


def raw_table(name: str, folder: Path, options: TableOptions) -> RawTable:
    """The files of a table below a folder.

    Raises:
        FileNotFoundError: there is no such table.
    """
    dialect = Dialect(options.separator, options.quote, options.encoding, options.decimal, options.null_values)
    dtypes = {column: _DTYPES[dtype] for column, dtype in options.dtypes.items()}
    return RawTable(name, find_parts(folder, name), dialect, dtypes)


def found_table(name: str, folder: Path, options: TableOptions) -> RawTable | None:
    """The table; None if it is optional and not there, or has no bytes.

    Raises:
        FileNotFoundError: there is no such table, and it is not optional.
    """
    try:
        raw = once((name, folder, repr(options)), lambda: raw_table(name, folder, options))
    except MissingInputError:
        if not options.optional:
            raise
        return None
    return None if options.optional and raw.is_empty else raw


def _typed(text: pl.Series, dtype: pl.DataType, dialect: Dialect) -> pl.Series:
    """Texts as values of a dtype; null where they do not fit."""
    if dtype == pl.Boolean:
        lower = text.str.to_lowercase()
        return (
            pl.select(pl.when(lower == "true").then(True).when(lower == "false").then(False))
            .to_series()
            .alias(text.name)
        )
    values = text.str.replace(",", ".", literal=True) if dialect.decimal == "," else text
    return values.cast(dtype, strict=False)
