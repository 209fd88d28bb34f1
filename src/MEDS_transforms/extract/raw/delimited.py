"""Reads delimited text of any size: each byte once, in bounded memory, with a look at every row's number of fields.

    file  ->  bytes  ->  UTF-8  ->  blocks of whole rows  ->  frames, in the order of the file

Threads check and parse the blocks.
"""

import codecs
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from ...dataset.columns import column
from ...dataset.dtypes import WIDE_INTEGERS
from ...errors import InputError, counted
from .compression import pieces_of

_BLOCK = 2 * 2**20
"""Bytes in a block. They stay in the processor's cache, so that a second look at them costs little."""
_LONGEST_ROW = 64 * 2**20
_LINE_END, _RETURN = 10, 13
_SHOWN = 80

T = TypeVar("T")
R = TypeVar("R")
Characters = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Dialect:
    """How the rows of a text file are written."""

    separator: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    null_values: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The dialect as polars' arguments."""
        return {
            "separator": self.separator,
            "quote_char": self.quote,
            "null_values": list(self.null_values) or None,
            "decimal_comma": self.decimal == ",",
        }


class DelimitedFile:
    """A text file: a header, then rows, which are counted from 1."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self.path, self.dialect = path, dialect

    @cached_property
    def columns(self) -> list[str]:
        """The names in the header; one that repeats gets `_duplicated_0` and so on, as polars names it.

        Raises:
            polars.exceptions.NoDataError: the file is empty.
        """
        first = next(self._blocks(), b"")
        header = first[: first_end(first, self._quote)]
        return pl.read_csv(header, infer_schema=False, **self.dialect.options).columns

    def inferred(self, n_rows: int | None) -> dict[str, pl.DataType]:
        """The dtypes of the columns as the first rows tell; None: as all rows tell, which are read once more for that.

        Integers of more than 64 bits, which no file can hold, are text.
        """
        blocks, found = self._rows(), []
        for frame in _in_order(self._guessed, blocks if n_rows is None else _first_rows(blocks, n_rows)):
            found.append(list(frame.schema.values()))
        if not found:
            return dict.fromkeys(self.columns, pl.String())
        dtypes = (reduce(wider, of_column) for of_column in zip(*found, strict=True))
        as_held = (pl.String() if dtype in WIDE_INTEGERS else dtype for dtype in dtypes)
        return dict(zip(self.columns, as_held, strict=True))

    def _guessed(self, block: bytes) -> pl.DataFrame:
        text = self._header_line + block
        return pl.read_csv(text, infer_schema_length=None, truncate_ragged_lines=True, **self.dialect.options).head(0)

    def frames(self, schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """The columns of a schema, in its order, a block of rows at a time.

        Raises:
            InputError: a row has too many or too few fields, or a value is not of its column's dtype.
        """
        positions = {name: str(number) for number, name in enumerate(self.columns)}
        dtypes = {number: schema.get(name, pl.String()) for name, number in positions.items()}
        parse = partial(self._parse, dtypes, {positions[name]: name for name in schema})
        rows = 0
        for found in _in_order(parse, self._rows()):
            if isinstance(found, Fault):
                raise InputError(f"{self.path}, row {rows + found.row + 1} after the header: {found.what}")
            yield found
            rows += found.height

    @property
    def _quote(self) -> bytes:
        return (self.dialect.quote or "").encode()

    @cached_property
    def _header_line(self) -> bytes:
        """A header that polars takes as it stands: the numbers of the columns."""
        return self.dialect.separator.join(map(str, range(len(self.columns)))).encode() + b"\n"

    def _parse(
        self, dtypes: Mapping[str, pl.DataType], wanted: Mapping[str, str], block: bytes
    ) -> "pl.DataFrame | Fault":
        if fault := wrong_row(block, self.dialect, len(dtypes)):
            return fault
        options = self.dialect.options | {"columns": [*wanted]}
        try:
            frame = pl.read_csv(self._header_line + block, schema=dtypes, **options)
        except pl.exceptions.PolarsError as error:
            texts = pl.read_csv(self._header_line + block, infer_schema=False, **options)
            return first_misfit(texts, dtypes, wanted, self.dialect) or Fault(0, str(error).split("\n")[0])
        return frame.select(column(number).alias(name) for number, name in wanted.items())

    def _rows(self) -> Iterator[bytes]:
        """The blocks, the header left out."""
        blocks = self._blocks()
        first = next(blocks, b"")
        rest = first[first_end(first, self._quote) :]
        return chain([rest] if rest else [], blocks)

    def _blocks(self) -> Iterator[bytes]:
        return blocks_of_rows(_as_utf8(self.path, self.dialect.encoding), self._quote)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row of a block; rows are counted from 0."""

    row: int
    what: str


def _as_utf8(path: Path, encoding: str) -> Iterator[bytes]:
    """The bytes of a text file as UTF-8, without a mark of the order of bytes.

    NOTE: whether UTF-8 is valid is for polars to see, as it parses.
    """
    pieces = pieces_of(path, _BLOCK)
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii"):
        yield next(pieces, b"").removeprefix(codecs.BOM_UTF8)
        yield from pieces
        return
    decoder, read = codecs.getincrementaldecoder(encoding)(), 0
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode()
            read += len(piece)
        yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not {encoding}: {error.reason}, near byte {read + error.start}") from None


