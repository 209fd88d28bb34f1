"""The items that the fixed batches of a split consist of: which there are, and in which order.

All of it depends on the subjects, the labels and the seed alone, so that it is the same in any sharding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ..dataset.schema import START_TIME, SUBJECT_ID
from ..errors import InputError, counted, listed
from .labels import Labels

Ints = npt.NDArray[np.int64]
Draws = npt.NDArray[np.uint64]

_ORDER, _WINDOW = 0, 1
"""What numbers are drawn for."""
_64_BITS = 2**64 - 1
_GOLDEN, _FIRST, _SECOND = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def draws(*parts: int | Ints) -> Draws:
    """Numbers that look random, one for each row of the parts; the same parts give the same ones anywhere (SplitMix64).

    >>> bool(draws(1, np.array([7]))[0] == draws(1, np.array([5, 7]))[1])
    True
    """
    state = np.zeros(1, np.uint64)
    for part in parts:
        column = np.array([part & _64_BITS], np.uint64) if isinstance(part, int) else part.astype(np.uint64)
        state = (state ^ column) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state = state ^ (state >> np.uint64(31))
    return state


@dataclass(frozen=True, eq=False)
class Items:
    """The items of a split, in the order of subjects and prediction times; all arrays have a number for each.

    Args:
        subject_ids: the subject.
        shards: the number of its shard.
        rows: its row in the tensors of the shard.
        seed: of the order and of windows.
        shuffle: whether the order of an epoch is random.
        prediction_times: with labels, until when there may be data.
        labels: what is to be predicted; None where the table of labels has times only.
    """

    subject_ids: Ints
    shards: Ints
    rows: Ints
    seed: int
    shuffle: bool
    prediction_times: npt.NDArray[np.datetime64] | None = None
    labels: npt.NDArray[np.generic] | None = None

    def __len__(self) -> int:
        return len(self.subject_ids)

    def order(self, epoch: int) -> Ints:
        """The items in the order in which an epoch has them."""
        if not self.shuffle:
            return np.arange(len(self))
        return np.argsort(draws(self.seed, epoch, _ORDER, *self._keys(slice(None))), kind="stable")

    def window_draws(self, epoch: int, chosen: Ints) -> Draws:
        """What decides for some items where a random window begins."""
        return draws(self.seed, epoch, _WINDOW, *self._keys(chosen))

    def _keys(self, chosen: slice | Ints) -> list[Ints]:
        times = [] if self.prediction_times is None else [self.prediction_times[chosen].astype(np.int64)]
        return [self.subject_ids[chosen], *times]


def items_of(schemas: Sequence[Path], split: str, seed: int, shuffle: bool, labels: Labels | None = None) -> Items:
    """The subjects of a split that have events, or the labels of these, but for labels without a value.

    Raises:
        InputError: a subject is in several shards, so that it would be in several items.
    """
    ids = [_subjects_with_events(path) for path in schemas]
    subject_ids = np.concatenate([*ids, np.empty(0, np.int64)])
    shards = np.repeat(np.arange(len(ids)), [*map(len, ids)])
    rows = np.concatenate([*map(np.arange, map(len, ids)), np.empty(0, np.int64)])
    by_id = np.argsort(subject_ids, kind="stable")
    subject_ids, shards, rows = subject_ids[by_id], shards[by_id], rows[by_id]
    if len(repeated := np.unique(subject_ids[1:][subject_ids[1:] == subject_ids[:-1]])):
        raise InputError(
            f"{counted(len(repeated), 'subject')} of {split} in several shards: {listed(repeated.tolist(), 5)}. Run "
            "reshard_to_split before tokenization."
        )
    if labels is None:
        return Items(subject_ids, shards, rows, seed, shuffle)
    order = np.lexsort((labels.prediction_times, labels.subject_ids))
    place = np.searchsorted(subject_ids, labels.subject_ids[order])
    found = (place < np.searchsorted(subject_ids, labels.subject_ids[order], "right")) & labels.has_value[order]
    order, place = order[found], place[found]
    times, values = labels.prediction_times[order], None if labels.values is None else labels.values[order]
    return Items(subject_ids[place], shards[place], rows[place], seed, shuffle, times, values)


def _subjects_with_events(path: Path) -> Ints:
    table = pq.read_table(path, columns=[SUBJECT_ID, START_TIME], partitioning=None)
    ids: Ints = table.filter(table[START_TIME].is_valid())[SUBJECT_ID].to_numpy()
    return ids
