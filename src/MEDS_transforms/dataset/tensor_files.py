"""Reads files of tensors in place: the safetensors that tensorization writes.

A file begins with the length of a JSON text, which says where the tensors are.
"""

import json
import mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import InputError

SUFFIX = ".nrt"

Tensor = npt.NDArray[Any]

_BOUNDS_OF_SUBJECTS = "dim1/bounds"
_LARGEST_HEADER = 2**24
"""No file of tensors has a longer text at its beginning; what claims to is another file."""


def n_subjects(path: Path) -> int:
    """The number of subjects in a file of tensors, by its header alone."""
    with path.open("rb") as file:
        found, _ = _header(path, file)
    return int(found[_BOUNDS_OF_SUBJECTS]["shape"][0]) if found else 0


def tensors_in(path: Path, in_memory: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by name, read-only: mapped, so that only what is looked at is read, or all in memory.

    Raises:
        InputError: it is no file of tensors, or not a whole one.
    """
    with path.open("rb") as file:
        found, start = _header(path, file)
        file.seek(0)
        data = file.read() if in_memory else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return {name: _tensor(data, start, about) for name, about in found.items()}
    except ValueError:
        raise _not_tensors(path) from None


def _header(path: Path, file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Where the tensors of a file are, by name, and where the first begins."""
    size = int.from_bytes(file.read(8), "little")
    try:
        found = json.loads(file.read(size)) if size < _LARGEST_HEADER else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _not_tensors(path)
    return {name: about for name, about in found.items() if name != "__metadata__"}, 8 + size


def _not_tensors(path: Path) -> InputError:
    return InputError("this is not a whole file of tensors", str(path), "Run tensorization again.")


def _tensor(data: Any, start: int, about: dict[str, Any]) -> Tensor:
    kind, bits = about["dtype"][0].lower(), int(about["dtype"][1:])
    dtype, shape = np.dtype(f"<{kind}{bits // 8}"), tuple(about["shape"])
    count = int(np.prod(shape))
    if not count:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype, count, start + about["data_offsets"][0]).reshape(shape)
