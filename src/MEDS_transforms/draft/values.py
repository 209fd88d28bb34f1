"""Which columns of a table are codes, values, units and flags: scores of what names say and values are.

Each score is a table of rules; the column with the most points is chosen, if these are enough.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from .links import Described, is_visit
from .model import percent
from .profiles import Column, Profile
from .words import Word, parts, rank, rest, says

Rule = tuple[int, str, Callable[[Column], bool]]

_FEW, _MANY = 10, 100
_MOSTLY = 0.5
_NAMELESS = ("", "#")
_UNIT_LENGTH = 14
_RATIO = r"^\d+(?:[.,]\d+)?\s*/\s*\d+(?:[.,]\d+)?$"

CODE_RULES: tuple[Rule, ...] = (
    (4, "named as a code", lambda c: says(c.name, Word.CODE)),
    (2, "named as a label", lambda c: says(c.name, Word.LABEL)),
    (2, "readable", lambda c: c.numbers < _MOSTLY),
    (1, "", lambda c: says(c.name, Word.CODE) and not rest(c.name, Word.CODE, Word.LABEL)),
    (1, "repeating", lambda c: c.distinct <= _MOSTLY * c.values.len()),
    (-2, "numbers", lambda c: is_bare_number(c)),
    (-3, "named as a kind of events", lambda c: says(c.name, Word.KIND)),
    (-3, "many rows have none", lambda c: c.filled < _MOSTLY),
    (-6, "with fractions", lambda c: c.is_number and not c.is_token),
    (-6, "named as another thing", lambda c: says(c.name, Word.TRAIT, Word.SEX, Word.FLAG, Word.NOTE)),
    (-6, "nearly every row has another", lambda c: c.rows > _FEW and c.distinct > 0.9 * c.rows),
    (-9, "long texts", lambda c: c.is_prose),
    (-9, "times of day", lambda c: c.is_clock),
    (-9, "two numbers with a slash", lambda c: is_ratio(c)),
)
"""What makes a column the code of a table's events; `CODE_POINTS` are enough."""

CODE_POINTS = 3

NUMBER_RULES: tuple[Rule, ...] = (
    (3, "named as a value", lambda c: says(c.name, Word.VALUE)),
    (2, "", lambda c: says(c.name, Word.VALUE) and not rest(c.name, Word.VALUE)),
    (1, "", lambda c: c.numbers == 1),
    (1, "with fractions", lambda c: c.is_number and not c.is_token),
    (-1, "it is zero or one", lambda c: c.distinct <= 2 and c.is_token),
    (-3, "named as a limit", lambda c: says(c.name, Word.NO_VALUE)),
    (-6, "named as a place in an order", lambda c: says(c.name, Word.ORDER)),
    (-6, "named as another thing", lambda c: says(c.name, Word.FLAG, Word.SYSTEM)),
)
"""What makes a column the number that is measured; `NUMBER_POINTS` are enough."""

NUMBER_POINTS = 2


def points(column: Column, rules: Iterable[Rule]) -> tuple[int, str]:
    """The points of a column, and what speaks for it."""
    met = [(n, why) for n, why, holds in rules if holds(column)]
    return sum(n for n, _ in met), ", ".join(why for n, why in met if n > 0 and why)


@dataclass(frozen=True, eq=False)
class Values:
    """The columns of a table by their roles.

    Args:
        code: the columns of the code, that of its system first; none where the table has no codes.
        why_code: what speaks for them.
        described: the table that describes them.
        number: the number that is measured.
        why_number: what speaks for it.
        text: the text that is measured, perhaps the same column.
        unit: the unit of the number.
        flags: flags of the measurement.
        visits: ids of visits.
        kinds: kinds of events, such as the type of an admission.
        traits: what the subject is like.
        labels: further columns that name something.
        facts: all others that may be measurements by themselves, as in a table with a column for each quantity.
    """

    code: list[Column]
    why_code: str
    described: Described | None
    number: Column | None
    why_number: str
    text: Column | None
    unit: Column | None
    flags: list[Column]
    visits: list[Column]
    kinds: list[Column]
    traits: list[Column]
    labels: list[Column]
    facts: list[Column]


def values_of(profile: Profile, described: list[Described], taken: Collection[str], may_be_coded: bool) -> Values:
    """The roles of the columns of a table, but for those that are taken: ids of subjects, and times.

    `may_be_coded`: whether a column may be a code though no other table describes it.
    """
    free = {n: c for n, c in profile.columns.items() if n not in taken and not c.is_empty and not c.is_time}
    visits = [c for c in free.values() if is_visit(c)]
    free = {n: c for n, c in free.items() if c not in visits and not is_personal(c, is_static=False)}
    described = [d for d in described if {*d.columns} <= free.keys()]
    code, why_code, by = _code(free, described) if described or may_be_coded else ([], "", None)
    left = {n: c for n, c in free.items() if c not in code and not is_identifier(c)}
    unit_like = [c for c in left.values() if _is_unit(c)]
    number, why_number = _number({n: c for n, c in left.items() if c not in unit_like})
    of_kinds = [c for c in left.values() if c.is_category or is_number_of_kind(c)]
    traits = [c for c in of_kinds if says(c.name, Word.TRAIT, Word.SEX)]
    flags = [c for c in left.values() if says(c.name, Word.FLAG) and c.is_category]
    kinds = [c for c in left.values() if says(c.name, Word.KIND) and c.is_category and c not in (*traits, *flags)]
    other = (*traits, *flags, *kinds, *unit_like)
    text = _text({n: c for n, c in left.items() if c not in other}, number)
    facts = [c for c in left.values() if c not in (*other,) and not is_place(c)]
    labels = [c for c in facts if says(c.name, Word.LABEL) and c.is_category and c is not text]
    unit = _unit(profile, unit_like, number)
    return Values(
        code, why_code, by, number, why_number, text, unit, flags, visits, _best_first(kinds), traits, labels, facts
    )


