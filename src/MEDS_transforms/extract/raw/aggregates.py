"""The right side of a join: one row per key, made of rows that come a batch at a time.

    rows  ->  states (a row each)  ->  reduced (a row per key and values), again and again  ->  finished

To reduce states gives states of the same columns, so that it does not matter which of them are reduced first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import polars as pl

from ...dataset.columns import column, internal
from ...dataset.dtypes import is_text
from ...errors import InputError, listed
from .keys import as_keys, key_columns

_REDUCE: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "first": pl.Expr.first,
    "last": pl.Expr.last,
    "min": pl.Expr.min,
    "max": pl.Expr.max,
    "sum": pl.Expr.sum,
    "n": pl.Expr.sum,
}
TOTAL = "total"
"""A sum as the newer line has it: 0 where there is nothing to add."""
_STATES = {
    **{name: (name,) for name in ("first", "last", "min", "max")},
    "sum": ("sum", "n"),
    TOTAL: ("sum", "n"),
    "mean": ("sum", "n"),
    "count": ("n",),
}
AGGREGATIONS = tuple(name for name in _STATES if name != TOTAL)
"""Each makes one value of the values of a key:

- first, last: the value in the first or last row, in the order of the table, null or not, so that those of several
  columns belong together.
- min, max: of numbers, booleans and times; of text only where it sorts as the time does that it stands for.
- sum: 64 bits for integers, otherwise a float, or a duration; mean: a float; count: how many values there are.

