"""Adds measurements that follow from the time: the subject's age, and the part of the day.

Workers share the shards. New rows have the columns subject_id, time, code and, for the age, numeric_value; their other
columns are null. At equal times they come before the existing rows, and those of a later block before those of an
earlier one.

Input: data shards with the columns subject_id, time, code, numeric_value. Rows that are not sorted by subject and time
are sorted first. Output: the shards with the new rows, sorted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..cli.script import stage_script
from ..dataset.columns import internal
from ..dataset.io import Frame
from ..dataset.measurements import Bools, Ints, begins_event, checked, in_order
from ..dataset.schema import CODE, NUMERIC_VALUE, SUBJECT_ID, TIME
from ..errors import InputError, Problems, listed, nearest
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.keys import own_keys

_DAY = 24 * 60 * 60

UNITS: dict[str, tuple[float, tuple[str, ...]]] = {
    "seconds": (1, ("s", "sec", "secs", "second")),
    "minutes": (60, ("m", "min", "mins", "minute")),
    "hours": (60 * 60, ("h", "hr", "hrs", "hour")),
    "days": (_DAY, ("d", "day")),
    "weeks": (7 * _DAY, ("w", "wk", "wks", "week")),
    "months": (30.436875 * _DAY, ("mo", "mos", "month")),
    "years": (365.2422 * _DAY, ("y", "yr", "yrs", "year")),
}
"""How many seconds each unit has, and its short forms."""


@dataclass(frozen=True)
class NewRows:
    """Measurements to insert: each before a row of the shard, with the subject and time of that row."""

    before: Ints
    """The positions of these rows, ascending."""
    codes: pl.Series
    """The codes that they have, few."""
    which: Ints
    """For each row the position of its code among these."""
    numeric_value: pl.Series | None = None
    """Float32; None for rows without values."""


Block = Callable[[pl.DataFrame, Ints], NewRows]
"""Makes new rows for a shard, given the positions of the first row of every event."""


def add_time_derived_measurements(stage_cfg: Mapping[str, Any]) -> Callable[[Frame], pl.DataFrame]:
    """The function of one shard that adds the rows of each block.

    Raises:
        ValueError: a block is unknown, or has wrong or missing keys; the message lists all problems.
    """
    blocks = read_blocks(stage_cfg)

    def add(df: Frame) -> pl.DataFrame:
        rows = in_order(checked(df, SUBJECT_ID, TIME, CODE, NUMERIC_VALUE).collect())
        events = np.flatnonzero(begins_event(rows) & rows[TIME].is_not_null().to_numpy())
        new, old = [block(rows, events) for block in blocks], rows.get_columns()
        del rows
        return insert(old, new)

    return add


def read_blocks(stage_cfg: Mapping[str, Any]) -> list[Block]:
    """The blocks of a stage's configuration as functions, in order; see `add_time_derived_measurements`."""
    problems = Problems("The settings of add_time_derived_measurements are not valid")
    blocks = []
    for name, block in own_keys(stage_cfg).items():
        if block is None:
            continue
        if name not in _BLOCKS:
            problems.add(f"{name}: no such block{nearest(name, _BLOCKS)}; known: {listed(_BLOCKS)}")
        elif not isinstance(block, Mapping):
            problems.add(f"{name} must be a block of keys, or null for none, not {block!r}")
        else:
            keys, make = _BLOCKS[name]
            wrong = [f"{key} is missing" for key in keys if key not in block]
            wrong += [f"unknown key {key}{nearest(str(key), keys)}" for key in block if key not in keys]
            try:
                blocks += [] if wrong else [make(**{key: block[key] for key in keys})]
            except ValueError as error:
                wrong.append(str(error))
            problems.found += [f"{name}: {text}" for text in wrong]
    problems.raise_if_any()
    return blocks


def age(DOB_code: str, age_code: str, age_unit: str) -> Block:  # noqa: N803
    """Rows with the time since a subject's earliest row with `DOB_code`, in `age_unit`, at every later event.

    Raises:
        ValueError: the unit is unknown, or a code is not text.
    """
    _check_code("DOB_code", DOB_code)
    _check_code("age_code", age_code)
    unit = pl.lit(seconds_per(age_unit) * 1e6)

    def block(rows: pl.DataFrame, events: Ints) -> NewRows:
        births = rows.lazy().filter(pl.col(CODE) == DOB_code).group_by(SUBJECT_ID).agg(birth=pl.col(TIME).min())
        at = rows.select(SUBJECT_ID, TIME)[events].lazy()
        since_birth = at.join(births, on=SUBJECT_ID, how="left", maintain_order="left").select(
            (pl.col(TIME) - pl.col("birth")).dt.total_microseconds()
        )
        since = since_birth.collect().to_series()
        later = (since > 0).fill_null(False)
        value = since.filter(later).to_frame().select((pl.first() / unit).cast(pl.Float32)).to_series()
        return NewRows(events[later.to_numpy()], pl.Series([age_code]), np.zeros(value.len(), np.int64), value)

    return block


def seconds_per(unit: Any) -> float:
    """The length in seconds of a unit, given by name or short form.

    >>> seconds_per("hr")
    3600
    """
    for name, (seconds, short_forms) in UNITS.items():
        if unit == name or unit in short_forms:
            return seconds
    known = "; ".join(f"{name} ({', '.join(short_forms)})" for name, (_, short_forms) in UNITS.items())
    raise InputError(f"age_unit: the unit {unit!r} is unknown; it must be one of {known}")


