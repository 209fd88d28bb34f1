"""What a page is made of: sections of text, figures, tables and charts, which a template shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Spec = dict[str, Any]
"""A chart, in the language of Vega-Lite."""


class Share(float):
    """A fraction, shown in per cent."""


class Ratio(float):
    """A quotient, shown with a times sign."""


class Change(float):
    """A difference, shown with its sign."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Fact:
    """A figure, what it counts, and what there is to say of it."""

    label: str
    value: Any
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Some figures, large."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[Fact]


@dataclass(frozen=True)
class Table:
    """A table that people can sort, and search where it says so."""

    kind: ClassVar[str] = "table"
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    searchable: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and are aligned to the right."""
        return _numeric(self.headings, self.rows)


def _numeric(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[bool]:
    columns = zip(*rows, strict=True) if rows else ([] for _ in headings)
    return [any(isinstance(value, int | float) for value in values) for values in columns]


@dataclass(frozen=True)
class Chart:
    """A chart: its title, what it shows in words, and its specification."""

    title: str
    words: str
    spec: Spec


@dataclass(frozen=True)
class Charts:
    """Charts, side by side where there is room; `wide`: each of the whole width."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]
    wide: bool = False


@dataclass(frozen=True)
class Choice:
    """One of the things to choose: its name, the data of the chart, titles of axes, a table of facts."""

    name: str
    data: Sequence[Mapping[str, Any]]
    titles: Mapping[str, str]
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class Picker:
    """A chart whose data is chosen in a list; `spec` has no data of its own."""

    kind: ClassVar[str] = "picker"
    label: str
    words: str
    spec: Spec
    choices: Sequence[Choice]

    def as_json(self) -> dict[str, Any]:
        """What the page's script needs."""
        choices = [
            {
                "name": one.name,
                "data": one.data,
                "titles": one.titles,
                "headings": one.headings,
                "rows": [[shown(value) for value in row] for row in one.rows],
                "numeric": _numeric(one.headings, one.rows),
                "note": one.note,
            }
            for one in self.choices
        ]
        return {"spec": self.spec, "choices": choices}


@dataclass(frozen=True)
class Details:
    """Text that is shown when people ask for it."""

    kind: ClassVar[str] = "details"
    title: str
    text: str


Part = Text | Facts | Table | Charts | Picker | Details


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; `id` is what links to it name."""

    id: str
    title: str
    parts: Sequence[Part] = field(default_factory=tuple)


def shown(value: Any) -> str:
    """A value as people read it.

    >>> shown(12345), shown(0.000123456), shown(Share(0.5)), shown(None), shown(Change(-3)), shown(Ratio(1.5))
    ('12,345', '0.0001235', '50 %', '', '−3', '× 1.5')
    """
    if value is None:
        return ""
    if isinstance(value, Share):
        return _percent(value)
    if isinstance(value, Change):
        sign = "+" if value > 0 else "−" if value < 0 else ""
        return f"{sign}{_number(abs(value))}"
    if isinstance(value, Ratio):
        return f"× {value:.3g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, int | float) else str(value)


def _number(value: float) -> str:
    is_short = float(value).is_integer() or abs(value) >= 1000
    return f"{value:,.0f}" if is_short and abs(value) < 1e15 else f"{value:.4g}"


def counted(n: int, noun: str) -> str:
    """A number and what it counts.

    >>> counted(1, "subject"), counted(2000, "code")
    ('1 subject', '2,000 codes')
    """
    return f"{shown(n)} {noun}{'' if n == 1 else 's'}"


def _percent(share: float) -> str:
    percent = 100 * share
    return "< 0.01 %" if 0 < percent < 0.01 else "> 99.9 %" if 99.95 <= percent < 100 else f"{percent:.3g} %"


def sort_key(value: Any) -> float | str:
    """What a cell is sorted by."""
    return float(value) if isinstance(value, int | float) else shown(value).casefold()