All but first and last pass over nulls; where there is nothing else, they are null, and count is 0.
"""

_IN_ORDER = [
    rf"^\d{{4}}({date}\d\d({date}\d\d({time}\d\d:\d\d(:\d\d(\.\d+)?)?)?)?)?$" for date, time in product("-/", " T")
]
"""Texts for times that sort as the times do, if all are of one of these kinds."""

MATCHED = internal("matched")
"""True in the rows of the right side; null beside a left row that has none."""
_ROWS = internal("rows")


@dataclass(frozen=True)
class Column:
    """A column that a join takes from the right: as it is, or aggregated to one value per key."""

    source: str
    aggregation: str | None = None


class RightSide:
    """What a join takes from its right table.

    Args:
        table: the name of the table.
        on: its key.
        taken: the columns to make of it.
        schema: the dtypes of the columns that these need.
        where: the join, for messages.
        fans_out: whether what is taken as it is may be several values of a key, which are then a list.

    Raises:
        InputError: an aggregation has no meaning for the dtype of its column.
    """

    def __init__(
        self,
        table: str,
        on: Sequence[str],
        taken: Mapping[str, Column],
        schema: Mapping[str, pl.DataType],
        where: str,
        fans_out: bool = False,
    ) -> None:
        self.fans_out = fans_out
        self.table, self.on, self.taken, self.schema, self.where = table, on, taken, schema, where
        self._kinds = {name: _IN_ORDER for name, to in taken.items() if self._is_ordered_text(to)}
        self.keys = key_columns(len(on))
        self._plain = {name: to.source for name, to in taken.items() if to.aggregation is None}
        for to in taken.values():
            self._check(to)

    @cached_property
    def no_states(self) -> pl.DataFrame:
        """The columns of states, without rows."""
        return self.states(pl.DataFrame(schema=self.schema))

    def states(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The state of every row that has a key.

        Raises:
            InputError: the minimum or maximum is wanted of text that is not in the order of its meaning.
        """
        for name in self._kinds:
            self._check_order(name, frame[self.taken[name].source])
        made = [
            self._state(to, state).alias(_state_name(state, name))
            for name, to in self.taken.items()
            for state in _states(to)
        ]
        keys = as_keys(frame, self.on, self._what).with_columns(pl.lit(1, pl.Int64).alias(_ROWS))
        return keys.hstack(frame.select(made)).drop_nulls(self.keys)

    def gathered(self, states: Iterator[pl.DataFrame], cells: float) -> tuple[pl.DataFrame, bool]:
        """The states reduced, and whether these are all; when they exceed some number of cells, it stops."""
        held, pending, waiting = self.no_states, [], 0
        for frame in states:
            pending.append(frame)
            waiting += frame.height * frame.width
            if waiting > max(held.height * held.width, cells / 4):
                held, pending, waiting = self.reduced([held, *pending]), [], 0
                if held.height * held.width > cells:
                    return held, False
        held = self.reduced([held, *pending]) if pending else held
        return held, held.height * held.width <= cells

    def reduced(self, states: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """States in the order of their rows, one for each key and the values that are taken as they are."""
        together = pl.concat(states)
        plain = [_state_name("plain", name) for name in self._plain]
        others = {
            _state_name(state, name): _REDUCE[state]
            for name, to in self.taken.items()
            for state in _states(to)
            if state != "plain"
        }
        aggregated = [reduce(pl.col(name)) for name, reduce in others.items()]
        # NOTE: without maintain_order, sums of floats depend on the threads.
        groups = together.group_by([*self.keys, *plain], maintain_order=True)
        return groups.agg(*aggregated, pl.col(_ROWS).sum()).select(together.columns)

    def finished(self, states: pl.DataFrame) -> pl.DataFrame:
        """Reduced states as one row per key: the key, `MATCHED`, and the columns that are taken.

        Raises:
            InputError: a key has several rows that differ, or a sum does not fit 64 bits.
        """
        if self.fans_out:
            states = states.group_by(self.keys, maintain_order=True).agg(pl.all())
        elif self._plain and (several := states.select(self.keys).is_duplicated()).any():
            raise InputError(self._ambiguous(states.filter(several)))
        made = [self._final(name, to, states) for name, to in self.taken.items()]
        return states.select(self.keys).with_columns(pl.lit(True).alias(MATCHED), *made)

    @property
    def _what(self) -> str:
        return f"{self.where}: the table {self.table}"

    def _is_ordered_text(self, to: Column) -> bool:
        return to.aggregation in ("min", "max") and is_text(self.schema[to.source])

    def _check(self, to: Column) -> None:
        dtype = self.schema[to.source]
        is_number = dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)
        fits = {
            **dict.fromkeys(("sum", TOTAL), is_number or dtype == pl.Duration),
            "mean": is_number,
            **dict.fromkeys(("min", "max"), is_number or dtype.is_temporal() or is_text(dtype)),
        }
        if to.aggregation and not fits.get(to.aggregation, True):
            raise InputError(
                f"{self._what}: there is no {to.aggregation} of the column {to.source!r}, which is {dtype}. Take "
                "first, last or count, or, if these are numbers, give their dtype or null_values in the table's block."
            )

    def _check_order(self, name: str, texts: pl.Series) -> None:
        """NOTE: as text, 9 comes after 10, and 02.01.2020 after 01.02.2020: a wrong result that nobody would see."""
        present = texts.cast(pl.String).drop_nulls()
        before = self._kinds[name]
        self._kinds[name] = [kind for kind in before if present.str.contains(kind).all()]
        if not self._kinds[name]:
            wrong = present.filter(~present.str.contains(before[0]))[0]
            to = self.taken[name]
            raise InputError(
                f"{self._what}: the {to.aggregation} of the column {to.source!r} is not that of text: {wrong!r} does "
                "not sort with the others as what it stands for. Write times as 2020-01-31 12:00:00 throughout, give "
                "numbers a dtype in the table's block, or take first or last."
            )

    def _state(self, to: Column, state: str) -> pl.Expr:
        values, dtype = column(to.source), self.schema[to.source]
        if state == "n":
            return values.is_not_null().cast(pl.Int64)
        if state == "sum":
            return values if dtype == pl.Duration else values.cast(_wide(dtype, to.aggregation))
        return values.cast(pl.String) if is_text(dtype) else values

    def _final(self, name: str, to: Column, states: pl.DataFrame) -> pl.Series:
        state, *others = _states(to)
        if not others:
            return states[_state_name(state, name)].alias(name)
        total, n = pl.col(_state_name(state, name)), pl.col(_state_name("n", name))
        value = total.cast(pl.Float64) / n if to.aggregation == "mean" else total
        has_some = pl.lit(True) if to.aggregation == TOTAL else n > 0
        values = states.select(pl.when(has_some).then(value).alias(name)).to_series()
        return self._narrow(values, to) if values.dtype.is_integer() else values

    def _narrow(self, sums: pl.Series, to: Column) -> pl.Series:
        narrow = sums.cast(pl.Int64, strict=False)
        if (lost := narrow.is_null() & sums.is_not_null()).any():
            raise InputError(
                f"{self._what}: a sum of the column {to.source!r} is {sums.filter(lost)[0]}, which does not fit 64 "
                "bits. Give the column the dtype of a float, or take its mean."
            )
        return narrow

    def _ambiguous(self, several: pl.DataFrame) -> str:
        key = several.select(self.keys).sort(self.keys).row(0)
        same = several.filter(pl.all_horizontal(pl.col(k) == v for k, v in zip(self.keys, key, strict=True)))
        named = " and ".join(f"{name} {value!r}" for name, value in zip(self.on, key, strict=True))
        name, source = next(iter(self._plain.items()))
        return (
            f"{self._what} has {same[_ROWS].sum()} rows with {named}, and they differ in "
            f"{listed(self._plain.values())}: a row would get several. Make one value of them, as in "
            f"columns: {{{name}: {{last: {source}}}}} ({', '.join(AGGREGATIONS)}), or join on more columns."
        )


def _state_name(state: str, name: str) -> str:
    return internal(f"{state} {name}")


def _states(to: Column) -> tuple[str, ...]:
    return ("plain",) if to.aggregation is None else _STATES[to.aggregation]


def _wide(dtype: pl.DataType, aggregation: str | None) -> pl.DataType:
    """A dtype for sums that do not overflow."""
    if dtype.is_decimal() and aggregation in ("sum", TOTAL):
        return dtype
    return pl.Float64() if dtype.is_float() or dtype.is_decimal() else pl.Int128()
