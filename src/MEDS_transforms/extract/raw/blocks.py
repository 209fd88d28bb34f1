"""Cuts delimited text where rows end, and makes its quotes regular.

A field that begins with the quote is quoted: to the next quote that is not doubled. In any other field the quote is a
character, as in `5" tube`, for Python's csv module too. polars takes it otherwise; such a field is quoted for it. Text
after the closing quote of a field, which could be read in several ways, is an error.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ...errors import Problem
from .dialect import Dialect

LINE_END, RETURN = 10, 13
_LONGEST_ROW = 64 * 2**20
_SHOWN = 80
_REMEDY = "Correct it or, if quotes are characters like others in this table, set quote: null in its block."


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row.

    Args:
        row: its number in the block, or in what follows the last block, counted from 0.
        problem: the fault, without a place.
        column: the column that it concerns, if it is one.
    """

    row: int
    problem: Problem
    column: str | None = None


@dataclass(frozen=True)
class Block:
    """Whole rows of a text, one after the other.

    Args:
        rows: the rows, with regular quotes, each with a line end.
        start: the byte of the text at which they begin, or one before it from which on they can be read.
        end: the byte of the text after them.
        exact: whether they are as they are in the text.
    """

    rows: bytes
    start: int
    end: int
    exact: bool


@dataclass(frozen=True)
class Cut:
    """A text cut after its last whole row; `fault` says why the next can never be whole."""

    rows: bytes
    rest: bytes
    fault: Problem | None = None


def blocks_of_rows(
    pieces: Iterable[bytes], dialect: Dialect, longest_row: int = _LONGEST_ROW, start: int = 0
) -> Iterator["Block | Fault"]:
    """Pieces of a text, cut anew so that each ends with the line end of a row; last a fault, if there is one.

    `start` is where in the text the first piece begins.
    """
    quotes, rest, read = Quotes(dialect), b"", start
    for piece in pieces:
        cut = quotes.cut(rest, piece)
        read += len(piece)
        if cut.rows:
            end = read - len(cut.rest)
            yield Block(cut.rows, start, end, len(cut.rows) == end - start)
            start = end
        rest = cut.rest
        if not cut.fault and len(rest) > longest_row:
            what = f"it is longer than {longest_row >> 20} MiB: is a quote not closed?"
            cut = Cut(b"", rest, Problem(what, remedy=_REMEDY))
        if cut.fault:
            yield Fault(0, cut.fault)
            return
    if rest:
        cut = quotes.cut(rest, b"" if rest.endswith(b"\n") else b"\n")
        if cut.rows:
            yield Block(cut.rows, start, read, len(cut.rows) == read - start)
        if cut.rest:
            what = f"a quote is opened and not closed before the end of the file: {shown(rest)}"
            yield Fault(0, cut.fault or Problem(what, remedy=_REMEDY))


def shown(text: bytes) -> str:
    """The beginning of a text, for a message."""
    return repr(text[:_SHOWN].decode(errors="replace")) + (" …" if len(text) > _SHOWN else "")


