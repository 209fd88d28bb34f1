"""What the values of a sample say about its columns: numbers, times, categories, identifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from ..dataset.dtypes import has_text
from ..extract.raw.dialect import Dialect
from ..parser import is_col_field
from .formats import CLOCKS, Times, times_of
from .samples import Sample, as_text
from .words import MAYBE_NULL_WORDS, NULL_WORDS, Word, says

_INTEGER = r"^[+-]?\d+$"
_NUMBER = {
    ".": r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$",
    ",": r"^[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?$",
}
_FRACTION = {".": r"^[+-]?\d*\.\d+$", ",": r"^[+-]?\d*,\d+$"}
_WITH_UNIT = {sign: rf"^\s*([\d{sign}]+)\s*([\p{{L}}%]\S*)\s*$" for sign in ".,"}
_LENIENT = r"^\s*(?:[<>≤≥=~]|<=|>=)?\s*[+-]?(?:\d+[.,]?\d*|[.,]\d+)\s*$"
_TOKEN = r"^[\w.:/+-]{1,64}$"
_CLOCK = f"^({'|'.join(CLOCKS.values())})$"
_NEARLY_ALL, _HALF = 0.95, 0.5
_FEW_CATEGORIES, _SHARE_OF_CATEGORIES, _LONGEST_CATEGORY = 30, 0.05, 60
_LONG_TEXT, _FEW_ROWS = 40, 20


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a sample.

    Args:
        name: its name.
        dtype: its dtype in the file; text of text files.
        rows: how many rows were looked at.
        values: the values that are not null, as text, in order.
        decimal: what stands before the digits of a fraction.
        times: how they are written, if they are times.
    """

    name: str
    dtype: pl.DataType
    rows: int
    values: pl.Series
    decimal: str = "."
    times: Times | None = None

    @property
    def filled(self) -> float:
        """The share of rows with a value."""
        return self.values.len() / self.rows if self.rows else 0.0

    @cached_property
    def distinct(self) -> int:
        """How many values differ."""
        return self.values.n_unique()

    @property
    def is_empty(self) -> bool:
        """Whether no row has a value."""
        return not self.values.len()

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value of its own."""
        return bool(self.rows) and self.distinct == self.rows

    @cached_property
    def integers(self) -> float:
        """The share of values that are whole numbers."""
        return self._share(_INTEGER)

    @cached_property
    def numbers(self) -> float:
        """The share of values that are numbers as they stand."""
        return self._share(_NUMBER[self.decimal])

    @cached_property
    def lenient_numbers(self) -> float:
        """The share of values that are numbers, perhaps with spaces or a sign such as `<`."""
        return self._share(_LENIENT)

    @property
    def number_with_unit(self) -> str:
        """The pattern of a number and a unit after it, each a group."""
        return _WITH_UNIT[self.decimal]

    @cached_property
    def numbers_with_unit(self) -> float:
        """The share of values that are a number with a unit after it, such as `500 mg`."""
        return self._share(self.number_with_unit)

    @cached_property
    def has_leading_zeros(self) -> bool:
        """Whether a value is written with zeros that a number loses."""
        return self._share(r"^0\d") > 0

    @cached_property
    def length(self) -> float:
        """The mean length of the values."""
        return float(self.values.str.len_chars().mean() or 0)  # type: ignore[arg-type]

    @property
    def is_time(self) -> bool:
        """Whether the values are times."""
        return self.times is not None

    @cached_property
    def is_clock(self) -> bool:
        """Whether the values are times of day."""
        return self._share(_CLOCK) == 1

    @cached_property
    def is_number(self) -> bool:
        """Whether nearly all values are numbers."""
        return self.numbers >= _NEARLY_ALL and not self.is_time and not self.has_leading_zeros

    @cached_property
    def is_token(self) -> bool:
        """Whether the values may be ids or codes: short and without spaces, or whole numbers."""
        return self.is_nearly_token and self._share(_TOKEN) == 1

    @cached_property
    def is_nearly_token(self) -> bool:
        """Whether nearly all values may be ids or codes: not the word for a total below a table, for example."""
        may_be = not (self.is_time or self.is_empty or self._has_fractions)
        return may_be and self._share(_TOKEN) >= _NEARLY_ALL

    @cached_property
    def is_category(self) -> bool:
        """Whether the values are few and short texts."""
        few = max(_FEW_CATEGORIES, _SHARE_OF_CATEGORIES * self.values.len())
        repeats = self.distinct <= _HALF * self.values.len() or self.rows < _FEW_ROWS
        short = self.length <= _LONGEST_CATEGORY
        return (
            not (self.is_time or self.is_clock or self.is_number or self.is_empty)
            and self.distinct <= few
            and short
            and repeats
        )

    @cached_property
    def is_prose(self) -> bool:
        """Whether the values are long texts that mostly differ."""
        return self.length > _LONG_TEXT and self.distinct > _HALF * self.values.len()

    @cached_property
    def _has_fractions(self) -> bool:
        return self._share(_FRACTION[self.decimal]) > 0

    def _share(self, pattern: str) -> float:
        return float(self.values.str.contains(pattern).mean() or 0)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Profile:
    """A table with what its sample says.

    Args:
        sample: the sample.
        columns: its columns, by their names, in order, but for lists, structures and durations, and for names such as
            `col(a)`.
        dialect: how its text files are written, with the decimal point and the words for null that were found.
    """

    sample: Sample
    columns: Mapping[str, Column]
    dialect: Dialect

    @property
    def name(self) -> str:
        """The table's name in an event conversion file."""
        return self.sample.name

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return self.sample.rows.height

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


