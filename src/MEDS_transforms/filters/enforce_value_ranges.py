"""Removes values that are outside the range of their code: they become null, or their rows are dropped.

The range of a code is that of the first entry of `ranges` that matches it, else that in the table `ranges_fp`, else
that in two columns of the code metadata. Both bounds come from the same source, and belong to the range; one may be
missing.
NaN and infinities are outside every range. Values whose code has no range stay. Rows keep their order.

Workers share the shards. The log, and the account of the stage, say how many values were removed.

Input: data shards, code metadata if columns of it are named.
Output: the shards with `numeric_value/is_inlier` (bool): false if the value was removed, now or by an earlier stage;
null if there is no value or no range; else true.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_settings import CodeSettings, read_ranges
from ..dataset.columns import internal
from ..dataset.measurements import checked, flagged, note_marks
from ..dataset.schema import CODE, IS_INLIER, NUMERIC_VALUE
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers as code_modifiers_of

logger = logging.getLogger(__name__)

MIN, MAX = "min", "max"
_BOUNDS = {MIN: internal("min"), MAX: internal("max")}
_IS_IN = internal("is_in")
_STAGE = "enforce_value_ranges"


def enforce_value_ranges_fntr(
    stage_cfg: Mapping[str, Any], code_modifiers: list[str] | None, code_metadata: pl.DataFrame | None = None
) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    """The function of one shard that removes values outside the range of their code.

    Raises:
        InputError: ranges cannot be used, or the code metadata lacks columns; when applied, the data lacks columns.
    """
    settable, rules = read_ranges(MIN, MAX, stage_cfg, code_modifiers)
    columns = {bound: stage_cfg.get(f"{bound}_column") for bound in (MIN, MAX)}
    does_drop = checked_value(_STAGE, stage_cfg, "out_of_range") == "drop"
    if not rules and not any(columns.values()):
        logger.warning("%s removes nothing: its block has no ranges, ranges_fp, min_column or max_column", _STAGE)
        return lambda df: df
    add_bounds = CodeSettings(settable, rules, _BOUNDS, code_metadata, code_modifiers, columns)

    def enforce(df: pl.LazyFrame) -> pl.LazyFrame:
        df = checked(df, CODE, NUMERIC_VALUE)
        schema = df.collect_schema()
        # Found out once for each row, so that it can be counted.
        rows = add_bounds(add_bounds.columns_of(df, NUMERIC_VALUE))
        is_in = rows.select(is_in_range(schema[NUMERIC_VALUE]).alias(_IS_IN)).to_series()
        note_marks("values", is_in, "in_range", "removed")
        stays = is_in.fill_null(value=True)
        df = df.with_columns(is_in).with_columns(flagged(schema, pl.col(_IS_IN))).drop(_IS_IN)
        # NOTE: in memory, since polars might filter rows before it puts the marks beside them.
        return df.collect().filter(stays).lazy() if does_drop else df.with_columns(pl.when(stays).then(NUMERIC_VALUE))

    return enforce


def is_in_range(dtype: pl.DataType) -> pl.Expr:
    """Whether a value is in the range of its code; null if it has no value, or its code no range.

    NOTE: bounds are compared in the dtype of the values: as Float32, 0.1 is greater than as Float64.
    """
    value = pl.col(NUMERIC_VALUE)
    least, greatest = (pl.col(name).cast(dtype) if dtype.is_float() else pl.col(name) for name in _BOUNDS.values())
    is_in = (value >= least).fill_null(value=True) & (value <= greatest).fill_null(value=True) & value.is_finite()
    has_both = value.is_not_null() & (least.is_not_null() | greatest.is_not_null())
    return pl.when(has_both).then(is_in)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    modifiers = code_modifiers_of(cfg)
    check_revisions(cfg, lambda stage_cfg: read_ranges(MIN, MAX, stage_cfg, modifiers))


run = map_stage(
    enforce_value_ranges_fntr,
    cheap=True,
    changes=(NUMERIC_VALUE, IS_INLIER),
    others=Others.PASSED_ON,
    reads=("ranges_fp",),
    takes_categories=True,
)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
