"""Orders the measurements of each time by their codes.

Workers share the shards. Within each subject and time, rows whose code matches an earlier pattern come first, and rows
whose code matches no pattern come last; rows of equal rank keep their order.

Input: data shards with the columns subject_id, time, code. Rows that are not sorted by subject and time are sorted
first. Output: the same rows.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from ..cli.script import stage_script
from ..dataset.columns import internal
from ..dataset.io import Frame
from ..dataset.measurements import begins_event, checked, in_order
from ..dataset.schema import CODE, SUBJECT_ID, TIME
from ..errors import InputError
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..parser import matcher_to_expr

logger = logging.getLogger(__name__)

_RANK = internal("rank")


def reorder_measurements(stage_cfg: Mapping[str, Any]) -> Callable[[Frame], pl.DataFrame]:
    """The function of one shard that orders the rows of each time.

    Raises:
        ValueError: the patterns are not a list of regular expressions.
    """
    if stage_cfg.get("ordered_code_patterns") is None:
        logger.warning("ordered_code_patterns is not set: measurements keep their order")
        return lambda df: df.lazy().collect()
    patterns = read_patterns(stage_cfg["ordered_code_patterns"])

    def reorder(df: Frame) -> pl.DataFrame:
        rows = in_order(checked(df, SUBJECT_ID, TIME, CODE).collect())
        event = np.cumsum(begins_event(rows))
        rank = ranks(rows[CODE], patterns).to_numpy()
        # One number for event and rank: events are sorted already, so few rows move and sorting is fast.
        key = event * (len(patterns) + 1) + rank
        return rows if (key[1:] >= key[:-1]).all() else rows[np.argsort(key, kind="stable")]

    return reorder


def ranks(codes: pl.Series, patterns: list[pl.Expr]) -> pl.Series:
    """For each code the position of the first pattern that matches it, or else the number of patterns.

    Each distinct code is matched once.
    """
    distinct = codes.unique().to_frame()
    first = pl.coalesce(*(pl.when(pattern).then(i) for i, pattern in enumerate(patterns)), len(patterns))
    ranked = distinct.with_columns(first.cast(pl.Int64).alias(_RANK))
    return codes.to_frame().join(ranked, on=codes.name, how="left", nulls_equal=True, maintain_order="left")[_RANK]


def read_patterns(patterns: Any) -> list[pl.Expr]:
    """The patterns as expressions that are true where a code matches.

    Raises:
        ValueError: they are not a list of text, or a pattern cannot be compiled.
    """
    if isinstance(patterns, str | Mapping) or not isinstance(patterns, Iterable):
        raise InputError(f"ordered_code_patterns must be a list of text, not {patterns!r}.")
    expressions = []
    for i, pattern in enumerate(patterns):
        if not isinstance(pattern, str):
            raise InputError(f"ordered_code_patterns[{i}] must be text, not {pattern!r}.")
        try:
            expressions.append(matcher_to_expr({CODE: {"regex": pattern}})[0])
        except ValueError as error:
            raise InputError(f"ordered_code_patterns[{i}]: {error}") from None
    return expressions


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, lambda stage_cfg: reorder_measurements(stage_cfg))


run = map_stage(reorder_measurements, others=Others.PASSED_ON)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
