"""Parts of sequences of many subjects at once: cut out of the tensors of a shard, put together, and padded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..dataset.schema import CODE, NUMERIC_VALUE, TIME_DELTA_DAYS
from ..dataset.tensor_files import Tensor
from .shards import Sequences

Ints = npt.NDArray[np.int64]
Tensors = dict[str, Tensor]
Begin = Callable[[Ints], Ints]
"""Where windows begin, given how many more elements there are than they have."""

MASK, EVENT_MASK = "mask", "event_mask"
_N = "n_measurements"


def ranges(starts: Tensor, lengths: Tensor) -> Ints:
    """The numbers from each start on, as many as each length, one range after the other.

    >>> ranges(np.array([5, 0]), np.array([3, 2])).tolist()
    [5, 6, 7, 0, 1]
    """
    before = np.cumsum(lengths) - lengths
    result: Ints = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return result


@dataclass(frozen=True)
class Lists:
    """Lists of several columns, laid end to end, and the length of each list."""

    lengths: Ints
    columns: Tensors

    def take(self, rows: Ints) -> "Lists":
        """Some of the lists, in this order."""
        at = ranges((np.cumsum(self.lengths) - self.lengths)[rows], self.lengths[rows])
        return Lists(self.lengths[rows], {name: column[at] for name, column in self.columns.items()})

    @classmethod
    def together(cls, parts: Sequence["Lists"]) -> "Lists":
        """The lists of several parts, one part after the other."""
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
        return cls(np.concatenate([part.lengths for part in parts]), columns)

    def padded(self) -> Tensors:
        """The columns with a row for each list, 0 where that has no more elements; and a mask, false there."""
        mask = np.arange(self.lengths.max(initial=0)) < self.lengths[:, None]
        return {MASK: mask} | {name: scattered(column, mask) for name, column in self.columns.items()}


def scattered(values: Tensor, mask: Tensor) -> Tensor:
    """The values where the mask is true, in order, and 0 elsewhere."""
    result = np.zeros(mask.shape, values.dtype)
    result[mask] = values
    return result


@dataclass(frozen=True)
class Parts:
    """A part of the history of each of some subjects.

    Args:
        events: for each of them a list with the days and the number of measurements of each event.
        measurements: a list with code and value of each measurement.
        n_before: how many measurements, or events, the window was cut out of.
    """

    events: Lists
    measurements: Lists
    n_before: Ints

    def take(self, rows: Ints) -> "Parts":
        """Those of some of the subjects, in this order."""
        return Parts(self.events.take(rows), self.measurements.take(rows), self.n_before[rows])

    @classmethod
    def together(cls, parts: Sequence["Parts"]) -> "Parts":
        """Those of several shards, one after the other."""
        events, measurements = ([getattr(part, name) for part in parts] for name in ("events", "measurements"))
        n_before = np.concatenate([part.n_before for part in parts])
        return cls(Lists.together(events), Lists.together(measurements), n_before)

    def flat(self) -> Tensors:
        """Padded tensors of items × measurements. An event's first measurement has its days, the others 0."""
        n, days = self.events.columns[_N], self.events.columns[TIME_DELTA_DAYS]
        of_measurements = np.zeros(int(n.sum()), np.float32)
        of_measurements[(np.cumsum(n) - n)[n > 0]] = days[n > 0]
        columns = {TIME_DELTA_DAYS: of_measurements, **self.measurements.columns}
        return Lists(self.measurements.lengths, columns).padded()

    def nested(self) -> Tensors:
        """Padded tensors of items × events, and of items × events × measurements."""
        events = self.events.padded()
        n = events.pop(_N)
        mask = np.arange(n.max(initial=0)) < n[..., None]
        measurements = {name: scattered(column, mask) for name, column in self.measurements.columns.items()}
        return {EVENT_MASK: events[MASK], TIME_DELTA_DAYS: events[TIME_DELTA_DAYS], MASK: mask, **measurements}


def cut_events(shard: Sequences, rows: Ints, n_events: Ints | None, longest: int, begin: Begin) -> Parts:
    """Windows of at most so many events; if given, of the first `n_events` of each history."""
    first, end = _histories(shard, rows, n_events)
    lengths = np.minimum(end - first, longest)
    starts = first + begin(end - first - lengths)
    bounds = _starts(shard.measurement_ends, starts), _starts(shard.measurement_ends, starts + lengths)
    return _parts(shard, starts, lengths, bounds, end - first)


def cut_measurements(shard: Sequences, rows: Ints, n_events: Ints | None, longest: int, begin: Begin) -> Parts:
    """Windows of at most so many measurements; if given, of the first `n_events` of each history."""
    first, end = (_starts(shard.measurement_ends, at) for at in _histories(shard, rows, n_events))
    lengths = np.minimum(end - first, longest)
    starts = first + begin(end - first - lengths)
    ends = starts + lengths
    event = np.searchsorted(shard.measurement_ends, starts, "right")
    n = np.where(lengths > 0, np.searchsorted(shard.measurement_ends, ends, "left") + 1 - event, 0)
    return _parts(shard, event, n, (starts, ends), end - first)


def _histories(shard: Sequences, rows: Ints, n_events: Ints | None) -> tuple[Ints, Ints]:
    """The first event of each row, and the one after its last."""
    first = _starts(shard.event_ends, rows)
    return first, shard.event_ends[rows] if n_events is None else first + n_events


def _parts(shard: Sequences, events: Ints, n_events: Ints, bounds: tuple[Ints, Ints], n_before: Ints) -> Parts:
    """So many events from each of these on, with those of their measurements that are within the bounds.

    An event whose first measurement is not within has 0 days, as the measurements after the first have.
    """
    at = ranges(events, n_events)
    starts = _starts(shard.measurement_ends, at)
    begins = np.maximum(starts, np.repeat(bounds[0], n_events))
    n = np.minimum(shard.measurement_ends[at], np.repeat(bounds[1], n_events)) - begins
    days = np.where(begins == starts, np.nan_to_num(shard.time_delta_days[at], nan=0.0), np.float32(0))
    chosen = ranges(begins, n)
    measurements = {CODE: shard.code[chosen], NUMERIC_VALUE: shard.numeric_value[chosen]}
    lists = Lists(n_events, {TIME_DELTA_DAYS: days, _N: n})
    return Parts(lists, Lists(bounds[1] - bounds[0], measurements), n_before)


def _starts(ends: Tensor, at: Ints) -> Ints:
    """Where the elements at these positions begin, given where each ends."""
    return np.where(at > 0, ends[np.maximum(at, 1) - 1], 0)
