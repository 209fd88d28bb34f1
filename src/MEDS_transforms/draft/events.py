"""Makes the events of a table of what its columns are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from ..dataset.columns import columns as as_columns
from ..dataset.schema import CODE, MANDATORY_TYPES, NUMERIC_VALUE, TEXT_VALUE, TIME
from ..errors import counted
from .doubts import code_entry, doubt_about_parts
from .model import Entry, EventDraft, percent
from .profiles import Column, Profile
from .samples import sampled
from .times import DEATH, TimeRoles, end_of_day, is_by_year, time_entries
from .values import Values, is_bare_number, is_number_of_kind, is_personal, is_ratio
from .words import Word, plain, says, stem
from .write import inline

_MOST_KINDS = 2
_NOT_BLANK = {"regex": r"\S"}
_WITH_UNIT = 0.9
_HALF = 0.5
_MAY_CHANGE = "it may change, by its name, but no time says since when; without one it holds at all times"
_LATER = "its value may be known only at the end, so that its time is that of the end"


@dataclass(frozen=True, eq=False)
class Parts:
    """What a table's events are made of.

    `times` are entries for the time of events that have no time of their own in the table: null, or that of a visit.
    """

    profile: Profile
    roles: TimeRoles
    values: Values
    times: list[Entry]
    subject: str

    @property
    def word(self) -> str:
        """What the codes of the table begin with: its name."""
        return plain(self.profile.name.rpartition("/")[2]).upper()

    @property
    def may_have_words(self) -> bool:
        """Whether words may follow the rows that were looked at, though these have numbers alone."""
        return self.profile.sample.is_text and not self.profile.sample.whole

    @property
    def main_time(self) -> list[Entry]:
        """The time of the table's measurements."""
        roles = self.roles
        return time_entries(roles.main, roles.instead, roles.clock) if roles.main else self.times


def events_of(parts: Parts, chosen: dict[str, Column]) -> Iterator[EventDraft]:
    """The events of a table; `chosen` are the columns from which births and deaths are taken, if of this table."""
    for kind, column in chosen.items():
        is_day = column.times and column.times.is_day and not is_by_year(column)
        time = end_of_day(column) if kind == DEATH and is_day else time_entries(column)
        yield EventDraft(kind, [Entry(CODE, f"MEDS_{kind.upper()}"), *time])
    values, roles = parts.values, parts.roles
    if values.code:
        yield _coded(parts)
        yield from _traits(parts)
    elif roles.main and (roles.ends or not _numbers(values)):
        yield _visit(parts)
        yield from _traits(parts)
    elif roles.main:
        yield from _traits(parts)
    at = _end_time(parts) if roles.ends else parts.main_time
    if not values.code:
        yield from _facts(parts, at)
    for column in roles.starts:
        yield _bare(parts, column, [])
    for column in roles.ends:
        yield _bare(parts, column, values.code or _kinds_of_end(parts, column))


def _kinds_of_end(parts: Parts, end: Column) -> list[Column]:
    """The kinds that belong to an end: of several ends, the one whose name begins most like theirs."""

    def alike(kind: Column, time: Column) -> int:
        pairs = zip(kind.name.lower(), time.name.lower(), strict=False)
        return len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])

    kinds = [kind for kind in parts.values.kinds if says(kind.name, Word.END)]
    own = [kind for kind in kinds if max(parts.roles.ends, key=lambda time: alike(kind, time)) is end]
    return own[:_MOST_KINDS]


def _coded(parts: Parts) -> EventDraft:
    """A measurement with a code, and perhaps a value."""
    values = parts.values
    begins = [stem(parts.roles.main.name).upper()] if parts.roles.ends and parts.roles.main else []
    in_code, unit_why = _is_unit_in_code(parts)
    unit = [values.unit] if values.unit and in_code else []
    code = [parts.word, *begins, *(f"col({column.name})" for column in (*values.code, *unit))]
    without = [f"{c.name}: none in {percent(1 - c.filled)} of rows, which get UNK" for c in values.code if c.filled < 1]
    why = "; ".join(filter(None, [values.why_code, unit_why, *without]))
    doubts = filter(
        None, [_doubt_about_code(parts, in_code), doubt_about_parts(parts.profile, [*values.code, *unit], *unit)]
    )
    entries = [code_entry(code, [*values.code, *unit], why, "; ".join(doubts)), *parts.main_time]
    if values.number:
        entries.append(Entry(NUMERIC_VALUE, values.number.name, _why_number(values)))
    if text := values.text or (values.number if parts.may_have_words else None):
        entries.append(Entry(TEXT_VALUE, text.name, _why_text(text, values.number), *_numbers_in(text, values.number)))
    further = [*([values.unit] if values.unit and not in_code else []), *_labels(values), *values.flags, *values.visits]
    entries += [Entry(output_name(column.name), column.name) for column in further]
    return EventDraft(plain(begins[0] if begins else parts.word), [*entries, *_metadata(parts, bool(unit))])


