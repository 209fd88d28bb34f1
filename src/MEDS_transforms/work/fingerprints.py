"""What tells one version of a file from another, of large ones without reading all of it."""

import os
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_END = 16 * 1024
_WHOLE = 16 * 1024 * 1024
_BLOCK = 1024 * 1024
_PARQUET_MAGIC = b"PAR1"


class Fingerprint(NamedTuple):
    """A file's size in bytes, and a checksum of all of it, or of the part that says what the rest holds."""

    size: int
    check: str


def fingerprint(path: Path | str, whole: bool = False) -> Fingerprint:
    """The fingerprint of a file: by all of it up to 16 MiB, or if it is asked for; else by its first and last 16 KiB.

    A parquet file is known by its ends and its whole footer, whatever its size; that takes some microseconds. The
    footer has the schema, the rows, and the place and size of every column chunk: it changes with any of them. A file
    of tensors is known by its ends. No time of a file matters.

    Raises:
        OSError: the file cannot be read.
    """
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(file).st_size
        tail = _read(file, max(0, size - _END), _END)
        footer = int.from_bytes(tail[-8:-4], "little") + 8
        is_parquet = tail[-4:] == _PARQUET_MAGIC and footer <= size
        if is_parquet and footer > len(tail):
            tail = _read(file, size - footer, footer)
        head = _read(file, 0, _END) if size > _END else b""
        by_ends = is_parquet or _is_tensors(head, size) or size > _WHOLE
        check = crc32(head + tail) if by_ends and not whole else _check_of_all(file)
    finally:
        os.close(file)
    return Fingerprint(size, f"{check:08x}")


def _is_tensors(head: bytes, size: int) -> bool:
    """Whether a file begins as safetensors do: with the length of a JSON text, and that text."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size


def _check_of_all(file: int) -> int:
    os.lseek(file, 0, os.SEEK_SET)
    check = 0
    while block := os.read(file, _BLOCK):
        check = crc32(block, check)
    return check


def _read(file: int, start: int, length: int) -> bytes:
    os.lseek(file, start, os.SEEK_SET)
    read = b""
    while len(read) < length and (more := os.read(file, length - len(read))):
        read += more
    return read


def fingerprint_or_none(path: Path | str, whole: bool = False) -> Fingerprint | None:
    """The fingerprint of a file; None where there is none, or it cannot be read."""
    try:
        return fingerprint(path, whole)
    except OSError:
        return None
