"""Which times of a table are what: births, deaths, starts, ends, and those that only say when a row was stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import counted
from ..expressions.times import is_moment
from .formats import CLOCKS, swapped
from .model import Entry, can_be_in_text, percent
from .profiles import Column, Profile
from .words import Word, begins_or_ends, says, stem

BIRTH, DEATH = "birth", "death"
"""The events of which a subject has one."""

_NEARLY_ALL, _HALF = 0.98, 0.5
_EPOCH_START = {"date": {"year": 1970, "month": 1, "day": 1}}
_DAY_AS_TEXT = "%Y-%m-%d"
"""How a day is written that the file has as such."""
_TO_ITS_END = {"hours": 23, "minutes": 59, "seconds": 59}
_SHORT_YEAR = "%y"


@dataclass
class TimeRoles:
    """The times of a table.

    Args:
        births: births, the best first.
        deaths: deaths, the best first.
        main: the time of the table's measurements; None where there is none.
        instead: a time of the same moment for rows in which `main` is empty.
        clock: the time of day that belongs to `main`, a day.
        starts: other times at which something begins.
        ends: times at which something ends.
        left: the others, with the reason why they are not used.
    """

    births: list[Column] = field(default_factory=list)
    deaths: list[Column] = field(default_factory=list)
    main: Column | None = None
    instead: Column | None = None
    clock: Column | None = None
    starts: list[Column] = field(default_factory=list)
    ends: list[Column] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def roles_of(profile: Profile) -> TimeRoles:
    """What the times of a table are, by their names and by how many rows have them."""
    roles = TimeRoles()
    times = [column for column in profile.columns.values() if column.is_time and not column.is_empty]
    roles.births = sorted((c for c in times if says(c.name, Word.BIRTH)), key=is_by_year)
    roles.deaths = [c for c in times if says(c.name, Word.DEATH) and c not in roles.births]
    others = [c for c in times if c not in roles.births and c not in roles.deaths]
    stored = [c for c in others if says(stem(c.name), Word.RECORDED)]
    if len(stored) < len(others):
        others = [c for c in others if c not in stored]
        roles.left |= {c.name: "the time at which the row was stored, by its name" for c in stored}
    kinds = {c.name: begins_or_ends(c.name) for c in others}
    plain = [c for c in others if kinds[c.name] is None]
    roles.starts = [c for c in others if kinds[c.name] is Word.START]
    roles.ends = [c for c in others if kinds[c.name] is Word.END]
    _choose_main(roles, plain)
    if roles.main and roles.main.times and roles.main.times.is_day:
        roles.clock = _clock(profile, roles.main)
    return roles


def _choose_main(roles: TimeRoles, plain: Sequence[Column]) -> None:
    if plain:
        roles.main = max(plain, key=_merit)
        for column in (c for c in plain if c is not roles.main):
            roles.left[column.name] = f"another time; that of the events is {roles.main.name}"
            same = stem(column.name) == stem(roles.main.name) and _written_alike(column, roles.main)
            if same and roles.main.filled < _NEARLY_ALL and column.filled > roles.main.filled:
                roles.instead = column
                del roles.left[column.name]
    elif roles.starts:
        roles.main = roles.starts.pop(0)
    elif roles.ends:
        roles.main = roles.ends.pop(0)


def _merit(column: Column) -> tuple[bool, bool, float]:
    """Times that are mostly there, and of these such that tell the time of day, come first."""
    has_clock = bool(column.times and not column.times.is_day) and column.values.n_unique() > 1
    return column.filled > _HALF, has_clock and not says(column.name, Word.DAY), column.filled


def _written_alike(one: Column, other: Column) -> bool:
    epochs = [column.times.epoch for column in (one, other) if column.times]
    return one.dtype == other.dtype and not any(epochs)


def is_by_year(column: Column) -> bool:
    """Whether only years are known."""
    return bool(column.times and [*column.times.formats] == ["%Y"])


def _clock(profile: Profile, day: Column) -> Column | None:
    """The column with the times of day that nearly every row with a day has."""
    clocks = [c for c in profile.columns.values() if c.is_clock and c.filled >= _NEARLY_ALL * day.filled]
    return next((c for c in clocks if can_be_in_text(c.name) and can_be_in_text(day.name)), None)


def time_entries(column: Column, instead: Column | None = None, clock: Column | None = None) -> list[Entry]:
    """The keys of an event with the time of a column: `time` and, where it is text, `time_format`."""
    times = column.times
    assert times is not None  # only times are given
    if times.epoch:
        since = {"add": [_EPOCH_START, {"duration": {times.epoch: column.name}}]}
        why = f"of {counted(times.tried, 'distinct value')} of {column.name} 100% are {times.epoch} from 1970 on"
        return [Entry("time", since, why)]
    if clock:
        return [_with_clock(column, clock)]
    time = {"output": [column.name, instead.name], "matcher": {}} if instead else f"col({column.name})"
    why = f"{column.name} in {percent(column.filled)} of rows, else {instead.name}" if instead else ""
    if not times.formats:
        return [Entry("time", time, why or f"a column of {'days' if times.is_day else 'times'}")]
    formats = dict(times.formats)
    if instead and instead.times:
        formats |= {f: share for f, share in instead.times.formats.items() if f not in formats}
    value = [*formats] if len(formats) > 1 else next(iter(formats))
    return [Entry("time", time, why), Entry("time_format", value, _how_many_parse(column), _doubts(column))]


def end_of_day(column: Column) -> list[Entry]:
    """The keys of an event at the end of a day, so that it comes after what else happened then."""
    times = column.times
    assert times is not None  # only days are given
    formats = [*times.formats]
    told = {"time": {"from": column.name, "format": formats[0] if len(formats) == 1 else formats}}
    parsed = f"; {_how_many_parse(column)}" if formats else ""
    value = {"add": [told if formats else column.name, {"duration": _TO_ITS_END}]}
    why = f"a day, at its end, so that it comes after other events of that day{parsed}"
    return [Entry("time", value, why, _doubts(column) if formats else "")]


def _with_clock(day: Column, clock: Column) -> Entry:
    assert day.times is not None
    of_day = [f for f, pattern in CLOCKS.items() if clock.values.str.contains(f"^{pattern}$").any()]
    formats = [f"{f} {clock_format}" for f in day.times.formats or [_DAY_AS_TEXT] for clock_format in of_day]
    text = {"str": f"{{{day.name}}} {{{clock.name}}}"}
    value = {"time": {"from": text, "format": formats if len(formats) > 1 else formats[0]}}
    parsed = f"; {_how_many_parse(day)}" if day.times.formats else ""
    return Entry("time", value, f"{day.name} is a day, {clock.name} a time of day{parsed}", _doubts(day))


def _how_many_parse(column: Column) -> str:
    times = column.times
    assert times is not None
    parts = [
        f"{percent(share)} {'parse ' if not n else ''}as {f}" for n, (f, share) in enumerate(times.formats.items())
    ]
    none = [f"{percent(1 - times.share)} as none"] if percent(times.share) != "100%" else []
    return f"of {counted(times.tried, 'distinct value')}, {', '.join([*parts, *none])}"


def _doubts(column: Column) -> str:
    times = column.times
    assert times is not None
    doubts = []
    if times.ambiguous:
        doubts.append("day and month could be swapped in every value that was looked at")
    if any(_SHORT_YEAR in f for f in times.formats):
        doubts.append("years have two digits: 69 is 2069, 70 is 1970")
    if is_by_year(column):
        doubts.append("only the year is known, and becomes its first of January")
    if times.share < _NEARLY_ALL:
        doubts.append(f"{percent(1 - times.share)} of the values are of no known format, and their rows give nothing")
    return "; ".join(doubts)


def doubt_about_zones(profiles: Iterable[Profile]) -> str:
    """What is doubtful where some times have an offset from UTC and others have none; empty where they are alike."""
    columns = [c for p in profiles for c in p.columns.values() if c.times and not c.times.is_day and not c.is_empty]
    zoned = [c for c in columns if c.times and (c.times.epoch or _is_zoned(c))]
    if not zoned or len(zoned) == len(columns):
        return ""
    return "some times are in UTC or have an offset, and become UTC, others do not say, and stay: name their zone"


def _is_zoned(column: Column) -> bool:
    formats = column.times.formats if column.times else ()
    return any(map(is_moment, formats)) or getattr(column.dtype, "time_zone", None) is not None


def settle_days_and_months(profiles: Iterable[Profile]) -> list[Profile]:
    """The profiles, with days and months in the order that they have in columns that are not ambiguous."""
    profiles = list(profiles)
    columns = [c for p in profiles for c in p.columns.values() if c.times and c.times.formats]
    clear = [next(iter(c.times.formats)) for c in columns if c.times and not c.times.ambiguous]
    month_first = sum(f.startswith("%m") for f in clear)
    if month_first <= sum(f.startswith("%d") for f in clear):
        return profiles
    return [replace(p, columns={name: _month_first(c) for name, c in p.columns.items()}) for p in profiles]


def _month_first(column: Column) -> Column:
    if column.times is None or not column.times.ambiguous:
        return column
    return replace(column, times=swapped(column.times))


def births_and_deaths(
    roles: Mapping[str, TimeRoles], profiles: Iterable[Profile], subjects: Mapping[str, str]
) -> dict[str, tuple[Profile, Column]]:
    """Of births and of deaths, the column from which they are taken: best of a table with a row per subject."""
    found: dict[str, tuple[tuple[bool, bool, int], Profile, Column]] = {}
    for profile in profiles:
        if profile.name not in subjects:
            continue
        of_subjects = profile[subjects[profile.name]].is_unique if subjects[profile.name] in profile.columns else False
        for kind, columns in ((BIRTH, roles[profile.name].births), (DEATH, roles[profile.name].deaths)):
            for column in columns[:1]:
                merit = (of_subjects, not is_by_year(column), column.values.len())
                if kind not in found or merit > found[kind][0]:
                    found[kind] = (merit, profile, column)
    return {kind: (profile, column) for kind, (_, profile, column) in found.items()}
