"""Writes the event sequences of each shard as nested ragged tensors, ready for a data loader.

Workers share the shards. A file holds three tensors of subjects × events (× measurements), without padding: the days
since the previous event, the codes and the values. Row i of the tensors is row i of the shard's event sequences;
subjects without an event have no row.

Input: `event_seqs/<shard>.parquet` of tokenization, with the columns `time_delta_<unit>` (list), code (list of lists of
vocabulary indices), numeric_value (list of lists).
Output: `<output_dir>/<shard>.nrt`, which `JointNestedRaggedTensorDict(tensors_fp=Path(…))` of the package
nested_ragged_tensors loads. In it, as safetensors:
  - dim1/bounds (int64): for each subject the number of events up to and including its last, over all subjects;
  - dim1/time_delta_days (float32): for each event, NaN for a subject's first;
  - dim2/bounds (int64): for each event the number of measurements up to and including its last, over all events;
  - dim2/code (the smallest unsigned integers that hold the codes), dim2/numeric_value (float32, NaN if missing): for
    each measurement.

A shard without events gives a file without tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from nested_ragged_tensors.ragged_numpy import JointNestedRaggedTensorDict

from ..cli.script import stage_script
from ..dataset.io import Frame
from ..dataset.schema import CODE, NUMERIC_VALUE
from ..dataset.tensor_files import SUFFIX, Tensor, n_subjects, tensors_in
from ..errors import InputError, Problems, counted, listed
from ..mapreduce.figures import CODES, FILES, ROWS, SUBJECTS
from ..mapreduce.flow import Form
from ..mapreduce.mapper import plan_map
from ..mapreduce.passes import PlannedStage
from ..mapreduce.plans import Plan
from ..mapreduce.shards import ShardPaths, shard_iterator
from ..work.accounts import Account

FORMS = {Form.NUMBERED_SEQUENCES: Form.TENSORS}

IN_PREFIX = "event_seqs/"
TIME_DELTA_PREFIX = "time_delta_"

Tensors = dict[str, Tensor]


def plan(cfg: Mapping[str, Any]) -> Plan:
    """What the stage is to do."""
    made = plan_map(cfg, tensorize, write_fn=write_tensors, shard_iterator_fntr=event_seqs, count_out=count_tensors)
    return replace(made, makes_rows=False)


run = PlannedStage(plan)


def event_seqs(cfg: Mapping[str, Any]) -> tuple[ShardPaths, bool]:
    """The files with event sequences and where their tensors go."""
    try:
        return shard_iterator(cfg, in_prefix=IN_PREFIX, out_suffix=SUFFIX)
    except FileNotFoundError as error:
        error.add_note("The stage that writes them is tokenization.")
        raise


def tensorize(df: Frame) -> Tensors:
    """The tensors of a shard's event sequences, under their names on disk; none for a shard without events.

    There is no loop over subjects or events: bounds and values are taken from the columns' buffers.

    Raises:
        ValueError: a column is missing, there are several time deltas, codes are not vocabulary indices, or the
            lists of the columns differ in length.

    >>> seqs = {"time_delta_days": [[float("nan"), 2.0], [0.0]], "code": [[[6, 7], [6]], [[1]]]}
    >>> tensors = tensorize(pl.DataFrame(seqs | {"numeric_value": [[[0.5, 1.0], [2.0]], [[0.0]]]}))
    >>> tensors["dim1/bounds"].tolist(), tensors["dim2/bounds"].tolist(), tensors["dim2/code"].tolist()
    ([2, 3], [2, 3, 4], [6, 7, 6, 1])
    """
    time_delta = check_columns(df.lazy().collect_schema())
    frame = df.lazy().select(time_delta, CODE, NUMERIC_VALUE).collect().rechunk()
    subject_bounds, deltas = unnest(frame[time_delta].to_arrow())
    if not len(deltas):
        return {}
    event_bounds, codes = unnest_twice(frame[CODE].to_arrow(), subject_bounds)
    value_bounds, values = unnest_twice(frame[NUMERIC_VALUE].to_arrow(), subject_bounds)
    if not np.array_equal(event_bounds, value_bounds):
        raise InputError(f"The lists of {CODE} and {NUMERIC_VALUE} differ in length. Run tokenization again.")
    return {
        "dim1/bounds": subject_bounds,
        f"dim1/{time_delta}": as_float32(deltas),
        "dim2/bounds": event_bounds,
        f"dim2/{CODE}": as_indices(codes),
        f"dim2/{NUMERIC_VALUE}": as_float32(values),
    }


def check_columns(schema: pl.Schema) -> str:
    """The name of the column that begins with `time_delta_`; raises a ValueError if the columns are not suitable."""
    found = [c for c in schema if c.startswith(TIME_DELTA_PREFIX)]
    if len(found) != 1:
        raise InputError(
            f"There must be one column {TIME_DELTA_PREFIX}…, but there are {len(found)} ({listed(found)}) among "
            f"{listed(schema)}. Run tokenization first, or drop the others."
        )
    problems = Problems("The event sequences cannot become tensors")
    for column, depth in {found[0]: 1, CODE: 2, NUMERIC_VALUE: 2}.items():
        if column not in schema:
            problems.add(f"{column} is missing: run tokenization first")
            continue
        innermost = schema[column]
        for _ in range(depth):
            innermost = getattr(innermost, "inner", pl.Null())
        if column == CODE and not innermost.is_integer():
            must_be = "lists of lists of integers: run fit_vocabulary_indices and normalization before tokenization"
            problems.add(f"{column} must be {must_be}; it is {schema[column]}")
        elif not innermost.is_numeric():
            problems.add(f"{column} must be {'lists of ' * depth}numbers; it is {schema[column]}")
    problems.raise_if_any()
    return found[0]


def unnest(lists: pa.Array) -> tuple[Tensor, pa.Array]:
    """The position among all values at which each list ends, and the values. A null counts as an empty list."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.cumsum(lengths, dtype=np.int64), lists.flatten()