class Quotes:
    """What quotes do in a dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.separator = (dialect.separator or ",").encode()
        self.quote = (dialect.quote or "").encode()
        self._border_table: npt.NDArray[np.bool_] = np.zeros(256, np.bool_)
        self._border_table[[*self.separator, *self.quote, LINE_END]] = True

    def cut(self, rest: bytes, piece: bytes) -> Cut:
        """A text, which begins with a row, cut after its last whole row; the quotes of whole rows are made regular.

        Args:
            rest: the beginning of the text, without the end of a row.
            piece: what follows.
        """
        if not self.quote or not (self.quote in piece or self.quote in rest):
            if piece.endswith(b"\n"):  # as a rule, with nothing before it; then nothing is copied
                return Cut(rest + piece, b"")
            end = piece.rfind(b"\n") + 1
            return Cut(b"".join([rest, memoryview(piece)[:end]]), piece[end:]) if end else Cut(b"", rest + piece)
        text = rest + piece
        end = last_end(text, self.quote)
        if not end or not self._are_regular(text[:end]):
            return self._cut_exactly(text)
        return Cut(text[:end], text[end:])

    def _are_regular(self, rows: bytes) -> bool:
        """Whether every other quote opens a field, or is the second of two, and the ones between close it.

        NOTE: rows end with a line end, so that a character follows every quote, and one that opens a field "precedes"
        a quote at the very beginning.
        """
        characters = np.frombuffer(rows, np.uint8)
        at = np.flatnonzero(characters == ord(self.quote))
        opening, closing = at[::2], at[1::2]
        if not self._are_borders(characters[opening - 1]).all():
            return False
        after = characters[closing + 1]
        others = closing[~self._are_borders(after)]
        return bool(((characters[others + 1] == RETURN) & (characters[(others + 2) % len(rows)] == LINE_END)).all())

    def _are_borders(self, characters: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        return self._border_table[characters]

    def _cut_exactly(self, text: bytes) -> Cut:
        """As `cut`, for any quotes: looks at one after the other."""
        at = end = 0
        fields: list[tuple[int, int]] = []
        fault, stop = None, len(text)
        while (quote := text.find(self.quote, at)) >= 0:
            end = text.rfind(b"\n", at, quote) + 1 or end
            if text[quote - 1 : quote] not in (b"", b"\n", self.separator):
                fields.append(self._field_around(text, quote))
                at = fields[-1][1]
            elif match := self._quoted_field.match(text, quote):
                at = match.end()
            else:
                fault, at, stop = self._what_is_wrong(text, quote), quote, quote
                break
        end = text.rfind(b"\n", at, stop) + 1 or end
        return Cut(self._quoted(text[:end], fields), text[end:], fault)

    @cached_property
    def _quoted_field(self) -> re.Pattern[bytes]:
        q, separator = re.escape(self.quote), re.escape(self.separator)
        return re.compile(q + self._content + q + b"(?=" + separator + b"|\\r?\\n)")

    @cached_property
    def _content(self) -> bytes:
        """NOTE: nothing is tried again (`*+`), which would take forever in a long text."""
        q = re.escape(self.quote)
        return b"[^" + q + b"]*+(?:" + q + q + b"[^" + q + b"]*+)*+"

    def _what_is_wrong(self, text: bytes, start: int) -> Problem | None:
        """What follows a closing quote that should not; None where the text may just not be long enough."""
        match = re.compile(self._content).match(text, start + 1)
        after = text[match.end() + 1 :] if match else b""
        if after in (b"", b"\r"):
            return None
        return Problem(f"text follows the closing quote of a field: {shown(text[start:])}", remedy=_REMEDY)

    def _field_around(self, text: bytes, at: int) -> tuple[int, int]:
        start = max(text.rfind(self.separator, 0, at), text.rfind(b"\n", 0, at)) + 1
        ends = [end for sign in (self.separator, b"\n") if (end := text.find(sign, at)) >= 0]
        end = min(ends, default=len(text))
        return start, end - (text[end - 1 : end + 1] == b"\r\n")

    def _quoted(self, rows: bytes, fields: Iterable[tuple[int, int]]) -> bytes:
        """The rows with quotes around fields that have quotes within."""
        parts, done = [], 0
        for start, end in fields:
            if end > len(rows):
                break
            doubled = rows[start:end].replace(self.quote, self.quote * 2)
            parts += [rows[done:start], self.quote, doubled, self.quote]
            done = end
        return b"".join([*parts, rows[done:]])


def first_end(text: bytes, quote: bytes) -> int:
    """Where the first row of a text ends: after its line end; line ends between quotes do not count."""
    end = text.find(b"\n")
    while end >= 0 and quote and text.count(quote, 0, end) % 2:
        end = text.find(b"\n", end + 1)
    return end + 1 or len(text)


def last_end(text: bytes, quote: bytes) -> int:
    """Where the last row of a text ends that is whole, if its quotes are regular; 0 if none is."""
    end = text.rfind(b"\n")
    if end < 0 or not quote:
        return end + 1
    before = text.count(quote, 0, end)
    while end >= 0 and before % 2:
        opening = text.rfind(quote, 0, end)  # line ends after it are within the same quotes
        end = text.rfind(b"\n", 0, opening)
        before -= text.count(quote, max(end, 0), opening + 1)
    return end + 1
