"""Where rows are in the files of a table, so that they can be read again without those before them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import polars as pl


@dataclass(frozen=True)
class Span:
    """Consecutive rows of a file.

    Args:
        part: the number of the file in its table.
        row: the number of the first row in the file, counted from 0.
        rows: how many there are.
        start: of text, the byte at which reading begins: that of a row; 0: the beginning of the file, with its header.
        stop: of text, the byte at which it ends, after a row; None: the end of the file.
        skip: how many rows come before the first from `start` on.
    """

    part: int
    row: int
    rows: int
    start: int = 0
    stop: int | None = None
    skip: int = 0


class Place(NamedTuple):
    """Where a row begins, as in `Span`; `end` is a byte by which all rows before it have ended."""

    start: int
    skip: int
    end: int


class Located(NamedTuple):
    """Rows of a file, and a function that gives the place of one of them, or of what follows, by its number in them."""

    part: int
    rows: pl.DataFrame
    place: Callable[[int], Place]


def spans_of_chunks(located: Iterable[Located], row_chunksize: int) -> Iterator[list[Span]]:
    """The spans of chunks of so many rows, in order; the last chunk may have fewer."""
    chunk: list[Span] = []
    part, row = -1, 0
    for rows in located:
        if rows.part != part:
            part, row = rows.part, 0
        taken = 0
        while taken < rows.rows.height:
            if not chunk or chunk[-1].part != part:
                place = rows.place(taken)
                chunk.append(Span(part, row, 0, place.start, skip=place.skip))
            missing = row_chunksize - sum(span.rows for span in chunk)
            fitting = min(missing, rows.rows.height - taken)
            taken, row = taken + fitting, row + fitting
            chunk[-1] = replace(chunk[-1], rows=chunk[-1].rows + fitting)
            if fitting == missing:
                chunk[-1] = replace(chunk[-1], stop=rows.place(taken).end)
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def within(frames: Iterable[pl.DataFrame], span: Span) -> Iterator[pl.DataFrame]:
    """The rows of a span, of frames that begin with those that it skips; none is read after its last row."""
    skip, missing = span.skip, span.rows
    for frame in frames:
        rows = frame.slice(skip, missing)
        skip, missing = max(skip - frame.height, 0), missing - rows.height
        if rows.height:
            yield rows
        if not missing:
            return
