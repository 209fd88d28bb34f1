"""Units of time, as settings name them, and times in them."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from ..dataset.measurements import Ints
from ..errors import InputError

_DAY = 24 * 60 * 60

UNITS: dict[str, tuple[float, Sequence[str]]] = {
    "seconds": (1, ("s", "sec", "secs", "second")),
    "minutes": (60, ("m", "min", "mins", "minute")),
    "hours": (60 * 60, ("h", "hr", "hrs", "hour")),
    "days": (_DAY, ("d", "day")),
    "weeks": (7 * _DAY, ("w", "wk", "wks", "week")),
    "months": (30.436875 * _DAY, ("mo", "mos", "month")),
    "years": (365.2422 * _DAY, ("y", "yr", "yrs", "year")),
}
"""How many seconds each unit has, and its short forms."""


def unit_name(unit: Any, key: str) -> str:
    """The full name of a unit that a key gives by name or short form.

    Raises:
        InputError: there is no such unit; the message lists all.

    >>> unit_name("hr", "time_unit")
    'hours'
    """
    for name, (_, short_forms) in UNITS.items():
        if unit == name or unit in short_forms:
            return name
    known = "; ".join(f"{name} ({', '.join(short_forms)})" for name, (_, short_forms) in UNITS.items())
    raise InputError(f"{key}: the unit {unit!r} is unknown; it must be one of {known}")


def seconds_per(unit: Any, key: str = "age_unit") -> float:
    """The length in seconds of a unit; see `unit_name`.

    >>> seconds_per("hr")
    3600
    """
    return UNITS[unit_name(unit, key)][0]


def microseconds(times: pl.Series) -> Ints:
    """Times that are not null as numbers."""
    return times.dt.cast_time_unit("us").to_physical().to_numpy()


def in_unit(spans: Ints, seconds: float) -> pl.Series:
    """Spans of microseconds as Float32 in a unit that has so many seconds."""
    return pl.Series(spans / (seconds * 1e6), dtype=pl.Float64).cast(pl.Float32)
