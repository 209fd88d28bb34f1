"""What is doubtful about codes of several columns: parts that rows lack, or that have separators in them."""

import polars as pl

from ..dataset.columns import columns as as_columns
from .model import percent
from .profiles import Column, Profile
from .samples import sampled

_SEPARATOR = "//"
_WITH_SEPARATOR = rf"{_SEPARATOR}|/$"


def doubt_about_parts(profile: Profile, code: list[Column], unit: Column | None = None) -> str:
    """What is doubtful; empty where nothing is.

    Args:
        profile: the table.
        code: the columns of the code, that of the unit last.
        unit: the column of the unit, if it is one of them.
    """
    doubts = []
    if unit and (share := _share_without_unit(profile, [c.name for c in code if c is not unit], unit)):
        doubts.append(
            f"{percent(share)} of rows have no {unit.name}, though others of the same code have one; they become "
            f"…{_SEPARATOR}UNK, a code of its own"
        )
    patterns = [_WITH_SEPARATOR] * (len(code) - 1) + [_SEPARATOR]
    parted = [c.name for c, p in zip(code, patterns, strict=True) if bool(c.values.str.contains(p).any())]
    if parted:
        doubts.append(
            f"codes cannot be parted at {_SEPARATOR} again: some values of {', '.join(parted)} have it, or end with /"
        )
    return "; ".join(doubts)


def _share_without_unit(profile: Profile, code: list[str], unit: Column) -> float:
    """The share of rows without a unit, of codes that have one in other rows."""
    rows = sampled(profile.sample, [*code, unit.name])
    text = pl.col(unit.name).str.strip_chars()
    is_given = (text.is_not_null() & ~text.is_in(["", *profile.dialect.null_values])).fill_null(False)
    lacking = rows.filter(~is_given).select(as_columns(code))
    having = rows.filter(is_given).select(as_columns(code)).unique()
    return lacking.join(having, on=code, how="semi", nulls_equal=True).height / max(rows.height, 1)
