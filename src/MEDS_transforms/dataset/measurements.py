"""Checks and orders the measurements of a shard, and finds where events begin."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InputError, Problems, counted, listed, nearest
from ..work.accounts import note
from .categories import CODE_CATEGORIES
from .columns import columns
from .io import Frame
from .schema import (
    CODE,
    DEPRECATED_NAMES,
    IS_INLIER,
    MANDATORY_COLUMNS,
    MANDATORY_TYPES,
    NUMERIC_VALUE,
    SUBJECT_ID,
    TIME,
)

_FORMER_NAMES = {former for former, name in DEPRECATED_NAMES.items() if name == NUMERIC_VALUE}

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_STATIC = np.iinfo(np.int64).min
"""Stands for the null time of static rows; it sorts before every time, as nulls come first in a shard."""

_WHOLE_SECOND = 10**6
"""Microseconds in a second, which times are multiples of as a rule."""
_FAR = 2**61
"""Times up to here can be subtracted from each other."""

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
        elif schema[column] == CODE_CATEGORIES:
            continue  # only a stage that takes these is given any
        elif schema[column] == pl.Null or isinstance(schema[column], pl.Categorical | pl.Enum):
            casts[column] = MANDATORY_TYPES[column]
        elif not is_suitable(schema[column]):
            problems.add(f"{column} must be {must_be}; it is {schema[column]}")
    problems.raise_if_any()
    return df.cast(casts) if casts else df  # type: ignore[arg-type]


def as_given(df: Frame, rows: pl.LazyFrame) -> Frame:
    """The very frame that was given, where its check changed nothing; else the checked rows."""
    return df if df.lazy().collect_schema() == rows.collect_schema() else rows


def as_floats(values: pl.Series) -> Floats:
    """Numbers in 32 bits; null becomes NaN."""
    return values.cast(pl.Float32).fill_null(float("nan")).to_numpy()


def flagged(schema: Mapping[str, pl.DataType], is_inlier: pl.Expr) -> pl.Expr:
    """`numeric_value/is_inlier` after a stage that finds values wrong, beside what an earlier stage has found.

    A value that was removed once stays marked, and what is not known now is as it was.

    Args:
        schema: that of the data.
        is_inlier: what the stage finds; null: nothing is known.
    """
    if schema.get(IS_INLIER) != pl.Boolean:
        return is_inlier.alias(IS_INLIER)
    before = pl.col(IS_INLIER)
    return pl.when(before.not_()).then(before).otherwise(pl.coalesce(is_inlier, before)).alias(IS_INLIER)


def note_marks(what: str, marks: pl.Series, true: str, false: str) -> None:
    """Notes in the account how many of some marks are true, and how many false; nulls are neither."""
    note({what: {true: int(marks.sum()), false: int((~marks).sum())}})


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
    return df if later.all() else sorted_rows(df)


def sorted_rows(df: pl.DataFrame) -> pl.DataFrame:
    """The rows sorted by subject and time, null first; ties keep their order."""
    order = order_of_rows(df)
    return df.sort(SUBJECT_ID, TIME, nulls_last=False, maintain_order=True) if order is None else df[order]


def order_of_rows(df: pl.DataFrame) -> pl.Series | None:
    """The numbers of the rows in the order of `sorted_rows`; None where no integers of 64 bits tell it.

    NOTE: to sort integers numpy's way, which makes use of what is sorted already, and to gather each column once takes
    half the time of a sort by two columns in polars.
    """
    key = _one_key(df[SUBJECT_ID], df[TIME])
    return None if key is None else pl.Series(np.argsort(key, kind="stable"), dtype=pl.get_index_type())


def _one_key(subjects: pl.Series, times: pl.Series) -> Ints | None:
    """Integers in the order of subjects and times; None where 64 bits do not hold them, or dtypes are others."""
    if subjects.dtype != pl.Int64 or not isinstance(times.dtype, pl.Datetime) or subjects.null_count():
        return None
    when = times.to_physical()
    (lowest, highest), (first, last) = _bounds(subjects), _bounds(when)
    if min(first, -last) < -_FAR:
        return None
    for unit in (1, _WHOLE_SECOND):
        n_times = (last - first) // unit + 2  # null is one more, the first
        if (highest - lowest + 1) * n_times < 2**63:
            passed = when.fill_null(first - unit).to_numpy() - (first - unit)
            steps = passed // unit
            if unit == 1 or (steps * unit == passed).all():
                key: Ints = (subjects.to_numpy() - lowest) * n_times + steps
                return key
    return None


def _bounds(values: pl.Series) -> tuple[int, int]:
    return int(values.min() or 0), int(values.max() or 0)  # type: ignore[arg-type] # of Int64


def begins_event(df: pl.DataFrame) -> Bools:
    """Which rows are the first of their subject and time, in a sorted frame.

    >>> begins_event(pl.DataFrame({"subject_id": [1, 1, 1, 2], "time": [None, 5, 5, 5]})).tolist()
    [True, True, False, True]
    """
    subject, when = _keys(df)
    begins = np.ones(df.height, dtype=bool)
    begins[1:] = (subject[1:] != subject[:-1]) | (when[1:] != when[:-1])
    return begins


def places_among(df: pl.DataFrame, rows: pl.DataFrame, after: Bools) -> Ints:
    """For other rows of the subjects of a sorted frame the positions of the rows that they are to stand before.

    Those with `after` come after all rows of their subject and time, the others before these.
    """
    (subject, when), (of_subject, time) = _keys(df), _keys(rows)
    low, high = (np.searchsorted(subject, of_subject, side) for side in ("left", "right"))
    while (goes_on := low < high).any():
        middle = (low + high) // 2
        there = when.take(middle, mode="clip")
        is_before = np.where(after, there <= time, there < time)
        low = np.where(goes_on & is_before, middle + 1, low)
        high = np.where(goes_on & ~is_before, middle, high)
    return low


def _keys(df: pl.DataFrame) -> tuple[Ints, Ints]:
    return df[SUBJECT_ID].to_numpy(), df[TIME].to_physical().fill_null(_STATIC).to_numpy()
