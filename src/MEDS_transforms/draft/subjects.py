"""Finds the column of subject ids in every table: by its name, and by values that other tables have as well."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from ..errors import InputError, counted, listed, nearest
from .model import percent
from .profiles import Column, Profile, share_found
from .samples import read_columns
from .words import Word, rest, says

_NAMED, _PERHAPS, _GIVEN = 3, 2, 9
"""How much a name tells: that of a subject's id and nothing else; `id` in a table of subjects; the user's word."""
_SUPPORTED = 0.5
_SURE = 0.9
_FILLED = 0.5
_SHORT = 4
"""Ids shorter than this may be in another column by chance."""
_IN_ORDER = "they are numbered in order, by a table that is kept"
_LARGEST = 2**63 - 1
_NAMES_SHOWN = 8
_DIGITS = r"^\d+$"
_ALL = ("", "")
"""In place of a table and a column: those of all subjects."""


@dataclass(frozen=True)
class Subject:
    """Where a table has its subjects.

    Args:
        column: the column with their ids.
        why: what tells so.
        unsure: what is doubtful about it; empty where nothing is.
    """

    column: str
    why: str
    unsure: str = ""


@dataclass(eq=False)
class _Candidate:
    """A column that may hold subject ids."""

    profile: Profile
    column: Column
    score: int
    shares: dict[tuple[str, str], float] = field(default_factory=dict)
    """Of its values, the shares that columns of other tables have, by the table and the column."""

    @property
    def place(self) -> tuple[str, str]:
        """The table and the column."""
        return self.profile.name, self.column.name

    @cached_property
    def values(self) -> pl.DataFrame:
        """The distinct values that were looked at."""
        return _as_compared(self.column.values.unique()).to_frame("id")

    @cached_property
    def all_values(self) -> pl.DataFrame:
        """The distinct values, of all rows of a table that may have a row per subject."""
        if self.profile.sample.whole or not self.column.is_unique:
            return self.values
        return _as_compared(read_columns(self.profile.sample, (self.column.name,)).to_series()).to_frame("id")


def _as_compared(ids: pl.Series) -> pl.Series:
    """Ids without leading zeros, which other tables may not have, where they are numbers that still differ then."""
    if not ids.str.contains(_DIGITS).all():
        return ids
    numbers = ids.str.replace(r"^0+(\d)", "$1")
    return numbers if numbers.n_unique() == ids.n_unique() else ids


def find_subjects(profiles: Sequence[Profile], given: str | None = None) -> dict[str, Subject]:
    """The column of subject ids of each table that has one, by the names of the tables.

    Args:
        profiles: the tables.
        given: the name of the column, where the user knows it.

    Raises:
        InputError: no table has such a column.
    """
    profiles = [profile for profile in profiles if profile.rows]
    if not profiles:
        raise InputError("No table has rows. Name the folder with the raw tables.")
    named = [candidate for profile in profiles for candidate in _named(profile, given)]
    if given and not named:
        there = {name for profile in profiles for name in profile.columns}
        raise InputError(
            f"No table has a column {given!r}{nearest(given, there)}. There are: {listed(map(repr, there))}."
        )
    named = named or _shared(profiles)
    if not named:
        raise InputError(
            "No table has a column that looks like a subject's id. Say which it is: --subject-id COLUMN. Where these "
            f"are values, not names, write a first line with the names. {'; '.join(map(_columns_in_words, profiles))}."
        )
    _compare(named)
    chosen = _of_one_kind({best.profile.name: best for best in _best(named)})
    for profile in profiles:
        if profile.name not in chosen and (found := _by_values(profile, [*chosen.values()])):
            chosen[profile.name] = found
    return {name: _described(candidate, chosen) for name, candidate in chosen.items()}


def _columns_in_words(profile: Profile) -> str:
    return f"{profile.name} has {listed(map(repr, profile.columns), _NAMES_SHOWN)}"


def _named(profile: Profile, given: str | None) -> list[_Candidate]:
    scored = ((column, _score(profile, column, given)) for column in profile.columns.values())
    return [_Candidate(profile, column, score) for column, score in scored if score >= (_GIVEN if given else _PERHAPS)]


def _score(profile: Profile, column: Column, given: str | None) -> int:
    if column.name == given:
        return _GIVEN
    if not column.is_token or column.filled < _FILLED or column.dtype == pl.Boolean:
        return 0
    if says(column.name, Word.SUBJECT) and not says(column.name, Word.VISIT):
        return 0 if rest(column.name, Word.SUBJECT, Word.IDENTIFIER) else _NAMED
    is_id = says(column.name, Word.IDENTIFIER) and not rest(column.name, Word.IDENTIFIER)
    return _PERHAPS if is_id and says(profile.name.rpartition("/")[2], Word.SUBJECT) else 0


def _shared(profiles: Sequence[Profile]) -> list[_Candidate]:
    """Columns of the name that most tables have, if one of them has each value once and others repeat them."""
    by_name: dict[str, list[_Candidate]] = {}
    for profile in profiles:
        for column in profile.columns.values():
            if column.is_token and column.filled > _FILLED and not says(column.name, Word.VISIT):
                by_name.setdefault(column.name, []).append(_Candidate(profile, column, 1))
    several = [
        found
        for found in by_name.values()
        if any(c.column.is_unique for c in found) and any(not c.column.is_unique for c in found)
    ]
    return max(several, key=len, default=[])


def _compare(candidates: Iterable[_Candidate]) -> None:
    """Notes for each candidate what share of its values those of other tables have."""
    candidates = list(candidates)
    for one in candidates:
        for other in candidates:
            if one.profile.name != other.profile.name:
                one.shares[other.place] = share_found(one.values, other.all_values)


def _best(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """The best candidate of each table: the one whose values are in most other tables, or whose name tells most."""
    best: dict[str, _Candidate] = {}
    for one in candidates:
        if one.profile.name not in best or _merit(one) > _merit(best[one.profile.name]):
            best[one.profile.name] = one
    return [*best.values()]


def _merit(candidate: _Candidate) -> tuple[int, int]:
    return len({table for (table, _), share in candidate.shares.items() if share >= _SUPPORTED}), candidate.score


def _are_alike(one: _Candidate, other: _Candidate) -> bool:
    """Whether two columns have ids in common, in most rows of one of them."""
    return max(one.shares.get(other.place, 0.0), other.shares.get(one.place, 0.0)) >= _SUPPORTED


def _of_one_kind(chosen: Mapping[str, _Candidate]) -> dict[str, _Candidate]:
    """The columns without those of another kind of ids, which a table of subjects has beside its own.

    Rows of tables with the other kind find their subject by a join.
    """
    support = {name: sum(_are_alike(one, other) for other in chosen.values()) for name, one in chosen.items()}
    people = max(chosen.values(), key=lambda one: (one.column.is_unique, support[one.profile.name]))
    same = [one for one in chosen.values() if one is people or _are_alike(one, people)]
    return {name: one for name, one in chosen.items() if one in same or not any(_is_beside(one, s) for s in same)}


def _is_beside(one: _Candidate, own: _Candidate) -> bool:
    """Whether ids are in another column of a table with subjects, each once."""
    others = (c for c in own.profile.columns.values() if c is not own.column and c.is_unique and c.is_token)
    ids = (_as_compared(column.values.unique()).to_frame("id") for column in others)
    return any(share_found(one.values, values) >= _SURE for values in ids)


def _by_values(profile: Profile, chosen: Sequence[_Candidate]) -> _Candidate | None:
    """The column of a table without a telling name in which nearly all values are ids of subjects."""
    ids = pl.concat([candidate.all_values for candidate in chosen])
    found = []
    for column in profile.columns.values():
        may_be = column.is_token and column.filled >= _FILLED and column.length >= _SHORT
        if may_be and not says(column.name, Word.VISIT, Word.CODE):
            candidate = _Candidate(profile, column, 0)
            candidate.shares = {_ALL: share_found(candidate.values, ids.unique())}
            found.append(candidate)
    best = max(found, key=lambda candidate: candidate.shares[_ALL], default=None)
    return best if best and best.shares[_ALL] >= _SURE else None


def _described(one: _Candidate, chosen: Mapping[str, _Candidate]) -> Subject:
    """The column in words."""
    name = one.column.name
    if one.score == 0:
        unsure = "its name does not tell that it is the subject's id, only its values do"
        return Subject(name, f"{percent(one.shares[_ALL])} of its values are subject ids of other tables", unsure)
    why = {_GIVEN: "as you say", 1: "in most tables, in one with each value once"}.get(one.score, "by its name")
    others = [other for other in chosen.values() if other.place in one.shares]
    if not others:
        return Subject(name, why)
    most = max(others, key=lambda other: (one.shares[other.place], other.column.is_unique))
    share = one.shares[most.place]
    why += f"; {percent(share)} of {counted(one.column.distinct, 'distinct value')} are in {most.profile.name}"
    if not any(_are_alike(one, other) for other in others):
        return Subject(name, why, "hardly any of its values are ids in other tables")
    return Subject(name, why)


def how_numbered(profiles: Sequence[Profile], subjects: Mapping[str, Subject]) -> tuple[str, str, str]:
    """How ids become numbers, as `subject_ids` says, what tells so, and what is doubtful."""
    columns = [profile[subjects[profile.name].column] for profile in profiles if profile.name in subjects]
    for column in columns:
        numbers = column.values.unique().cast(pl.Int128, strict=False)
        if column.integers < 1 or numbers.null_count() or bool((numbers.abs() > _LARGEST).any()):
            return "table", f"ids are text, or longer than 64 bits ({column.name}); {_IN_ORDER}", ""
        if numbers.n_unique() < numbers.len():
            return "table", f"ids differ in leading zeros alone ({column.name}); {_IN_ORDER}", ""
    if not any(column.has_leading_zeros for column in columns):
        return "integer", "", ""
    lengths = {length for column in columns for length in column.values.str.len_chars().unique()}
    if len(lengths) == 1:
        return (
            "integer",
            f"ids have leading zeros, which numbers lose; all looked at have {lengths.pop()} digits",
            "",
        )
    doubt = (
        "ids have leading zeros, which numbers lose; none that were looked at become equal by that. Where some would"
    )
    return "integer", "", f"{doubt}, as 07 and 7 of two subjects, write table, or hash"