def time_of_day(time_of_day_code: str, endpoints: list[int]) -> Block:
    """Rows with the interval of the hour among 0, the endpoints and 24, at every event.

    Raises:
        ValueError: the endpoints are not whole numbers from 0 to 24 in ascending order, or the code is not text.
    """
    _check_code("time_of_day_code", time_of_day_code)
    labels = pl.Series([f"{time_of_day_code}//{interval}" for interval in intervals_by_hour(endpoints)])

    def block(rows: pl.DataFrame, events: Ints) -> NewRows:
        return NewRows(events, labels, rows[TIME].gather(events).dt.hour().cast(pl.Int64).to_numpy())

    return block


def intervals_by_hour(endpoints: Any) -> list[str]:
    """For each hour of the day the interval that contains it.

    >>> intervals_by_hour([9, 18])[8:10]
    ['[00,09)', '[09,18)']
    """
    given = list(endpoints) if hasattr(endpoints, "__iter__") and not isinstance(endpoints, str) else []
    whole = all(isinstance(hour, int) and not isinstance(hour, bool) and 0 <= hour <= 24 for hour in given)
    if not given or not whole or given != sorted(set(given)):
        raise InputError(
            f"endpoints must be a list of one or more whole numbers from 0 to 24, ascending and unique, not {endpoints}"
        )
    cuts = sorted({0, *given, 24})
    return [f"[{start:02},{end:02})" for start, end in pairwise(cuts) for _ in range(start, end)]


_BLOCKS: dict[str, tuple[tuple[str, ...], Callable[..., Block]]] = {
    "age": (("DOB_code", "age_code", "age_unit"), age),
    "time_of_day": (("time_of_day_code", "endpoints"), time_of_day),
}
"""The keys of each block, and the function that reads it."""


def insert(rows: list[pl.Series], blocks: list[NewRows]) -> pl.DataFrame:
    """The shard with the new rows, each before its row; if several precede one row, those of a later block come first.

    The columns of the old rows are taken out of their list one by one, so that their memory is soon free.

    Positions are computed by counting, and every column is gathered once; nothing is sorted.

    NOTE: a gather takes a third of the time where the column is in one chunk and no index is null. So what the new rows
    have is appended to the old ones, and a null for the columns that they leave empty; column by column, since memory
    for a copy of all of them would cost as much as that saves.
    """
    # The later block first, so that it stays first where both insert before the same row.
    blocks = [block for block in reversed(blocks) if len(block.before)]
    if not blocks:
        return pl.DataFrame(rows)
    n, before = rows[0].len(), np.concatenate([block.before for block in blocks])
    is_new = np.ones(n + len(before), dtype=bool)
    is_new[np.arange(n) + np.cumsum(np.bincount(before, minlength=n))] = False
    # How many old rows are before each row: an old one is the next of them, a new one stands before the next of them.
    place = Place(np.cumsum(~is_new, dtype=np.uint32) - ~is_new, is_new, np.argsort(before, kind="stable"))
    old, old_or_null = pl.Series(place.source), pl.Series(np.where(is_new, np.uint32(n), place.source))
    fill: dict[str, Callable[[pl.Series], pl.Series]] = {
        SUBJECT_ID: lambda values: values.rechunk()[old],
        TIME: lambda values: values.rechunk()[old],
        CODE: lambda values: place.filled(values, *_codes(blocks)),
        NUMERIC_VALUE: lambda values: place.filled(values, _values(blocks), np.arange(len(before))),
    }
    filled = []
    while rows:
        values = rows.pop(0)
        filled.append(fill[values.name](values) if values.name in fill else _or_null(values, old_or_null))
    return pl.DataFrame(filled)


def _or_null(values: pl.Series, which: pl.Series) -> pl.Series:
    """Some of the values; null for their number. NOTE: not under a name that polars would take for a pattern."""
    values, name = values.alias(internal("values")), values.name
    return pl.concat([values, values.clear(1)], rechunk=True)[which].alias(name)


@dataclass(frozen=True)
class Place:
    """Where the rows of the result come from."""

    source: npt.NDArray[np.uint32]
    """The positions of the old rows that they are, or stand before."""
    is_new: Bools
    order: Ints
    """The new rows in the order of the result."""

    def filled(self, old: pl.Series, new: pl.Series, which: Ints) -> pl.Series:
        """A column of the result: an old value, or for each new row one of the new ones."""
        # A copy, because a polars series may share memory with the array that it was made from.
        source = self.source.copy()
        source[self.is_new] = old.len() + which[self.order]
        # NOTE: only frames are concatenated with a common dtype.
        both = pl.concat([old.to_frame(), new.alias(old.name).to_frame()], how="vertical_relaxed", rechunk=True)
        return both.to_series()[pl.Series(source)]


def _codes(blocks: list[NewRows]) -> tuple[pl.Series, Ints]:
    """The codes of all blocks, and for each of their rows the position of its code among these."""
    firsts = np.cumsum([0, *(block.codes.len() for block in blocks)])
    which = [block.which + first for block, first in zip(blocks, firsts, strict=False)]
    return pl.concat([block.codes for block in blocks]), np.concatenate(which)


def _values(blocks: list[NewRows]) -> pl.Series:
    """The values of the rows of all blocks, null for blocks without values."""
    nulls = (pl.repeat(None, len(block.before), dtype=pl.Float32, eager=True) for block in blocks)
    given = [block.numeric_value for block in blocks]
    return pl.concat([null if value is None else value for value, null in zip(given, nulls, strict=True)])


def _check_code(key: str, code: Any) -> None:
    if not isinstance(code, str):
        raise InputError(f"{key} must be text, not {code!r}")


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, read_blocks)


run = map_stage(add_time_derived_measurements, others=Others.PASSED_ON)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
