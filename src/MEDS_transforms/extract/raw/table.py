"""A raw table, whatever its files are: its columns, their dtypes, and its rows, in order and in bounded memory."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, reduce
from lzma import LZMAError
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ...dataset.columns import columns
from ...dataset.dtypes import WIDE_INTEGERS, common_dtype
from ...errors import InputError, Problem, UserError, listed, nearest, warn_of
from ...work.raw_tables import Format, Part
from .casts import cast_part
from .decoding import wrongly_decoded
from .delimited import BLOCK, OTHER_ENCODING, DelimitedFile, wider
from .dialect import Dialect, separator_hint
from .feather import feather_frames, feather_schema
from .spans import Located, Place, Span, within

logger = logging.getLogger(__name__)

_BATCH_ROWS = 250_000
_GROUPS_IN_CHUNK = 4
"""How many row groups of a parquet file a chunk must have, since those at its ends are decoded for two chunks."""
_DAMAGED = ". The file is damaged, truncated or in another format", "Get a new copy."


@dataclass(frozen=True, eq=False)
class RawTable:
    """A raw table.

    Args:
        name: its name in the event conversion file.
        parts: its files, in order; none if it may be missing, and is: it then has all columns, of nulls, and no rows.
        dialect: how they are written, where they are text.
        dtypes: dtypes of columns of text files, in place of those that are inferred.
        block: how many bytes of text are read at a time.
    """

    name: str
    parts: Sequence[Part]
    dialect: Dialect = field(default_factory=Dialect)
    dtypes: Mapping[str, pl.DataType] = field(default_factory=dict)
    block: int = BLOCK

    @cached_property
    def columns(self) -> list[str]:
        """The columns of the first part, those that folders stand for last.

        Raises:
            InputError: it cannot be read.
        """
        return self._columns_of(self.parts[0])

    @property
    def columns_of_bytes(self) -> list[str]:
        """Those of the columns that hold bytes in the first part; they are read as text, in UTF-8."""
        [first, *_] = self.parts
        if first.format is Format.TEXT:
            return []
        with self._reading(first):
            return [name for name, dtype in _dtypes_in(first).items() if dtype == pl.Binary]

    @property
    def is_empty(self) -> bool:
        """Whether its files have no bytes."""
        return not any(part.path.stat().st_size for part in self.parts)

    @property
    def path(self) -> str:
        """Where the table is, in words."""
        first = str(self.parts[0].path)
        return first if len(self.parts) == 1 else f"{first} and {len(self.parts) - 1} more"

    def warn_of_encoding(self) -> None:
        """Logs a warning where the first file is UTF-8, but to be read as another encoding, which makes other words."""
        encoding = self.dialect.encoding
        for part in self.parts[:1] if self.parts and self.parts[0].format is Format.TEXT else ():
            with self._reading(part):
                words = wrongly_decoded(part.path, encoding)
            if words:
                former, read = words
                what = f"{part.path} is valid UTF-8, but read as {encoding}, so that {former!r} becomes {read!r}"
                warn_of(logger, what, f"{self.name}.encoding", "Set encoding: utf-8 in the table's block")

    def schema(
        self,
        wanted: Collection[str],
        as_text: Collection[str],
        infer_rows: int | None,
        exact: Collection[str] = (),
    ) -> dict[str, pl.DataType]:
        """The dtypes of some columns, which all parts must have.

        Args:
            wanted: the columns.
            as_text: those that are text where the file is text.
            infer_rows: the rows of each text file by which the dtypes of others are told; None: all rows.
            exact: those that are text where the file is text and they look like floats, so that no digit is lost.

        Raises:
            InputError: a part lacks columns or cannot be read, or a column has no dtype for the values of all parts.
        """
        if not self.parts:
            return dict.fromkeys(wanted, pl.Null())
        found = [self._schema_of(part, wanted, as_text, infer_rows) for part in self.parts]
        self._tell_of_columns_there_twice(wanted)
        common = {name: self._common(name, [schema[name] for schema in found]) for name in wanted}
        if any(part.format is Format.TEXT for part in self.parts):
            inexact = [n for n in exact if n in common and n not in self.dtypes and common[n].is_float()]
            common |= dict.fromkeys(inexact, pl.String())
        return common

    def frames(self, schema: Mapping[str, pl.DataType], spans: Iterable[Span] | None = None) -> Iterator[pl.DataFrame]:
        """The rows with these columns, or those of some spans alone, some at a time.

        Raises:
            InputError: a part cannot be read, or a value is not the same in its column's dtype; the message names the
                part, the row where that is known, and what to do.
        """
        whole = [(part, None) for part in self.parts]
        for part, span in whole if spans is None else ((self.parts[span.part], span) for span in spans):
            with self._reading(part):
                frames = self._cast(self._frames_of(part, schema, span), part, schema)
                yield from within(frames, span) if span else frames

    def has_places(self, row_chunksize: int) -> bool:
        """Whether chunks of so many rows can be read one by one without reading much of others."""
        return all(self._has_places(part, row_chunksize) for part in self.parts)

    def _has_places(self, part: Part, row_chunksize: int) -> bool:
        if part.format is Format.TEXT:
            return self._file(part).has_places
        return part.format is Format.PARQUET and _rows_in_group(part) * _GROUPS_IN_CHUNK <= row_chunksize

    def located(self, schema: Mapping[str, pl.DataType]) -> Iterator[Located]:
        """As `frames`, with the places of rows, of a table that has them; fields of other columns are not looked at."""
        for number, part in enumerate(self.parts):
            in_file = self._in_file(part, schema)
            with self._reading(part):
                if part.format is Format.TEXT:
                    for frame, place in self._file(part).located(in_file):
                        [cast] = self._cast([self._with_partition(frame, part, schema)], part, schema)
                        yield Located(number, cast, place)
                else:
                    frames = self._cast(self._frames_of(part, schema), part, schema)
                    yield from (Located(number, frame, lambda _: Place(0, 0, 0)) for frame in frames)

    def _cast(
        self, frames: Iterable[pl.DataFrame], part: Part, schema: Mapping[str, pl.DataType]
    ) -> Iterator[pl.DataFrame]:
        what = f"the table {self.name} ({part.path})"
        for frame in frames:
            others = [frame[name] for name, dtype in schema.items() if frame.schema[name] != dtype]
            yield frame.with_columns(cast_part(values, schema[values.name], what) for values in others)

    def _columns_of(self, part: Part) -> list[str]:
        there = self._columns_in_file(part)
        return [*there, *(name for name in part.partition if name not in there)]

    def _columns_in_file(self, part: Part) -> list[str]:
        with self._reading(part):
            return self._file(part).columns if part.format is Format.TEXT else [*self._stored(part)]

    def _tell_of_columns_there_twice(self, wanted: Collection[str]) -> None:
        of_folders = {*wanted} & self.parts[0].partition.keys()
        if twice := sorted(of_folders and of_folders & {*self._columns_in_file(self.parts[0])}):
            logger.warning(
                "The table %s has %s in its files and in the names of its folders (%s): the latter are taken",
                self.name,
                listed(twice),
                self.parts[0].path,
            )

    def _schema_of(
        self, part: Part, wanted: Collection[str], as_text: Collection[str], infer_rows: int | None
    ) -> dict[str, pl.DataType]:
        there = self._columns_of(part)
        if missing := [name for name in wanted if name not in there]:
            raise InputError(
                f"The table {self.name} ({part.path}) has no column {missing[0]!r}{nearest(missing[0], there)}. "
                f"It has: {listed(there)}",
                remedy=separator_hint(there) if part.format is Format.TEXT else "",
            )
        partition = dict.fromkeys(part.partition, pl.String())
        with self._reading(part):
            if part.format is not Format.TEXT:
                return self._stored(part) | partition
            given = {**self.dtypes} | dict.fromkeys(as_text, pl.String())
            file = self._file(part)
            inferred = file.inferred(infer_rows) if {*wanted} - {*given, *partition} else {}
            return inferred | {name: given[name] for name in wanted if name in given} | partition

    def _common(self, name: str, dtypes: Sequence[pl.DataType]) -> pl.DataType:
        inferred = all(part.format is Format.TEXT for part in self.parts)
        common = reduce(wider, dtypes) if inferred else common_dtype(dtypes)
        if common is None:
            raise InputError(
                f"The table {self.name}: the column {name!r} has dtypes in its files that have nothing in common: "
                f"{listed(dtypes)}",
                remedy="Give it the same dtype in all files.",
            )
        return common

    def _frames_of(
        self, part: Part, schema: Mapping[str, pl.DataType], span: Span | None = None
    ) -> Iterator[pl.DataFrame]:
        """The rows of a part, or those of a span of it and, of text, those that it skips."""
        in_file = self._in_file(part, schema)
        if part.format is Format.TEXT:
            frames = self._file(part).frames(in_file, span)
        elif part.format is Format.FEATHER:
            frames = feather_frames(part.path, [*in_file])
        else:
            scan = _scan(part).select(columns(in_file))
            scan = scan.slice(span.row, span.rows) if span else scan
            frames = scan.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True)
        return (self._with_partition(frame, part, schema) for frame in frames)

    def _in_file(self, part: Part, schema: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
        """The columns of a schema that are in a part itself."""
        in_file = {name: dtype for name, dtype in schema.items() if name not in part.partition}
        return in_file or {self._columns_of(part)[0]: pl.String()}  # which tells the number of rows

    def _with_partition(self, frame: pl.DataFrame, part: Part, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        literals = [pl.lit(part.partition[name], pl.String).alias(name) for name in schema if name in part.partition]
        return (frame.with_columns(literals) if literals else frame)[[*schema]]

    def _file(self, part: Part) -> DelimitedFile:
        return self._texts[part.path]

    @cached_property
    def _texts(self) -> dict[Path, DelimitedFile]:
        """The text files, which remember their headers and what was inferred."""
        return {
            part.path: DelimitedFile(part.path, self.dialect, self.dtypes, self.block)
            for part in self.parts
            if part.format is Format.TEXT
        }

    def _stored(self, part: Part) -> dict[str, pl.DataType]:
        """The dtypes in a file that has dtypes; text for bytes, as some programs write it.

        NOTE: of integers of more than 64 bits, which only polars has, text, too.
        """
        found = _dtypes_in(part)
        return {name: pl.String() if dtype in (*WIDE_INTEGERS, pl.Binary) else dtype for name, dtype in found.items()}

    @contextmanager
    def _reading(self, part: Part) -> Iterator[None]:
        """Turns what libraries raise for an unreadable file into one error that says what to do.

        What the system refuses, such as permission, passes as it is.
        """
        try:
            yield
        except pl.exceptions.NoDataError:
            raise InputError(self._empty(part)) from None
        except (pl.exceptions.PolarsError, pa.ArrowException, EOFError, LZMAError, OSError) as error:
            # NOTE: of a compressed file that is truncated or damaged, libraries raise an OSError without a number.
            if isinstance(error, UserError) or getattr(error, "errno", None) is not None:
                raise
            raise InputError(self._unreadable(part, error)) from None

    def _empty(self, part: Part) -> Problem:
        return empty_table(self.name, part.path)

    def _unreadable(self, part: Part, error: Exception) -> Problem:
        if part.path.stat().st_size == 0:
            return self._empty(part)
        first_line = (str(error) or type(error).__name__).split("\n")[0].rstrip(".")
        why, remedy = _DAMAGED
        if "utf-8" in first_line.lower():
            why, remedy = "", OTHER_ENCODING
        return Problem(f"The table {self.name} ({part.path}) cannot be read: {first_line}{why}", remedy=remedy)


def empty_table(name: str, path: Path | str) -> Problem:
    """The message for a table without rows, header or bytes."""
    remedy = "If that is intended, remove it from the event conversion file, or set optional: true in its block."
    return Problem(f"The table {name} ({path}) is empty", remedy=remedy)


def _rows_in_group(part: Part) -> int:
    """The rows of the largest row group of a parquet file."""
    footer = pq.read_metadata(part.path)
    return max((footer.row_group(number).num_rows for number in range(footer.num_row_groups)), default=0)


def _dtypes_in(part: Part) -> Mapping[str, pl.DataType]:
    """The dtypes in a file that has dtypes."""
    return feather_schema(part.path) if part.format is Format.FEATHER else _scan(part).collect_schema()


def _scan(part: Part) -> pl.LazyFrame:
    return pl.scan_parquet(part.path, glob=False)
