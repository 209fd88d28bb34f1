"""Finds tables that belong together: by visits, through which rows have a subject, or by codes that one describes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

import polars as pl

from ..dataset.columns import columns as as_columns
from .model import can_be_in_text, percent
from .profiles import Column, Profile, share_found
from .samples import KEY_ROWS, read_columns, sampled
from .subjects import Subject
from .words import VOCABULARIES, Word, parts, rank, says

_SOME = 0.1
_FOUND = 0.5
_SURE = 0.9
_SHORT = 3
_MOST_KEYS = 6
_TRIED = 1_000
RESULT = "codes"
"""The name that a table which describes codes cannot have, since that of the result is the same."""
_NO_UNIT = "UNK"


@dataclass(frozen=True)
class Visit:
    """A table through which rows of another have something: its name, the keys of both, and the share that is found."""

    table: str
    left: str
    right: str
    share: float

    @property
    def doubt(self) -> str:
        """What is doubtful about it; not all keys of a large table are looked at."""
        if self.share >= _FOUND:
            return ""
        found = f"only {percent(self.share)} of its {self.left} are in {self.table}"
        return f"{found}, of which {KEY_ROWS:,} rows are looked at"

    @property
    def on(self) -> str | dict[str, str]:
        """The key as a join has it."""
        return self.left if self.left == self.right else {self.left: self.right}


@dataclass(frozen=True, eq=False)
class CodeTable:
    """A table that describes codes.

    Args:
        profile: the table.
        keys: the columns that tell its rows apart.
        unit: the column with the unit of a code's values.
    """

    profile: Profile
    keys: tuple[str, ...]
    unit: str | None

    @property
    def values(self) -> pl.DataFrame:
        """The distinct values of the keys, as text."""
        return read_columns(self.profile.sample, self.keys)

    @cached_property
    def descriptions(self) -> list[str]:
        """The columns that say what a code means, the longest texts first."""
        free = [c for c in self.profile.columns.values() if c.name not in self.keys and not says(c.name, Word.UNIT)]
        texts = [c for c in free if not (c.is_number or c.is_time or c.is_empty)]
        told = [c for c in texts if says(c.name, Word.DESCRIPTION) and not _vocabulary(c.name)]
        told = told or sorted(texts, key=lambda c: -c.length)[:1]
        return [c.name for c in sorted(told, key=lambda c: -rank(c.name, Word.DESCRIPTION))]

    @property
    def parents(self) -> dict[str, str]:
        """The columns with codes of well-known vocabularies, with what these codes begin with."""
        others = (name for name in self.profile.columns if name not in self.keys and can_be_in_text(name))
        named = {name: _vocabulary(name) for name in others}
        return {name: begin for name, begin in named.items() if begin}

    @property
    def others(self) -> list[Column]:
        """The columns that are none of these."""
        named = {*self.keys, *self.descriptions, *self.parents, self.unit}
        return [column for column in self.profile.columns.values() if column.name not in named]


@dataclass(frozen=True, eq=False)
class Described:
    """Codes of a table that another describes.

    Args:
        by: the other table.
        columns: the columns of the codes, in the order of the keys.
        share: the share of the codes that are described.
    """

    by: CodeTable
    columns: tuple[str, ...]
    share: float

    def share_with_unit(self, profile: Profile, unit: str) -> float:
        """Of the codes with their units, the share that is described."""
        if self.by.unit is None:
            return 0.0
        left = _with_unit(profile, [*self.columns, unit], unit)
        right = _with_unit(self.by.profile, [*self.by.keys, self.by.unit], self.by.unit)
        return share_found(left, right)


def _with_unit(profile: Profile, names: Sequence[str], unit: str) -> pl.DataFrame:
    """The distinct rows of columns that were looked at, with what a code has where there is no unit."""
    known = pl.when(~pl.col(unit).is_in(profile.dialect.null_values)).then(pl.col(unit)).fill_null(_NO_UNIT)
    return sampled(profile.sample, names).with_columns(known.alias(unit)).drop_nulls().unique()


def _vocabulary(name: str) -> str | None:
    joined = "".join(parts(name))
    return next((begin for word, begin in VOCABULARIES.items() if word in joined), None)


def find_code_tables(profiles: Iterable[Profile], subjects: Mapping[str, Subject]) -> list[CodeTable]:
    """The tables without subjects and times, with keys that tell their rows apart and a text that describes them."""
    found = []
    for profile in profiles:
        columns = profile.columns.values()
        has_times = any(column.is_time for column in columns)
        collides = profile.name == RESULT
        if profile.name in subjects or not profile.rows or has_times or collides or _visit_columns(profile):
            continue
        table = _code_table(profile)
        if table and table.descriptions:
            found.append(table)
    return found


def _code_table(profile: Profile) -> CodeTable | None:
    may_be = [c.name for c in profile.columns.values() if c.filled == 1 and not c.is_prose][:_MOST_KEYS]
    unit = next((name for name in profile.columns if says(name, Word.UNIT)), None)
    rows = read_columns(profile.sample, tuple(may_be)) if may_be else pl.DataFrame()
    tokens = [name for name in may_be if profile[name].is_token]
    named = [name for name in may_be if says(name, Word.CODE, Word.IDENTIFIER)]
    single = ([name] for name in dict.fromkeys([*named, *tokens]))
    texts = ([name] for name in may_be if name not in (*named, *tokens))
    for keys in map(tuple, (*single, *combinations(tokens, 2), *texts)):
        if rows.select(as_columns(keys)).unique().height == rows.height:
            return CodeTable(profile, keys, unit if unit not in keys else None)
    return None


def find_described(profile: Profile, code_tables: Iterable[CodeTable], subject: str | None) -> list[Described]:
    """The codes of a table that other tables describe, the most of them first."""
    found = [d for table in code_tables for d in _described(profile, table, subject)]
    return sorted(found, key=lambda d: (-d.share, -len(d.columns)))


def _described(profile: Profile, table: CodeTable, subject: str | None) -> Iterator[Described]:
    choices = [
        [name for name, column in profile.columns.items() if name != subject and _may_match(column, key, table)]
        for key in table.keys
    ]
    for columns in product(*choices):
        if len({*columns}) < len(columns):
            continue
        share = share_found(sampled(profile.sample, columns).drop_nulls().unique(), table.values)
        same = all(a.lower() == b.lower() for a, b in zip(columns, table.keys, strict=True))
        telling = max(profile[name].length for name in columns) >= _SHORT
        if share >= (_FOUND if same else _SURE) and (same or telling or says(columns[0], Word.CODE)):
            yield Described(table, columns, share)


def _may_match(column: Column, key: str, table: CodeTable) -> bool:
    """Whether values of a column may be those of a key: a few of them are looked up first."""
    is_other = column.is_time or column.is_prose or (says(column.name, Word.NO_VALUE) and column.is_number)
    if column.is_empty or (is_other and column.name.lower() != key.lower()):
        return False
    some = column.values.unique().head(_TRIED).to_frame(key)
    return some.join(table.values, on=key, how="semi").height > 0


def find_visits(
    profile: Profile, others: Iterable[Profile], subjects: Mapping[str, Subject], with_times: bool = False
) -> Visit | None:
    """The table with subjects in which most rows are found by a column that this table has as well.

    `with_times`: of tables with times alone.
    """
    own = subjects[profile.name].column if profile.name in subjects else None
    rights = [p for p in others if p.name != profile.name and p.name in subjects]
    if with_times:
        rights = [p for p in rights if any(column.is_time for column in p.columns.values())]
    keys = [(p, *key) for p in rights for key in _keys_in_common(profile, p, own, subjects[p.name].column)]
    best: Visit | None = None
    for right, here, there in sorted(keys, key=lambda key: not key[0][key[2]].is_unique):
        found = read_columns(right.sample, (there, subjects[right.name].column))
        ids = found.select(as_columns([there])).unique()
        share = share_found(profile[here].values.unique().to_frame(), ids) if ids.height == found.height else 0.0
        enough = _SOME if here.lower() == there.lower() and is_visit(right[there]) else _SURE
        if share >= enough and (best is None or share > best.share):
            best = Visit(right.name, here, there, share)
        if best and best.share >= _SURE:
            break
    return best


def _keys_in_common(left: Profile, right: Profile, left_id: str | None, right_id: str) -> Iterator[tuple[str, str]]:
    """Columns of two tables that may name the same visits; on the right, each of one subject."""
    for a, b in product(left.columns.values(), right.columns.values()):
        same, visits = a.name.lower() == b.name.lower(), is_visit(a) and is_visit(b)
        subjects = says(a.name, Word.SUBJECT) and says(b.name, Word.SUBJECT)
        if (
            not (same or visits or subjects)
            or not a.is_nearly_token
            or not b.is_token
            or a.name == left_id
            or b.name == right_id
        ):
            continue
        pairs = sampled(right.sample, (b.name, right_id)).drop_nulls().unique()
        if pairs.to_series().n_unique() == pairs.height and ((same and visits) or b.is_unique):
            yield a.name, b.name


def _visit_columns(profile: Profile) -> Sequence[str]:
    """The columns of a table that name visits."""
    return [c.name for c in profile.columns.values() if is_visit(c)]


def is_visit(column: Column) -> bool:
    """Whether a column holds the ids of visits, by its name."""
    name = column.name
    return says(name, Word.VISIT) and not says(name, Word.KIND, Word.TRAIT, Word.FLAG) and column.is_nearly_token
