"""Reads delimited text of any size: each byte once, in bounded memory, with a look at every row's number of fields.

    file  ->  bytes  ->  UTF-8  ->  blocks of whole rows  ->  frames, in the order of the file

Threads check and parse the blocks.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial, reduce
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from ...dataset.dtypes import WIDE_INTEGERS
from ...errors import InputError, Problem
from .blocks import Block, Fault, blocks_of_rows, first_end
from .compression import is_compressed, pieces_of
from .decoding import as_utf8, is_utf8, length_of_mark
from .dialect import Dialect
from .fields import are_whole, has_quotes, row_ends, wrong_row
from .spans import Place, Span

__all__ = ["BLOCK", "DelimitedFile", "Dialect", "wider"]

BLOCK = 8 * 2**20
"""Bytes in a block: as many as polars parses at its best speed."""
_HEAD = 2**19
"""Bytes in a block where only the first rows matter."""
OTHER_ENCODING = "Save the file as UTF-8, or name its encoding in the table's block (encoding: cp1252, say)."

T = TypeVar("T")
R = TypeVar("R")


class DelimitedFile:
    """A text file: a header, then rows, which are counted from 1.

    Blank lines before the header do not count. Those after it are rows of nulls, as polars has them.

    Args:
        path: the file; its suffix says how it is compressed.
        dialect: how it is written.
        given: the columns whose dtype a user gave, for messages.
        block: how many bytes are read at a time.
    """

    def __init__(self, path: Path, dialect: Dialect, given: Collection[str] = (), block: int = BLOCK) -> None:
        self.path, self.dialect, self.given, self.block = path, dialect.of(path), given, block
        self._inferred: dict[int | None, dict[str, pl.DataType]] = {}

    @cached_property
    def columns(self) -> list[str]:
        """The names in the header; one that repeats gets `_duplicated_0` and so on, as polars names it.

        Raises:
            InputError: the new name of one that repeats is that of another.
            polars.exceptions.NoDataError: the file is empty.

        NOTE: polars leaves quotes that are doubled in a header as they are.
        """
        header, _ = self._opened(_HEAD)
        options = self.dialect.options | {"null_values": None}
        [names] = pl.read_csv(header, has_header=False, infer_schema=False, **options).rows()
        seen: Counter[str] = Counter()
        distinct = [_numbered(name or "", seen) for name in names]
        if repeated := [name for name, n in Counter(distinct).items() if n > 1]:
            raise InputError(f"{self.path}: the name {repeated[0]!r} repeats in the header. Rename one of the columns.")
        return distinct

    def inferred(self, n_rows: int | None) -> dict[str, pl.DataType]:
        """The dtypes of the columns as the first rows tell; None: as all rows tell, which are read once more for that.

        Integers of more than 64 bits, which no file can hold, are text. What is wrong with rows is not said. Rows are
        read the first time alone.
        """
        if n_rows not in self._inferred:
            self._inferred[n_rows] = self._infer(n_rows)
        return self._inferred[n_rows]

    def _infer(self, n_rows: int | None) -> dict[str, pl.DataType]:
        _, items = self._opened(self.block if n_rows is None else _HEAD)
        blocks = (item.rows for item in items if isinstance(item, Block))
        found = [*_in_order(self._guessed, blocks if n_rows is None else self._first_rows(blocks, n_rows))]
        of_columns = zip(*found, strict=True) if found else ([] for _ in self.columns)
        nothing: pl.DataType = pl.Null()
        dtypes = (reduce(wider, of_column, nothing) for of_column in of_columns)
        as_held = (pl.String() if dtype == pl.Null or dtype in WIDE_INTEGERS else dtype for dtype in dtypes)
        return dict(zip(self.columns, as_held, strict=True))

    @property
    def has_places(self) -> bool:
        """Whether rows can be read without those before them."""
        return is_utf8(self.dialect.encoding) and not is_compressed(self.path)

    def frames(self, schema: Mapping[str, pl.DataType], span: Span | None = None) -> Iterator[pl.DataFrame]:
        """The columns of a schema, in its order, a block of rows at a time.

        `span`: those rows alone, and those that it skips.

        Raises:
            InputError: a row has too many or too few fields, a quote is not closed, or a value is not of its column's
                dtype.
        """
        parse = partial(self._parse, *self._positions(schema))
        rows = span.row - span.skip if span else 0
        for found in _in_order(parse, self._rows(span)):
            frame = self._unless_faulty(found, rows)
            yield frame
            rows += frame.height

    def located(self, schema: Mapping[str, pl.DataType]) -> Iterator[tuple[pl.DataFrame, Callable[[int], Place]]]:
        """As `frames`, with the places of rows. Fields of other columns are not looked at.

        Raises:
            InputError: a quote is not closed, or a value is not of its column's dtype.
        """
        dtypes, wanted = self._positions(schema)

        def parse(block: Block | Fault) -> tuple[Block | Fault, pl.DataFrame | Fault]:
            return block, self._parse(dtypes, wanted, block, look_at_all=False)

        rows = 0
        for block, found in _in_order(parse, self._rows()):
            frame = self._unless_faulty(found, rows)
            assert isinstance(block, Block)  # else it is a fault
            yield frame, partial(self._place, block, frame.height)
            rows += frame.height

    def _positions(self, schema: Mapping[str, pl.DataType]) -> tuple[dict[str, pl.DataType], dict[str, str]]:
        """The dtypes of all columns by their numbers, and the names of the wanted ones by theirs."""
        positions = {name: str(number) for number, name in enumerate(self.columns)}
        dtypes = {number: schema.get(name, pl.String()) for name, number in positions.items()}
        return dtypes, {positions[name]: name for name in schema}

    def _unless_faulty(self, found: pl.DataFrame | Fault, rows: int) -> pl.DataFrame:
        """What was found after so many rows; an error if that is a fault."""
        if isinstance(found, Fault):
            where = "" if found.column is None else f", column {found.column!r}"
            what = f"{self.path}{where}, row {rows + found.row + 1:,} after the header: {found.problem.what}"
            raise InputError(what, remedy=found.problem.remedy)
        return found

    def _place(self, block: Block, height: int, row: int) -> Place:
        """The place of a row of a block, which has so many."""
        if row == height:
            return Place(block.end, 0, block.end)
        if not block.exact:
            return Place(block.start, row, block.end)
        at = block.start + (int(row_ends(block.rows, self.dialect)[row - 1]) + 1 if row else 0)
        return Place(at, 0, at)

    def _rows(self, span: Span | None = None) -> Iterator[Block | Fault]:
        """The blocks of rows after the header, or those of a span."""
        if span is None or span.start == 0:
            return self._opened(self.block, span.stop if span else None)[1]
        return blocks_of_rows(pieces_of(self.path, self.block, span.start, span.stop), self.dialect)

    def _opened(self, block: int, stop: int | None = None) -> tuple[bytes, Iterator[Block | Fault]]:
        """The header, and the blocks of rows after it, of so many bytes at most."""
        mark = length_of_mark(self.path) if self.has_places else 0
        pieces = as_utf8(self.path, self.dialect.encoding, min(block, self.block), stop)
        items = blocks_of_rows(pieces, self.dialect, start=mark)
        for first in items:
            if isinstance(first, Fault):
                raise InputError(f"{self.path}, in the header: {first.problem.what}", remedy=first.problem.remedy)
            if text := first.rows.lstrip(b"\r\n"):
                end = first_end(text, (self.dialect.quote or "").encode())
                start = first.start + len(first.rows) - len(text) + end if first.exact else 0
                rest = Block(text[end:], start, first.end, first.exact)
                return text[:end], chain([rest] if rest.rows else [], items)
        return b"", iter(())

    @cached_property
    def _header_line(self) -> bytes:
        """A header that polars takes as it stands: the numbers of the columns."""
        return (self.dialect.separator or ",").join(map(str, range(len(self.columns)))).encode() + b"\n"

    def _guessed(self, block: bytes) -> list[pl.DataType]:
        """The dtypes that polars infers; Null for a column of nulls."""
        options = {"infer_schema_length": None, "truncate_ragged_lines": True, "encoding": "utf8-lossy"}
        frame = pl.read_csv(self._header_line + block, **options | self.dialect.options)
        return [_dtype_of(values) for values in frame]

    def _first_rows(self, blocks: Iterable[bytes], n_rows: int) -> Iterator[bytes]:
        for block in blocks:
            if n_rows <= 0:
                return
            ends = row_ends(block, self.dialect)
            yield block if ends.size <= n_rows else block[: int(ends[n_rows - 1]) + 1]
            n_rows -= ends.size

    def _parse(
        self,
        dtypes: Mapping[str, pl.DataType],
        wanted: Mapping[str, str],
        block: Block | Fault,
        look_at_all: bool = True,
    ) -> pl.DataFrame | Fault:
        if isinstance(block, Fault):
            return block
        return self._parse_rows(dtypes, wanted, block.rows, look_at_all)

    def _parse_rows(
        self, dtypes: Mapping[str, pl.DataType], wanted: Mapping[str, str], block: bytes, look_at_all: bool
    ) -> pl.DataFrame | Fault:
        last = [len(dtypes) - 1] if look_at_all else []
        frame = (
            None if has_quotes(block, self.dialect) else self._parse_unquoted(dtypes, [*map(int, wanted), *last], block)
        )
        known = frame is not None and (not look_at_all or are_whole(block, self.dialect, frame, len(dtypes)))
        if not known and look_at_all and (fault := wrong_row(block, self.dialect, len(dtypes))):
            return fault
        read = partial(self._read, block, columns=[*wanted])
        try:
            frame = read(schema=dtypes) if frame is None else frame
        except pl.exceptions.PolarsError as error:
            if fault := self._not_utf8(block):
                return fault
            texts, parsed = read(infer_schema=False), read(schema=dtypes, ignore_errors=True)
            return self._first_misfit(texts, parsed, wanted) or Fault(0, Problem(str(error).split("\n")[0]))
        if any(_is_infinite(values) for values in frame):
            finite = [pl.when(values.is_finite()).then(values) if _is_infinite(values) else values for values in frame]
            fault = self._first_misfit(read(infer_schema=False), frame.select(finite), wanted)
            if fault:
                return fault
        frame = frame[[*wanted]]
        frame.columns = [*wanted.values()]
        return frame

    def _read(self, block: bytes, **options: Any) -> pl.DataFrame:
        return pl.read_csv(self._header_line + block, **options, **self.dialect.options)

    def _parse_unquoted(
        self, dtypes: Mapping[str, pl.DataType], read: Collection[int], block: bytes
    ) -> pl.DataFrame | None:
        """The columns with these numbers; None where values do not fit."""
        with suppress(pl.exceptions.PolarsError):
            return pl.read_csv(block, schema=dtypes, has_header=False, columns=sorted({*read}), **self.dialect.options)
        return None

    def _not_utf8(self, block: bytes) -> Fault | None:
        try:
            block.decode()
        except UnicodeDecodeError as error:
            row = int(np.searchsorted(row_ends(block, self.dialect), error.start))
            found = block[max(error.start - 20, 0) : error.end + 20].decode(errors="backslashreplace")
            return Fault(row, Problem(f"it is not UTF-8: {found!r}", remedy=OTHER_ENCODING))
        return None

    def _first_misfit(self, texts: pl.DataFrame, parsed: pl.DataFrame, names: Mapping[str, str]) -> Fault | None:
        """The first value that does not fit its column's dtype, so that polars made a null of it."""
        faults = []
        for number, name in names.items():
            bad = (texts[number].is_not_null() & parsed[number].is_null()).arg_true()
            if bad.len():
                faults.append(Fault(bad[0], self._misfit(texts[number][bad[0]], parsed[number].dtype, name), name))
        return min(faults, key=lambda fault: fault.row, default=None)

    def _misfit(self, text: str, dtype: pl.DataType, name: str) -> Problem:
        what = f"{text!r} does not fit {dtype}, the dtype "
        if name in self.given:
            remedy = "Give another one there, or correct the value."
            return Problem(f"{what}that the table's block gives (dtypes)", remedy=remedy)
        remedy = (
            "Raise stage_configs.shard_events.infer_schema_length above that row (null: all rows), give the column's "
            "dtype in the table's block (dtypes), or correct the value."
        )
        return Problem(f"{what}inferred from the preceding rows", remedy=remedy)