def profile_of(sample: Sample) -> Profile:
    """The profile of a table, of its sample."""
    if not sample.rows.height:
        return Profile(sample, {}, sample.raw.dialect)
    texts = {
        name: sample.rows.select(as_text(name, dtype)).to_series()
        for name, dtype in sample.rows.schema.items()
        if has_text(dtype) and not is_col_field(name)
    }
    decimal = _decimal(sample, [*texts.values()])
    words = _null_words([*texts.values()], decimal) if sample.is_text else ()
    dialect = replace(sample.raw.dialect, decimal=decimal, null_values=words)
    columns = {
        name: _column(name, sample.rows.schema[name], values, dialect, sample.rows) for name, values in texts.items()
    }
    return Profile(sample, columns, dialect)


def _column(name: str, dtype: pl.DataType, texts: pl.Series, dialect: Dialect, rows: pl.DataFrame) -> Column:
    values = texts.drop_nulls()
    values = values.filter(~(values.str.strip_chars().is_in(["", *dialect.null_values])))
    return Column(name, dtype, rows.height, values, dialect.decimal, _times(name, dtype, values))


def _times(name: str, dtype: pl.DataType, values: pl.Series) -> Times | None:
    if dtype.is_temporal():
        return Times({}, dtype == pl.Date, tried=values.n_unique()) if dtype in (pl.Date, pl.Datetime) else None
    if dtype == pl.Boolean or values.is_empty():
        return None
    may_be_epoch = says(name, Word.TIME, Word.BIRTH, Word.DEATH)
    return times_of(values, may_be_year=says(name, Word.BIRTH), may_be_epoch=may_be_epoch)


def _decimal(sample: Sample, columns: Sequence[pl.Series]) -> str:
    """A comma where more numbers have one than have a point, in columns of numbers."""
    if not sample.is_text or sample.raw.dialect.of(sample.raw.parts[0].path).separator == ",":
        return "."
    of_numbers = [values for values in columns if _mostly(values, _LENIENT, among=_HALF)]
    having = {sign: sum(int(v.str.contains(_FRACTION[sign]).sum()) for v in of_numbers) for sign in ".,"}
    return "," if having[","] > having["."] else "."


def _mostly(values: pl.Series, pattern: str, among: float) -> bool:
    found = values.drop_nulls().str.contains(pattern)
    return bool(found.len()) and float(found.mean() or 0) >= among  # type: ignore[arg-type]


def _null_words(columns: Sequence[pl.Series], decimal: str) -> tuple[str, ...]:
    """The words that stand for null in some column, in the order of the tables of words."""
    found = {word for values in columns for word in values.filter(values.is_in(NULL_WORDS)).unique()}
    for values in columns:
        there = {*values.filter(values.is_in(MAYBE_NULL_WORDS)).unique()}
        others = values.filter(~values.is_in(MAYBE_NULL_WORDS)) if there else values.head(0)
        if there and (_mostly(others, _NUMBER[decimal], _NEARLY_ALL) or times_of(others.drop_nulls())):
            found |= there
    return tuple(word for word in (*NULL_WORDS, *MAYBE_NULL_WORDS) if word in found)


def share_found(left: pl.DataFrame, right: pl.DataFrame) -> float:
    """Of the rows of one frame, the share that the other has; columns correspond by their places."""
    if not left.height:
        return 0.0
    right = right.rename(dict(zip(right.columns, left.columns, strict=True)))
    return left.join(right, on=left.columns, how="semi").height / left.height