def _why_number(values: Values) -> str:
    number = values.number
    assert number is not None
    return f"{percent(number.numbers)} of the values are numbers; {values.why_number}"


def _why_text(text: Column, number: Column | None) -> str:
    if text is number:
        return "what is no number stays as text"
    return f"in {percent(text.filled)} of rows"


def _is_unit_in_code(parts: Parts) -> tuple[bool, str]:
    """Whether the unit is a part of the code: not where the table that describes the codes knows none, or others."""
    values = parts.values
    if values.unit is None:
        return False, ""
    if values.described is None:
        return True, f"{values.unit.name}: the unit, by its name, {values.unit.distinct} distinct"
    share, table = values.described.share_with_unit(parts.profile, values.unit.name), values.described.by.profile.name
    if share >= _WITH_UNIT * values.described.share:
        return True, f"{values.unit.name}: the unit, as in {table}"
    return False, f"without the unit, {values.unit.name}, which {table} does not have, or writes otherwise"


def _doubt_about_code(parts: Parts, with_unit: bool) -> str:
    values, doubts = parts.values, []
    if values.described is None and is_bare_number(values.code[-1]):
        doubts.append("codes are numbers, which no table describes")
    if labels := _labels(values):
        doubts.append(f"other columns name things as well: {', '.join(column.name for column in labels)}")
    if values.unit and not with_unit and (n := _codes_with_several_units(parts)):
        doubts.append(f"{counted(n, 'code')} with several units, {values.unit.name}, which numbers do not tell apart")
    return "; ".join(doubts)


def _numbers_in(text: Column, number: Column | None) -> tuple[str, tuple[str, ...]]:
    """What is doubtful about a text that has numbers with units, and the lines that would take these out of it."""
    if number is not None or text.numbers_with_unit < _HALF:
        return "", ()
    doubt = f"{percent(text.numbers_with_unit)} of the values are a number and a unit; add the lines below to have both"
    from_text = [{"extract": {"from": text.name, "regex": text.number_with_unit, "group_index": n}} for n in (1, 2)]
    return doubt, tuple(
        f"{inline(key)}: {inline(value)}"
        for key, value in zip((NUMERIC_VALUE, f"{plain(text.name)}_unit"), from_text, strict=True)
    )


def _labels(values: Values) -> list[Column]:
    """Further columns without which measurements may mean less: names of things that no table describes."""
    return [] if values.described else values.labels


def _codes_with_several_units(parts: Parts) -> int:
    unit, code = parts.values.unit, [column.name for column in parts.values.code]
    assert unit is not None
    found = sampled(parts.profile.sample, [*code, unit.name]).drop_nulls().unique()
    several = found.select(as_columns(code)).is_duplicated()
    return found.filter(several).select(as_columns(code)).unique().height


def _metadata(parts: Parts, with_unit: bool) -> list[Entry]:
    described = parts.values.described
    if described is None:
        return []
    table, content = described.by, dict[str, object]()
    pairs = [*zip(described.columns, table.keys, strict=True)]
    if with_unit and parts.values.unit and table.unit:
        pairs.append((parts.values.unit.name, table.unit))
    content |= {here: there for here, there in pairs if here != there}
    texts = table.descriptions
    content["description"] = texts if len(texts) > 1 else texts[0]
    parents = [f"{begin}/{{{name}}}" for name, begin in table.parents.items()]
    if parents:
        content["parent_codes"] = parents if len(parents) > 1 else parents[0]
    return [Entry("_metadata", {table.profile.name: content})]


def _visit(parts: Parts) -> EventDraft:
    """Something that happens, with its kinds as the code."""
    assert parts.roles.main is not None
    kinds = [kind for kind in parts.values.kinds if not says(kind.name, Word.END) or not parts.roles.ends]
    event = _bare(parts, parts.roles.main, kinds[:_MOST_KINDS])
    if text := _text_of_visit(parts):
        event.entries.append(Entry(TEXT_VALUE, text.name, _why_text(text, None)))
    return event


def _text_of_visit(parts: Parts) -> Column | None:
    """What is written of something that happens once, such as a note."""
    return None if parts.roles.ends or parts.values.code or _numbers(parts.values) else parts.values.text


