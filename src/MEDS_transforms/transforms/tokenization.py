"""Gathers the measurements of each subject: static ones in one list, the others in one list per event.

Workers share the shards. Each shard becomes two files, one with static data per subject, one with sequences of events.

Input: shards with the columns subject_id, time, code, numeric_value, as normalization writes them. Rows that are not
sorted by subject and time are sorted first.

Output: `<output_dir>/schemas/<shard>.parquet`, with a row per subject:
  - subject_id (Int64);
  - code (list), numeric_value (list of Float32): the static measurements, unchanged; null if there is none;
  - start_time (Datetime[us]): the time of the first event; null if there is none;
  - time (list of Datetime[us]): the times of the events.

And `<output_dir>/event_seqs/<shard>.parquet`, with a row per subject that has an event:
  - subject_id (Int64);
  - time_delta_days (list of Float32): days since the previous event; NaN for the first;
  - code (list of lists), numeric_value (list of lists of Float32; NaN if missing or infinite): the measurements
    of each event.

With `layout: meds_torch_data` the files in `schemas` are those that meds-torch-data 0.9 reads. The columns code and
numeric_value are called static_code and static_numeric_value, which has NaN for infinite values, since that program
fails at these; measurements_per_event (list of UInt32) is added.
Subjects without an event have no row there, since that program takes row i of the tensors for row i of the schemas;
how many they are is logged.

The stage reads all splits; train_only is an error.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa

from ..cli.script import stage_script
from ..dataset.io import Frame, shard_writer
from ..dataset.measurements import Bools, Ints, begins_event, checked, in_order
from ..dataset.schema import (
    CODE,
    MANDATORY_TYPES,
    MEASUREMENTS_PER_EVENT,
    NUMERIC_VALUE,
    START_TIME,
    STATIC_CODE,
    STATIC_NUMERIC_VALUE,
    SUBJECT_ID,
    TIME,
    TIME_DELTA_DAYS,
)
from ..errors import InputError, counted, listed, nearest
from ..mapreduce.accounting import OUT
from ..mapreduce.figures import ROWS, count_data
from ..mapreduce.flow import Form
from ..mapreduce.handover import hand_over, scan_shard
from ..mapreduce.mapper import Shards
from ..mapreduce.passes import PlannedStage
from ..mapreduce.plans import Others, Plan
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.layout import EVENT_SEQS_DIR, SCHEMAS_DIR
from ..work.claims import Staged, Unit
from ..work.outputs import StageOutputs

logger = logging.getLogger(__name__)


FORMS = {Form.MEASUREMENTS: Form.SEQUENCES, Form.NUMBERED: Form.NUMBERED_SEQUENCES}

Arrange = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]

_MICROSECONDS_PER_DAY = 24 * 60 * 60 * 1_000_000


def plan(cfg: Mapping[str, Any]) -> Plan:
    """What the stage is to do."""
    output_dir = Path(cfg["stage_cfg"]["output_dir"])
    shards = Shards(cfg)
    outputs = stage_outputs(cfg, shards.sources(None), own_folder=output_dir, count_out=count_data)
    names = {in_fp: out_fp.relative_to(output_dir) for in_fp, out_fp in shards.paths}
    arrange = LAYOUTS[cfg["stage_cfg"].get("layout")]
    units = [_shard_unit(in_fp, output_dir, name, outputs, arrange) for in_fp, name in names.items()]
    frames = {output_dir / EVENT_SEQS_DIR / name: partial(_event_seqs, in_fp) for in_fp, name in names.items()}
    return Plan(outputs, units, frames=frames, makes_rows=False)  # sequences of two columns take less memory


run = PlannedStage(plan, others=Others.DROPPED)


def _shard_unit(in_fp: Path, output_dir: Path, name: Path, outputs: StageOutputs, arrange: Arrange) -> Unit:
    """The unit of work that makes the two files of a shard; done when both are there."""
    schemas_fp, event_seqs_fp = output_dir / SCHEMAS_DIR / name, output_dir / EVENT_SEQS_DIR / name
    write = shard_writer(output_dir)

    def make(scratch: Path) -> Staged:
        finished = {schemas_fp: scratch / "schemas.parquet", event_seqs_fp: scratch / "event_seqs.parquet"}
        schemas, event_seqs = tokenize(scan_shard(in_fp))
        frames = arrange(schemas, event_seqs), event_seqs
        if left_out := schemas.height - frames[0].height:
            logger.warning("%s: no row in schemas for %s without events", in_fp, counted(left_out, "subject"))
        for path, frame in zip(finished, frames, strict=True):
            hand_over(path, frame)
        for path, frame in zip(finished.values(), frames, strict=True):
            write(frame, path)
        return Staged(finished, {OUT: {ROWS: sum(map(count_measurements, frames))}})

    return outputs.unit(event_seqs_fp, make, in_fp, outputs=[schemas_fp, event_seqs_fp])


def _event_seqs(in_fp: Path, **_: object) -> pl.DataFrame:
    return tokenize(scan_shard(in_fp))[1]


def count_measurements(frame: pl.DataFrame) -> int:
    """The measurements in a table of static data, or of event sequences."""
    codes = frame[STATIC_CODE if STATIC_CODE in frame.columns else CODE]
    while isinstance(codes.dtype.inner, pl.List):  # type: ignore[attr-defined]
        codes = codes.explode(empty_as_null=False)
    return int(codes.list.len().sum())


def tokenize(df: Frame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The measurements gathered by subject: static data, and event sequences; columns as in the module's docstring.

    Raises:
        ValueError: columns are missing, have other dtypes, or a row has no subject.

    >>> day = pl.Series([None, "2020-01-01", "2020-01-01", "2020-01-03"]).str.to_datetime(time_unit="us")
    >>> rows = {"subject_id": [1, 1, 1, 1], "time": day, "code": [5, 6, 7, 6], "numeric_value": [None, None, 0.5, 2.0]}
    >>> schemas, event_seqs = tokenize(pl.DataFrame(rows))
    >>> schemas["code"].to_list(), event_seqs["code"].to_list(), event_seqs["time_delta_days"].to_list()
    ([[5]], [[[6, 7], [6]]], [[nan, 2.0]])
    """
    df = checked(df, SUBJECT_ID, TIME, NUMERIC_VALUE)
    columns = df.collect_schema()
    if CODE not in columns:
        raise InputError(f"{CODE} is missing{nearest(CODE, columns)}; there are {listed(columns)}. Correct the data.")
    dtypes = {column: MANDATORY_TYPES[column] for column in (SUBJECT_ID, TIME, NUMERIC_VALUE)}
    rows = in_order(df.select(*(pl.col(c).cast(dtype) for c, dtype in dtypes.items()), CODE).collect()).rechunk()
    layout = Layout.of(rows)
    return subject_schemas(rows, layout), event_sequences(rows, layout)


