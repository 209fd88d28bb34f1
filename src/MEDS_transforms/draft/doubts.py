"""What is doubtful about codes of columns: parts that rows lack, separators or blanks in them, names there twice."""

from collections.abc import Iterable, Sequence

import polars as pl

from ..dataset.columns import columns as as_columns
from ..dataset.schema import CODE
from ..extract.raw.delimited import repeated_name
from .model import Entry, percent
from .profiles import Column, Profile
from .samples import sampled
from .write import inline

_SEPARATOR = "//"
_WITH_SEPARATOR = rf"{_SEPARATOR}|/$"
_BLANK_AT_AN_END, _WITHOUT_BLANKS = r"^\s|\s$", r"^\s*(.*?)\s*$"


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


def code_entry(code: Sequence[str], columns: Iterable[Column], why: str = "", doubt: str = "") -> Entry:
    """The key of a code; doubtful where its columns have values with blanks at an end, with the code without these."""
    blank = [c.name for c in columns if bool(c.values.str.contains(_BLANK_AT_AN_END).any())]
    if not blank:
        return Entry(CODE, [*code], why, doubt)
    names = ", ".join(name.strip() for name in blank)
    blanks = f"values of {names} begin or end with blanks, which the code keeps: the line below, in its place, has none"
    extracts = {f"col({name})": {"extract": {"from": name, "regex": _WITHOUT_BLANKS}} for name in blank}
    line = f"{CODE}: {inline([extracts.get(part, part) for part in code])}"
    return Entry(CODE, [*code], why, "; ".join(filter(None, [doubt, blanks])), (line,))


def _share_without_unit(profile: Profile, code: list[str], unit: Column) -> float:
    """The share of rows without a unit, of codes that have one in other rows."""
    rows = sampled(profile.sample, [*code, unit.name])
    text = pl.col(unit.name).str.strip_chars()
    is_given = (text.is_not_null() & ~text.is_in(["", *profile.dialect.null_values])).fill_null(False)
    lacking = rows.filter(~is_given).select(as_columns(code))
    having = rows.filter(is_given).select(as_columns(code)).unique()
    return lacking.join(having, on=code, how="semi", nulls_equal=True).height / max(rows.height, 1)


def doubt_about_names(profile: Profile) -> str:
    """What is doubtful where a header has a name several times; empty where none."""
    twice = [name for name in profile.columns if repeated_name(name) in profile.columns]
    if not twice:
        return ""
    return f"the header has {', '.join(twice)} several times; the second is called {repeated_name(twice[0])}"
