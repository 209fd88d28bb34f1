"""What the items of a dataset are: its subjects, or labels."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .shards import Ints, Shard


class Place(NamedTuple):
    """Where an item is: the number of its shard, its row there, and of a labelled one more."""

    shard: int
    row: int
    n_events: int | None = None
    """The number of events up to the prediction time; None: all."""
    prediction_time: np.datetime64 | None = None
    label: Any = None


class Index(Protocol):
    """The items by their numbers."""

    def __len__(self) -> int: ...

    def place(self, number: int) -> Place:
        """Where an item is."""

    def subject_ids(self, shards: Sequence[Shard]) -> Ints:
        """The subject of each item."""


class AllSubjects:
    """Every subject that has an event is an item, shard by shard. It takes a number for each shard."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.ends = [*accumulate(shard.n_subjects for shard in shards)]

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def place(self, number: int) -> Place:
        """Where a subject is."""
        shard = bisect_right(self.ends, number)
        return Place(shard, number - (self.ends[shard - 1] if shard else 0))

    def subject_ids(self, shards: Sequence[Shard]) -> Ints:
        """The subjects, shard by shard."""
        return np.concatenate([np.empty(0, np.int64), *(s.static.subject_ids for s in shards if s.n_subjects)])


@dataclass(frozen=True)
class LabelledTimes:
    """Every label is an item."""

    shards: Ints
    rows: Ints
    n_events: Ints
    prediction_times: npt.NDArray[np.datetime64]
    values: npt.NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, number: int) -> Place:
        """Where the subject of a label is, and its label."""
        label = None if self.values is None else self.values[number]
        until = self.prediction_times[number]
        return Place(int(self.shards[number]), int(self.rows[number]), int(self.n_events[number]), until, label)

    def subject_ids(self, shards: Sequence[Shard]) -> Ints:
        """The subject of each label."""
        found = np.empty(len(self), np.int64)
        for number in np.unique(self.shards):
            here = self.shards == number
            found[here] = shards[number].static.subject_ids[self.rows[here]]
        return found
