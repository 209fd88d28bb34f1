"""Reads text files of any encoding as UTF-8."""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import InputError
from .compression import pieces_of


def as_utf8(path: Path, encoding: str, size: int, stop: int | None = None) -> Iterator[bytes]:
    """The bytes of a text file as UTF-8, without a mark of the order of bytes, some at a time.

    `stop`: those before that byte, where the file is UTF-8 and not compressed.

    Raises:
        InputError: it is not of that encoding.

    NOTE: whether UTF-8 is valid is for polars to see, as it parses.
    """
    pieces = pieces_of(path, size, stop=stop)
    if not is_utf8(encoding):
        pieces = _decoded(path, encoding, pieces)
    return _without_mark(pieces)


def is_utf8(encoding: str) -> bool:
    """Whether text of an encoding is UTF-8 as it is."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def length_of_mark(path: Path) -> int:
    """How many bytes the mark of the order of bytes has at the beginning of a UTF-8 file; 0 without one."""
    with path.open("rb") as file:
        return len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= len(codecs.BOM_UTF8):
            break
    yield start.removeprefix(codecs.BOM_UTF8)
    yield from pieces


def _decoded(path: Path, encoding: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder, read = codecs.getincrementaldecoder(encoding)(), 0
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode()
            read += len(piece)
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        what, at = getattr(error, "reason", str(error)), read + getattr(error, "start", 0)
        raise InputError(
            f"{path} is not {encoding}: {what}, near byte {at}. Name its encoding in the table's block, or get a new "
            "copy if it is damaged."
        ) from None
