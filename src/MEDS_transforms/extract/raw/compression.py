"""Opens files that may be compressed."""

import bz2
import lzma
from collections.abc import Iterator
from contextlib import closing, suppress
from io import BytesIO, FileIO
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

_ARROW = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_PYTHON: dict[str, Any] = {".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor}
_READ_AHEAD = 2**20
_LOOK_AHEAD = 2**12
_PIECE = 2**16


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed, by its suffix."""
    return path.suffix.lower() in {**_ARROW, **_PYTHON}


def pieces_of(path: Path, size: int, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, decompressed as its suffix asks for, at most `size` at a time.

    Of a file that is not compressed just those from the byte `start` (included) to `stop` (not included).

    Files that consist of several compressed ones are read whole. Pieces of a file that is not compressed end with a
    line end where one is near, so that nobody need copy them to move what follows it to the next piece.

    Raises:
        OSError, EOFError, lzma.LZMAError: it cannot be read, is truncated, has a wrong checksum or is compressed
            otherwise.
    """
    with closing(_open(path)) as file:
        if start and isinstance(file, FileIO):
            file.seek(start)
        while piece := file.read(_to_line_end(file, size, stop) if isinstance(file, FileIO) else size):
            yield piece


def beginning_of(path: Path, size: int) -> bytes:
    """What the first `size` bytes of a file decompress to, as its suffix asks for, as far as these tell it."""
    with path.open("rb") as file:
        head = BytesIO(file.read(size))
    suffix, pieces = path.suffix.lower(), list[bytes]()
    if suffix not in {**_ARROW, **_PYTHON}:
        return head.getvalue()
    source = pa.CompressedInputStream(head, _ARROW[suffix]) if suffix in _ARROW else _Members(head, _PYTHON[suffix])
    with closing(source), suppress(OSError, EOFError, lzma.LZMAError):  # it is cut off, or damaged
        while piece := source.read(_PIECE):
            pieces.append(piece)
    return b"".join(pieces)


def _to_line_end(file: FileIO, size: int, stop: int | None) -> int:
    """How many bytes to read, at most `size`, so that they end with a line end; `size` where none is near."""
    start = file.tell()
    if stop is not None and stop - start <= size:
        return max(stop - start, 0)
    looked = min(_LOOK_AHEAD, size)
    file.seek(start + size - looked)
    end = file.read(looked).rfind(b"\n") + 1
    file.seek(start)
    return size - looked + end if end else size


def _open(path: Path) -> "FileIO | pa.NativeFile | _Members":
    """NOTE: pyarrow reads gzip in four fifths of the time of Python's module, and lets other threads work meanwhile."""
    suffix = path.suffix.lower()
    if suffix in _ARROW:
        return pa.CompressedInputStream(pa.BufferedInputStream(pa.OSFile(str(path)), _READ_AHEAD), _ARROW[suffix])
    return _Members(path.open("rb"), _PYTHON[suffix]) if suffix in _PYTHON else FileIO(path)


class _Members:
    """A file of one or several compressed ones, as several cores or `cat` make them.

    NOTE: Python's own readers end without a word at a member whose first bytes are damaged, and the rest is lost.
    """

    def __init__(self, file: IO[bytes], new: Any) -> None:
        self._file, self._new = file, new
        self._member = new()

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end.

        Raises:
            OSError, EOFError, lzma.LZMAError: a member is damaged or cut off, or is none.
        """
        while True:
            data = b""
            if self._member.eof:
                if not (data := self._rest()):
                    return b""
                self._member = self._new()
            elif self._member.needs_input and not (data := self._file.read(_READ_AHEAD)):
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            piece: bytes = self._member.decompress(data, size)
            if piece:
                return piece

    def _rest(self) -> bytes:
        """What follows a member; zeros between members are padding."""
        data = self._member.unused_data or self._file.read(_READ_AHEAD)
        while data and not data.strip(b"\0"):
            data = self._file.read(_READ_AHEAD)
        return data.lstrip(b"\0")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
