"""Checks and orders the measurements of a shard, and finds where events begin."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InputError, Problems, counted, listed, nearest
from .columns import columns
from .io import Frame
from .schema import CODE, DEPRECATED_NAMES, MANDATORY_COLUMNS, MANDATORY_TYPES, NUMERIC_VALUE, SUBJECT_ID, TIME

_FORMER_NAMES = {former for former, name in DEPRECATED_NAMES.items() if name == NUMERIC_VALUE}

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_STATIC = np.iinfo(np.int64).min
"""Stands for the null time of static rows; it sorts before every time, as nulls come first in a shard."""

_SUITABLE: dict[str, tuple[Callable[[pl.DataType], bool], str]] = {
    SUBJECT_ID: (lambda dtype: dtype.is_integer(), "an integer"),
    TIME: (lambda dtype: isinstance(dtype, pl.Datetime), "a Datetime"),
    CODE: (lambda dtype: dtype == pl.String, "a String; after normalization codes are numbers"),
    NUMERIC_VALUE: (lambda dtype: dtype.is_numeric(), "a number"),
}


def checked(df: Frame, *columns: str) -> pl.LazyFrame:
    """The measurements, after a check that they have these columns of the MEDS schema in suitable dtypes.

    Data without `numeric_value` are data without values: the column is added, all null.

    NOTE: other writers than polars leave columns of dtype Null in shards without a value, and categorical codes;
    these are cast to the dtype of the schema.

    Raises:
        ValueError: columns are missing or have another dtype; the message lists all of them.
    """
    df = df.lazy()
    schema = df.collect_schema()
    problems, casts = Problems("The data is not valid MEDS data; correct it, or input_dir"), {}
    for column in columns:
        is_suitable, must_be = _SUITABLE[column]
        if column == NUMERIC_VALUE and not {NUMERIC_VALUE, *_FORMER_NAMES} & {*schema}:
            df = df.with_columns(pl.lit(None, dtype=pl.Float32).alias(NUMERIC_VALUE))
        elif column not in schema:
            problems.add(f"{column} is missing{nearest(column, schema)}; there are {listed(schema)}")
        elif schema[column] in (pl.Null, pl.Categorical, pl.Enum):
            casts[column] = MANDATORY_TYPES[column]
        elif not is_suitable(schema[column]):
            problems.add(f"{column} must be {must_be}; it is {schema[column]}")
    problems.raise_if_any()
    return df.cast(casts) if casts else df  # type: ignore[arg-type]


def to_meds_data(df: Frame, do_retype: bool = True) -> pl.DataFrame:
    """The measurements with the mandatory columns first, in their MEDS dtypes.

    Raises:
        ValueError: without `do_retype`, columns are missing or have other dtypes; with it, another column than
            `numeric_value` and `time` is missing. The message lists all of them.
    """
    df = df.lazy().collect()
    remedy = "fix the data" if do_retype else "set do_retype: true, or fix the data"
    problems = Problems(f"The data does not comply with MEDS; {remedy}")
    for column in MANDATORY_COLUMNS:
        if column not in df.columns and not (do_retype and column in (NUMERIC_VALUE, TIME)):
            problems.add(f"{column} is missing")
    for column, dtype in MANDATORY_TYPES.items():
        found = df.schema.get(column, dtype)
        if found != dtype and not do_retype:
            problems.add(f"{column} must be {dtype}, but is {found}")
    problems.raise_if_any()
    df = df.with_columns(pl.lit(None).alias(column) for column in MANDATORY_COLUMNS if column not in df.columns)
    others = [column for column in df.columns if column not in MANDATORY_COLUMNS]
    return with_meds_dtypes(df.select(columns([*MANDATORY_COLUMNS, *others])))


def with_meds_dtypes(df: pl.DataFrame) -> pl.DataFrame:
    """The measurements with those columns that MEDS knows in its dtypes."""
    return df.cast({column: dtype for column, dtype in MANDATORY_TYPES.items() if column in df.columns})


def in_order(df: pl.DataFrame) -> pl.DataFrame:
    """The rows sorted by subject and time, null first; ties keep their order. Fast if they are sorted already.

    Raises:
        ValueError: a row has no subject.
    """
    if n := df[SUBJECT_ID].null_count():
        raise InputError(f"{counted(n, 'row')} without {SUBJECT_ID}. Correct the data.")
    subject, when = _keys(df)
    later = (subject[1:] > subject[:-1]) | ((subject[1:] == subject[:-1]) & (when[1:] >= when[:-1]))
    return df if later.all() else df.sort(SUBJECT_ID, TIME, nulls_last=False, maintain_order=True)


def begins_event(df: pl.DataFrame) -> Bools:
    """Which rows are the first of their subject and time, in a sorted frame.

    >>> begins_event(pl.DataFrame({"subject_id": [1, 1, 1, 2], "time": [None, 5, 5, 5]})).tolist()
    [True, True, False, True]
    """
    subject, when = _keys(df)
    begins = np.ones(df.height, dtype=bool)
    begins[1:] = (subject[1:] != subject[:-1]) | (when[1:] != when[:-1])
    return begins


def _keys(df: pl.DataFrame) -> tuple[Ints, Ints]:
    return df[SUBJECT_ID].to_numpy(), df[TIME].to_physical().fill_null(_STATIC).to_numpy()
