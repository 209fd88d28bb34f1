"""Drops measurements whose code is rare.

Workers share the shards. The remaining rows keep their order.

Input: data shards with the column code (and the code modifiers), and code metadata with code/n_subjects or
code/n_occurrences, if there is a limit for it. Output: the shards, with the same columns. With any limit, rows whose
code is not in the metadata are dropped, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_metadata import Lookup, check_metadata
from ..dataset.columns import internal
from ..dataset.io import Frame
from ..dataset.measurements import as_given, checked, note_marks
from ..dataset.schema import CODE, CODE_N_OCCURRENCES, CODE_N_SUBJECTS
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers

LIMITED = {"min_subjects_per_code": CODE_N_SUBJECTS, "min_occurrences_per_code": CODE_N_OCCURRENCES}
"""The keys, and the column of the code metadata that each limits."""

_IS_FREQUENT = internal("is_frequent")


def filter_measurements(
    stage_cfg: Mapping[str, Any], code_metadata: pl.DataFrame, code_modifiers: Sequence[str] | None
) -> Callable[[Frame], Frame]:
    """The function of one shard that keeps the rows whose code is within the limits of a stage's block.

    Where all are, it gives back the very frame that it was given.

    Raises:
        TypeError: a limit is not an integer.
        ValueError: the code metadata lacks a column that is limited, or has several rows for one code; when applied,
            the shard lacks a column.
    """
    limits = {column: checked_value("filter_measurements", stage_cfg, key) for key, column in LIMITED.items()}
    limits = {column: limit for column, limit in limits.items() if limit is not None}
    if not limits:
        return lambda df: df
    check_metadata(code_metadata, [CODE, *limits])
    is_frequent = pl.all_horizontal(pl.col(column) >= limit for column, limit in limits.items())
    marked = code_metadata.with_columns(is_frequent.alias(_IS_FREQUENT))
    mark = Lookup(marked, code_modifiers, {_IS_FREQUENT: _IS_FREQUENT})
    return lambda df: _kept(df, mark)


def _kept(df: Frame, mark: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Frame:
    rows = checked(df, CODE)
    marks = mark(rows).select(pl.col(_IS_FREQUENT).fill_null(value=False)).collect().to_series()
    note_marks("rows", marks, "kept", "dropped")
    # Each row is marked once. What is in memory is collected at no cost, and a file keeps the order of its rows.
    return as_given(df, rows) if marks.all() else rows.collect().filter(marks)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, len)
    code_modifiers(cfg)


run = map_stage(filter_measurements, cheap=True, others=Others.PASSED_ON, takes_categories=True)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
