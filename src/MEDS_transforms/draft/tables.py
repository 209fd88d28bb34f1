"""Drafts the tables of an event conversion file, each of its own profile and of what it has in common with others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..dataset.schema import CODE, SUBJECT_ID, TEXT_VALUE, TIME
from ..errors import InputError, listed
from ..extract.event_file.model import JOIN_KEY, SUBJECT_ID_KEY, TIME_FORMAT_KEY
from ..extract.event_file.options import OPTIONS
from .copies import same_rows
from .doubts import doubt_about_names
from .events import Parts, events_of, output_name
from .files import find_what_is_no_table, is_dataset
from .left_out import unused, why_left_out
from .links import RESULT, CodeTable, Visit, find_code_tables, find_described, find_visits
from .model import Draft, Entry, EventDraft, LeftOut, TableDraft, percent
from .profiles import Column, Profile, profile_of
from .samples import KEY_ROWS, Sample, find_samples
from .subjects import Subject, find_subjects, how_numbered
from .times import TimeRoles, births_and_deaths, doubt_about_zones, roles_of, settle_days_and_months, time_entries
from .values import values_of
from .words import plain

DESCRIBES = "describes codes"
"""The note of a table that does so."""

_USUALLY_THERE = 0.99
_FEW_SUBJECTS = 20
_HOW_WRITTEN: dict[str, object] = {
    "separator": None,
    "encoding": "utf-8",
    "quote": '"',
    "decimal": ".",
    "null_values": [],
}
"""The keys that say how a text file is written, with their defaults."""
_BY_HAND = (
    "Events need codes, times or values. If the tables have some, write the event conversion file yourself, see "
    "docs/guides/event_conversion.md."
)
_NOT_LOOKED_AT = "lists, structures, durations or bytes, or a name that only expressions can say"
_NO_TIME = "the table has no time: its rows hold at all times, also before they were known"


@dataclass(frozen=True, eq=False)
class Folder:
    """What is known of all tables together.

    Args:
        profiles: the tables, by their names.
        subjects: the columns of their subject ids, of those that have some.
        roles: what their times are.
        code_tables: those that describe codes.
        chosen: of births and deaths, the tables and columns from which they are taken.
    """

    profiles: Mapping[str, Profile]
    subjects: Mapping[str, Subject]
    roles: Mapping[str, TimeRoles]
    code_tables: Sequence[CodeTable]
    chosen: Mapping[str, tuple[Profile, Column]]


def draft_folder(folder: Path, apart_from: Iterable[Path], subject_id: str | None = None) -> Draft:
    """The draft of an event conversion file for the tables below a folder.

    Args:
        folder: the folder.
        apart_from: folders that are not looked into.
        subject_id: the column with subject ids, where the user knows it.

    Raises:
        InputError: it is a dataset, there are no tables, none has subjects, or some cannot be read.
    """
    if is_dataset(folder):
        raise InputError("this is a dataset, and no folder of raw tables", str(folder), "Name that of the tables.")
    apart_from = [*apart_from]
    without = find_what_is_no_table(folder, apart_from)
    samples = find_samples(folder, apart_from, without)
    copies = {**without.copies, **same_rows(samples)}
    found = look_at([sample for sample in samples if sample.name not in copies], subject_id)
    numbered, why, doubt = how_numbered([*found.profiles.values()], found.subjects)
    names = [subject.column for subject in found.subjects.values()]
    usual = max(names, key=names.count)
    entries = [Entry(SUBJECT_ID_KEY, usual, "the subject's id, unless a table says otherwise")]
    if why or doubt:
        entries.append(Entry("subject_ids", numbered, why, doubt))
    if doubt := doubt_about_zones(found.profiles.values()):
        entries.append(Entry("time_zone", None, unsure=doubt))
    tables = [_draft_table(profile, found, usual) for profile in found.profiles.values()]
    _drop_blocks_of_nothing(tables)
    if not any(table.events for table in tables):
        reasons = "".join(f"\n  - {table.name}: {table.note}" for table in tables)
        raise InputError(f"No table gives an event. {_BY_HAND}{reasons}")
    large = {sample.name for sample in samples if not sample.whole}
    tables += [_draft_copy(name, original, name in large) for name, original in copies.items()]
    by_name = sorted(tables, key=lambda table: table.name)
    return Draft(entries, by_name, _is_small(found), [*without.told(folder)])


def _drop_blocks_of_nothing(tables: Iterable[TableDraft]) -> None:
    """Leaves of tables without events only how they are written, where others are joined to them or described."""
    of_joins = {e.value["table"] for table in tables for e in table.entries if e.key == JOIN_KEY and table.events}
    used = of_joins | {table.describes for table in tables if table.events}
    for table in (table for table in tables if not table.events):
        is_used = table.name in used
        table.entries = [entry for entry in table.entries if is_used and entry.key in _HOW_WRITTEN]


def _draft_copy(name: str, original: str, is_large: bool) -> TableDraft:
    """A table that is left out; of one that is large, and has other bytes, not all rows need have been compared."""
    compared = f", of which {KEY_ROWS:,} at most are compared" if is_large else ""
    doubt = f"it has the same rows as {original}{compared}; with both, all of them would be there twice"
    return TableDraft(name, "", note=f"left out: a copy of {original}", unsure=doubt)


def _is_small(found: Folder) -> bool:
    """Whether the tables have few subjects, as all of their rows tell."""
    with_subjects = [(found.profiles[name], subject.column) for name, subject in found.subjects.items()]
    return all(profile.sample.whole and profile[column].distinct < _FEW_SUBJECTS for profile, column in with_subjects)


def look_at(samples: Iterable[Sample], subject_id: str | None) -> Folder:
    """Looks at all tables of a folder, and at what they have in common."""
    profiles = settle_days_and_months(map(profile_of, samples))
    subjects = find_subjects(profiles, subject_id)
    roles = {profile.name: roles_of(profile) for profile in profiles}
    chosen = births_and_deaths(roles, profiles, {name: subject.column for name, subject in subjects.items()})
    by_name = {profile.name: profile for profile in profiles}
    return Folder(by_name, subjects, roles, find_code_tables(profiles, subjects), chosen)


def _draft_table(profile: Profile, found: Folder, usual: str) -> TableDraft:
    draft = TableDraft(
        profile.name, profile.sample.looked_at, note=_parts_in_words(profile), unsure=doubt_about_names(profile)
    )
    if not profile.rows:
        draft.note = "left out"
        return draft
    subject = found.subjects.get(profile.name)
    code_table = next((table for table in found.code_tables if table.profile is profile), None)
    visit = _visit_of(profile, found) if not code_table else None
    draft.entries += _options(profile)
    if code_table or (subject is None and visit is None):
        draft.note = "left out: it has no subject, nor a visit by which one is found"
        if profile.name == RESULT:
            draft.note += f"; to describe codes it needs another name, as a result is called {RESULT}"
        if code_table:
            draft.note = DESCRIBES
            draft.left_out += [_left_out(c, TimeRoles()) for c in code_table.others]
        return draft
    if subject is None and visit:
        own = found.subjects[visit.table]
        subject = Subject(_free_name(own.column, profile), f"that of its {visit.left}")
    assert subject is not None  # it is the table's own or that of the visit
    if subject.column != usual or subject.unsure:
        draft.entries.append(Entry(SUBJECT_ID_KEY, subject.column, subject.why, subject.unsure))
    _add_events(draft, profile, found, subject, visit)
    return draft


def _parts_in_words(profile: Profile) -> str:
    """Which files a table is, where its name does not say it; empty where it does."""
    paths = [part.path for part in profile.sample.raw.parts]
    if len(paths) == 1 or not any(sign in profile.name for sign in "*?["):
        return ""
    names = listed(path.name for path in paths)
    return f"{len(paths)} files as parts of one table, as their names differ in numbers alone: {names}"


def _visit_of(profile: Profile, found: Folder) -> Visit | None:
    """The table of visits by which a table has its subject or, where it has no time, its time."""
    others = [*found.profiles.values()]
    if profile.name not in found.subjects:
        return find_visits(profile, others, found.subjects)
    is_timed = found.roles[profile.name].main or profile[found.subjects[profile.name].column].is_unique
    return None if is_timed else find_visits(profile, others, found.subjects, with_times=True)


def _add_events(draft: TableDraft, profile: Profile, found: Folder, subject: Subject, visit: Visit | None) -> None:
    roles = found.roles[profile.name]
    times, columns = _time_of_visit(profile, found, visit) if roles.main is None else ([_no_time(profile, subject)], {})
    if profile.name not in found.subjects and visit:
        columns = {subject.column: found.subjects[visit.table].column, **columns}
    if visit and columns:
        block = {"table": visit.table, "on": visit.on, "columns": columns}
        why = "" if visit.doubt else f"{percent(visit.share)} of its {visit.left} are in {visit.table}"
        draft.entries.append(Entry(JOIN_KEY, block, why, visit.doubt))
    taken = {subject.column, *(name for name, column in profile.columns.items() if column.is_time)}
    taken |= {roles.clock.name} if roles.clock else set()
    described = find_described(profile, found.code_tables, subject.column)
    of_subjects = subject.column in profile.columns and profile[subject.column].is_unique
    values = values_of(profile, described, taken, may_be_coded=bool(roles.main) or not of_subjects)
    parts = Parts(profile, roles, values, times, subject.column)
    chosen = {kind: column for kind, (of, column) in found.chosen.items() if of is profile}
    draft.events += _told_once(events_of(parts, chosen))
    draft.entries += _value_options(profile, draft.events)
    draft.describes = values.described.by.profile.name if values.described else ""
    draft.left_out += [_left_out(column, roles) for column in unused(parts, draft.events)]
    others = [name for name in profile.sample.raw.columns if name not in profile.columns]
    draft.left_out += [LeftOut(name, _NOT_LOOKED_AT) for name in others]
    if not draft.events:
        draft.note = "left out: none of its columns is a code, a time or a value"


def _no_time(profile: Profile, subject: Subject) -> Entry:
    ids = profile.columns.get(subject.column)
    one_each = ids is not None and ids.distinct == ids.values.len()  # rows without an id give nothing
    return Entry(TIME, None, "static: a row per subject" if one_each else "", "" if one_each else _NO_TIME)


def _time_of_visit(profile: Profile, found: Folder, visit: Visit | None) -> tuple[list[Entry], dict[str, str]]:
    """The time of rows that have none: the end of their visit, before which they may not have been known."""
    roles = found.roles[visit.table] if visit else None
    is_visit_once = visit is not None and found.profiles[visit.table][visit.right].is_unique
    if visit is None or roles is None or roles.main is None or not is_visit_once:
        return [_no_time(profile, found.subjects.get(profile.name, Subject("", "")))], {}
    ends = [column for column in roles.ends if column.filled >= _USUALLY_THERE]
    column = ends[0] if ends else roles.main
    name = _free_name(column.name, profile)
    first, *others = time_entries(column)
    if first.value != f"col({column.name})":
        return [Entry(TIME, None, "", _NO_TIME)], {}
    unsure = f"the table has no time; that of its {visit.left} in {visit.table}, {column.name}, is taken"
    return [Entry(TIME, f"col({name})", "", unsure), *others], {name: column.name}


def _free_name(name: str, profile: Profile) -> str:
    return f"{plain(name)}_of_visit" if name in profile.columns else name


def _options(profile: Profile) -> list[Entry]:
    """How a table is written, where that is not the default."""
    if not profile.sample.is_text:
        return []
    dialect = profile.dialect
    entries = [
        Entry("separator", dialect.separator, "cuts rows into as many fields as the header"),
        Entry("encoding", dialect.encoding, "it is not UTF-8"),
        Entry("quote", dialect.quote, "quotes are characters like others, else rows are wrong"),
        Entry("decimal", dialect.decimal, "numbers have a comma"),
        Entry("null_values", [*dialect.null_values], "words that stand for null"),
    ]
    return [entry for entry in entries if entry.value != _HOW_WRITTEN[entry.key]]


def _value_options(profile: Profile, events: Iterable[EventDraft]) -> list[Entry]:
    """How values are read: those of text files as text, where not all rows were looked at."""
    entries = [entry for event in events for entry in event.entries]
    numbers = {str(e.value) for e in entries if e.key == "numeric_value" and e.value in profile.columns}
    others = {str(e.value) for e in entries if e.key == output_name(str(e.value)) and e.value in profile.columns}
    found = []
    if any(profile[name].lenient_numbers > profile[name].numbers for name in numbers):
        found.append(Entry("numbers", "lenient", "numbers such as <5, or with spaces; what is written stays as text"))
    as_text = [n for n in profile.columns if n in numbers and not profile.sample.whole]
    as_text += [n for n in profile.columns if n in others and _may_not_fit(profile, n)]
    if profile.sample.is_text and as_text:
        further = "" if profile.sample.whole else ", so that what follows the rows looked at fits as well"
        found.append(Entry("dtypes", dict.fromkeys(as_text, "str"), f"read as they are written{further}"))
    return found


def _may_not_fit(profile: Profile, name: str) -> bool:
    """Whether a column looks like whole numbers, but is none, or may have other values further on."""
    column = profile[name]
    return column.has_leading_zeros or (column.integers == 1 and not profile.sample.whole)


def _told_once(events: Iterable[EventDraft]) -> list[EventDraft]:
    """The events, with names that differ, and each reason where it stands first."""
    names, reasons = {*OPTIONS, JOIN_KEY, SUBJECT_ID_KEY, SUBJECT_ID, CODE, TIME}, set[str]()
    told = []
    for event in events:
        name, n = event.name, 2
        while name in names:
            name, n = f"{event.name}_{n}", n + 1
        names.add(name)
        entries = [replace(e, why=_once(e.why, reasons), unsure=_once(e.unsure, reasons)) for e in event.entries]
        of_times = [entry for entry in event.entries if entry.key in (TIME, TIME_FORMAT_KEY, TEXT_VALUE)]
        reasons |= {reason for entry in of_times for reason in (entry.why, entry.unsure)}
        told.append(EventDraft(name, entries))
    return told


def _once(reason: str, told: set[str]) -> str:
    return "" if reason in told else reason


def _left_out(column: Column, roles: TimeRoles) -> LeftOut:
    why, may_be_added = why_left_out(column, roles)
    return LeftOut(column.name, why, output_name(column.name) if may_be_added else "")
