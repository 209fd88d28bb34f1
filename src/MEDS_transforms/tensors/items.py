"""An item: what one subject's window, or one label's, has."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..dataset.tensor_files import Tensor


class Flat(NamedTuple):
    """A history as one sequence of measurements; each array has one number for each of them."""

    time_delta_days: Tensor
    code: Tensor
    numeric_value: Tensor


class Item(NamedTuple):
    """A part of a subject's history. The arrays may be the file's own, which cannot be written to.

    Attributes:
        subject_id: the subject.
        time_delta_days: for each event the days since the previous one, be that in the window or not; NaN for the
            subject's first.
        lengths: for each event the number of its measurements (of those in the window).
        code: for each measurement the number of its code in the vocabulary, event by event.
        numeric_value: likewise its value; NaN if it has none.
        static_code: the codes of the static measurements.
        static_numeric_value: their values; NaN if they have none.
        first_event: the place of the first of these events among all of the subject's.
        prediction_time: of a labelled item, the last time of which there may be data.
        label: of a labelled item, its value; None where the table of labels has only times.
    """

    subject_id: int
    time_delta_days: Tensor
    lengths: npt.NDArray[np.int64]
    code: Tensor
    numeric_value: Tensor
    static_code: Tensor
    static_numeric_value: Tensor
    first_event: int = 0
    prediction_time: np.datetime64 | None = None
    label: Any = None

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where each event begins among the measurements; at the end their number."""
        return np.concatenate(([0], np.cumsum(self.lengths)))

    def events(self) -> Iterator[tuple[float, Tensor, Tensor]]:
        """The nested view: of each event the days since the previous one, the codes and the values."""
        offsets = self.offsets
        for number, days in enumerate(self.time_delta_days):
            part = slice(offsets[number], offsets[number + 1])
            yield float(days), self.code[part], self.numeric_value[part]

    def flat(self, repeat_deltas: bool = False) -> Flat:
        """The flat view: one sequence of measurements.

        An event's time delta is that of its first measurement, and the others' is 0, so that their sum is the time
        that passed; with `repeat_deltas` all measurements of an event have its delta.
        """
        deltas = np.repeat(self.time_delta_days, self.lengths)
        if not repeat_deltas:
            event = np.repeat(np.arange(len(self.lengths)), self.lengths)
            deltas[1:][event[1:] == event[:-1]] = 0
        return Flat(deltas, self.code, self.numeric_value)