def blocks_of_rows(pieces: Iterable[bytes], quote: bytes) -> Iterator[bytes]:
    """Pieces of a text, cut anew so that each ends where a row does.

    Raises:
        InputError: a row is longer than 64 MiB, as if a quote were not closed.
    """
    rest = b""
    for piece in pieces:
        block = rest + piece
        end = last_end(block, quote)
        rest = block[end:]
        if len(rest) > _LONGEST_ROW:
            raise InputError(
                "A row is longer than 64 MiB: is a quote not closed? If quotes are mere characters, set quote: null"
            )
        if end:
            yield block[:end]
    if rest:
        yield rest


def first_end(text: bytes, quote: bytes) -> int:
    """Where the first row of a text ends: after its line end; line ends between quotes do not count."""
    end = text.find(b"\n")
    while end >= 0 and quote and text.count(quote, 0, end) % 2:
        end = text.find(b"\n", end + 1)
    return end + 1 or len(text)


def last_end(text: bytes, quote: bytes) -> int:
    """Where the last row of a text ends that is whole; 0 if none is."""
    end = text.rfind(b"\n")
    if end < 0 or not quote:
        return end + 1
    before = text.count(quote, 0, end)
    while end >= 0 and before % 2:
        previous = text.rfind(b"\n", 0, end)
        before -= text.count(quote, max(previous, 0), end)
        end = previous
    return end + 1


def _first_rows(blocks: Iterable[bytes], n_rows: int) -> Iterator[bytes]:
    """The first rows, or a few more where there are line ends between quotes."""
    for block in blocks:
        if n_rows <= 0:
            return
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _LINE_END)
        yield block if ends.size <= n_rows else block[: int(ends[n_rows - 1]) + 1]
        n_rows -= ends.size


def wider(first: pl.DataType, second: pl.DataType) -> pl.DataType:
    """The dtype that polars infers for values of both: text, unless both are numbers."""
    if first == second:
        return first
    if not (first.is_numeric() and second.is_numeric()):
        return pl.String()
    return pl.Float64() if first.is_float() or second.is_float() else pl.Int128()


def wrong_row(block: bytes, dialect: Dialect, n_fields: int) -> Fault | None:
    """The first row of a block that has not as many fields as the header, if there is one. Blank rows have none."""
    characters = np.frombuffer(block, np.uint8)
    ends_field = (characters == ord(dialect.separator)) | (characters == _LINE_END)
    quote = ord(dialect.quote) if dialect.quote else None
    if quote is not None and block.find(quote) >= 0:
        quotes = characters == quote
        ends_field &= ~np.bitwise_xor.accumulate(quotes)
    ends = characters[ends_field]
    if not block.endswith(b"\n"):
        ends = np.append(ends, np.uint8(_LINE_END))
    if ends.size % n_fields == 0:
        last = ends.reshape(-1, n_fields)[:, -1]
        if (last == _LINE_END).all() and np.count_nonzero(ends == _LINE_END) == last.size:
            return None
    return _first_wrong(characters, np.flatnonzero(ends_field), n_fields)


def _first_wrong(characters: Characters, at: Positions, n_fields: int) -> Fault | None:
    if not at.size or at[-1] != characters.size - 1 or characters[-1] != _LINE_END:
        at = np.append(at, characters.size)  # the last row has no line end
    is_last = np.append(characters, np.uint8(_LINE_END))[at] == _LINE_END
    stops = at[is_last]
    starts = np.append(0, stops[:-1] + 1)
    found = np.diff(np.flatnonzero(is_last), prepend=-1)
    is_blank = (stops == starts) | ((stops == starts + 1) & (characters[starts] == _RETURN))
    wrong = np.flatnonzero((found != n_fields) & ~is_blank)
    if not wrong.size:
        return None
    row = int(wrong[0])
    text = characters[starts[row] : min(stops[row], starts[row] + _SHOWN)].tobytes().decode(errors="replace")
    return Fault(row, f"it has {counted(int(found[row]), 'field')} where the header has {n_fields}: {text!r}")


def first_misfit(
    texts: pl.DataFrame, dtypes: Mapping[str, pl.DataType], names: Mapping[str, str], dialect: Dialect
) -> Fault | None:
    """The first value that does not fit its column's dtype."""
    for number, name in names.items():
        if dtypes[number] == pl.String:
            continue
        text = texts[number]
        values = text.str.replace(",", ".", literal=True) if dialect.decimal == "," else text
        if dtypes[number] == pl.Boolean:
            fits = values.str.to_lowercase().is_in(["true", "false"])
        else:
            fits = values.cast(dtypes[number], strict=False).is_not_null()
        if (bad := (text.is_not_null() & ~fits).arg_true()).len():
            return Fault(bad[0], f"column {name!r}: {text[bad[0]]!r} does not fit {dtypes[number]}")
    return None


def _in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of a function for all items, in their order; threads compute a few of them in advance."""
    pending: deque[Future[R]] = deque()
    threads = pl.thread_pool_size()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
