"""What a draft says, before it is written: tables, their events, the keys of both, and why each was chosen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


def percent(share: float) -> str:
    """A share in words, which are 0% or 100% only where it is none or all.

    >>> percent(1), percent(0.734), percent(800 / 801), percent(0.00001), percent(0)
    ('100%', '73%', '99.9%', 'less than 0.1%', '0%')
    """
    share = round(share, 9)  # sums of shares are not exact
    if not 0 < share < 1 or f"{share:.0%}" not in ("0%", "100%"):
        return f"{share:.0%}"
    return {"0.0%": "less than 0.1%", "100.0%": "more than 99.9%"}.get(f"{share:.1%}", f"{share:.1%}")


def can_be_in_text(name: str) -> bool:
    """Whether a text can have a column of this name, as `{name}`."""
    return bool(name) and not {"{", "}"} & {*name}


@dataclass(frozen=True)
class Entry:
    """A key of a block and its value.

    Args:
        key: the key.
        value: its value.
        why: what tells so; empty where the value speaks for itself.
        unsure: what is doubtful about it; empty where nothing is.
        addable: lines that could stand below it; they are written as comments.
    """

    key: str
    value: Any
    why: str = ""
    unsure: str = ""
    addable: tuple[str, ...] = ()


@dataclass(frozen=True)
class EventDraft:
    """An event: its name, and its keys in the order in which they are written."""

    name: str
    entries: list[Entry]


@dataclass(frozen=True)
class LeftOut:
    """A column that no event has: why, and the line that would add it to one; empty where none would."""

    column: str
    why: str
    line: str = ""


@dataclass
class TableDraft:
    """A table: which of its rows were looked at, its keys, its events, and the columns that these do not have.

    `note` says why a table has no block, or has one without events; `unsure` what is doubtful about that; `describes`
    is the table that describes its codes.
    """

    name: str
    looked_at: str
    entries: list[Entry] = field(default_factory=list)
    events: list[EventDraft] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    note: str = ""
    unsure: str = ""
    describes: str = ""


@dataclass(frozen=True)
class Draft:
    """A draft of an event conversion file: the keys at its top, and the tables.

    `is_small`: whether there are too few subjects for several splits; `passed_over`: what is said of folders and files
    that are no tables.
    """

    entries: list[Entry]
    tables: list[TableDraft]
    is_small: bool = False
    passed_over: Sequence[str] = ()

    @property
    def unsure(self) -> Iterator[tuple[str, str]]:
        """What is doubtful, each with the path of its key."""
        yield from ((entry.key, entry.unsure) for entry in self.entries if entry.unsure)
        for table in self.tables:
            yield from ((name, table.unsure) for name in [table.name] if table.unsure)
            yield from ((f"{table.name}.{e.key}", e.unsure) for e in table.entries if e.unsure)
            for event in table.events:
                yield from ((f"{table.name}.{event.name}.{e.key}", e.unsure) for e in event.entries if e.unsure)