def unnest_twice(lists: pa.Array, subject_bounds: Tensor) -> tuple[Tensor, pa.Array]:
    """The same for lists of lists, one inner list per event."""
    bounds, events = unnest(lists)
    if not np.array_equal(bounds, subject_bounds):
        raise InputError(f"The lists of {CODE}, {NUMERIC_VALUE} and times differ in length. Run tokenization again.")
    return unnest(events)


def as_float32(values: pa.Array) -> Tensor:
    """The values as float32, with NaN instead of null."""
    filled: Tensor = pc.fill_null(values.cast(pa.float32()), float("nan")).to_numpy()
    return filled


def as_indices(codes: pa.Array) -> Tensor:
    """The codes in the smallest unsigned integer type that holds them all."""
    if codes.null_count:
        raise InputError(f"{counted(codes.null_count, 'measurement')} without {CODE}. Run normalization first.")
    indices: Tensor = codes.to_numpy()
    if indices.min(initial=0) < 0:
        raise InputError(f"{CODE} {indices.min()} is not a vocabulary index: these start at 0.")
    return indices.astype(np.min_scalar_type(indices.max(initial=0)))


def write_tensors(tensors: Tensors, path: Path) -> None:
    """Saves tensors with the usual permissions.

    NOTE: safetensors makes files that only their owner can read; the permissions of an empty file show the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    mode = path.stat().st_mode
    schema = {name.partition("/")[2]: t.dtype.type for name, t in tensors.items() if not name.endswith("/bounds")}
    JointNestedRaggedTensorDict(processed_tensors=tensors, schema=schema).save(path)
    path.chmod(mode)


def count_tensors(paths: Sequence[Path]) -> Account:
    """The files, measurements, subjects and distinct codes in files of tensors; a subject counts in each of them."""
    rows, subjects, codes = 0, 0, set[int]()
    for path in paths:
        found = tensors_in(path).get(f"dim2/{CODE}", np.empty(0, np.uint8))
        rows, subjects = rows + len(found), subjects + n_subjects(path)
        codes.update(np.flatnonzero(np.bincount(found)) if found.itemsize < 4 else pl.Series(found).unique())
    return {FILES: len(paths), ROWS: rows, SUBJECTS: subjects, CODES: len(codes)}


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
