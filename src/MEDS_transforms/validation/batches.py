"""Reads a shard piece by piece, as arrays: in bounded memory, whatever its size."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..dataset.schema import CODE, NUMERIC_VALUE, SUBJECT_ID, TIME
from .columns import has_values

BATCH_ROWS = 2**19

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

STATIC = np.iinfo(np.int64).min
"""Stands for the null time of static rows: it is before every time."""
NO_SUBJECT = np.iinfo(np.int64).min
"""Stands for a null subject."""


@dataclass(frozen=True)
class Batch:
    """Rows of a shard that follow each other.

    Args:
        start: the number of the first of them in the shard.
        subjects: ids; `NO_SUBJECT`: null.
        times: microseconds since 1970; `STATIC`: null.
        codes: numbers of `names`; -1: null.
        names: the codes.
        values: of the rows, null where there is none; None if the shard has no values.
    """

    start: int
    subjects: Ints
    times: Ints
    codes: npt.NDArray[np.int32]
    names: pa.Array
    values: pa.Array | None

    @cached_property
    def is_static(self) -> Bools:
        """The rows without a time."""
        static: Bools = self.times == STATIC
        return static

    def rows(self, chosen: Bools) -> Ints:
        """The numbers, in the shard, of the chosen rows."""
        return np.flatnonzero(chosen) + self.start

    def with_code(self, code: str) -> Bools:
        """The rows whose code is this one, or begins with it and `//`."""
        names = self.names
        return self._of(pc.or_(pc.equal(names, code), pc.starts_with(names, f"{code}//")))

    def with_empty_code(self) -> Bools:
        """The rows whose code is empty text."""
        return self._of(pc.equal(self.names, ""))

    def is_not_finite(self) -> Bools:
        """The rows whose value is NaN or infinite."""
        if self.values is None:
            return np.zeros(len(self.subjects), dtype=np.bool_)
        return as_numpy(pc.invert(pc.fill_null(pc.is_finite(self.values), True)))

    def _of(self, chosen: pa.Array) -> Bools:
        of_names = np.append(as_numpy(pc.fill_null(chosen, False)), False)  # the last is what -1 leads to
        if not of_names.any():
            return np.zeros(len(self.subjects), dtype=np.bool_)
        return of_names[self.codes]


def batches(path: Path, schema: pa.Schema) -> Iterator[Batch]:
    """The rows of a shard whose columns are readable, in their order.

    NOTE: codes are read as numbers of distinct codes, as most files have them: a tenth of the time that texts take.
    """
    names = [SUBJECT_ID, TIME, CODE] + ([NUMERIC_VALUE] if has_values(schema) else [])
    start = 0
    with pq.ParquetFile(path, read_dictionary=[CODE]) as file:
        for piece in file.iter_batches(BATCH_ROWS, columns=names):
            batch = _batch(piece, start)
            yield batch
            start += len(batch.subjects)


def _batch(piece: pa.RecordBatch, start: int) -> Batch:
    codes = piece.column(CODE)
    codes = codes if isinstance(codes, pa.DictionaryArray) else codes.dictionary_encode()
    names = codes.dictionary.cast(pa.large_string())
    names.validate(full=True)  # that it is UTF-8
    subjects = pc.fill_null(piece.column(SUBJECT_ID).cast(pa.int64(), safe=False), int(NO_SUBJECT))
    return Batch(
        start,
        as_numpy(subjects),
        as_numpy(_microseconds(piece.column(TIME))),
        as_numpy(pc.fill_null(codes.indices.cast(pa.int32()), -1)),
        names,
        piece.column(NUMERIC_VALUE) if NUMERIC_VALUE in piece.schema.names else None,
    )


def _microseconds(times: pa.Array) -> pa.Array:
    numbers = times.cast(pa.timestamp("us", times.type.tz), safe=False).view(pa.int64())
    return pc.fill_null(numbers, int(STATIC))


def as_numpy(values: pa.Array) -> npt.NDArray[Any]:
    """An array without nulls."""
    return values.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return] # pyarrow has no types
