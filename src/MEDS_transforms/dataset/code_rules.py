"""Rules: what is set for codes, as it is given, before it is looked up.

A rule is about a code, or about all codes that a pattern matches; further columns, such as a unit, narrow it down. Here
are those of a list of entries in a stage's block, and of columns of the code metadata; `code_tables` reads tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from ..errors import Problem, Problems, listed, nearest
from ..settings.plain import plain
from .columns import column, columns, internal
from .patterns import why_no_pattern
from .schema import CODE

REGEX = "regex"
PLACE = internal("place")
"""Where an entry stands, for messages."""


@dataclass(frozen=True)
class Settable:
    """What can be set for a code.

    Args:
        settings: the settings, with their dtypes: String, Boolean, a float, or a list of these.
        further: the columns of the data that narrow an entry down to some rows of its codes.
        required: the settings that every entry must have.
        wrong: what is said against an entry, by the expression of its settings that finds it wrong.
    """

    settings: Mapping[str, pl.DataType]
    further: Sequence[str] = ()
    required: Sequence[str] = ()
    wrong: Mapping[str, pl.Expr] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """Entries by one way to look them up.

    Args:
        number: the place of each entry in the order in which they count, ascending.
        entries: their `code`, `regex`, further columns, and settings.
        by: the further columns that they name; a null there stands for rows without a value.
        source: what they come from, for messages.
    """

    number: pl.Series
    entries: pl.DataFrame
    by: tuple[str, ...] = ()
    source: str = "the settings"


def followed_by(rules: Sequence[Rules], more: Sequence[Rules]) -> list[Rules]:
    """The rules of one source, then those of another one, which count where none of the former matches."""
    n = sum(one.entries.height for one in rules)
    return [*rules, *(replace(one, number=one.number + n) for one in more)]


def read_entries(settable: Settable, given: Any, where: str, problems: Problems) -> list[Rules]:
    """The entries of a list: mappings with a code or `{regex: pattern}`, further columns, and settings.

    Args:
        settable: what can be set.
        given: the list; instead, a mapping from places to entries. None: there are none.
        where: the key of the list, for messages.
        problems: where mistakes are noted.
    """
    given = plain(given)
    if given is not None and not isinstance(given, list | dict):
        problems.add(Problem(f"must be a list of entries, not {given!r}", where, joint=" "))
        return []
    placed = given if isinstance(given, dict) else {f"{where}[{n}]": one for n, one in enumerate(given or ())}
    n_wrong = len(problems.found)
    for place, entry in placed.items():
        problems.found += _mistakes(settable, place, entry)
    if len(problems.found) > n_wrong:
        return []
    entries = _frame_of_entries(settable, [*placed.values()])
    problems.found += found_wrong(settable, entries.with_columns(pl.Series(PLACE, [*placed], pl.String)))
    ways = [tuple(name for name in settable.further if name in entry) for entry in placed.values()]
    numbers = {way: [n for n, other in enumerate(ways) if other == way] for way in dict.fromkeys(ways)}
    return [Rules(pl.Series(at, dtype=pl.UInt32), entries[at], way, where) for way, at in numbers.items()]


def _mistakes(settable: Settable, place: str, entry: Any) -> Iterator[Problem]:
    known = (CODE, *settable.further, *settable.settings)
    if not isinstance(entry, dict):
        yield Problem(f"must be a mapping with the keys {listed(known)}, not {entry!r}", place, joint=" ")
        return
    for key in entry:
        if key not in known:
            yield Problem(
                f"there is no such key{nearest(str(key), known)}; known are {listed(known)}", f"{place}.{key}"
            )
    yield from _wrong_code(place, entry)
    for name in settable.further:
        if isinstance(entry.get(name), list | dict):
            yield Problem(f"must be one value, not {entry[name]!r}", f"{place}.{name}", joint=" ")
    for name, dtype in settable.settings.items():
        value = entry.get(name)
        if value is None and name in settable.required:
            yield Problem(f"there is no {name}", place, f"Set it: {name}: …")
        elif value is not None and not is_of(dtype, value):
            yield Problem(f"must be {in_words(dtype)}, not {value!r}", f"{place}.{name}", joint=" ")


def _wrong_code(place: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    where, code = f"{place}.{CODE}", entry.get(CODE)
    if code is None:
        yield Problem(f"there is no {CODE}", place, f"Name one, or a pattern: {CODE}: {{{REGEX}: …}}")
    elif isinstance(code, dict):
        if code.keys() != {REGEX}:
            yield Problem(f"must be a code, or a mapping with the one key {REGEX}, not {code!r}", where, joint=" ")
        elif wanted := why_no_pattern(code[REGEX]):
            yield Problem(f"must be {wanted}; not {code[REGEX]!r}", f"{where}.{REGEX}", joint=" ")
    elif not isinstance(code, str):
        yield Problem(f"must be text, not {code!r}", where, f"Put it in quotes: '{code}'", joint=" ")


def is_of(dtype: pl.DataType, value: Any) -> bool:
    """Whether a value of a setting is of a dtype."""
    if isinstance(dtype, pl.List):
        inner: Any = dtype.inner
        return isinstance(value, list) and all(is_of(inner, one) for one in value)
    if dtype.is_numeric():
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool if dtype == pl.Boolean else str)


def in_words(dtype: pl.DataType) -> str:
    """What values of a dtype are called in messages."""
    if isinstance(dtype, pl.List):
        inner: Any = dtype.inner
        return {"a number": "a list of numbers", "text": "a list of texts"}.get(in_words(inner), "a list")
    return "a number" if dtype.is_numeric() else "true or false" if dtype == pl.Boolean else "text"


def _frame_of_entries(settable: Settable, entries: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    codes = [entry[CODE] for entry in entries]
    exact = pl.Series(CODE, [code if isinstance(code, str) else None for code in codes], pl.String)
    patterns = pl.Series(REGEX, [None if isinstance(code, str) else code[REGEX] for code in codes], pl.String)
    further = [_values(name, [entry.get(name) for entry in entries]) for name in settable.further]
    settings = [
        pl.Series(name, [entry.get(name) for entry in entries], dtype, strict=False)
        for name, dtype in settable.settings.items()
    ]
    return pl.DataFrame([exact, patterns, *further, *settings])


def _values(name: str, values: Sequence[Any]) -> pl.Series:
    """Values of a column as they are; those of several types as text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) == 1 and kinds <= {int, float, bool}:
        return pl.Series(name, values)
    words = {True: "true", False: "false"}
    as_text = [words[value] if isinstance(value, bool) else value for value in values]
    return pl.Series(name, [None if value is None else str(value) for value in as_text], pl.String)


def rules_of_metadata(
    settable: Settable, code_metadata: pl.DataFrame, by: Sequence[str], named: Mapping[str, str]
) -> list[Rules]:
    """The rows of the code metadata, with settings from the columns `named` for them; the others are null."""
    coded = code_metadata.filter(pl.col(CODE).is_not_null())
    settings = [
        (column(named[name]) if name in named else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in settable.settings.items()
    ]
    key = [column(CODE).cast(pl.String), pl.lit(None, pl.String).alias(REGEX), *columns(by)]
    numbers = pl.Series(range(coded.height), dtype=pl.UInt32)
    return [Rules(numbers, coded.select(*key, *settings), tuple(by), "the code metadata")]


def found_wrong(settable: Settable, entries: pl.DataFrame) -> Iterator[Problem]:
    """What the expressions in `wrong` find, by the first few places."""
    for what, is_wrong in settable.wrong.items():
        for place in entries.filter(is_wrong)[PLACE].head(3):
            yield Problem(what, place)
