"""Times that are written as text, by formats such as `%Y-%m-%d`."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

_ZONE = re.compile(r"%[:#]*z|%\+")
_IN_UTC = re.compile(r"(?<!%)(?:%%)*(?:Z$|%s)")
_YEAR = re.compile(r"%[-_0]?[YyGgcDxFvs+]")
_ZONE_NAME = re.compile(r"(?<!%)(?:%%)*%Z")
_ONLY_DIRECTIVES = re.compile(r"(%[-_0]?[a-zA-Z])+")
_WHOLE_FLOAT = r"^([+-]?[0-9]+)\.0*$"
_HAS_TIME_OF_DAY = re.compile(r"%[-_0]?[HIklMSTRrsXcpP+]")


def wrong_formats(formats: Sequence[Any]) -> str | None:
    """What is wrong with formats, as the end of a sentence that begins with what is allowed; None if nothing is."""
    if not formats or not all(isinstance(f, str) and "%" in f for f in formats):
        return 'a format such as "%Y-%m-%d", or a list of formats'
    for text in formats:
        if _ZONE_NAME.search(text):
            return (
                f"a format without %Z, as names of time zones are ambiguous ({text!r}): times with an offset such as "
                "-05:00 are read by %z; for local times without one name their zone as time_zone"
            )
        if not _can_be_read(text):
            return (
                f"a format without unknown directives, such as %Q ({text!r}). Known are %Y %m %d %H %M %S %.f %z and "
                "the others of https://docs.rs/chrono/latest/chrono/format/strftime; a percent sign is %%"
            )
        if why := _why_refused(text):
            return f"a format with %H and %M, or with %I, %M and %p, if it has a time of day ({text!r}): {why}"
        if not _YEAR.search(text):
            return f"a format with a year in it ({text!r}); of a date and a time of day make one text first"
    return None


def has_zone(time_format: str) -> bool:
    """Whether times in a format have an offset from UTC."""
    return bool(_ZONE.search(time_format))


def is_moment(time_format: str) -> bool:
    """Whether times in a format are the same moments everywhere: by an offset, the Z for UTC, or as seconds (`%s`)."""
    return has_zone(time_format) or bool(_IN_UTC.search(time_format))


Finish = Callable[[pl.Expr, bool], pl.Expr]
"""What is made of times that were read, and of whether they are in UTC."""


def parsed(text: pl.Expr, formats: Sequence[str], finish: Finish = lambda times, _: times) -> pl.Expr:
    """The times that texts tell by the first format that fits, as Datetime[us]; null where none does.

    Times with an offset are converted to UTC; `finish` gets the times of each format, and whether they are in UTC.
    Where no format fits, a whole number that is written as a float reads as the number: a year that an empty cell made
    a float, `2020.0`, is 2020.
    """
    attempts = [(text, time_format) for time_format in formats]
    of_digits = [time_format for time_format in formats if _ONLY_DIRECTIVES.fullmatch(time_format)]
    if of_digits:
        number = text.str.extract(_WHOLE_FLOAT)
        attempts += [(number, time_format) for time_format in of_digits]
    found = _parsed(*attempts[0], finish)
    for source, time_format in attempts[1:]:
        # Only what is left is tried: polars skips nulls.
        left = pl.when(found.is_null()).then(source)
        found = found.fill_null(_parsed(left, time_format, finish))
    return found


def _parsed(text: pl.Expr, time_format: str, finish: Finish) -> pl.Expr:
    zoned, in_utc = has_zone(time_format), is_moment(time_format)
    suffix, time_format = _completed(time_format)
    # Times of day are mostly distinct, and then polars' cache of what was parsed costs more than it saves.
    cache = not _HAS_TIME_OF_DAY.search(time_format)
    if suffix:
        text = text + suffix
    if zoned and time_format.endswith("z"):
        text = text.str.replace("Z$", "+0000")  # which polars does not take for an offset
    times = text.str.to_datetime(time_format, time_unit="us", strict=False, cache=cache)
    return finish(times.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zoned else times, in_utc)


def _completed(time_format: str) -> tuple[str, str]:
    """What to append to the text, and the format then: polars needs a day with a month, a minute with an hour."""
    directives = set(re.findall(r"%[-_0]?([a-zA-Z+])", time_format))
    suffix, added = "", ""
    if directives & set("mbBh") and not directives & set("deDFxcs"):
        suffix, added = suffix + " 01", added + " %d"
    if directives & set("HIkl") and not directives & set("MTRrXcs"):
        suffix, added = suffix + " 00", added + " %M"
    return suffix, time_format + added


def _can_be_read(time_format: str) -> bool:
    """Whether polars knows all directives of a format.

    NOTE: it says so only where it writes times; where it reads them, an unknown directive makes all of them null.
    """
    moment = pl.Series([datetime(2020, 1, 1, tzinfo=UTC)])
    try:
        moment.dt.strftime(time_format.replace("%#z", "%z"))  # the former is for reading alone
    except pl.exceptions.ComputeError:
        return False
    return True


def _why_refused(time_format: str) -> str | None:
    """What polars has against a format whose directives it knows, such as %H beside %p; None if it has nothing."""
    try:
        pl.Series([""]).str.to_datetime(_completed(time_format)[1], strict=False)
    except pl.exceptions.ComputeError as error:
        return str(error).splitlines()[0].rstrip(".")
    return None
