"""Removes values that are far from the mean of their code.

A value more than `stddev_cutoff` standard deviations from the mean becomes null; NaN and infinities count as far.
Mean and deviation are `values/mean` and `values/std` of the code metadata, or are computed from
`values/n_occurrences`, `values/sum` and `values/sum_sqd`. Rows and their order do not change.

Input: data shards, code metadata with those columns (stage fit_outlier_detection).
Output: the same shards with `numeric_value/is_inlier` (bool): false if the value was removed, now or by an earlier
stage; null if there is no value, or if the metadata has no statistics of its code, in which case the value stays.
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_metadata import Lookup, with_mean_and_std
from ..dataset.columns import internal
from ..dataset.measurements import checked, flagged, note_marks
from ..dataset.schema import CODE, IS_INLIER, NUMERIC_VALUE, VALUES_MEAN, VALUES_STD
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers as code_modifiers_of

_MEAN, _STD, _IS_IN = internal("mean"), internal("std"), internal("is_in")


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, len)
    code_modifiers_of(cfg)


def read_cutoff(stage_cfg: Mapping[str, Any]) -> float | None:
    """The value of `stddev_cutoff`; None where nothing is to change.

    Raises:
        WrongTypeError: it is neither a number nor null.
        InputError: it is negative.
    """
    cutoff: float | None = checked_value("occlude_outliers", stage_cfg, "stddev_cutoff")
    return cutoff


def occlude_outliers_fntr(
    stage_cfg: Mapping[str, Any], code_modifiers: list[str] | None, code_metadata: pl.DataFrame
) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    """The function of one shard that removes outliers.

    Raises:
        WrongTypeError: `stddev_cutoff` is neither a number nor null.
        InputError: it is negative, or the code metadata lacks columns; when applied, the data lacks columns.
    """
    cutoff = read_cutoff(stage_cfg)
    if cutoff is None:
        return lambda df: df
    lookup = Lookup(with_mean_and_std(code_metadata), code_modifiers, {VALUES_MEAN: _MEAN, VALUES_STD: _STD})

    def occlude(df: pl.LazyFrame) -> pl.LazyFrame:
        rows = checked(df, CODE, NUMERIC_VALUE)
        # Found out once for each row, so that it can be counted.
        is_in = lookup(rows).select(is_inlier(cutoff).alias(_IS_IN)).collect().to_series()
        note_marks("values", is_in, "near_the_mean", "removed")
        rows = rows.with_columns(is_in)
        rows = rows.with_columns(flagged(rows.collect_schema(), pl.col(_IS_IN))).drop(_IS_IN)
        kept = pl.when(pl.col(IS_INLIER).fill_null(value=True)).then(NUMERIC_VALUE)
        return rows.with_columns(kept.alias(NUMERIC_VALUE))

    return occlude


def is_inlier(cutoff: float) -> pl.Expr:
    """Whether a value is near its code's mean; null if one of them is missing.

    NOTE: in polars NaN is larger than any number and equal to itself. So a value that is NaN is far from any mean,
    and no value is far if the deviation is NaN.
    """
    return (pl.col(NUMERIC_VALUE) - pl.col(_MEAN)).abs() <= pl.lit(float(cutoff)) * pl.col(_STD)


run = map_stage(
    occlude_outliers_fntr,
    cheap=True,
    changes=(NUMERIC_VALUE, IS_INLIER),
    others=Others.PASSED_ON,
    takes_categories=True,
)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
