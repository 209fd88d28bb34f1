"""Checks the rows of one shard: order, nulls, times, values, births and deaths; and counts them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ..dataset.columns import internal
from ..dataset.schema import CODE, SUBJECT_ID, TIME
from .batches import NO_SUBJECT, Batch, Bools, Ints, batches
from .findings import Findings
from .standards import BIRTH_CODE, DEATH_CODE

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
EARLIEST = (datetime(1850, 1, 1) - _EPOCH) // _MICROSECOND
ROW, N_ROWS = internal("row"), internal("rows")
_STARTS, _AGAIN, _FIRST, _LAST = (internal(name) for name in ("starts", "again", "first", "last"))
_NEVER = np.iinfo(np.int64).max
_STRETCHES = dict.fromkeys((SUBJECT_ID, ROW, N_ROWS, _STARTS, _AGAIN, _FIRST, _LAST), pl.Int64)
_MARKED = dict.fromkeys((SUBJECT_ID, TIME, ROW), pl.Int64)
CODE_COUNTS = {CODE: pl.String, N_ROWS: pl.Int64}
_MANY = 1_000_000
"""Rows that are gathered before they are summed up."""


def _latest_time() -> int:
    """The last time that is not in the future, with a day for zones, in microseconds since 1970."""
    return (datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1) - _EPOCH) // _MICROSECOND


@dataclass
class ShardFacts:
    """What is counted in a shard.

    Args:
        rows: measurements.
        static: of these, without a time.
        events: distinct times of a subject.
        first, last: the first and last time, in microseconds since 1970; None: there is none.
        subjects: `subject_id` (Int64, unique), the numbers of its first row and how many it has (Int64).
        codes: `code` (String, unique) and how many rows have it (Int64).
    """

    rows: int = 0
    static: int = 0
    events: int = 0
    first: int | None = None
    last: int | None = None
    subjects: pl.DataFrame = field(default_factory=pl.DataFrame)
    codes: pl.DataFrame = field(default_factory=pl.DataFrame)


def check_shard(
    path: Path, schema: pa.Schema, where: str, findings: Findings, advance: Callable[[int], object]
) -> ShardFacts:
    """Adds what is wrong with the rows of a shard, which is read once, and counts them.

    `advance` is called with the rows that were read so far.

    Raises:
        OSError, pyarrow.ArrowException: the file cannot be read to its end.
    """
    facts, before, latest = ShardFacts(), None, _latest_time()
    stretches, codes = [pl.DataFrame(schema=_STRETCHES)], [pl.DataFrame(schema=CODE_COUNTS)]
    births, deaths = [pl.DataFrame(schema=_MARKED)], [pl.DataFrame(schema=_MARKED)]
    for batch in batches(path, schema):
        if not len(batch.subjects):
            continue
        begins = _begins(batch, before)
        _check_batch(batch, begins, before, where, findings, latest)
        _count(facts, batch, begins, before)
        stretches = fewer([*stretches, _stretches(batch, begins)], _by_subject)
        codes = fewer([*codes, _codes(batch)], sum_codes)
        births.append(_marked(batch, batch.with_code(BIRTH_CODE)))
        deaths.append(_marked(batch, batch.with_code(DEATH_CODE)))
        before = (batch.subjects[-1], batch.times[-1])
        advance(facts.rows)
    subjects = _by_subject(stretches).filter(pl.col(SUBJECT_ID) != NO_SUBJECT)
    _check_subjects(subjects, pl.concat(births), pl.concat(deaths), where, findings)
    facts.subjects = subjects.select(SUBJECT_ID, ROW, N_ROWS)
    facts.codes = sum_codes(codes)
    return facts


def _before(values: Ints, first: Ints | np.int64 | None) -> Ints:
    """For each row what the row before has; for the first row of the shard its own."""
    return np.concatenate([[values[0] if first is None else first], values[:-1]])


def _begins(batch: Batch, before: tuple[np.int64, np.int64] | None) -> Bools:
    """The rows whose subject is another than that of the row before."""
    begins: Bools = batch.subjects != _before(batch.subjects, before and before[0])
    begins[0] |= before is None
    return begins


def _check_batch(
    batch: Batch,
    begins: Bools,
    before: tuple[np.int64, np.int64] | None,
    where: str,
    findings: Findings,
    latest: int,
) -> None:
    times = batch.times
    is_early = ~begins & (times < _before(times, before and before[1]))
    wrong = {
        "null_subject": batch.subjects == NO_SUBJECT,
        "null_code": batch.codes < 0,
        "empty_code": batch.with_empty_code(),
        "static_order": is_early & batch.is_static,
        "time_order": is_early & ~batch.is_static,
        "future_time": times > latest,
        "early_time": (times < EARLIEST) & ~batch.is_static,
        "not_finite": batch.is_not_finite(),
    }
    for kind, rows in wrong.items():
        findings.add_rows(kind, where, batch.rows(rows))


def _count(facts: ShardFacts, batch: Batch, begins: Bools, before: tuple[np.int64, np.int64] | None) -> None:
    times, is_static = batch.times, batch.is_static
    facts.rows += len(times)
    facts.static += int(is_static.sum())
    is_new = begins | (times != _before(times, before and before[1]))
    facts.events += int((is_new & ~is_static).sum())
    if not is_static.all():
        lowest, highest = int(np.where(is_static, _NEVER, times).min()), int(times.max())
        facts.first = lowest if facts.first is None else min(facts.first, lowest)
        facts.last = highest if facts.last is None else max(facts.last, highest)


def _stretches(batch: Batch, begins: Bools) -> pl.DataFrame:
    """A row for each stretch of rows of one subject: how many, the first and last time, where it begins."""
    first = np.union1d([0], np.flatnonzero(begins))
    rows = first + batch.start
    stretches = {
        SUBJECT_ID: batch.subjects[first],
        ROW: rows,
        N_ROWS: np.diff(first, append=len(batch.subjects)),
        _STARTS: begins[first].astype(np.int64),
        _AGAIN: rows,
        _FIRST: np.minimum.reduceat(np.where(batch.is_static, _NEVER, batch.times), first),
        _LAST: np.maximum.reduceat(batch.times, first),
    }
    return pl.DataFrame(stretches)


def fewer(frames: list[pl.DataFrame], sum_up: Callable[[list[pl.DataFrame]], pl.DataFrame]) -> list[pl.DataFrame]:
    """The frames, summed up where they have many rows, so that memory does not grow with the data."""
    return [sum_up(frames)] if sum(frame.height for frame in frames) > max(_MANY, 2 * frames[0].height) else frames


def _by_subject(stretches: list[pl.DataFrame]) -> pl.DataFrame:
    """A row for each subject: its first row, its rows, how often it begins and where for the last time, its times."""
    return (
        pl.concat(stretches)
        .group_by(SUBJECT_ID)
        .agg(
            pl.col(ROW).min(),
            pl.col(N_ROWS, _STARTS).sum(),
            # A stretch that continues one of the batch before does not begin.
            pl.col(_AGAIN).filter(pl.col(_STARTS) > 0).max(),
            pl.col(_FIRST).min(),
            pl.col(_LAST).max(),
        )
    )


def _codes(batch: Batch) -> pl.DataFrame:
    """The codes of a batch, and how many rows have each."""
    counts = np.bincount(batch.codes[batch.codes >= 0], minlength=len(batch.names))
    names = pl.Series(CODE, pl.from_arrow(batch.names), dtype=pl.String)
    return pl.DataFrame([names, pl.Series(N_ROWS, counts, dtype=pl.Int64)]).filter(pl.col(N_ROWS) > 0)


def sum_codes(codes: list[pl.DataFrame]) -> pl.DataFrame:
    """Codes of several frames, and how many rows have each."""
    return pl.concat(codes).group_by(CODE).agg(pl.col(N_ROWS).sum())


def _marked(batch: Batch, chosen: Bools) -> pl.DataFrame:
    """The chosen rows that have a time: subject, time, number of the row."""
    chosen = chosen & ~batch.is_static
    return pl.DataFrame({SUBJECT_ID: batch.subjects[chosen], TIME: batch.times[chosen], ROW: batch.rows(chosen)})


def _check_subjects(
    subjects: pl.DataFrame, births: pl.DataFrame, deaths: pl.DataFrame, where: str, findings: Findings
) -> None:
    births, deaths = (marked.join(subjects, on=SUBJECT_ID, suffix="_of_subject") for marked in (births, deaths))
    wrong = {
        "not_contiguous": subjects.filter(pl.col(_STARTS) > 1)[_AGAIN],
        "birth_repeats": _repeats(births),
        "birth_after_events": births.filter(pl.col(TIME) > pl.col(_FIRST))[ROW],
        "death_repeats": _repeats(deaths),
        "death_before_events": deaths.filter(pl.col(TIME) < pl.col(_LAST))[ROW],
    }
    for kind, rows in wrong.items():
        findings.add_rows(kind, where, rows.sort().to_numpy())


def _repeats(rows: pl.DataFrame) -> pl.Series:
    """Of rows of a kind that a subject has once: all but its first."""
    return rows.sort(ROW).filter(~pl.col(SUBJECT_ID).is_first_distinct())[ROW]
