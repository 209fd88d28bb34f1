"""Labels of a task: a table with the columns of `meds.LabelSchema`, and the place of each label among the tensors.

`prediction_time` is the last time of which data may be used: events at that very time belong to the history.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..dataset.schema import BOOLEAN_VALUE, CATEGORICAL_VALUE, SUBJECT_ID
from ..errors import InputError, MissingInputError, Problems, counted, listed, nearest
from .index import LabelledTimes
from .shards import Ints, Shard

logger = logging.getLogger(__name__)

PREDICTION_TIME = "prediction_time"
VALUE_TYPES = {
    BOOLEAN_VALUE: pa.bool_(),
    "integer_value": pa.int64(),
    "float_value": pa.float64(),
    CATEGORICAL_VALUE: pa.string(),
}
"""The columns that a label may be in, and what it is read as."""
_KEY_TYPES = {SUBJECT_ID: pa.int64(), PREDICTION_TIME: pa.timestamp("us")}
_ERROR, _DROP = "error", "drop"


@dataclass(frozen=True)
class Labels:
    """The rows of a table of labels."""

    subject_ids: Ints
    prediction_times: npt.NDArray[np.datetime64]
    values: npt.NDArray[Any] | None
    """None where no column has values: the table names times only."""
    has_value: npt.NDArray[np.bool_]


def read_labels(source: Any, column: str | None = None) -> Labels:
    """The labels in a parquet file, in all such files below a folder, or in a frame of polars or a table of arrow.

    Args:
        source: where they are.
        column: which of the columns of values has the label; it may be left out where only one has any.

    Raises:
        InputError: columns are missing or of other types, or several have values.
    """
    table = _table(source)
    problems = Problems("The labels cannot be used")
    for name in _KEY_TYPES:
        if name not in table.column_names:
            problems.add(
                f"{name} is missing{nearest(name, table.column_names)}; there are {listed(table.column_names)}"
            )
        elif table[name].null_count:
            problems.add(f"{counted(table[name].null_count, 'row')} without {name}")
    problems.raise_if_any()
    column = _column_of_values(table, column)
    keys = [_as(table, name, dtype).to_numpy() for name, dtype in _KEY_TYPES.items()]
    if column is None:
        return Labels(keys[0], keys[1], None, np.ones(len(table), bool))
    values = _as(table, column, VALUE_TYPES[column])
    return Labels(keys[0], keys[1], _numbers(values), values.is_valid().to_numpy())


def _table(source: Any) -> pa.Table:
    if not isinstance(source, str | Path):
        return source if isinstance(source, pa.Table) else source.to_arrow()
    path = Path(source).expanduser()
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise MissingInputError("there are no labels", str(path), "Give a parquet file, or a folder of such files.")
    tables = [pq.ParquetFile(file).read() for file in files]
    return pa.concat_tables(tables, promote_options="permissive")


def _column_of_values(table: pa.Table, column: str | None) -> str | None:
    if column is not None:
        if column not in VALUE_TYPES or column not in table.column_names:
            known = [name for name in VALUE_TYPES if name in table.column_names]
            raise InputError(
                f"The labels have no column {column!r}{nearest(column, known)}; there are {listed(known)}."
            )
        return column
    filled = [n for n in VALUE_TYPES if n in table.column_names and table[n].null_count < len(table)]
    if len(filled) > 1:
        raise InputError(f"Several columns have labels: {listed(filled)}. Name one of them in `label`.")
    return filled[0] if filled else None


def _as(table: pa.Table, name: str, dtype: pa.DataType) -> pa.ChunkedArray:
    try:
        return table[name].cast(dtype, safe=not pa.types.is_timestamp(dtype))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"{name} of the labels must be of type {dtype}; it is {table[name].type}.") from None


def _numbers(values: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Values as an array of numpy's; those that are missing are not looked at again."""
    if pa.types.is_string(values.type):
        return np.array(values.to_pylist(), dtype=object)
    zero = pa.scalar(False) if pa.types.is_boolean(values.type) else pa.scalar(0).cast(values.type)
    filled: npt.NDArray[Any] = values.fill_null(zero).to_numpy()
    return filled


def place_labels(
    labels: Labels, shards: Sequence[Shard], others: Sequence[Shard] = (), unusable: str = _ERROR
) -> LabelledTimes:
    """The labels of the subjects of some shards, in their order.

    Those of subjects of other shards (of other splits) are left out. Those that cannot be used, since their subject has
    no tensors, or no event until their time, or they have no value, are an error, or are dropped and counted.

    Raises:
        InputError: some cannot be used, and are not to be dropped; or none is left.
    """
    if unusable not in (_ERROR, _DROP):
        raise InputError(f"unusable must be {_ERROR} or {_DROP}, not {unusable!r}.")
    found, rows = rows_of(labels.subject_ids, shards)
    n_events = np.zeros(len(rows), np.int64)
    for number in np.unique(found[found >= 0]):
        here = np.flatnonzero(found == number)
        n_events[here] = shards[number].events_until(rows[here], labels.prediction_times[here])
    is_elsewhere = found < 0
    if is_elsewhere.any():
        is_elsewhere[is_elsewhere] = rows_of(labels.subject_ids[is_elsewhere], others)[0] >= 0
    reasons = {
        "of a subject without tensors": (found < 0) & ~is_elsewhere,
        f"of a subject without an event until {PREDICTION_TIME}": (found >= 0) & (n_events == 0),
        "without a value": (n_events > 0) & ~labels.has_value,
    }
    _report({reason: int(which.sum()) for reason, which in reasons.items()}, len(rows), unusable)
    kept = np.flatnonzero((n_events > 0) & labels.has_value)
    if not len(kept):
        raise InputError(f"None of {counted(len(rows), 'label')} is of a subject of these tensors.")
    values = None if labels.values is None else labels.values[kept]
    return LabelledTimes(found[kept], rows[kept], n_events[kept], labels.prediction_times[kept], values)


def _report(unusable: dict[str, int], n: int, action: str) -> None:
    """Raises an error, or logs a warning, if there are labels that cannot be used."""
    words = ", ".join(f"{count:,} {reason}" for reason, count in unusable.items() if count)
    if not words:
        return
    if action == _ERROR:
        raise InputError(
            f"Of {counted(n, 'label')} some cannot be used: {words}. Correct them, or set unusable='drop'."
        )
    logger.warning("Of %s these are left out: %s.", counted(n, "label"), words)


def rows_of(subject_ids: Ints, shards: Sequence[Shard]) -> tuple[Ints, Ints]:
    """For each subject the number of its shard and its row there; -1 where it is in none.

    The subjects are sorted once, so that each shard costs as much as it has subjects, however many are looked for.
    """
    order = np.argsort(subject_ids, kind="stable")
    wanted = subject_ids[order]
    found, rows = np.full(len(order), -1), np.full(len(order), -1)
    for number, shard in enumerate(shards):
        if not shard.n_subjects:
            continue
        ids = shard.static.subject_ids
        first, last = np.searchsorted(wanted, ids, "left"), np.searchsorted(wanted, ids, "right")
        n = last - first
        at = order[np.repeat(first - np.cumsum(n) + n, n) + np.arange(n.sum())]
        found[at], rows[at] = number, np.repeat(np.arange(len(ids)), n)
    return found, rows