@dataclass(frozen=True)
class Layout:
    """The positions of subjects and events among the rows of a shard."""

    subject_ids: Ints
    """Every subject once."""
    n_static: Ints
    """The number of static rows of each subject."""
    event_bounds: Ints
    """For each subject the position of its first event in `times`; at the end the number of events."""
    times: Ints
    """The time of every event, in microseconds since 1970."""
    row_bounds: Ints
    """For each event the position of its first row among the rows with a time; at the end the number of these rows."""
    is_timed: Bools
    """Whether a row has a time."""

    @property
    def n_events(self) -> Ints:
        """The number of events of each subject."""
        return np.diff(self.event_bounds)

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Self:
        """The layout of sorted rows. Comparing neighbours takes a fraction of the time of a group-by."""
        subject, is_timed = rows[SUBJECT_ID].to_numpy(), rows[TIME].is_not_null().to_numpy()
        begins_subject = np.ones(len(subject), dtype=bool)
        begins_subject[1:] = subject[1:] != subject[:-1]
        subject_starts = np.flatnonzero(begins_subject)
        subject_bounds = np.append(subject_starts, len(subject))
        event_starts = np.flatnonzero(begins_event(rows) & is_timed)
        event_bounds = np.searchsorted(event_starts, subject_bounds)
        # Static rows come first: they end where the first event begins, or, without events, where the subject ends.
        first_timed = np.append(event_starts, len(subject))[event_bounds[:-1]]
        n_static = np.minimum(first_timed, subject_bounds[1:]) - subject_starts
        static_before = np.repeat(np.cumsum(n_static), np.diff(event_bounds))
        return cls(
            subject_ids=subject[subject_starts],
            n_static=n_static,
            event_bounds=event_bounds,
            times=rows[TIME].to_physical().gather(event_starts).to_numpy(),
            row_bounds=np.append(event_starts - static_before, is_timed.sum()),
            is_timed=is_timed,
        )


