"""The sections of a report that are about the data: sizes, over time, by age, by subject, codes, values."""

from collections.abc import Iterator

from ..dataset.schema import CODE, DESCRIPTION, SPLIT
from .names import EVENTS, MEASUREMENTS, STATIC, SUBJECTS, VALUES
from .parts import Fact, Facts, Part, Section, Share, Table, Text, counted, shown
from .summary import Summary, sum_of
from .time_sections import by_age, by_subject, over_time
from .value_sections import values_of_codes

MOST_CODES = 200


def data_sections(summary: Summary) -> list[Section]:
    """The sections about the data."""
    return [
        Section("size", "How much there is", [*_size(summary)]),
        Section("time", "Over time", [*over_time(summary)]),
        Section("age", "By age", [*by_age(summary)]),
        Section("subjects", "By subject", [*by_subject(summary)]),
        Section("codes", "Most frequent codes", [*_codes(summary)]),
        Section("values", "Values", [*values_of_codes(summary)]),
    ]


def totals(summary: Summary) -> dict[str, int]:
    """The sizes of a dataset, by what is counted."""
    subjects = summary.subjects
    sums = {name: sum_of(subjects, name) for name in (EVENTS, MEASUREMENTS, STATIC)}
    return {SUBJECTS: summary.n_subjects, **sums, "codes": summary.all_codes.height}


def time_range(summary: Summary) -> tuple[str, str]:
    """When the data begin and end: years, and days, which are left out where figures of few subjects are not shown."""
    if summary.time_range is None:
        return "none", "no measurement has a time"
    years = "–".join(dict.fromkeys(day.rsplit("-", 2)[0] for day in summary.time_range))
    days = " to ".join(dict.fromkeys(summary.time_range))
    return years, "without births" if summary.hides_few else f"{days}, without births"


def _size(summary: Summary) -> Iterator[Part]:
    n = totals(summary)
    with_value = Share(summary.n_values / n[MEASUREMENTS] if n[MEASUREMENTS] else 0)
    yield Facts(
        [
            Fact("subjects", n[SUBJECTS]),
            Fact("events", n[EVENTS], "distinct times of a subject"),
            Fact("measurements", n[MEASUREMENTS], f"{shown(with_value)} with a number"),
            Fact("static rows", n[STATIC], "measurements without a time"),
            Fact("codes", n["codes"]),
            Fact("years", *time_range(summary)),
        ]
    )
    rows = [
        [row[SPLIT], row[SUBJECTS], row[EVENTS], row[MEASUREMENTS], row[STATIC], row[CODE]]
        for row in summary.by_split().to_dicts()
    ]
    yield Table("Sizes of the splits", ["Split", "Subjects", "Events", "Measurements", "Static rows", "Codes"], rows)
    yield from apart(summary)


def apart(summary: Summary, name: str = "") -> Iterator[Part]:
    """Says which figures may be too high, or incomplete, if rows of a subject are apart in a dataset called so."""
    if n := summary.n_apart:
        yield Text(
            f"Rows of {counted(n, 'subject')}{f' of {name}' if name else ''} are in several files, or apart in a large "
            "one, which MEDS does not allow. Such a subject counts once in each split that it is in. By code, time and "
            "age it may count several times, as may its events in all figures, and only rows that are together with "
            "its birth have an age."
        )


def hidden(summary: Summary, name: str = "") -> Iterator[Part]:
    """Says how many codes are left out, if any are, of a dataset called so."""
    if summary.n_hidden:
        of = f" of {name}" if name else ""
        codes = counted(summary.n_hidden, "code")
        yield Text(f"Left out{of} (--min-count): {codes} of fewer than {counted(summary.min_count, 'subject')}.")


def _codes(summary: Summary) -> Iterator[Part]:
    codes, n = summary.codes, summary.n_subjects
    yield from hidden(summary)
    if codes.is_empty():
        yield Text("There are no codes to show.")
        return
    top = codes.head(MOST_CODES)
    if more := codes.height - top.height:
        share = Share(sum_of(top, MEASUREMENTS) / sum_of(codes, MEASUREMENTS))
        yield Text(
            f"The {top.height} most frequent codes, which have {shown(share)} of the measurements. There are "
            f"{shown(more)} more."
        )
    rows = [
        [
            row[CODE],
            row[MEASUREMENTS],
            row[SUBJECTS],
            Share(row[SUBJECTS] / n),
            Share(row[VALUES] / row[MEASUREMENTS]),
            row[DESCRIPTION],
        ]
        for row in top.to_dicts()
    ]
    headings = ["Code", "Measurements", "Subjects", "Of subjects", "With a number", "Description"]
    if top[DESCRIPTION].is_null().all():
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    yield Table("Most frequent codes", headings, rows, searchable=True)
