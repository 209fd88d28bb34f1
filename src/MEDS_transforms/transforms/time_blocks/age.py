"""The block `age`: the time since a subject's birth."""

import polars as pl

from ...dataset.measurements import Ints
from ...dataset.schema import CODE, SUBJECT_ID, TIME
from ...errors import InputError
from ...parser import matcher_to_expr
from ..block_settings import check_code
from ..new_rows import Block, NewRows
from ..time_units import seconds_per


def age(
    DOB_code: str | None = None,  # noqa: N803
    *,
    age_code: str,
    age_unit: str,
    DOB_regex: str | None = None,  # noqa: N803
) -> Block:
    """Rows with the time since a subject's earliest row that is a birth, in `age_unit`, at every later event.

    Births are the rows with `DOB_code` or, where that is None, those in whose code `DOB_regex` is found.

    Raises:
        ValueError: the unit is unknown, a code is not text, or neither of the two is given.
    """
    is_birth = _is_birth(DOB_code, DOB_regex)
    check_code("age_code", age_code)
    unit = pl.lit(seconds_per(age_unit) * 1e6)

    def block(rows: pl.DataFrame, events: Ints) -> list[NewRows]:
        births = rows.lazy().filter(is_birth).group_by(SUBJECT_ID).agg(birth=pl.col(TIME).min())
        at = rows.select(SUBJECT_ID, TIME)[events].lazy()
        since_birth = at.join(births, on=SUBJECT_ID, how="left", maintain_order="left").select(
            (pl.col(TIME) - pl.col("birth")).dt.total_microseconds()
        )
        since = since_birth.collect().to_series()
        later = (since > 0).fill_null(False)
        value = since.filter(later).to_frame().select((pl.first() / unit).cast(pl.Float32)).to_series()
        return [NewRows.of_one_code(age_code, events[later.to_numpy()], value)]

    return block


def _is_birth(code: str | None, regex: str | None) -> pl.Expr:
    if code is not None:
        check_code("DOB_code", code)
        return pl.col(CODE) == code
    if regex is None:
        raise InputError("DOB_code or DOB_regex must say which rows are births; both are null")
    try:
        is_birth, _ = matcher_to_expr({CODE: {"regex": regex}})
    except InputError as error:
        raise InputError(f"DOB_regex: {error}") from error
    return is_birth
