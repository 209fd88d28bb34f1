"""Adds a row for the start and one for the end of each subject's record.

Workers share the shards. The end of a record is the time of the subject's last event, or of the last measurement that a
matcher describes, such as a discharge or the date of last contact, with an offset if wanted; the start is that of the
first. No row is dropped: other events may be later than the end, or earlier than the start. Among the rows of one time,
that for the start stands first, and that for the end last; with match & revise, among those that an entry matches. A
subject whose rows are all static has neither.

Input: data shards with the columns subject_id, time, code. Rows that are not sorted by subject and time are sorted
first. Output: the shards with the new rows, sorted; in these all other columns are null.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ..cli.script import stage_script
from ..dataset.columns import internal
from ..dataset.io import Frame
from ..dataset.measurements import Ints, checked, in_order, places_among, sorted_rows
from ..dataset.schema import CODE, SUBJECT_ID, TIME
from ..errors import InputError, Problems, listed, nearest
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.keys import own_keys
from ..settings.plain import plain
from ..work.accounts import note
from .block_settings import call_with, check_code
from .matches import Find, finder, others_in
from .new_rows import Moved, NewRows, insert
from .time_units import seconds_per

START, END = "start", "end"
RECORD_BOUNDS = "record_bounds"
"""The part of the stage's account that says of each block how many rows were added, and which subjects got none."""
ADDED, AT_EVENT, NO_EVENT, NO_MATCH = "added", "at_event_otherwise", "no_event", "no_match"

_EVENT, _SKIP = "event", "skip"
_AT, _WHICH = internal("at"), internal("which")
_NONE = -1
"""In place of the position of a row, where there is none."""
_STEPS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
"""How many steps a second has, by the unit of a column of times."""
_FIRST, _LAST = (int(datetime(*day, tzinfo=UTC).timestamp()) for day in ((1, 1, 1), (9999, 12, 31)))
"""The first and the last day that most programs can read, in seconds."""
_LONGEST = 10_000 * seconds_per("years")
"""What no two of these days are apart, in seconds."""


def add_record_bounds(stage_cfg: Mapping[str, Any]) -> Callable[[Frame], Frame]:
    """The function of one shard that adds the rows of both blocks.

    Raises:
        ValueError: a block has wrong or missing keys; the message lists all problems. When applied: a matcher asks for
            a column that the shard lacks, or an offset leads out of the range of times.
    """
    bounds = read_bounds(stage_cfg)
    in_turn = [bounds[name] for name in (START, END) if name in bounds]
    if not bounds:
        return lambda df: df

    def add(df: Frame) -> pl.DataFrame:
        rows = in_order(checked(df, SUBJECT_ID, TIME, CODE).collect())
        new, old = _new_rows(rows, in_turn), rows.get_columns()
        del rows
        return insert(old, [new])

    return add


