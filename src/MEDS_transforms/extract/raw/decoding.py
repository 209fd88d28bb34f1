"""Reads text files of any encoding as UTF-8."""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import InputError
from .compression import pieces_of


def as_utf8(path: Path, encoding: str, size: int) -> Iterator[bytes]:
    """The bytes of a text file as UTF-8, without a mark of the order of bytes, some at a time.

    Raises:
        InputError: it is not of that encoding.

    NOTE: whether UTF-8 is valid is for polars to see, as it parses.
    """
    pieces = pieces_of(path, size)
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig", "ascii"):
        pieces = _decoded(path, encoding, pieces)
    return _without_mark(pieces)


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
