"""Replaces codes by their numbers in the vocabulary, and values by their z-scores.

`code` becomes `code/vocab_index`; `numeric_value` becomes (value - mean) / standard deviation. Mean and deviation are
`values/mean` and `values/std` of the code metadata, or are computed from `values/n_occurrences`, `values/sum` and
`values/sum_sqd`. Rows whose code is not in the metadata, or has no number there, are dropped; the others keep
their order.

Input: data shards, code metadata with those columns (stages fit_normalization and fit_vocabulary_indices).
Output: the shards with just subject_id, time, code (the unsigned type of code/vocab_index) and numeric_value
(float32; null where there was no value; NaN or an infinity where the deviation is zero, NaN where nothing is known of
the code's values: all of these count as missing in tokenization).
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_metadata import Lookup, check_metadata, with_mean_and_std
from ..dataset.columns import internal
from ..dataset.measurements import checked
from ..dataset.schema import (
    CODE,
    MANDATORY_COLUMNS,
    NUMERIC_VALUE,
    SUBJECT_ID,
    TIME,
    VALUES_MEAN,
    VALUES_STD,
    VOCAB_INDEX,
)
from ..mapreduce.flow import Form
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.keys import code_modifiers
from ..work.accounts import note

FORMS = {Form.MEASUREMENTS: Form.NUMBERED}

_INDEX, _MEAN, _STD = internal("index"), internal("mean"), internal("std")


def normalization_fntr(
    code_modifiers: list[str] | None, code_metadata: pl.DataFrame
) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    """The function of one shard that replaces codes by numbers and normalizes values.

    Raises:
        ValueError: the code metadata lacks columns; when applied, the data lacks columns.
    """
    check_metadata(code_metadata, [VOCAB_INDEX])
    columns = {VOCAB_INDEX: _INDEX, VALUES_MEAN: _MEAN, VALUES_STD: _STD}
    lookup = Lookup(with_mean_and_std(code_metadata), code_modifiers, columns)

    def normalize(df: pl.LazyFrame) -> pl.LazyFrame:
        found = lookup(checked(df, *MANDATORY_COLUMNS))
        rows = found.select(SUBJECT_ID, TIME, pl.col(_INDEX).alias(CODE), normalized().alias(NUMERIC_VALUE)).collect()
        unknown = rows[CODE].null_count()
        note({"rows": {"kept": rows.height - unknown, "dropped": unknown}})
        return (rows.filter(pl.col(CODE).is_not_null()) if unknown else rows).lazy()

    return normalize


def normalized() -> pl.Expr:
    """A value's distance from its code's mean in deviations, as float32."""
    mean = pl.col(_MEAN).fill_null(float("nan"))
    return ((pl.col(NUMERIC_VALUE) - mean) / pl.col(_STD).fill_null(float("nan"))).cast(pl.Float32)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, len)
    code_modifiers(cfg)


run = map_stage(
    normalization_fntr, cheap=True, changes=(CODE, NUMERIC_VALUE), others=Others.DROPPED, takes_categories=True
)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
