"""Reads the batches that the stage batch_tensors has written, in their order.

for batch in read_batches("cohort/data", "train", epoch=0, as_torch=True):
...
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..dataset.tensor_files import tensors_in
from ..errors import InputError, MissingInputError, listed, nearest
from ..settings.layout import BATCHES_FILE

BATCH_SUFFIX = ".safetensors"


def read_index(folder: str | Path) -> dict[str, Any]:
    """What the batches in a folder are: settings, and the number of items and batches of each split.

    Raises:
        MissingInputError: there is no such file.
    """
    path = Path(folder) / BATCHES_FILE
    if not path.is_file():
        raise MissingInputError(f"There is no {path}: no batches are there", remedy="Run batch_tensors first.")
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return index


def batch_path(folder: Path, split: str, epoch: int, number: int) -> Path:
    """The file of a batch."""
    return folder / split / f"epoch={epoch}" / f"{number}{BATCH_SUFFIX}"


def read_batches(
    folder: str | Path, split: str, epoch: int = 0, first: int = 0, as_torch: bool = False
) -> Iterator[dict[str, Any]]:
    """The batches of an epoch, from number `first` on: tensors by name.

    They are mapped into memory, so that what is not looked at is not read. What is written to them changes them in
    memory alone.

    Args:
        folder: the stage's `output_dir`.
        split: one of the splits there.
        epoch: its number, from 0.
        first: the batch to begin with, to go on with an epoch that was interrupted.
        as_torch: gives tensors of PyTorch, which must be installed, on the same memory; else numpy arrays.

    Raises:
        MissingInputError: there are no batches, or one of them is missing.
        InputError: there is no such split or epoch.
    """
    index = read_index(folder)
    if split not in index["splits"]:
        raise InputError(f"There is no split {split!r}{nearest(split, index['splits'])}; {listed(index['splits'])}.")
    if not 0 <= epoch < index["n_epochs"]:
        raise InputError(f"There is no epoch {epoch}: they go from 0 to {index['n_epochs'] - 1}.")
    paths = (batch_path(Path(folder), split, epoch, n) for n in range(first, index["splits"][split]["batches"]))
    return map(_as_torch if as_torch else _as_numpy, paths)


def _as_numpy(path: Path) -> dict[str, Any]:
    try:
        return tensors_in(path, writable=True)
    except (FileNotFoundError, ValueError):
        raise MissingInputError(f"There is no whole batch {path}", remedy="Run batch_tensors again.") from None


def _as_torch(path: Path) -> dict[str, Any]:
    import torch  # type: ignore[import-not-found,unused-ignore]  # not above: it takes seconds, and need not be installed

    return {name: torch.from_numpy(tensor) for name, tensor in _as_numpy(path).items()}