def _code(free: Mapping[str, Column], described: list[Described]) -> tuple[list[Column], str, Described | None]:
    if described:
        best = described[0]
        columns = [free[name] for name in best.columns]
        why = f"{percent(best.share)} of the codes looked at are described by {best.by.profile.name}"
        return sorted(columns, key=lambda c: not says(c.name, Word.SYSTEM)), why, best
    candidates = [c for c in free.values() if not is_identifier(c) and not _is_unit(c)]
    scored = [(*points(c, CODE_RULES), c) for c in candidates if not says(c.name, Word.SYSTEM, Word.ORDER)]
    best_points, why, column = max(scored, key=lambda found: found[0], default=(0, "", None))
    if column is None or best_points < CODE_POINTS:
        return [], "", None
    system = [c for c in free.values() if says(c.name, Word.SYSTEM) and c.distinct <= _FEW and c is not column]
    return [*system[:1], column], f"{column.name}: {why}", None


def _number(left: Mapping[str, Column]) -> tuple[Column | None, str]:
    mostly = [c for c in left.values() if max(c.numbers, c.lenient_numbers) >= _MOSTLY and not c.has_leading_zeros]
    scored = [(*points(c, NUMBER_RULES), c) for c in mostly]
    best_points, why, column = max(scored, key=lambda found: found[0], default=(0, "", None))
    return (column, why) if best_points >= NUMBER_POINTS else (None, "")


def _text(left: Mapping[str, Column], number: Column | None) -> Column | None:
    if number and number.numbers < 1:
        return number
    texts = [c for c in left.values() if c is not number and c.numbers < 1]
    named = sorted((c for c in texts if says(c.name, Word.VALUE)), key=lambda c: -c.filled)
    notes = sorted((c for c in texts if says(c.name, Word.NOTE) or c.is_prose), key=lambda c: -c.filled)
    return next(iter([*named, *notes]), None)


def _is_unit(column: Column) -> bool:
    short = column.length <= _UNIT_LENGTH and column.numbers < _MOSTLY
    return says(column.name, Word.UNIT) and not says(column.name, Word.KIND) and short


def _unit(profile: Profile, units: Iterable[Column], number: Column | None) -> Column | None:
    """The unit of a number: of the name that is most like the number's, else the first one after it."""
    if number is None:
        return None
    order = [*profile.columns]

    def merit(unit: Column) -> tuple[int, bool, int]:
        distance = order.index(unit.name) - order.index(number.name)
        alike = len({*parts(unit.name)} & {*parts(number.name)}) + _begin_alike(unit, number)
        return alike, distance > 0, -abs(distance)

    return max((unit for unit in units), key=merit, default=None)


def _begin_alike(unit: Column, number: Column) -> int:
    return unit.name.lower().startswith(number.name.lower())


def _best_first(kinds: Iterable[Column]) -> list[Column]:
    return sorted(kinds, key=lambda c: -rank(c.name, Word.KIND))


def is_identifier(column: Column) -> bool:
    """Whether a column only tells rows, orders or people apart, by its name and by how many values differ."""
    if says(column.name, Word.SUBJECT) and not rest(column.name, Word.SUBJECT, Word.IDENTIFIER):
        return True
    named = says(column.name, Word.IDENTIFIER) and not says(column.name, Word.CODE, Word.VALUE)
    each_its_own = column.is_unique and column.is_token and column.rows > _MANY and not says(column.name, Word.VALUE)
    return column.is_token and ((named and column.distinct > _FEW) or (each_its_own and column.integers == 1))


def is_bare_number(column: Column) -> bool:
    """Whether a code is a number that says nothing to people, and has no zeros to lose."""
    return column.numbers >= _MOSTLY and not column.has_leading_zeros


def is_number_of_kind(column: Column) -> bool:
    """Whether numbers stand for kinds of things, by the column's name, and measure nothing."""
    named = says(column.name, Word.SEX, Word.TRAIT, Word.KIND, Word.CODE) and not says(column.name, Word.VALUE)
    return named and column.is_token and column.integers == 1


def is_personal(column: Column, is_static: bool) -> bool:
    """Whether a column may tell who somebody is, by its name; `is_static`: in a table of what subjects are like."""
    is_name = "name" in parts(column.name) and (is_static or says(column.name, Word.SUBJECT))
    return (says(column.name, Word.PERSONAL) and not says(column.name, Word.KIND)) or is_name


def is_place(column: Column) -> bool:
    """Whether a column only tells the place of a row in an order, by its name.

    NOTE: R and pandas write the numbers of rows as a column without a name.
    """
    return (says(column.name, Word.ORDER) or column.name in _NAMELESS) and column.integers == 1


def is_ratio(column: Column) -> bool:
    """Whether most values are two numbers with a slash between them, as blood pressures are written."""
    return float(column.values.str.contains(_RATIO).mean() or 0) > _MOSTLY  # type: ignore[arg-type]
