"""Reads the tensors of a cohort for training: items of subjects or labels, and batches of them, in numpy.

  TensorDataset   the subjects of a split, or the labels of a task, in random access
  Window          which part of a history an item has
  Item, Flat      what an item has: events of measurements, and the same as one sequence
  collate         makes a padded batch of items

`MEDS_transforms.tensors.torch` has the same for PyTorch.

    train = TensorDataset.open("cohort", "train", window=Window(256, at="random"))
    for batch in train.batches(32, shuffle=1):
        ...
"""

from .batches import collate
from .dataset import TensorDataset
from .items import Flat, Item
from .windows import Window

__all__ = ["Flat", "Item", "TensorDataset", "Window", "collate"]
