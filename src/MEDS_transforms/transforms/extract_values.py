"""Computes columns from other columns.

Workers share the shards. All columns are computed from the original columns of the shard.

Input: data shards with the columns that the expressions read.
Output: the shards with the new columns after the others; existing columns are replaced in place. The columns of MEDS
get their MEDS dtypes: subject_id Int64, time Datetime[us] (text is read as ISO 8601; times with a zone are converted
to UTC), code String, numeric_value Float32, categorical_value and text_value String. A value that does not fit is an
error.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.io import Frame
from ..dataset.measurements import checked, in_order
from ..dataset.schema import DEPRECATED_NAMES, MANDATORY_TYPES, SUBJECT_ID, TIME
from ..dataset.subjects import subject_ids
from ..errors import Problems, listed, nearest
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..parser import Parsed, cfg_to_expr
from ..settings.keys import own_keys

logger = logging.getLogger(__name__)


def extract_values(stage_cfg: Mapping[str, Any]) -> Callable[[Frame], Frame]:
    """The function of one shard that computes the columns of a stage's block.

    Raises:
        ValueError: an expression is malformed; when applied, the shard lacks columns, or values do not fit their
            column's MEDS dtype.
    """
    expressions = read_expressions(stage_cfg)
    warn_of_names(expressions)
    wanted = {column: parsed[1] for column, parsed in expressions.items()}
    replaced = [column for column in (SUBJECT_ID, TIME) if column in expressions]

    def extract(df: Frame) -> Frame:
        df = df.lazy()
        check_columns(wanted, df.collect_schema().names())
        values = df.with_columns(expression.alias(column) for column, (expression, _) in expressions.items())
        casts = {column: MANDATORY_TYPES[column] for column in expressions if column in MANDATORY_TYPES}
        schema = values.collect_schema()
        if not any(schema[column] != dtype for column, dtype in casts.items()) and not replaced:
            return values
        found = cast_strictly(values.collect(), casts)
        return in_order(checked(found, SUBJECT_ID, TIME).collect()) if replaced else found

    return extract


def read_expressions(stage_cfg: Mapping[str, Any]) -> dict[str, Parsed]:
    """The expression of every output column, and the columns that it reads.

    Raises:
        ValueError: some are malformed; the message lists all of them.
    """
    problems, expressions = Problems("extract_values has column expressions that cannot be read"), {}
    for key, value in own_keys(stage_cfg).items():
        try:
            expressions[key] = cfg_to_expr(value)
        except ValueError as error:
            problems.add(f"{key}: {error}")
    problems.raise_if_any()
    return expressions


def warn_of_names(columns: Mapping[str, Any]) -> None:
    """Warns of output columns that should not be replaced or have a former name, and if there is no column at all."""
    if not columns:
        logger.warning("extract_values computes no columns: its block has no expression")
    for column in columns:
        if column in (SUBJECT_ID, TIME):
            logger.warning("extract_values replaces %s: measurements may move to another subject or time", column)
        if column in DEPRECATED_NAMES:
            logger.warning("%s is a former name: MEDS now calls the column %s", column, DEPRECATED_NAMES[column])


def check_columns(wanted: Mapping[str, set[str]], there: list[str]) -> None:
    """Raises a ValueError if expressions read columns that the data does not have; the message lists them."""
    problems = Problems(f"extract_values reads columns that the data does not have (it has {listed(there)})")
    for column, reads in wanted.items():
        for missing in sorted(reads - set(there)):
            problems.add(f"{column} reads {missing}{nearest(missing, there)}")
    problems.raise_if_any()


def cast_strictly(df: pl.DataFrame, dtypes: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The frame with columns cast to these dtypes.

    Raises:
        ValueError: values do not fit; the message names the column and shows examples.
    """
    problems = Problems("extract_values computed values that do not fit their columns; correct the expressions")
    for column, dtype in dtypes.items():
        before = df[column]
        try:
            after = _as_dtype(before, column, dtype)
        except (pl.exceptions.InvalidOperationError, ValueError) as error:
            problems.add(f"{column} must be {dtype}; {before.dtype} cannot be cast to it: {error}")
            continue
        df = df.with_columns(after.alias(column))
        lost = before.filter(df[column].is_null() & before.is_not_null())
        if lost.len():
            examples = ", ".join(repr(value) for value in lost.unique(maintain_order=True).head(3))
            problems.add(f"{column} must be {dtype}; {lost.len()} of {before.len()} values are not, such as {examples}")
    problems.raise_if_any()
    return df


def _as_dtype(values: pl.Series, column: str, dtype: pl.DataType) -> pl.Series:
    """The values in the dtype, null if they do not fit. Text in the form of ISO 8601 becomes a time."""
    if column == SUBJECT_ID:
        return subject_ids(values, "extract_values")
    if column == TIME and values.dtype == pl.String:
        text = values.str.replace("T", " ", literal=True).str.strip_suffix("Z")
        with_time_of_day = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
        return with_time_of_day.fill_null(text.str.to_date("%Y-%m-%d", strict=False).cast(dtype))
    if column == TIME and getattr(values.dtype, "time_zone", None):
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return values.cast(dtype, strict=False)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, read_expressions)


def others(stage_cfg: Mapping[str, Any]) -> Others:
    """What the stage does with columns that not every MEDS file has: expressions read some."""
    columns = [reads for _, reads in read_expressions(stage_cfg).values()]
    return Others.PASSED_ON.but_needs(*set[str]().union(*columns))


run = map_stage(extract_values, others=others)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
