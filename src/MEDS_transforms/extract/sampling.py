"""A look at some rows of a raw table: the first ones, and others further on where that is cheap.

They are read and joined as all rows will be, so that what is wrong with them is what will be said of it then.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import polars as pl
import pyarrow.parquet as pq

from ..errors import UserError
from ..work.raw_tables import Format
from .chunks import Chunk
from .raw.compression import beginning_of, is_compressed
from .raw.decoding import is_utf8
from .raw.joins import Matches
from .raw.spans import Span
from .raw.table import RawTable
from .table_rows import TableRows

FIRST_ROWS, LATER_ROWS = 20_000, 10_000
"""How many rows are looked at where a table begins, and how many at each of two places further on."""
_SMALL = 5_000_000
"""Bytes of a text file all of whose rows are looked at, fewer than it has bytes."""
_ALL_ROWS = _SMALL + 1
_LARGEST_JOINED = 64 * 2**20
"""Bytes of tables that are joined, all rows of which must be read."""
_BLOCK = 2**19
_PIECE = 2**21
"""Bytes of text in which rows further on are looked for, and bytes of a file by which its rows are estimated."""
_RATIO = 5.0
"""By how much text is larger than what it is compressed to, where its first bytes do not tell it."""


@dataclass(frozen=True, eq=False)
class _SomeRows(RawTable):
    """A raw table of which a span is read in place of all rows; `heights` are those of the frames that were read."""

    span: Span | None = None
    heights: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, raw: RawTable, span: Span) -> "_SomeRows":
        return cls(raw.name, raw.parts, raw.dialect, raw.dtypes, _BLOCK, span)

    def frames(self, schema: Mapping[str, pl.DataType], spans: Iterable[Span] | None = None) -> Iterator[pl.DataFrame]:
        for frame in super().frames(schema, [self.span] if self.span else spans):
            self.heights.append(frame.height)
            yield frame


@dataclass(frozen=True)
class Sample:
    """Some rows of a table as its chunks would hold them.

    Args:
        rows: where they come from.
        frame: the rows.
        ids: their subject ids as they are written (String), where the table is text; else, and of joined columns, none.
        n_read: how many rows of the table it comes from; joins may make more, or less, of them.
        is_whole: whether these are all rows of the table.
        is_spread: whether they come from several places of the table.
        n_rows: how many rows the table has; an estimate unless the sample is whole.
        error: why the first rows, or all, cannot be read; None if they can. As the run would say it.
    """

    rows: TableRows
    frame: pl.DataFrame
    ids: pl.Series
    n_read: int
    is_whole: bool
    is_spread: bool
    n_rows: int
    error: UserError | None = None

    @property
    def name(self) -> str:
        """The name of the table."""
        return self.rows.table.name


def sample_of(rows: TableRows) -> Sample | None:
    """Some rows of a table; None where these cannot be had without reading much more."""
    joined = sum(part.path.stat().st_size for side in rows.sides for part in side.raw.parts)
    if joined > _LARGEST_JOINED or not rows.raw.parts:
        return None
    first, *later = _spans(rows.raw)
    read, error = list[_Read](), None
    for span in (first, *later):
        try:
            read.append(_read(rows, span))
        except UserError as found:
            if span.start == 0:  # else a piece of text may begin within quotes
                error = error or found
    is_whole = not later and not error and read[0].n_read < first.rows
    whole = pl.concat([pl.DataFrame(schema=rows.chunk_schema), *(some.frame for some in read)])
    ids = pl.concat([some.ids for some in read]) if read else pl.Series("", [], dtype=pl.Null)
    n_read = sum(some.n_read for some in read)
    n_rows = n_read if is_whole else max(_estimated_rows(rows.raw), n_read)
    return Sample(rows, whole, ids, n_read, is_whole, len(read) > 1, n_rows, error)


class _Read(NamedTuple):
    """Rows, joined to others; their ids as they are written; and how many rows of the table they come from."""

    frame: pl.DataFrame
    ids: pl.Series
    n_read: int


def _read(rows: TableRows, span: Span) -> _Read:
    counted = _SomeRows.of(rows.raw, span)
    with TemporaryDirectory(prefix="check-") as scratch:
        frames = [*replace(rows, raw=counted).frames(Path(scratch), [Matches() for _ in rows.sides])]
    frame = pl.concat([pl.DataFrame(schema=rows.chunk_schema), *frames])
    return _Read(frame, _ids(rows, span), sum(counted.heights))


def _ids(rows: TableRows, span: Span) -> pl.Series:
    """The subject ids as a text file has them; nothing of other files, and where they are joined or made."""
    name, nothing = rows.table.subject_id_col, pl.Series("", [], dtype=pl.String)
    if name not in rows.schema or rows.raw.parts[0].format is not Format.TEXT:
        return nothing
    return pl.concat(
        [nothing, *(frame[name].alias("") for frame in _SomeRows.of(rows.raw, span).frames({name: pl.String()}))]
    )


def _spans(raw: RawTable) -> list[Span]:
    """Where the rows are that are looked at: the first ones, then some further on, in other files or in the same."""
    first = Span(0, 0, _ALL_ROWS if _is_small(raw) else FIRST_ROWS)
    others = sorted({len(raw.parts) // 2, len(raw.parts) - 1} - {0})
    if others:
        return [first, *(Span(part, 0, LATER_ROWS) for part in others)]
    part = raw.parts[0]
    if part.format is Format.PARQUET:
        n_rows = pq.read_metadata(part.path).num_rows
        if n_rows > FIRST_ROWS + 2 * LATER_ROWS:
            return [first, Span(0, n_rows // 2, LATER_ROWS), Span(0, n_rows - LATER_ROWS, LATER_ROWS)]
    elif part.format is Format.TEXT and is_utf8(raw.dialect.encoding) and not is_compressed(part.path):
        return [first, *_text_spans(part.path)]
    return [first]


def _is_small(raw: RawTable) -> bool:
    """Whether all rows can be looked at. NOTE: how large compressed text is can only be guessed."""
    [first, *others] = raw.parts
    is_plain_text = first.format is Format.TEXT and not is_compressed(first.path)
    return not others and is_plain_text and first.path.stat().st_size <= _SMALL


def _text_spans(path: Path) -> Iterator[Span]:
    """Pieces of a large text file, from the beginning of a line to the end of one."""
    size = path.stat().st_size
    for start in (size // 2, size - _PIECE) if size > 16 * _PIECE else ():
        with path.open("rb") as file:
            file.seek(start)
            piece = file.read(_PIECE)
        begin, end = piece.find(b"\n") + 1, piece.rfind(b"\n") + 1
        if 0 < begin < end:
            yield Span(0, 0, LATER_ROWS, start + begin, start + end)


def _estimated_rows(raw: RawTable) -> int:
    """How many rows the files have: by their footers, or by the length of the first rows."""
    return sum(_rows_in(part.path, part.format) for part in raw.parts)


def _rows_in(path: Path, kind: Format) -> int:
    with suppress(Exception):  # of a file that cannot be read, which is said elsewhere
        if kind is Format.PARQUET:
            return int(pq.read_metadata(path).num_rows)
        if kind is Format.FEATHER:
            return int(pl.scan_ipc(path, glob=False).select(pl.len()).collect().item())
        size = path.stat().st_size
        return int(beginning_of(path, _PIECE).count(b"\n") * size / min(size, _PIECE)) if size else 0
    return 0


def text_size(path: Path) -> int:
    """How many bytes a text file has without compression; an estimate, by its first bytes."""
    size = path.stat().st_size
    if not is_compressed(path) or not size:
        return size
    return int(size * (len(beginning_of(path, _PIECE)) / min(size, _PIECE) or _RATIO))


def sampled_chunk(sample: Sample) -> Chunk:
    """The rows of a sample as one chunk."""
    return _SampledChunk(0, sample.frame.height, sample.rows.files[0], sample.frame)


@dataclass(frozen=True, order=True)
class _SampledChunk(Chunk):
    frame: pl.DataFrame = field(compare=False)

    def frames(self) -> Iterator[pl.DataFrame]:
        yield self.frame

    def ends_batch(self, row: int) -> bool:
        return row == self.end