def subject_schemas(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """A row per subject: its static measurements and the times of its events."""
    static = rows.filter(pl.Series(~layout.is_timed))
    bounds = _bounds(layout.n_static)
    times = pa.array(layout.times.view("datetime64[us]"))
    has_no_event = layout.n_events == 0
    first_event = np.where(has_no_event, 0, layout.event_bounds[:-1])
    start = layout.times[first_event] if len(times) else np.zeros(len(first_event), np.int64)
    return _frame(
        {
            SUBJECT_ID: pa.array(layout.subject_ids),
            CODE: _lists(bounds, static[CODE].to_arrow(), null_where=layout.n_static == 0),
            NUMERIC_VALUE: _lists(bounds, static[NUMERIC_VALUE].to_arrow(), null_where=layout.n_static == 0),
            START_TIME: pa.array(start.view("datetime64[us]"), mask=has_no_event),
            TIME: _lists(layout.event_bounds, times),
        }
    )


def event_sequences(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """A row per subject with at least one event: the days between its events, and the measurements of each."""
    value = pl.col(NUMERIC_VALUE)
    timed = rows.filter(pl.Series(layout.is_timed)).select(
        CODE, pl.when(value.is_finite()).then(value).otherwise(float("nan"))
    )
    has_event = layout.n_events > 0
    bounds = _bounds(layout.n_events[has_event])
    days = np.full(len(layout.times), np.nan, np.float32)
    days[1:] = np.diff(layout.times) / _MICROSECONDS_PER_DAY
    days[bounds[:-1]] = np.nan
    return _frame(
        {
            SUBJECT_ID: pa.array(layout.subject_ids[has_event]),
            TIME_DELTA_DAYS: _lists(bounds, pa.array(days)),
            CODE: _lists(bounds, _lists(layout.row_bounds, timed[CODE].to_arrow())),
            NUMERIC_VALUE: _lists(bounds, _lists(layout.row_bounds, timed[NUMERIC_VALUE].to_arrow())),
        }
    )


def for_meds_torch_data(schemas: pl.DataFrame, event_seqs: pl.DataFrame) -> pl.DataFrame:
    """The static data of the subjects that have events, with the columns that meds-torch-data reads."""
    per_event = event_seqs[CODE].list.eval(pl.element().list.len()).alias(MEASUREMENTS_PER_EVENT)
    names = {CODE: STATIC_CODE, NUMERIC_VALUE: STATIC_NUMERIC_VALUE}
    value = pl.element()
    finite = pl.col(STATIC_NUMERIC_VALUE).list.eval(pl.when(value.is_infinite()).then(float("nan")).otherwise(value))
    return schemas.filter(pl.col(START_TIME).is_not_null()).rename(names).with_columns(finite, per_event)


def as_it_is(schemas: pl.DataFrame, _: pl.DataFrame) -> pl.DataFrame:
    """The static data of all subjects."""
    return schemas


LAYOUTS = {None: as_it_is, "meds_torch_data": for_meds_torch_data}
"""What makes the files in `schemas` of static data and event sequences, by the key `layout`."""


def _bounds(lengths: Ints) -> Ints:
    return np.append(0, np.cumsum(lengths))


def _lists(bounds: Ints, values: pa.Array, null_where: Bools | None = None) -> pa.Array:
    """Lists of the values between successive bounds; nothing is copied."""
    return pa.LargeListArray.from_arrays(
        pa.array(bounds), values, mask=None if null_where is None else pa.array(null_where)
    )


def _frame(columns: Mapping[str, pa.Array]) -> pl.DataFrame:
    frame = pl.from_arrow(pa.table(dict(columns)))
    assert isinstance(frame, pl.DataFrame)
    return frame


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