def _bare(parts: Parts, time: Column, columns: Sequence[Column]) -> EventDraft:
    """An event without a value: the table, which of its times it is, and columns."""
    which = stem(time.name).upper()
    code = [parts.word, which, *(f"col({column.name})" for column in columns)]
    told = ", ".join(f"{column.name}: {column.distinct:,} distinct" for column in columns)
    entries = [code_entry(code, columns, told)]
    entries += parts.main_time if time is parts.roles.main else time_entries(time)
    entries += [Entry(output_name(column.name), column.name) for column in parts.values.visits]
    return EventDraft(plain(which), [*entries, *(_metadata(parts, False) if columns == parts.values.code else [])])


def _end_time(parts: Parts) -> list[Entry]:
    first, *others = time_entries(parts.roles.ends[0])
    return [Entry(first.key, first.value, first.why, _LATER), *others]


def _traits(parts: Parts) -> Iterator[EventDraft]:
    """What a subject is like: without a time where it does not change."""
    for column in parts.values.traits:
        is_static = _never_changes(parts, column)
        why = "the same in all rows of a subject that were looked at"
        yield _fact(parts, column, [Entry(TIME, None, why)] if is_static else parts.main_time, with_table=False)


def _never_changes(parts: Parts, column: Column) -> bool:
    if parts.subject not in parts.profile.columns:
        return False
    found = sampled(parts.profile.sample, (parts.subject, column.name)).drop_nulls().unique()
    return found.to_series().n_unique() == found.height


def _facts(parts: Parts, at: list[Entry]) -> Iterator[EventDraft]:
    """An event for each column that is a measurement by itself."""
    values, is_static = parts.values, parts.roles.main is None
    written = _text_of_visit(parts)
    columns = [c for c in values.facts if c is not written and not is_personal(c, is_static)]
    if is_static:
        columns = [*values.traits, *columns, *values.kinds, *values.flags]
    for column in columns:
        if is_ratio(column):
            yield _ratio(parts, column, at)
        elif _is_fact(column) or (says(column.name, Word.NOTE) and not is_static):
            yield _fact(parts, column, at, with_table=not is_static)


def _is_fact(column: Column) -> bool:
    return column.is_number or column.is_category or is_number_of_kind(column)


def _fact(parts: Parts, column: Column, at: list[Entry], with_table: bool = True) -> EventDraft:
    name = plain(column.name).upper()
    code = [parts.word, name] if with_table else [name]
    told, values = counted(column.distinct, "distinct value"), list[Entry]()
    if is_number_of_kind(column):
        code.append(f"col({column.name})")
    elif column.is_number or column.lenient_numbers >= _HALF:
        values.append(Entry(NUMERIC_VALUE, column.name, f"{percent(column.numbers)} of the values are numbers"))
        if column.numbers < 1 or parts.may_have_words:
            values.append(Entry(TEXT_VALUE, column.name, "what is no number stays as text"))
    elif column.is_category:
        code.append(f"col({column.name})")
    else:
        values.append(Entry(TEXT_VALUE, column.name))
    where = [Entry("where", {column.name: _NOT_BLANK}, f"in {percent(column.filled)} of rows; the others give nothing")]
    full = column.filled == 1 and parts.profile.sample.whole
    if at[0].value is None and says(column.name, Word.CHANGING):
        at = [replace(at[0], unsure=at[0].unsure or _MAY_CHANGE)]
    in_code = [column] if f"col({column.name})" in code else []
    told_code = code_entry(code, in_code, told) if len(code) > 1 else Entry(CODE, code[0], told)
    entries = [*([] if full else where), told_code, *at, *values]
    return EventDraft(plain(column.name), entries)


def _ratio(parts: Parts, column: Column, at: list[Entry]) -> EventDraft:
    """Two measurements of a field with two numbers."""
    numbers = [
        {"part": {"literal": word}, "number": {"extract": {"from": column.name, "regex": regex, "group_index": 1}}}
        for word, regex in (("FIRST", r"^\s*([0-9.]+)\s*/"), ("SECOND", r"/\s*([0-9.]+)\s*$"))
    ]
    entries = [
        Entry("where", {column.name: {"regex": r"^\s*[0-9.]+\s*/\s*[0-9.]+\s*$"}}),
        Entry("each", numbers, unsure="two numbers in a field; give them names that tell what they are"),
        Entry(CODE, [parts.word, plain(column.name).upper(), "col(part)"]),
        *at,
        Entry(NUMERIC_VALUE, "number"),
    ]
    return EventDraft(plain(column.name), entries)


def _numbers(values: Values) -> list[Column]:
    return [column for column in values.facts if column.is_number or is_ratio(column)]


def output_name(name: str) -> str:
    """A name for a further column of the data, which is none that has a meaning there."""
    found = plain(name)
    return f"{found}_" if found in {*MANDATORY_TYPES, "where", "each", "time_format"} else found
