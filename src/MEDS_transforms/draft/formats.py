"""Recognizes how times are written: a table of formats, each tried on the texts of a sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import polars as pl

from ..expressions.times import parsed

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d")
_SHORT_DAYS = ("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%b %d %Y", "%b %d, %Y")
_AFTER_DAYS = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M:%S %p", "%I:%M %p")
_ZONED = tuple(f"{clock}{zone}" for zone in ("%z", "%#z") for clock in ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f"))
_ISO = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", *_ZONED)
FORMATS = (
    *_DAYS,
    *(f"{day} {clock}" for day in _DAYS for clock in _AFTER_DAYS),
    *(f"%Y-%m-%dT{clock}" for clock in _ISO),
    *(f"%Y-%m-%d {clock}" for clock in _ZONED),
    *_SHORT_DAYS,
    *(f"{day} {clock}" for day in _SHORT_DAYS for clock in _AFTER_DAYS),
)
"""Formats of times, the simplest first: of two that read the same texts the first is taken."""

CLOCKS = {
    "%H:%M": r"\d{1,2}:\d{2}",
    "%H:%M:%S": r"\d{1,2}:\d{2}:\d{2}",
    "%H:%M:%S%.f": r"\d{1,2}:\d{2}:\d{2}\.\d+",
    "%I:%M %p": r"\d{1,2}:\d{2} [AaPp][Mm]",
    "%I:%M%p": r"\d{1,2}:\d{2}[AaPp][Mm]",
    "%I:%M:%S %p": r"\d{1,2}:\d{2}:\d{2} [AaPp][Mm]",
    "%I:%M:%S%p": r"\d{1,2}:\d{2}:\d{2}[AaPp][Mm]",
}
"""Formats of times of day that have a column of their own, each with the pattern of the texts that it reads."""

OF_DIGITS = ("%Y%m%d", "%Y%m%d%H%M%S", "%Y%m%d%H%M")
"""Formats of times that look like numbers; they count only where nearly all numbers of a column are such times."""

OF_YEARS = ("%Y",)
"""For columns whose names say that they are a birth."""

EPOCHS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6}
"""Units of numbers that count from 1970, by how many are in a second."""

TWINS = {
    f: other + f.removeprefix(own)
    for between in "/-"
    for own, other in permutations((f"%d{between}%m{between}", f"%m{between}%d{between}"))
    for f in FORMATS
    if f.startswith(own)
}
"""Formats with the day and the month swapped."""

_EARLIEST, _LATEST = 1800, 2300
"""Years that are taken for real; de-identified data may lie in the future."""
_FIRST_SECOND, _LAST_SECOND = 10**8, 4 * 10**9
_MOST = 0.8
_OF_DIGITS_MOST = 0.95
_FEWEST = 0.002
_TRIED = 2_000


@dataclass(frozen=True)
class Times:
    """How the times of a column are written.

    Args:
        formats: formats with the share of the values that each reads first; none where the column has times already.
        is_day: whether no time of day is known.
        epoch: the unit of numbers that count from 1970; empty where they do not.
        ambiguous: whether day and month could be swapped in every value.
        tried: how many distinct values were looked at.
    """

    formats: Mapping[str, float]
    is_day: bool = False
    epoch: str = ""
    ambiguous: bool = False
    tried: int = 0

    @property
    def share(self) -> float:
        """Of the values, those that are read."""
        return sum(self.formats.values()) if self.formats else 1.0


def times_of(texts: pl.Series, may_be_year: bool = False, may_be_epoch: bool = False) -> Times | None:
    """How times are written in texts, which are not null; None where they are none.

    Args:
        texts: values of a column.
        may_be_year: whether a number of four digits may be a year.
        may_be_epoch: whether a large number may count from 1970.
    """
    some = texts.unique(maintain_order=True).head(_TRIED)
    looks = some.str.contains(r"^\s*[\p{L}\d].{3,39}$") & some.str.contains(r"\d")
    if not some.len() or looks.sum() < _MOST * some.len():
        return None
    of_digits = some.str.contains(r"^\d+(\.0*)?$").sum() > (1 - _FEWEST) * some.len()
    if may_be_epoch and of_digits and (unit := _epoch(some)):
        return Times({}, epoch=unit, tried=some.len())
    candidates = [*OF_DIGITS, *(OF_YEARS if may_be_year else ())] if of_digits else FORMATS
    found = _cover(some, candidates)
    if sum(found.values()) < (_OF_DIGITS_MOST if of_digits else _MOST):
        return None
    first = next(iter(found))
    twin = TWINS.get(first)
    ambiguous = twin is not None and _reads(some, twin).all()
    is_day = not any(sign in f for f in found for sign in ("%H", "%I"))
    return Times(found, is_day, ambiguous=ambiguous, tried=some.len())


def swapped(times: Times) -> Times:
    """The same with day and month swapped."""
    return Times({TWINS.get(f, f): share for f, share in times.formats.items()}, times.is_day, "", True, times.tried)


def _cover(texts: pl.Series, candidates: Sequence[str]) -> dict[str, float]:
    """Formats and the shares of texts that they read, each of those that the ones before leave."""
    left, found = texts, dict[str, float]()
    reads = {f: int(_reads(texts.head(200), f).sum()) for f in candidates}
    while left.len() > _FEWEST * texts.len():
        pool = candidates if found else [f for f in candidates if reads[f]] or candidates
        masks = {f: _reads(left, f) for f in pool if f not in found and TWINS.get(f) not in found}
        best = max(masks, key=lambda f: int(masks[f].sum()), default="")
        read = int(masks[best].sum()) if best else 0
        if read <= _FEWEST * texts.len():
            break
        found[best] = read / texts.len()
        left = left.filter(~masks[best])
    return found


def _reads(texts: pl.Series, time_format: str) -> pl.Series:
    """Which texts a format reads as times that may be real.

    NOTE: `%Y` reads `24` as well, the year 24.
    """
    times = texts.to_frame("text").select(parsed(pl.col("text"), [time_format])).to_series()
    return times.dt.year().is_between(_EARLIEST, _LATEST).fill_null(False)


def _epoch(texts: pl.Series) -> str:
    numbers = texts.cast(pl.Float64, strict=False)
    for unit, per_second in EPOCHS.items():
        if numbers.is_between(_FIRST_SECOND * per_second, _LAST_SECOND * per_second).mean() == 1:
            return unit
    return ""
