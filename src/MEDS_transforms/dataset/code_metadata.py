"""The table of codes, `codes.parquet`: reading it, looking codes up, and adding a stage's results to it."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from ..errors import InputError, Problems, listed, nearest
from ..settings.layout import CODES_FILE
from .categories import CODE_CATEGORIES
from .columns import column as as_column
from .columns import columns as as_columns
from .columns import internal
from .dtypes import cast_columns, common_dtypes
from .key_tables import numberer
from .schema import (
    CODE,
    CODE_PREFIX,
    VALUES_MEAN,
    VALUES_N_OCCURRENCES,
    VALUES_STD,
    VALUES_SUM,
    VALUES_SUM_SQD,
    VOCAB_INDEX,
)

logger = logging.getLogger(__name__)

_OLD = internal("old")
_BOTH = "the data and the code metadata"


def read_codes(folder: Path | str) -> pl.DataFrame | None:
    """The code metadata in a folder, or None where there is none."""
    path = Path(folder) / CODES_FILE
    return pl.read_parquet(path, glob=False) if path.is_file() else None


def add_to_codes(new: pl.DataFrame, old: pl.DataFrame | None) -> pl.DataFrame:
    """All codes of two tables, one row per code, sorted by code.

    A column that both have takes the new value or, where that is null, the old one.

    >>> new = pl.DataFrame({"code": ["a", "b"], "n": [1, None]})
    >>> old = pl.DataFrame({"code": ["c", "b"], "n": [3, 2]})
    >>> add_to_codes(new, old).rows()
    [('a', 1), ('b', 2), ('c', 3)]
    """
    if old is None:
        return new.sort(CODE)
    joined = new.join(old, on=CODE, how="full", coalesce=True, suffix=_OLD)
    both = [c for c in new.columns if c in old.columns and c != CODE]
    joined = joined.with_columns(pl.coalesce(as_column(c), as_column(f"{c}{_OLD}")).alias(c) for c in both)
    return joined.select(as_columns(c for c in joined.columns if not c.endswith(_OLD))).sort(CODE)


def code_key(code_modifiers: Sequence[str] | None) -> list[str]:
    """The columns that identify a code: `code` and the modifiers."""
    return [CODE, *(code_modifiers or [])]


class Lookup:
    """Adds columns of the code metadata to every row, by its code; null for codes that are not in the metadata.

    Rows keep their order. Null modifiers are equal to each other. A null code matches nothing: in the metadata it
    stands for all codes together. What does not change from shard to shard is done once.

    Args:
        code_metadata: a row per code and modifiers.
        code_modifiers: the columns that identify a code together with `code`, or None.
        columns: the metadata's columns to add, and their names in the result.
    """

    def __init__(
        self, code_metadata: pl.DataFrame, code_modifiers: Sequence[str] | None, columns: Mapping[str, str]
    ) -> None:
        self.code_metadata, self.key, self.columns = code_metadata, code_key(code_modifiers), columns
        self._finders: dict[tuple[pl.DataType, ...], Callable[[pl.DataFrame], pl.DataFrame]] = {}

    def __call__(self, df: pl.LazyFrame) -> pl.LazyFrame:
        """The measurements with the columns.

        Raises:
            ValueError: columns are missing in the metadata (the message names the stage to run first) or in the
                data, or the metadata has several rows for one code and modifiers.
        """
        check_metadata(self.code_metadata, [*self.key, *self.columns])
        check_data(df.collect_schema(), self.key)
        keys = df.select(as_columns(dict.fromkeys(self.key))).collect()
        dtypes = tuple(keys.dtypes)
        if dtypes not in self._finders:
            self._finders[dtypes] = self._finder(keys.schema)
        return df.with_columns(self._finders[dtypes](keys).get_columns())

    def _finder(self, dtypes: Mapping[str, pl.DataType]) -> Callable[[pl.DataFrame], pl.DataFrame]:
        """A function that gives the columns for keys of some dtypes."""
        key_types = common_dtypes(self.key, dtypes, self._coded.schema)
        known = cast_columns(self._coded, key_types, _BOTH)
        numbers = numberer(known.select(as_columns(dtypes)))
        values = known.select(as_column(column).alias(name) for column, name in self.columns.items())
        if [*dtypes.values()] == [CODE_CATEGORIES]:
            return lambda keys: values[numbers(keys)]
        return lambda keys: values[numbers(cast_columns(keys, key_types, _BOTH))]

    @cached_property
    def _coded(self) -> pl.DataFrame:
        coded = self.code_metadata.filter(pl.col(CODE).is_not_null())
        check_unique(coded, self.key)
        return coded


_COUNT = internal("count")


def check_data(there: Iterable[str], columns: Iterable[str]) -> None:
    """Raises a ValueError if the data lacks columns; the message lists these, and the columns that there are."""
    there = list(there)
    if missing := [column for column in columns if column not in there]:
        raise InputError(
            f"The data has no column {listed(missing)}{nearest(missing[0], there)}. It has: {listed(there)}. Correct "
            "the data, or code_modifiers if that names the column."
        )


def check_metadata(code_metadata: pl.DataFrame, columns: Iterable[str]) -> None:
    """Raises a ValueError if the code metadata lacks columns; the message names the stage to run first."""
    problems = Problems("The code metadata lacks columns that this stage needs")
    for column in columns:
        if column not in code_metadata.columns:
            problems.add(f"there is no {column}", remedy=_remedy(column))
    problems.raise_if_any()


def _remedy(column: str) -> str:
    if column == CODE:
        return "This is not code metadata; correct metadata_input_dir"
    if column == VOCAB_INDEX:
        return "Run fit_vocabulary_indices before this stage"
    if "/" not in column:
        return "Correct code_modifiers, or compute the metadata with them (aggregate_code_metadata) before this stage"
    stage = "count_code_occurrences" if column.startswith(CODE_PREFIX) else "fit_normalization"
    return f"Run {stage} before this stage, or another stage with {column} among its aggregations"


def check_unique(code_metadata: pl.DataFrame, key: Sequence[str]) -> None:
    """Raises a ValueError if rows of the metadata have the same key; the message shows these with their counts."""
    if code_metadata.height == code_metadata.select(pl.struct(as_columns(key)).n_unique()).item():
        return
    repeated = code_metadata.group_by(as_columns(key)).len(_COUNT).filter(pl.col(_COUNT) > 1).sort(as_columns(key))
    shown = "\n".join(f"  {row}" for row in repeated.head(20).rows())
    raise InputError(
        f"The code metadata has several rows for one ({', '.join(key)}); here with the number of rows:\n{shown}\n"
        "Remove all but one, or add the columns in which they differ to code_modifiers."
    )


def with_mean_and_std(code_metadata: pl.DataFrame) -> pl.DataFrame:
    """The code metadata with mean and standard deviation of every code's values, null for a code without values.

    `values/mean` and `values/std` are used if the metadata has them; otherwise they are computed from
    `values/n_occurrences`, `values/sum` and `values/sum_sqd` in 32 bits, as in release 0.1.

    Raises:
        ValueError: the metadata has neither; the message names the stage to run first.

    >>> with_mean_and_std(
    ...     pl.DataFrame({"code": ["a"], "values/n_occurrences": [2], "values/sum": [4.0], "values/sum_sqd": [10.0]})
    ... ).select("values/mean", "values/std").row(0)
    (2.0, 1.0)
    """
    given = [column for column in (VALUES_MEAN, VALUES_STD) if column in code_metadata.columns]
    sums = (VALUES_N_OCCURRENCES, VALUES_SUM, VALUES_SUM_SQD)
    if not all(column in code_metadata.columns for column in sums):
        if len(given) < 2:
            check_metadata(code_metadata, sums)
        return code_metadata
    n, total, total_sqd = (pl.col(column).cast(pl.Float32) for column in sums)
    mean = total / n
    derived = {VALUES_MEAN: mean, VALUES_STD: (total_sqd / n - mean * mean).sqrt()}
    derived = {column: pl.when(n > 0).then(expr) for column, expr in derived.items()}
    return code_metadata.with_columns(
        pl.coalesce(column, expr).alias(column) if column in given else expr.alias(column)
        for column, expr in derived.items()
    )


def join_former(new: pl.DataFrame, former: pl.DataFrame | None, code_modifiers: Sequence[str] | None) -> pl.DataFrame:
    """The codes of `new`, in its order, with the columns of the former metadata; the log counts codes that are gone.

    They are joined by `code` and the modifiers that both have. Columns: the key, the new ones, then those former
    ones that `new` does not have.

    Raises:
        ValueError: the former metadata has several rows for one code and those modifiers.
    """
    key = code_key(code_modifiers)
    new = new.select(as_columns([*key, *(c for c in new.columns if c not in key)]))
    if former is None:
        return new
    on = [column for column in key if column in former.columns]
    check_metadata(former, [CODE])
    key_types = common_dtypes(on, new.schema, former.schema)
    new = cast_columns(new, key_types, _BOTH)
    added = [c for c in former.columns if c not in new.columns]
    former = cast_columns(former.select(as_columns([*on, *added])), key_types, _BOTH)
    check_unique(former, on)
    plain = {name: internal(f"key{n}") for n, name in enumerate(on)}
    by = [*plain.values()]
    new, former = new.rename(plain), former.rename(plain)
    if gone := former.join(new, on=by, how="anti", nulls_equal=True).height:
        logger.info("%d of %d codes of the former code metadata no longer occur; dropped", gone, former.height)
    joined = new.join(former, on=by, how="left", nulls_equal=True, maintain_order="left")
    return joined.rename(dict(zip(by, on, strict=True)))


def to_smallest_unsigned(counts: pl.Series) -> pl.Series:
    """Counts in the smallest unsigned type that holds them.

    >>> to_smallest_unsigned(pl.Series([1, 256])).dtype
    UInt16
    """
    largest = np.min_scalar_type(counts.max() or 0)  # type: ignore[arg-type]
    return counts.cast({"uint8": pl.UInt8, "uint16": pl.UInt16, "uint32": pl.UInt32}.get(largest.name, pl.UInt64))