@dataclass(frozen=True)
class Bound:
    """One of both ends of a record.

    Args:
        name: the name of its block.
        code: that of its rows.
        find: finds the measurements that it is at; None: at any event.
        offset: seconds from there.
        otherwise_at_event: whether it is at an event where none of those is found.
    """

    name: str
    code: str
    find: Find | None
    offset: float
    otherwise_at_event: bool

    def rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Its subjects and times for a shard that is in order, and the positions of the rows that these are from.

        Notes how many there are, and why not more.
        """
        at = self._positions(rows[SUBJECT_ID].to_numpy(), rows)
        return self._moved(rows.select(SUBJECT_ID, TIME)[at]).with_columns(pl.Series(_AT, at))

    def _positions(self, subjects: Ints, rows: pl.DataFrame) -> Ints:
        """The positions of the rows that it is at."""
        is_first = np.ones(rows.height, dtype=bool)
        is_first[1:] = subjects[1:] != subjects[:-1]
        bounds = np.append(np.flatnonzero(is_first), rows.height)
        of_event = self._of_each(np.flatnonzero(rows[TIME].is_not_null().to_numpy()), bounds)
        chosen = self._of_each(self.find(rows), bounds) if self.find else of_event
        has_other = (chosen == _NONE) & (of_event != _NONE)
        if self.otherwise_at_event:
            chosen = np.where(has_other, of_event, chosen)
        at: Ints = chosen[chosen != _NONE]
        n_other, no_event = int(has_other.sum()), int((of_event == _NONE).sum())
        others = {AT_EVENT: n_other, NO_MATCH: 0} if self.otherwise_at_event else {AT_EVENT: 0, NO_MATCH: n_other}
        note({RECORD_BOUNDS: {self.name: {ADDED: len(at), **others, NO_EVENT: no_event}}})
        return at

    def _of_each(self, found: Ints, bounds: Ints) -> Ints:
        """For each subject the last of the rows that were found, for a start the first; given where subjects begin."""
        begin, end = bounds[:-1], bounds[1:]
        which = np.searchsorted(found, end) - 1 if self.name == END else np.searchsorted(found, begin)
        of_each = np.append(found, _NONE)[which]
        return np.where((begin <= of_each) & (of_each < end), of_each, _NONE)

    def _moved(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with their time moved by the offset."""
        times = rows[TIME]
        if not self.offset or rows.is_empty():
            return rows
        dtype: Any = times.dtype
        steps = _STEPS[dtype.time_unit]
        before, offset = times.to_physical(), round(self.offset * steps)
        earliest, latest = max(_FIRST * steps, -(2**63)), min(_LAST * steps, 2**63 - 1)
        for extreme in (before.arg_min(), before.arg_max()):
            if extreme is not None and not earliest <= before[extreme] + offset <= latest:
                subject, time = rows.row(extreme)
                what = f"from {time}, for subject {subject}, it leads out of the times that {dtype} can hold"
                raise InputError(what, f"{self.name}.offset", "Give a smaller offset, or correct the time")
        return rows.with_columns((before + offset).cast(dtype).alias(TIME))


def _new_rows(rows: pl.DataFrame, bounds: Sequence[Bound]) -> NewRows:
    """The rows of the bounds of a shard that is in order, each in its place."""
    numbered = [bound.rows(rows).with_columns(pl.lit(n).alias(_WHICH)) for n, bound in enumerate(bounds)]
    new = sorted_rows(pl.concat(numbered))  # at one time the start first, as the bounds come in this order
    which = new[_WHICH].to_numpy()
    is_end = np.array([bound.name == END for bound in bounds])[which]
    moved = Moved(new[TIME], places_among(rows, new, after=is_end))
    return NewRows(new[_AT].to_numpy(), pl.Series([bound.code for bound in bounds]), which, moved=moved)


def read_bounds(stage_cfg: Mapping[str, Any]) -> dict[str, Bound]:
    """The blocks of a stage's configuration that are not null, by name; see `add_record_bounds`."""
    problems = Problems("The settings of add_record_bounds are not valid")
    bounds = {}
    for name, block in own_keys(plain(stage_cfg)).items():
        if name not in (START, END):
            problems.add(f"{name}: no such block{nearest(name, (START, END))}; known: {listed((START, END))}")
        elif block is not None and (bound := call_with(block, partial(_bound, name), name, problems)):
            bounds[name] = bound
    problems.raise_if_any()
    return bounds


def _bound(
    name: str, code: str, at: Any = None, offset: float = 0, offset_unit: str = "days", otherwise: str = _EVENT
) -> Bound:
    check_code("code", code)
    unit = seconds_per(offset_unit, "offset_unit")
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not abs(offset) <= _LONGEST / unit:
        raise InputError(f"offset must be a number of {offset_unit} within 10,000 years, not {offset!r}")
    if otherwise not in (_EVENT, _SKIP):
        raise InputError(f"otherwise must be {_EVENT} or {_SKIP}, not {otherwise!r}")
    find = None if at is None else finder(at, "at", name)
    return Bound(name, code, find, offset * unit, otherwise == _EVENT)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, read_bounds)


def others(stage_cfg: Mapping[str, Any]) -> Others:
    """What the stage does with columns that not every MEDS file has: matchers may ask for them."""
    blocks = [plain(stage_cfg).get(name) or {} for name in (START, END)]
    return Others.PASSED_ON.but_needs(*(name for block in blocks for name in others_in(block.get("at"))))


run = map_stage(add_record_bounds, others=others, takes_categories=True)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
