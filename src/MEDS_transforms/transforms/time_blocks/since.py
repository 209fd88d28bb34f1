"""The block `time_since`: the time since measurements of some kind."""

from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ...dataset.measurements import Ints
from ...dataset.schema import SUBJECT_ID, TIME
from ...errors import Problems
from ..block_settings import call_with, code_with
from ..matches import finder, others_in
from ..new_rows import Block, NewRows
from ..time_units import in_unit, microseconds, seconds_per, unit_name


def time_since(**named: Any) -> Block:
    """Rows with the time since measurements of each kind that has a name; see `_since`.

    Raises:
        ValueError: the settings of some are wrong; the message lists all problems.
    """
    problems = Problems("The settings of time_since are not valid")
    read = [call_with(one, partial(_since, name), name, problems) for name, one in named.items() if one is not None]
    problems.raise_if_any()
    blocks = [block for block in read if block is not None]
    return lambda rows, events: [new for block in blocks for new in block(rows, events)]


def others_needed(block: Any) -> set[str]:
    """The columns that matchers of the block ask for, and that not every MEDS file has."""
    kinds = block.values() if isinstance(block, dict) else ()
    matchers = [one.get(key) for one in kinds if isinstance(one, dict) for key in ("matcher", "until")]
    return set[str]().union(*map(others_in, matchers))


def _since(
    name: str, matcher: Any, until: Any = None, code: str = "TIME_SINCE//{name}//{unit}", unit: str = "hours"
) -> Block:
    """Rows with the time since the newest matching measurement of an earlier time, in `unit`, at every event.

    Events after a measurement that matches `until` have none, until another one begins. An end at the very time of a
    beginning is that of the spell before it.

    Raises:
        ValueError: the unit is unknown, the code is not text, or a matcher is none.
    """
    seconds = seconds_per(unit, "unit")
    full_code = code_with("code", code, name=name, unit=unit_name(unit, "unit"))
    find_begins = finder(matcher, "matcher", f"time_since.{name}")
    find_ends = None if until is None else finder(until, "until", f"time_since.{name}")

    def block(rows: pl.DataFrame, events: Ints) -> list[NewRows]:
        subjects, times = rows[SUBJECT_ID].to_numpy(), rows[TIME]
        begin = _newest_before(events, find_begins(rows))
        lasts = (begin >= 0) & (subjects[begin] == subjects[events])
        at, begin = events[lasts], begin[lasts]
        began = microseconds(times.gather(begin))
        if find_ends is not None:
            end = _newest_before(at, find_ends(rows))
            # An end that is after the beginning is of the same subject, since it is before the event.
            end = np.where(end > begin, end, begin)
            lasts = microseconds(times.gather(end)) == began
            at, began = at[lasts], began[lasts]
        return [NewRows.of_one_code(full_code, at, in_unit(microseconds(times.gather(at)) - began, seconds))]

    return block


def _newest_before(events: Ints, found: Ints) -> Ints:
    """For each event the position of the last found row before its first one; -1 where there is none.

    NOTE: to look up where each of few found rows counts from takes a fraction of the time of a look-up per event.
    """
    counts_from = np.searchsorted(events, found, side="right")
    return np.repeat(np.append(-1, found), np.diff(counts_from, prepend=0, append=len(events)))
