"""Reads text files of any encoding as UTF-8."""

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import InputError
from .compression import pieces_of

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # NOTE: before that of UTF-16, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LOOKED_AT = 4 * 2**20
_NON_ASCII = re.compile(r"\w*[^\x00-\x7f]\w*")


def as_utf8(path: Path, encoding: str, size: int, stop: int | None = None) -> Iterator[bytes]:
    """The bytes of a text file as UTF-8, without a mark of the order of bytes, some at a time.

    `stop`: those before that byte, where the file is UTF-8 and not compressed.

    Raises:
        InputError: it is not of that encoding, or begins with the mark of another.

    NOTE: whether UTF-8 is valid is for polars to see, as it parses.
    """
    pieces = _without_other_mark(path, encoding, pieces_of(path, size, stop=stop))
    if not is_utf8(encoding):
        pieces = _decoded(path, encoding, pieces)
    return _without_mark(pieces)


def is_utf8(encoding: str) -> bool:
    """Whether text of an encoding is UTF-8 as it is."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def wrongly_decoded(path: Path, encoding: str) -> tuple[str, str] | None:
    """A word of a file as UTF-8 reads it, and as an encoding of one byte for each character does.

    None if the file does not begin with valid UTF-8 that is more than ASCII, or the encoding is another one. That text
    of such an encoding is valid UTF-8 by chance is next to impossible.
    """
    if is_utf8(encoding) or len(bytes(range(256)).decode(encoding, "replace")) != 256:
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(next(pieces_of(path, _LOOKED_AT), b""))
    except UnicodeDecodeError:
        return None
    word = _NON_ASCII.search(text)
    return (word[0], word[0].encode().decode(encoding, "replace")) if word else None


def length_of_mark(path: Path) -> int:
    """How many bytes the mark of the order of bytes has at the beginning of a UTF-8 file; 0 without one."""
    with path.open("rb") as file:
        return len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0


def _without_other_mark(path: Path, encoding: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces; an error where they begin with the mark of an encoding that is not the one that is given."""
    first = _first_bytes(pieces, max(map(len, _MARKS)))
    given = "utf-8" if is_utf8(encoding) else codecs.lookup(encoding).name
    found = next((name for mark, name in _MARKS.items() if first.startswith(mark)), given)
    if not given.startswith(found):
        raise InputError(
            f"{path} begins with the mark of {found.upper()}, but is to be read as {encoding}",
            remedy=f"Set encoding: {found} in the table's block.",
        )
    yield first
    yield from pieces


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield _first_bytes(pieces, len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8)
    yield from pieces


def _first_bytes(pieces: Iterator[bytes], size: int) -> bytes:
    """The first pieces together, so many that they have at least `size` bytes, if there are as many."""
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= size:
            break
    return start


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
            f"{path} is not {encoding}: {what}, near byte {at}",
            remedy="Name its encoding in the table's block, or get a new copy if it is damaged.",
        ) from None
