"""The tensors of a cohort for PyTorch: a dataset, and what makes batches of its items.

loader = DataLoader(TorchDataset(TensorDataset.open("cohort", "train")), batch_size=32, collate_fn=collate_fn)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import MissingPackagesError
from .batches import collate
from .dataset import TensorDataset
from .items import Item

try:
    import torch  # type: ignore[import-not-found,unused-ignore]
    from torch.utils.data import Dataset  # type: ignore[import-not-found,unused-ignore]
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    what = "MEDS_transforms.tensors.torch needs PyTorch, which is not installed. Install it with\n"
    raise MissingPackagesError(f"{what}    pip install 'MEDS_transforms[torch]'") from None


class TorchDataset(Dataset):  # type: ignore[misc,type-arg,unused-ignore]
    """A `TensorDataset` as a dataset of PyTorch's; any number of workers may read it, forked or spawned."""

    def __init__(self, dataset: TensorDataset) -> None:
        self.dataset = dataset
        self._epoch_set = torch.tensor(dataset.epoch).share_memory_()  # which workers see that live on
        self._epoch_seen = dataset.epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Item:
        if (epoch := int(self._epoch_set)) != self._epoch_seen:
            self._epoch_seen = epoch
            self.dataset.set_epoch(epoch)
        return self.dataset[number]

    def set_epoch(self, epoch: int) -> None:
        """Makes random windows be at other places, also in workers that persist over epochs."""
        self._epoch_set.fill_(epoch)
        self._epoch_seen = epoch
        self.dataset.set_epoch(epoch)


def collate_fn(items: Sequence[Item], **options: Any) -> dict[str, Any]:
    """A batch as tensors; the `options` are those of `collate`.

    Times are numbers: microseconds since 1970. Labels that are text stay an array of numpy's.
    """
    return {name: _tensor(array) for name, array in collate(items, **options).items()}


def _tensor(array: Any) -> Any:
    if array.dtype.kind in "OU":
        return array
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "M" else array)
