"""The rows of a shard that a matcher describes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from ..dataset.columns import internal
from ..dataset.measurements import Ints
from ..dataset.schema import MANDATORY_COLUMNS, TIME
from ..errors import InputError, listed, nearest
from ..parser import matcher_to_expr

_MATCHES = internal("matches")

Find = Callable[[pl.DataFrame], Ints]
"""Gives the positions of some rows of a shard, ascending."""


def finder(matcher: Any, key: str, block: str) -> Find:
    """A function that finds the rows of a shard that a matcher describes, and that have a time.

    `key` and `block` say where the matcher is, in messages; to those about settings the caller adds the block.

    Raises:
        InputError: it is not a matcher; when applied, the shard lacks a column.
    """
    if not isinstance(matcher, Mapping):
        raise InputError(f"{key} must be a matcher, such as {{code: {{regex: ^ADMISSION}}}}, not {matcher!r}")
    try:
        matches, columns = matcher_to_expr(matcher)
    except InputError as error:
        raise InputError(f"{key} is not a valid matcher: {error}") from error

    def find(rows: pl.DataFrame) -> Ints:
        if missing := sorted(columns - {*rows.columns}):
            hint, there = nearest(missing[0], rows.columns), listed(rows.columns)
            raise InputError(f"the data has no column {listed(missing)}{hint}. It has: {there}.", f"{block}.{key}")
        # Beside the data's columns, so that an empty matcher, a lone literal, is as long as they are.
        found = rows.lazy().with_columns(matches.alias(_MATCHES)).select(_MATCHES, is_event=pl.col(TIME).is_not_null())
        return np.flatnonzero(found.collect().select(pl.all_horizontal(pl.all())).to_series().to_numpy())

    return find


def others_in(matcher: Any) -> set[str]:
    """The columns that a matcher asks for, and that not every MEDS file has."""
    return {*matcher} - {*MANDATORY_COLUMNS} if isinstance(matcher, Mapping) else set()
