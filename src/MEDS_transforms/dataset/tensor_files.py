"""Reads files of tensors in place: the safetensors that tensorization writes.

A file begins with the length of a JSON text, which says where the tensors are.
"""

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

SUFFIX = ".nrt"

Tensor = npt.NDArray[Any]
Content = mmap.mmap | bytes

_BOUNDS_OF_SUBJECTS = "dim1/bounds"
_LARGEST_HEADER = 2**24
"""No file of tensors has a longer text at its beginning; what claims to is another file."""


def n_subjects(path: Path) -> int:
    """The number of subjects in a file of tensors; only its header is read."""
    return len(tensors_in(path).get(_BOUNDS_OF_SUBJECTS, ()))


def tensors_in(path: Path, in_memory: bool = False, writable: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by name; none in that of a shard without events.

    The file is mapped, so that only what is looked at is read, or it is all read into memory.

    Args:
        path: the file.
        in_memory: whether all of it is read at once.
        writable: whether what is mapped may be changed, in memory alone; else it is read-only.

    Raises:
        InputError: it is no file of tensors, or not a whole one.
    """
    data = path.read_bytes() if in_memory else _mapped(path, mmap.ACCESS_COPY if writable else mmap.ACCESS_READ)
    size = int.from_bytes(data[:8], "little")
    try:
        found: Any = json.loads(data[8 : 8 + size]) if size < _LARGEST_HEADER else None
        return {name: _tensor(data, 8 + size, about) for name, about in found.items() if name != "__metadata__"}
    except (ValueError, TypeError, LookupError, AttributeError):
        raise InputError("this is not a whole file of tensors", str(path), "Run tensorization again.") from None


def _mapped(path: Path, access: int) -> Content:
    with path.open("rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=access)
        except ValueError:  # an empty file cannot be mapped
            return b""


def _tensor(data: Content, start: int, about: dict[str, Any]) -> Tensor:
    name, shape = about["dtype"], tuple(about["shape"])
    dtype = np.dtype(np.bool_ if name == "BOOL" else f"<{name[0].lower()}{int(name[1:]) // 8}")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype, int(np.prod(shape)), start + about["data_offsets"][0]).reshape(shape)
