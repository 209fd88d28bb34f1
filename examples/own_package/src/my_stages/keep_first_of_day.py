"""Keeps the first measurement of each subject, code and day, and drops later ones.

Bedside monitors write a value every minute; for many questions the first of the day is enough. Rows without a time are
kept, and so are rows of codes that `codes` does not match. Rows keep their order.

Input: data shards with the columns subject_id, time and code. Output: the shards, with the same columns.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from MEDS_transforms.mapreduce.mapper import map_stage


def keep_first_of_day(df: pl.LazyFrame, stage_cfg: Mapping[str, Any]) -> pl.LazyFrame:
    """The rows without those that follow another one of the same subject, code and day.

    Args:
        df: a shard, sorted by subject and time.
        stage_cfg: `codes`, a regular expression; null: all codes are looked at.
    """
    time, code, codes = pl.col("time"), pl.col("code"), stage_cfg["codes"]
    is_first = pl.struct("subject_id", "code", time.dt.date().alias("day")).is_first_distinct()
    is_thinned = time.is_not_null() & (code.str.contains(codes) if codes else True)
    return df.filter(is_first | ~is_thinned)


run = map_stage(keep_first_of_day)
