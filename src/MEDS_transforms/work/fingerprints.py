"""What tells one version of a file from another without reading all of it."""

import os
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_TAIL = 16 * 1024
_PARQUET_MAGIC = b"PAR1"


class Fingerprint(NamedTuple):
    """A file's size in bytes, and a checksum of the part of it that says what the rest holds."""

    size: int
    check: str


def fingerprint(path: Path | str) -> Fingerprint:
    """The fingerprint of a file: by its first and last 16 KiB, and of a parquet file by its whole footer.

    The footer of a parquet file has its schema, its rows, and the place and size of every column chunk: it changes
    with any of them. No time of the file matters. It takes some microseconds.

    Raises:
        OSError: the file cannot be read.
    """
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(file).st_size
        tail = _read(file, max(0, size - _TAIL), _TAIL)
        footer = int.from_bytes(tail[-8:-4], "little") + 8
        if tail[-4:] == _PARQUET_MAGIC and footer <= size:
            tail = tail if footer <= len(tail) else _read(file, size - footer, footer)
        told = (_read(file, 0, _TAIL) if size > _TAIL else b"") + tail
    finally:
        os.close(file)
    return Fingerprint(size, f"{crc32(told):08x}")


def _read(file: int, start: int, length: int) -> bytes:
    os.lseek(file, start, os.SEEK_SET)
    read = b""
    while len(read) < length and (more := os.read(file, length - len(read))):
        read += more
    return read


def fingerprint_or_none(path: Path | str) -> Fingerprint | None:
    """The fingerprint of a file; None where there is none, or it cannot be read."""
    try:
        return fingerprint(path)
    except OSError:
        return None
