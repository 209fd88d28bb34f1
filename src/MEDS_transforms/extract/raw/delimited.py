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
from ...errors import InputError
from .blocks import Fault, blocks_of_rows, first_end
from .decoding import as_utf8
from .dialect import Dialect
from .fields import are_whole, has_quotes, row_ends, wrong_row

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
        blocks = (item for item in items if isinstance(item, bytes))
        found = [*_in_order(self._guessed, blocks if n_rows is None else self._first_rows(blocks, n_rows))]
        of_columns = zip(*found, strict=True) if found else ([] for _ in self.columns)
        nothing: pl.DataType = pl.Null()
        dtypes = (reduce(wider, of_column, nothing) for of_column in of_columns)
        as_held = (pl.String() if dtype == pl.Null or dtype in WIDE_INTEGERS else dtype for dtype in dtypes)
        return dict(zip(self.columns, as_held, strict=True))

    def frames(self, schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """The columns of a schema, in its order, a block of rows at a time.

        Raises:
            InputError: a row has too many or too few fields, a quote is not closed, or a value is not of its column's
                dtype.
        """
        positions = {name: str(number) for number, name in enumerate(self.columns)}
        dtypes = {number: schema.get(name, pl.String()) for name, number in positions.items()}
        parse = partial(self._parse, dtypes, {positions[name]: name for name in schema})
        rows, (_, items) = 0, self._opened(self.block)
        for found in _in_order(parse, items):
            if isinstance(found, Fault):
                where = "" if found.column is None else f", column {found.column!r}"
                raise InputError(f"{self.path}{where}, row {rows + found.row + 1} after the header: {found.what}")
            yield found
            rows += found.height

    def _opened(self, block: int) -> tuple[bytes, Iterator[bytes | Fault]]:
        """The header, and the blocks of rows after it, of so many bytes at most."""
        items = blocks_of_rows(as_utf8(self.path, self.dialect.encoding, min(block, self.block)), self.dialect)
        for first in items:
            if isinstance(first, Fault):
                raise InputError(f"{self.path}, in the header: {first.what}")
            if text := first.lstrip(b"\r\n"):
                end = first_end(text, (self.dialect.quote or "").encode())
                return text[:end], chain([text[end:]] if text[end:] else [], items)
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
        self, dtypes: Mapping[str, pl.DataType], wanted: Mapping[str, str], block: bytes | Fault
    ) -> pl.DataFrame | Fault:
        if isinstance(block, Fault):
            return block
        frame = None if has_quotes(block, self.dialect) else self._parse_unquoted(dtypes, wanted, block)
        known = frame is not None and are_whole(block, self.dialect, frame, len(dtypes))
        if not known and (fault := wrong_row(block, self.dialect, len(dtypes))):
            return fault
        read = partial(self._read, block, columns=[*wanted])
        try:
            frame = read(schema=dtypes) if frame is None else frame
        except pl.exceptions.PolarsError as error:
            if fault := self._not_utf8(block):
                return fault
            texts, parsed = read(infer_schema=False), read(schema=dtypes, ignore_errors=True)
            return self._first_misfit(texts, parsed, wanted) or Fault(0, str(error).split("\n")[0])
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
        self, dtypes: Mapping[str, pl.DataType], wanted: Mapping[str, str], block: bytes
    ) -> pl.DataFrame | None:
        """The columns that are wanted, and the last one; None where values do not fit."""
        read = sorted({*map(int, wanted), len(dtypes) - 1})
        with suppress(pl.exceptions.PolarsError):
            return pl.read_csv(block, schema=dtypes, has_header=False, columns=read, **self.dialect.options)
        return None

    def _not_utf8(self, block: bytes) -> Fault | None:
        try:
            block.decode()
        except UnicodeDecodeError as error:
            row = int(np.searchsorted(row_ends(block, self.dialect), error.start))
            found = block[max(error.start - 20, 0) : error.end + 20].decode(errors="backslashreplace")
            return Fault(row, f"it is not UTF-8: {found!r}. {OTHER_ENCODING}")
        return None

    def _first_misfit(self, texts: pl.DataFrame, parsed: pl.DataFrame, names: Mapping[str, str]) -> Fault | None:
        """The first value that does not fit its column's dtype, so that polars made a null of it."""
        faults = []
        for number, name in names.items():
            bad = (texts[number].is_not_null() & parsed[number].is_null()).arg_true()
            if bad.len():
                what = f"{texts[number][bad[0]]!r} does not fit {parsed[number].dtype}, {self._remedy(name)}"
                faults.append(Fault(bad[0], what, name))
        return min(faults, key=lambda fault: fault.row, default=None)

    def _remedy(self, name: str) -> str:
        if name in self.given:
            return "the dtype that the table's block gives (dtypes). Give another one there, or correct the value."
        return (
            "the dtype inferred from the preceding rows. Raise stage_configs.shard_events.infer_schema_length above "
            "that row (null: all rows), give the column's dtype in the table's block (dtypes), or correct the value."
        )


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
    return name if seen[name] == 1 else f"{name}_duplicated_{seen[name] - 2}"


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
