"""Sees by the first bytes of a text file how it is written: its encoding, separator and quotes."""

import codecs
import csv
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from lzma import LZMAError
from pathlib import Path

from ..extract.raw.compression import is_compressed, pieces_of
from ..extract.raw.decoding import as_utf8
from ..extract.raw.dialect import Dialect
from ..work.raw_tables import Format, Part

SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "cp1252", "latin-1")
"""Tried in this order; the last one reads anything."""

_BYTES = 2**20
_PARTS = 20
_LINES = 200
_SAME_FIELDS = 0.9


def dialect_of(parts: Sequence[Part]) -> Dialect:
    """How the text files of a table are written; the default where there are none."""
    files = [part.path for part in parts if part.format is Format.TEXT][:_PARTS]
    if not files:
        return Dialect()
    if any(_is_damaged(path) for path in files):
        return Dialect()  # the reader of tables says what is wrong
    encoding = max((_encoding(_heads(path)) for path in files), key=_order)
    dialect = replace(Dialect(), encoding=encoding)
    text = _first_text(files[0], encoding)
    separator = _separator(text)
    usual = dialect.of(files[0]).separator
    return replace(dialect, separator=None if separator in (usual, None) else separator)


def is_blank(path: Path) -> bool:
    """Whether a text file, decompressed, has no bytes."""
    return not path.stat().st_size or not (_is_damaged(path) or _piece(path, 0))


def _is_damaged(path: Path) -> bool:
    """Whether the beginning of a compressed file cannot be read.

    NOTE: of a damaged file libraries raise an OSError without a number; what the system refuses passes as it is.
    """
    try:
        _piece(path, 0)
    except (OSError, EOFError, LZMAError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        return True
    return False


def _order(encoding: str) -> int:
    return ENCODINGS.index(encoding) if encoding in ENCODINGS else len(ENCODINGS)


def _heads(path: Path) -> list[bytes]:
    """Bytes of a file from its beginning and, where that is cheap, from its middle and its end."""
    size = path.stat().st_size
    starts = [0] if is_compressed(path) else sorted({0, max(size // 2, 0), max(size - _BYTES, 0)})
    return [_piece(path, start) for start in starts]


def _piece(path: Path, start: int) -> bytes:
    with closing(pieces_of(path, _BYTES, start)) as pieces:  # type: ignore[type-var]
        return next(pieces, b"")


def _encoding(pieces: Sequence[bytes]) -> str:
    if pieces[0].startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return next(e for e in ENCODINGS if all(_is_written(piece, e) for piece in pieces))


def _is_written(piece: bytes, encoding: str) -> bool:
    """Whether bytes are of an encoding, but for a character that is cut off at either end."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(piece.lstrip(bytes(range(0x80, 0xC0))))
    except UnicodeDecodeError:
        return False
    return True


def _first_text(path: Path, encoding: str) -> str:
    with closing(as_utf8(path, encoding, _BYTES)) as pieces:  # type: ignore[type-var]
        return next(pieces, b"").decode(errors="replace")


def _separator(text: str) -> str | None:
    """The character that cuts most lines into as many fields as the first, two at least; None where none does."""
    lines = text.splitlines()
    lines = lines[: min(_LINES, len(lines) - 1)] if len(lines) > _LINES else lines
    best: tuple[int, str | None] = (1, None)
    for separator in SEPARATORS:
        fields = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        if fields and fields[0] > best[0] and fields.count(fields[0]) >= _SAME_FIELDS * len(fields):
            best = (fields[0], separator)
    return best[1]
