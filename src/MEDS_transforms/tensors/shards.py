"""A shard of a cohort: the tensors of its subjects' events, and beside them the ids and static data of the subjects.

Both are opened when they are first asked for, by each process for itself, and then stay open. Static data are read with
pyarrow on one thread: polars must not be used in a process that was forked from one that has used it.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..dataset.schema import (
    CODE,
    NUMERIC_VALUE,
    START_TIME,
    STATIC_CODE,
    STATIC_NUMERIC_VALUE,
    SUBJECT_ID,
    TIME,
    TIME_DELTA_DAYS,
)
from ..dataset.tensor_files import Tensor, n_subjects, tensors_in
from ..errors import InputError, MissingInputError, listed

Ints = npt.NDArray[np.int64]

_EVENT_ENDS, _MEASUREMENT_ENDS = "dim1/bounds", "dim2/bounds"
_TENSORS = (_EVENT_ENDS, f"dim1/{TIME_DELTA_DAYS}", _MEASUREMENT_ENDS, f"dim2/{CODE}", f"dim2/{NUMERIC_VALUE}")


class Sequences(NamedTuple):
    """The events of a shard's subjects; row by row, the ends of the subjects and the events."""

    event_ends: Ints
    time_delta_days: Tensor
    measurement_ends: Ints
    code: Tensor
    numeric_value: Tensor


class Static(NamedTuple):
    """The subjects of a shard that have events, row by row, and their static measurements between the bounds."""

    subject_ids: Ints
    bounds: Ints
    code: Tensor
    numeric_value: Tensor


@dataclass(frozen=True)
class Shard:
    """The two files of a shard. A copy in another process has their paths only, and opens them again."""

    tensors_fp: Path
    schemas_fp: Path
    in_memory: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def n_subjects(self) -> int:
        """The number of subjects that have events."""
        return n_subjects(self.tensors_fp)

    @cached_property
    def sequences(self) -> Sequences:
        """The events; of a shard that has none there is nothing to ask for."""
        found = tensors_in(self.tensors_fp, self.in_memory)
        if missing := [name for name in _TENSORS if name not in found]:
            raise InputError(
                f"there is no tensor {listed(missing)}; there are {listed(found)}",
                str(self.tensors_fp),
                "Run tokenization and tensorization again.",
            )
        return Sequences(*(found[name] for name in _TENSORS))

    @cached_property
    def static(self) -> Static:
        """The ids and static measurements of the subjects that have events."""
        code, value = self._static_columns()
        rows = self._schemas(SUBJECT_ID, code, value, START_TIME)
        lengths, codes, values = _lists(rows[code], rows[value])
        numbers = np.where(np.isfinite(values), values, np.float32(np.nan))
        static = Static(rows[SUBJECT_ID].to_numpy(), _bounds(lengths), codes, numbers)
        if len(static.subject_ids) != self.n_subjects:
            raise self._others(f"{self.n_subjects:,} subjects have tensors, and {rows.num_rows:,} have events")
        return static

    def load(self) -> None:
        """Opens both files now."""
        if self.n_subjects:
            self.sequences, self.static  # noqa: B018  to ask for them is to read them

    def events_until(self, rows: Ints, when: npt.NDArray[np.datetime64]) -> Ints:
        """The number of events of some subjects up to some times, which are included: all found by one bisection."""
        table = self._schemas(TIME, START_TIME)
        lengths, times = _lists(table[TIME])
        bounds = _bounds(lengths)
        if not np.array_equal(bounds[1:], self.sequences.event_ends):
            raise self._others("they have other numbers of events")
        low, high = bounds[rows], bounds[rows + 1]
        while (is_open := low < high).any():
            middle = (low + high) // 2
            is_past = is_open & (times[np.minimum(middle, len(times) - 1)] <= when)
            low, high = np.where(is_past, middle + 1, low), np.where(is_open & ~is_past, middle, high)
        return np.asarray(low - bounds[rows], np.int64)

    def _static_columns(self) -> tuple[str, str]:
        """What the columns with static measurements are called, which depends on the `layout` of tokenization."""
        there = pq.read_schema(self.schemas_fp).names if self.schemas_fp.is_file() else ()
        return (STATIC_CODE, STATIC_NUMERIC_VALUE) if STATIC_CODE in there else (CODE, NUMERIC_VALUE)

    def _schemas(self, *columns: str) -> pa.Table:
        """Columns of the subjects that have events; START_TIME, which says which these are, must be one of them."""
        if not self.schemas_fp.is_file():
            raise MissingInputError(
                f"there are no static data of {self.tensors_fp.name}",
                str(self.schemas_fp),
                "Tokenization writes them, beside event_seqs; with keep_intermediates=false they are not kept. "
                "Name their folder in `schemas`.",
            )
        with pq.ParquetFile(self.schemas_fp, pre_buffer=False) as file:
            found = file.schema_arrow.names
            if missing := [column for column in columns if column not in found]:
                raise InputError(
                    f"there is no column {listed(missing)}; there are {listed(found)}",
                    str(self.schemas_fp),
                    "Name the folder of tokenization's schemas.",
                )
            table = file.read([*columns], use_threads=False).combine_chunks()
        return table.filter(table[START_TIME].is_valid())

    def _others(self, difference: str) -> InputError:
        what = f"the subjects of these tensors are not those of {self.schemas_fp}: {difference}"
        return InputError(what, str(self.tensors_fp), "Run tokenization and tensorization again.")


def _lists(*columns: pa.ChunkedArray) -> tuple[Tensor, ...]:
    """The lengths of lists, of which a null is an empty one, and what is in them, column by column."""
    lengths = pc.fill_null(pc.list_value_length(columns[0]), 0).to_numpy()
    return lengths, *(pc.list_flatten(column).to_numpy() for column in columns)


def _bounds(lengths: Tensor) -> Ints:
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
