"""Looks at rows of delimited text: where they end, and whether each has as many fields as the header."""

import numpy as np
import numpy.typing as npt
import polars as pl

from ...errors import Problem, counted
from .blocks import LINE_END, RETURN, Fault, shown
from .dialect import Dialect

Characters = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.intp]

_FEW = 50
"""Characters for each quote, where quotes are so few that Python is quicker with them than numpy."""
_REMEDY = (
    "Quote fields that contain separators or line ends, or correct the row; if it is the last, the file may be cut off."
)


def wrong_row(block: bytes, dialect: Dialect, n_fields: int) -> Fault | None:
    """The first row of a block that has not as many fields as the header, if there is one. Blank rows have none.

    The block ends with a line end, and its quotes are regular.
    """
    borders = _borders(block, dialect)
    row = _separator(dialect) * (n_fields - 1) + b"\n"
    if borders == row * (len(borders) // n_fields):
        return None
    return _first_wrong(block, dialect, n_fields)


def are_whole(block: bytes, dialect: Dialect, parsed: pl.DataFrame, n_fields: int) -> bool:
    """Whether the rows of a block without quotes are known to have as many fields as the header.

    `parsed` are columns of the block, the last one among them.

    NOTE: polars gives a row with too few fields a null in the last column. Where there is none, and as many separators
    as the rows need together, no row has too few fields or too many. To count takes a tenth of the time of a look at
    each row. Rows with too many fields are refused by polars where it reads all columns.
    """
    if parsed.width < n_fields and parsed.to_series(-1).null_count():
        return False
    found = np.count_nonzero(np.frombuffer(block, np.uint8) == ord(_separator(dialect)))
    return bool(found == parsed.height * (n_fields - 1))


def has_quotes(block: bytes, dialect: Dialect) -> bool:
    """Whether a block has quotes. NOTE: to count them takes ten times as long."""
    return dialect.quote is not None and dialect.quote.encode() in block


def row_ends(block: bytes, dialect: Dialect) -> Positions:
    """The positions of the line ends at which rows end."""
    characters = np.frombuffer(block, np.uint8)
    return np.flatnonzero((characters == LINE_END) & _outside_quotes(characters, dialect))


def _separator(dialect: Dialect) -> bytes:
    return (dialect.separator or ",").encode()


def _borders(block: bytes, dialect: Dialect) -> bytes:
    """The separators and line ends between fields, in their order, and nothing else of the block."""
    separator, quote = _separator(dialect), (dialect.quote or "").encode()
    n_quotes = block.count(quote) if has_quotes(block, dialect) else 0
    if n_quotes * _FEW < len(block):
        outside = b"".join(block.split(quote)[::2]) if n_quotes else block
        return outside.translate(None, bytes({*range(256)} - {LINE_END, *separator}))
    characters = np.frombuffer(block, np.uint8)
    is_border = (characters == ord(separator)) | (characters == LINE_END)
    borders: Characters = characters[is_border & _outside_quotes(characters, dialect)]
    return borders.tobytes()


def _outside_quotes(characters: Characters, dialect: Dialect) -> npt.NDArray[np.bool_]:
    if dialect.quote is None:
        return np.ones(characters.size, np.bool_)
    return ~np.bitwise_xor.accumulate(characters == ord(dialect.quote))


def _first_wrong(block: bytes, dialect: Dialect, n_fields: int) -> Fault | None:
    characters = np.frombuffer(block, np.uint8)
    stops = row_ends(block, dialect)
    starts = np.append(0, stops[:-1] + 1)
    is_separator = (characters == ord(_separator(dialect))) & _outside_quotes(characters, dialect)
    found = np.add.reduceat(is_separator, starts, dtype=np.intp) + 1
    is_blank = (stops == starts) | ((stops == starts + 1) & (characters[starts] == RETURN))
    wrong = np.flatnonzero((found != n_fields) & ~is_blank)
    if not wrong.size:
        return None
    row = int(wrong[0])
    text = block[int(starts[row]) : int(stops[row])].removesuffix(b"\r")
    n_found = counted(int(found[row]), "field")
    what = f"it has {n_found} where the header has {n_fields}: {shown(text)}"
    return Fault(row, Problem(what, remedy=_REMEDY))
