"""The blocks of the calendar and the clock: time_of_day, season, month and weekday."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from ...dataset.measurements import Ints
from ...dataset.schema import TIME
from ...errors import InputError
from ..block_settings import check_code
from ..new_rows import Block, NewRows

_SEASONS = ("WINTER", "SPRING", "SUMMER", "AUTUMN")
_HEMISPHERES = {"north": 0, "south": 2}
"""How many seasons a hemisphere is ahead of the northern one."""
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


def time_of_day(time_of_day_code: str, endpoints: list[int]) -> Block:
    """Rows with the interval of the hour among 0, the endpoints and 24, at every event.

    Raises:
        ValueError: the endpoints are not whole numbers from 0 to 24 in ascending order, or the code is not text.
    """
    check_code("time_of_day_code", time_of_day_code)
    return _at_every_time(time_of_day_code, intervals_by_hour(endpoints), lambda times: times.dt.hour().cast(pl.Int64))


def intervals_by_hour(endpoints: Any) -> list[str]:
    """For each hour of the day the interval that contains it.

    >>> intervals_by_hour([9, 18])[8:10]
    ['[00,09)', '[09,18)']
    """
    given = list(endpoints) if hasattr(endpoints, "__iter__") and not isinstance(endpoints, str) else []
    whole = all(isinstance(hour, int) and not isinstance(hour, bool) and 0 <= hour <= 24 for hour in given)
    if not given or not whole or given != sorted(set(given)):
        raise InputError(
            f"endpoints must be a list of one or more whole numbers from 0 to 24, ascending and unique, not {endpoints}"
        )
    cuts = sorted({0, *given, 24})
    return [f"[{start:02},{end:02})" for start, end in pairwise(cuts) for _ in range(start, end)]


def season(season_code: str = "SEASON", hemisphere: str = "north") -> Block:
    """Rows with the meteorological season, at every event: winter is December to February in the north.

    Raises:
        ValueError: the hemisphere is neither north nor south, or the code is not text.
    """
    check_code("season_code", season_code)
    if hemisphere not in _HEMISPHERES:
        raise InputError(f"hemisphere must be north or south, not {hemisphere!r}")
    by_month = [_SEASONS[(month // 3 + _HEMISPHERES[hemisphere]) % 4] for month in (*range(1, 12), 0)]
    return _at_every_time(season_code, by_month, _month)


def month(month_code: str = "MONTH") -> Block:
    """Rows with the month, 01 to 12, at every event.

    Raises:
        ValueError: the code is not text.
    """
    check_code("month_code", month_code)
    return _at_every_time(month_code, [f"{number:02}" for number in range(1, 13)], _month)


def weekday(weekday_code: str = "WEEKDAY") -> Block:
    """Rows with the day of the week, MON to SUN, at every event.

    Raises:
        ValueError: the code is not text.
    """
    check_code("weekday_code", weekday_code)
    return _at_every_time(weekday_code, _WEEKDAYS, lambda times: times.dt.weekday().cast(pl.Int64) - 1)


def _month(times: pl.Series) -> pl.Series:
    return times.dt.month().cast(pl.Int64) - 1


def _at_every_time(code: str, labels: Sequence[str], which: Callable[[pl.Series], pl.Series]) -> Block:
    """Rows at every event whose code ends with one of the labels; `which` gives its position for times."""
    codes = pl.Series([f"{code}//{label}" for label in labels])

    def block(rows: pl.DataFrame, events: Ints) -> list[NewRows]:
        return [NewRows(events, codes, which(rows[TIME].gather(events)).to_numpy())]

    return block
