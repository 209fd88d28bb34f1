"""Makes a batch of several items: arrays of the same shape for all, padded with 0."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..dataset.schema import CODE, NUMERIC_VALUE, SUBJECT_ID, TIME_DELTA_DAYS
from ..errors import InputError
from .items import Item
from .labels import PREDICTION_TIME

Batch = dict[str, npt.NDArray[Any]]
Bools = npt.NDArray[np.bool_]

LEFT, RIGHT = "left", "right"
LABEL = "label"


def collate(items: Sequence[Item], *, nested: bool = False, pad: str = RIGHT, max_length: int | None = None) -> Batch:
    """A batch of B items, as arrays by name. Where a mask is false, the others have 0, which is no code's number.

    Args:
        items: of a dataset.
        nested: whether measurements are in events (B × E × M), or in one sequence (B × L).
        pad: where shorter histories are filled up: `right`, or `left`, which has the last of all in the last place.
        max_length: the largest L, or E; longer histories lose what comes first.

    Returns:
        - subject_id (int64, B);
        - code (int64), numeric_value (float32), numeric_value_mask, mask (both bool): B × L, or B × E × M;
        - time_delta_days (float32): B × L, where the first measurement of an event has its delta, or B × E;
        - event_mask (bool): B × E, if nested;
        - static_code, static_numeric_value, static_numeric_value_mask, static_mask: B × S;
        - of labelled items prediction_time (datetime64[us], B) and, if they have values, label (B).
    """
    if pad not in (LEFT, RIGHT):
        raise InputError(f"pad must be {RIGHT} or {LEFT}, not {pad!r}.")
    if max_length is not None and max_length < 1:
        raise InputError(f"max_length must be a positive number, or None, not {max_length!r}.")
    if not items:
        raise InputError("A batch needs at least one item.")
    batch = {SUBJECT_ID: np.array([item.subject_id for item in items], np.int64)}
    batch |= _nested(items, pad, max_length) if nested else _flat(items, pad, max_length)
    batch |= {f"static_{name}": array for name, array in _static(items).items()}
    if items[0].prediction_time is not None:
        batch[PREDICTION_TIME] = np.array([item.prediction_time for item in items])
    if items[0].label is not None:
        batch[LABEL] = np.array([item.label for item in items])
    return batch


def _flat(items: Sequence[Item], pad: str, max_length: int | None) -> Batch:
    kept = slice(-max_length if max_length else None, None)
    flat = [item.flat() for item in items]
    mask = _mask([len(item.code[kept]) for item in items], pad)
    return {
        "mask": mask,
        TIME_DELTA_DAYS: _filled(mask, np.nan_to_num(np.concatenate([f.time_delta_days[kept] for f in flat]))),
        **_measurements(mask, [f.code[kept] for f in flat], [f.numeric_value[kept] for f in flat]),
    }


def _nested(items: Sequence[Item], pad: str, max_length: int | None) -> Batch:
    kept = slice(-max_length if max_length else None, None)
    lengths = [item.lengths[kept] for item in items]
    measurements = [slice(len(item.code) - int(n.sum()), None) for item, n in zip(items, lengths, strict=True)]
    event_mask = _mask([len(n) for n in lengths], pad)
    n_measurements = _filled(event_mask, np.concatenate(lengths))
    mask = np.arange(n_measurements.max(initial=0)) < n_measurements[..., None]
    return {
        "event_mask": event_mask,
        "mask": mask,
        TIME_DELTA_DAYS: _filled(event_mask, np.nan_to_num(np.concatenate([i.time_delta_days[kept] for i in items]))),
        **_measurements(
            mask,
            [item.code[part] for item, part in zip(items, measurements, strict=True)],
            [item.numeric_value[part] for item, part in zip(items, measurements, strict=True)],
        ),
    }


def _static(items: Sequence[Item]) -> Batch:
    mask = _mask([len(item.static_code) for item in items], RIGHT)
    values = [item.static_numeric_value for item in items]
    return {"mask": mask, **_measurements(mask, [item.static_code for item in items], values)}


def _measurements(mask: Bools, codes: list[Any], values: list[Any]) -> Batch:
    numbers = np.concatenate(values)
    has_value = ~np.isnan(numbers)
    return {
        CODE: _filled(mask, np.concatenate(codes), np.int64),
        NUMERIC_VALUE: _filled(mask, np.where(has_value, numbers, np.float32(0))),
        f"{NUMERIC_VALUE}_mask": _filled(mask, has_value),
    }


def _mask(lengths: Sequence[int], pad: str) -> Bools:
    """Which places of a batch are filled, row by row."""
    n = np.array(lengths)[:, None]
    places = np.arange(n.max())
    return places < n if pad == RIGHT else places >= n.max() - n


def _filled(mask: Bools, values: npt.NDArray[Any], dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """An array with the values, in their order, where the mask is true, and 0 elsewhere."""
    array = np.zeros(mask.shape, dtype or values.dtype)
    array[mask] = values
    return array
