"""Drops subjects with too few measurements or too few events.

Workers share the shards. The remaining subjects keep all their rows, in order.

Input: data shards with the columns subject_id and time. Output: the shards, with the same columns.
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.columns import internal
from ..dataset.io import Frame
from ..dataset.measurements import as_given, begins_event, checked, in_order, note_marks
from ..dataset.schema import SUBJECT_ID, TIME
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.checks import checked_value

_BEGINS = internal("begins_event")


def filter_subjects(stage_cfg: Mapping[str, Any]) -> Callable[[Frame], Frame]:
    """The function of one shard that keeps the rows of subjects within the limits of a stage's block.

    Where all are, it gives back the very frame that it was given.

    Raises:
        TypeError: a limit is not an integer.
    """
    min_measurements = checked_value("filter_subjects", stage_cfg, "min_measurements_per_subject")
    min_events = checked_value("filter_subjects", stage_cfg, "min_events_per_subject")

    def keep(df: Frame) -> Frame:
        if min_measurements is None and min_events is None:
            return df
        rows = checked(df, SUBJECT_ID, TIME)
        counts = count_per_subject(rows.select(SUBJECT_ID, TIME).collect())
        enough = (counts["measurements"] >= (min_measurements or 0)) & (counts["events"] >= (min_events or 0))
        note_marks("subjects", enough, "kept", "dropped")
        if enough.all():
            return as_given(df, rows)
        return rows.filter(pl.col(SUBJECT_ID).is_in(counts[SUBJECT_ID].filter(enough).implode()))

    return keep


def count_per_subject(rows: pl.DataFrame) -> pl.DataFrame:
    """Per subject the number of rows with a time (`measurements`) and of distinct times, including null (`events`).

    >>> rows = pl.DataFrame({"subject_id": [1, 1, 1], "time": [None, 7, 7]})
    >>> count_per_subject(rows).row(0, named=True)
    {'subject_id': 1, 'measurements': 2, 'events': 2}
    """
    rows = in_order(rows)
    by_subject = rows.with_columns(pl.Series(_BEGINS, begins_event(rows))).group_by(SUBJECT_ID)
    return by_subject.agg(measurements=pl.col(TIME).count(), events=pl.col(_BEGINS).sum())


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, len)


run = map_stage(filter_subjects, cheap=True, others=Others.PASSED_ON, takes_categories=True)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
