"""Opens files that may be compressed."""

import bz2
import lzma
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

_ARROW = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_PYTHON: dict[str, Any] = {".bz2": bz2.open, ".xz": lzma.open}


def pieces_of(path: Path, size: int) -> Iterator[bytes]:
    """The bytes of a file, decompressed as its suffix asks for, at most `size` at a time.

    Raises:
        OSError, EOFError, lzma.LZMAError: it cannot be read, is truncated or is compressed otherwise.
    """
    with closing(_open(path)) as file:
        while piece := file.read(size):
            yield piece


def _open(path: Path) -> IO[bytes] | pa.NativeFile:
    suffix = path.suffix.lower()
    if suffix in _ARROW:
        return pa.CompressedInputStream(pa.OSFile(str(path)), _ARROW[suffix])
    return _PYTHON[suffix](path) if suffix in _PYTHON else path.open("rb", buffering=0)