def _dtype_of(values: pl.Series) -> pl.DataType:
    """The dtype that values were inferred to have; text where one would be infinite, Null where all are null."""
    if values.null_count() == values.len():
        return pl.Null()
    return pl.String() if _is_infinite(values) else values.dtype


def _is_infinite(values: pl.Series) -> bool:
    """Whether some value of a column of floats is infinite: `inf`, or a number beyond the range, such as `1e400`."""
    return values.dtype.is_float() and bool(values.is_infinite().any())


def _numbered(name: str, seen: Counter[str]) -> str:
    seen[name] += 1
    return name if seen[name] == 1 else repeated_name(name, seen[name] - 2)


def repeated_name(name: str, number: int = 0) -> str:
    """The name of a column whose name in the header is there before, as polars names it."""
    return f"{name}_duplicated_{number}"


def wider(first: pl.DataType, second: pl.DataType) -> pl.DataType:
    """The dtype that polars infers for values of both: text, unless both are numbers or one is null.

    NOTE: where integers of more than 64 bits, smaller ones and floats meet in one block, polars infers text.
    """
    if first == second or second == pl.Null:
        return first
    if first == pl.Null:
        return second
    if not (first.is_numeric() and second.is_numeric()):
        return pl.String()
    return pl.Float64() if first.is_float() or second.is_float() else pl.Int128()


def _in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of a function for all items, in their order; threads compute a few of them in advance."""
    pending: deque[Future[R]] = deque()
    threads = pl.thread_pool_size()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * threads:  # so that they have work while the results are written
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
