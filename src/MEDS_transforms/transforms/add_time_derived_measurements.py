"""Adds measurements that follow from the time: ages, parts of day and year, times since others, tokens of timelines.

Workers share the shards. New rows have the columns subject_id, time, code and, where they tell a span of time,
numeric_value; their other columns are null. At equal times they come before the existing rows, and those of a later
block before those of an earlier one; the token for the end of a timeline comes after the last row of its subject.
Static rows, whose time is null, count for nothing.

Input: data shards with the columns subject_id, time, code, numeric_value. Rows that are not sorted by subject and time
are sorted first. Output: the shards with the new rows, sorted.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from ..cli.script import stage_script
from ..dataset.io import Frame
from ..dataset.measurements import begins_event, checked, in_order
from ..dataset.schema import CODE, NUMERIC_VALUE, SUBJECT_ID, TIME
from ..errors import Problems, listed, nearest
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.keys import own_keys
from ..settings.plain import plain
from ..work.accounts import note
from .block_settings import call_with
from .new_rows import Block, NewRows, insert
from .time_blocks.age import age
from .time_blocks.calendar import intervals_by_hour, month, season, time_of_day, weekday
from .time_blocks.since import others_needed, time_since
from .time_blocks.timeline import timeline_tokens
from .time_units import UNITS, seconds_per

__all__ = [
    "UNITS",
    "Block",
    "NewRows",
    "add_time_derived_measurements",
    "age",
    "insert",
    "intervals_by_hour",
    "read_blocks",
    "seconds_per",
    "time_of_day",
]


def add_time_derived_measurements(stage_cfg: Mapping[str, Any]) -> Callable[[Frame], pl.DataFrame]:
    """The function of one shard that adds the rows of each block.

    Raises:
        ValueError: a block is unknown, or has wrong or missing keys; the message lists all problems.
    """
    blocks = read_blocks(stage_cfg)

    def add(df: Frame) -> pl.DataFrame:
        rows = in_order(checked(df, SUBJECT_ID, TIME, CODE, NUMERIC_VALUE).collect())
        events = np.flatnonzero(begins_event(rows) & rows[TIME].is_not_null().to_numpy())
        new, old = [each for block in blocks for each in block(rows, events)], rows.get_columns()
        note({"rows": {"added": sum(len(each.at) for each in new)}})
        del rows
        return insert(old, new)

    return add


_BLOCKS: dict[str, Callable[..., Block]] = {
    "age": age,
    "time_of_day": time_of_day,
    "time_since": time_since,
    "season": season,
    "month": month,
    "weekday": weekday,
    "timeline_tokens": timeline_tokens,
}
"""The functions that read the blocks; their arguments are the keys."""


def read_blocks(stage_cfg: Mapping[str, Any]) -> list[Block]:
    """The blocks of a stage's configuration as functions, in order; see `add_time_derived_measurements`."""
    problems = Problems("The settings of add_time_derived_measurements are not valid")
    blocks = []
    for name, block in own_keys(plain(stage_cfg)).items():
        if name not in _BLOCKS and block is not None:
            problems.add(f"{name}: no such block{nearest(name, _BLOCKS)}; known: {listed(_BLOCKS)}")
        elif block is not None:
            blocks.append(call_with(block, _BLOCKS[name], name, problems))
    problems.raise_if_any()
    return [block for block in blocks if block]


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, read_blocks)


def others(stage_cfg: Mapping[str, Any]) -> Others:
    """What the stage does with columns that not every MEDS file has: matchers may ask for them."""
    return Others.PASSED_ON.but_needs(*others_needed(plain(stage_cfg).get("time_since")))


run = map_stage(add_time_derived_measurements, others=others, takes_categories=True)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
