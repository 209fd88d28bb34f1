"""Random access to the tensors of a cohort."""

import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..cli.process import raise_file_limit
from ..errors import InputError
from .batches import Batch, collate
from .folders import find_shards, folders_of
from .index import AllSubjects, Index, Place
from .items import Item
from .labels import place_labels, read_labels
from .shards import Ints, Sequences, Shard
from .windows import EVENTS, RANDOM, Window, draw


class TensorDataset:
    """The subjects of a split, or labels of a task, and the tensors of each.

    It has a length, and `dataset[number]` is an item. Files are opened when an item of theirs is first asked for, and
    mapped into memory, so that an item costs the same in a dataset of any size. Threads may share a dataset; a forked
    process may go on with it; a pickled one has the paths, and where labels are, but no tensors. `open` makes one.
    """

    def __init__(self, shards: Sequence[Shard], index: Index, window: Window) -> None:
        self.shards, self.index, self.window = tuple(shards), index, window
        self.epoch = 0

    @classmethod
    def open(
        cls,
        cohort: str | Path | None = None,
        split: str | None = None,
        *,
        window: Window = Window(),  # noqa: B008  it cannot be changed
        labels: Any = None,
        label: str | None = None,
        unusable: str = "error",
        in_memory: bool = False,
        tensors: str | Path | None = None,
        schemas: str | Path | None = None,
    ) -> "TensorDataset":
        """The dataset of a cohort that pre-processing with tensorization has made.

        Args:
            cohort: its `cohort_dir`.
            split: the split to read; None: all.
            window: the part of each history that an item has.
            labels: a table with the columns of `meds.LabelSchema`: a parquet file, a folder of such files, or a frame
                of polars. Item i is then the history of the subject of label i up to its `prediction_time`, events at
                that time included. Labels of subjects of other splits are left out.
            label: the column with the label, where several have values.
            unusable: what to do with labels whose subject has no tensors, or no event so early, and those without a
                value: `error`, or `drop`, which counts them in the log.
            in_memory: whether to read all tensors at once, and keep them.
            tensors: the folder of the tensors, if it is neither `data` nor `tensorization` in the cohort.
            schemas: that of the static data, if it is not `tokenization/schemas` in the cohort.

        Raises:
            UserError: files or columns are missing, or labels cannot be used.
        """
        raise_file_limit()  # a mapped file counts as an open one
        tensors, schemas = folders_of(cohort, tensors, schemas)
        shards = find_shards(tensors, schemas, split, in_memory)
        index: Index = AllSubjects(shards)
        if labels is not None:
            others = set(find_shards(tensors, schemas, None, in_memory)) - set(shards) if split else ()
            index = place_labels(read_labels(labels, label), shards, [*others], unusable)
        for shard in shards if in_memory else ():
            shard.load()
        return cls(shards, index, window)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Item:
        return self.read(number)

    def set_epoch(self, epoch: int) -> None:
        """Makes random windows be at other places, which depend on this number."""
        self.epoch = epoch

    @property
    def subject_ids(self) -> Ints:
        """The subject of each item. It reads the ids of all shards."""
        return self.index.subject_ids(self.shards)

    def read(self, number: int, window: Window | None = None, rng: np.random.Generator | None = None) -> Item:
        """An item, with another window than the dataset's, or one at a place that a generator draws."""
        number = self._number(number)
        window, place = window or self.window, self.index.place(number)
        sequences = self.shards[place.shard].sequences
        first, last = _events(sequences, place)
        drawn = 0
        if window.at == RANDOM:
            drawn = int(rng.integers(2**63)) if rng else draw(window.seed, self.epoch, number)
        if window.unit == EVENTS:
            start, stop = window.span(last - first, drawn)
            return self._item(place, first + start, first + stop)
        ends = sequences.measurement_ends
        origin = int(ends[first - 1]) if first else 0
        start, stop = window.span(int(ends[last - 1]) - origin, drawn)
        start, stop = origin + start, origin + stop
        inside = ends[first:last]
        begin, end = np.searchsorted(inside, (start, stop - 1), "right")
        return self._item(place, first + int(begin), first + int(end) + 1, start, stop)

    def events(self, number: int, start: int | None = None, stop: int | None = None) -> Item:
        """An item with the events `start` to `stop` (without it) of its history, counted as in a slice."""
        place = self.index.place(self._number(number))
        first, last = _events(self.shards[place.shard].sequences, place)
        start, stop, _ = slice(start, stop).indices(last - first)
        return self._item(place, first + start, first + max(start, stop))

    def batches(
        self, size: int, *, shuffle: np.random.Generator | int | None = None, drop_last: bool = False, **options: Any
    ) -> Iterator[Batch]:
        """All items once, in batches of numpy's arrays.

        Args:
            size: the number of items in a batch.
            shuffle: a generator, or its seed, for another order than the dataset's.
            drop_last: whether to leave out a last batch that is smaller.
            options: of `collate`.
        """
        if size < 1:
            raise InputError(f"The size of a batch must be a positive number, not {size!r}.")
        order = np.arange(len(self))
        if shuffle is not None:
            np.random.default_rng(shuffle).shuffle(order)
        stop = len(order) - len(order) % size if drop_last else len(order)
        for at in range(0, stop, size):
            yield collate([self[number] for number in order[at : at + size].tolist()], **options)

    def _number(self, number: int) -> int:
        """The number of an item, counted from the beginning."""
        at = operator.index(number)
        if not -len(self) <= at < len(self):
            raise IndexError(f"There are {len(self):,} items; {number} is none of them.")
        return at % len(self)

    def _item(self, place: Place, first: int, last: int, start: int | None = None, stop: int | None = None) -> Item:
        """The events `first` to `last` of a shard; of the outer ones only measurements between `start` and `stop`."""
        shard = self.shards[place.shard]
        sequences, static = shard.sequences, shard.static
        ends, row = sequences.measurement_ends, place.row
        bounds = np.empty(last - first + 1, np.int64)
        bounds[1:] = ends[first:last]
        bounds[0] = start if start is not None else ends[first - 1] if first else 0
        if stop is not None:
            bounds[-1] = stop
        measurements = slice(int(bounds[0]), int(bounds[-1]))
        of_subject = slice(int(static.bounds[row]), int(static.bounds[row + 1]))
        return Item(
            subject_id=int(static.subject_ids[row]),
            time_delta_days=sequences.time_delta_days[first:last],
            lengths=bounds[1:] - bounds[:-1],
            code=sequences.code[measurements],
            numeric_value=sequences.numeric_value[measurements],
            static_code=static.code[of_subject],
            static_numeric_value=static.numeric_value[of_subject],
            first_event=first - (int(sequences.event_ends[row - 1]) if row else 0),
            prediction_time=place.prediction_time,
            label=place.label,
        )


def _events(sequences: Sequences, place: Place) -> tuple[int, int]:
    """The first event of an item's history in its shard, and the one after its last."""
    ends, row = sequences.event_ends, place.row
    first = int(ends[row - 1]) if row else 0
    return first, int(ends[row]) if place.n_events is None else first + place.n_events
