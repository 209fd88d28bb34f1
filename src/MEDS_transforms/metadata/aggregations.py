"""Reads and checks `aggregations`: the figures that a stage computes for every code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ..dataset.schema import (
    CODE_N_SUBJECTS,
    NUMERIC_VALUE,
    TEXT_MOST_FREQUENT,
    TEXT_N_DISTINCT,
    TEXT_N_OCCURRENCES,
    TEXT_VALUE,
    VALUES_MEDIAN,
    VALUES_N_SUBJECTS,
    VALUES_QUANTILE,
    VALUES_QUANTILES,
)
from ..errors import InputError, Problems, listed, nearest
from ..settings.keys import flag, is_flag
from ..settings.plain import plain
from .statistics import STATISTICS
from .texts import TEXT

KNOWN = [*STATISTICS, TEXT_N_DISTINCT, TEXT_MOST_FREQUENT, VALUES_MEDIAN, VALUES_QUANTILES]

_SETTINGS = {
    VALUES_QUANTILES: ("quantiles", "as_columns"),
    TEXT_N_OCCURRENCES: ("column",),
    TEXT_N_DISTINCT: ("column",),
    TEXT_MOST_FREQUENT: ("n", "column"),
}
"""The names that have settings, and these."""
_N_MOST_FREQUENT = 10
_EXAMPLE = f"{{name: {VALUES_QUANTILES}, quantiles: [0.25, 0.5, 0.75]}}"

Entries = Mapping[str, Mapping[str, Any]]
"""Names with their settings."""


@dataclass(frozen=True)
class Aggregations:
    """The figures to compute, in the order of the result, and whether also over all codes together."""

    names: tuple[str, ...]
    quantiles: tuple[float, ...] = ()
    over_all_codes: bool = False
    as_columns: bool = False
    """Whether each quantile has a column of its own."""
    text_column: str = TEXT_VALUE
    """The column of the data that has the texts."""
    n_most_frequent: int = _N_MOST_FREQUENT

    @property
    def statistics(self) -> list[str]:
        """The names of what a few figures of each shard suffice for."""
        return [name for name in self.names if name in STATISTICS]

    @property
    def parts(self) -> dict[str, pl.Expr]:
        """The columns of a shard's part that have such figures."""
        return {column: part for name in self.statistics for column, part in STATISTICS[name].parts.items()}

    @property
    def part_columns(self) -> list[str]:
        """All columns of a shard's part, without the key."""
        of_quantiles = [VALUES_QUANTILES] if self.quantile_columns else []
        return [*self.parts, *of_quantiles, *([TEXT_MOST_FREQUENT] if self.keeps_texts else [])]

    @property
    def columns(self) -> list[str]:
        """The columns of the result, without the key."""
        quantiles = self._quantile_columns if self.as_columns else [VALUES_QUANTILES]
        return [column for name in self.names for column in (quantiles if name == VALUES_QUANTILES else [name])]

    @property
    def quantile_columns(self) -> dict[str, float]:
        """The quantiles to compute, the median among them, by what the column of each is called."""
        return dict.fromkeys({VALUES_MEDIAN} & {*self.names}, 0.5) | self._quantile_columns

    @property
    def _quantile_columns(self) -> dict[str, float]:
        return {f"{VALUES_QUANTILE}{quantile}": quantile for quantile in self.quantiles}

    def with_quantiles_together(self, quantiles: pl.DataFrame) -> pl.DataFrame:
        """The table with the struct `values/quantiles` in place of the columns of those, unless they stay."""
        if self.as_columns or not self.quantiles:
            return quantiles
        fields = [*self._quantile_columns]
        return quantiles.with_columns(pl.struct(fields).alias(VALUES_QUANTILES)).drop(fields)

    @property
    def keeps_texts(self) -> bool:
        """Whether parts have the texts of codes."""
        return not {TEXT_N_DISTINCT, TEXT_MOST_FREQUENT}.isdisjoint(self.names)

    @property
    def looks_at_texts(self) -> bool:
        """Whether the column with the texts is needed."""
        return self.keeps_texts or TEXT_N_OCCURRENCES in self.names

    def columns_with(self, key: Sequence[str]) -> list[str]:
        """The columns of the data that are needed beside the texts, the key first."""
        of_quantiles = [NUMERIC_VALUE] if self.quantile_columns else []
        of_parts = (column for part in self.parts.values() for column in part.meta.root_names() if column != TEXT)
        return list(dict.fromkeys([*key, *of_quantiles, *of_parts]))

    def only_subject_counts(self) -> "Aggregations":
        """Only the numbers of subjects."""
        return replace(
            self, names=tuple(n for n in self.names if n in (CODE_N_SUBJECTS, VALUES_N_SUBJECTS)), quantiles=()
        )


def read_aggregations(stage_cfg: Mapping[str, Any], stage: str | None = None) -> Aggregations:
    """The `aggregations` of a stage's block.

    Raises:
        ValueError: they are not a list with at least one entry, an entry is unknown or malformed, or a name occurs
            twice. The message lists all problems.
    """
    where = f"stage_configs.{stage or '<stage>'}.aggregations"
    entries = plain(stage_cfg.get("aggregations"))
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{where} must be a list of at least one of {listed(KNOWN)}, not {entries!r}.")
    problems = Problems(f"{where} is not valid")
    given = _read_entries(entries, problems)
    quantiles = _read_quantiles(given, problems)
    as_columns = _read_as_columns(given, problems)
    text_column = _read_text_column(given, problems)
    n_most_frequent = _read_n_most_frequent(given, problems)
    problems.raise_if_any()
    over_all_codes = flag(stage_cfg, "do_summarize_over_all_codes")
    return Aggregations(tuple(given), quantiles, over_all_codes, as_columns, text_column, n_most_frequent)


def _read_entries(entries: Sequence[Any], problems: Problems) -> Entries:
    given: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name, settings = _name_and_settings(entry)
        if name not in KNOWN:
            hint = nearest(name, KNOWN) if isinstance(name, str) else ""
            problems.add(f"{entry!r} is unknown{hint}; known are: {listed(KNOWN)}")
            continue
        if name in given:
            problems.add(f"{name} is given twice")
        known = _SETTINGS.get(name, ())
        if settings and not known:
            problems.add(f"{entry!r}: {name} has no settings; write only its name")
        elif unknown := [key for key in settings if key not in known]:
            hint = nearest(str(unknown[0]), known)
            problems.add(f"{entry!r}: {name} has no setting {unknown[0]!r}{hint}; it has {listed(known)}")
        given[name] = settings
    return given


def _name_and_settings(entry: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(entry, dict):
        return entry, {}
    return entry.get("name"), {key: value for key, value in entry.items() if key != "name"}


def _read_quantiles(given: Entries, problems: Problems) -> tuple[float, ...]:
    if VALUES_QUANTILES not in given:
        return ()
    quantiles = given[VALUES_QUANTILES].get("quantiles")
    if not isinstance(quantiles, list) or not quantiles:
        problems.add(f"{VALUES_QUANTILES} must have a list of quantiles: {_EXAMPLE}")
        return ()
    for q in quantiles:
        if isinstance(q, bool) or not isinstance(q, int | float) or not 0 <= q <= 1:
            problems.add(f"{VALUES_QUANTILES}: a quantile is a number from 0 to 1, not {q!r}")
    if len({*map(str, quantiles)}) < len(quantiles):
        problems.add(f"{VALUES_QUANTILES}: {quantiles} repeats a quantile")
    return tuple(quantiles)


def _read_as_columns(given: Entries, problems: Problems) -> bool:
    settings = given.get(VALUES_QUANTILES, {})
    if not is_flag(settings.get("as_columns")):
        problems.add(f"{VALUES_QUANTILES}: as_columns is true or false, not {settings['as_columns']!r}")
        return False
    return flag(settings, "as_columns")


def _read_text_column(given: Entries, problems: Problems) -> str:
    of_texts = {name: s.get("column", TEXT_VALUE) for name, s in given.items() if "column" in _SETTINGS.get(name, ())}
    found = list(of_texts.values())
    if wrong := [column for column in found if not isinstance(column, str)]:
        problems.add(f"{listed(of_texts)}: column is the name of a column, not {wrong[0]!r}")
    elif len({*found}) > 1:
        problems.add(f"{listed(of_texts)}: they look at several columns ({listed({*found})}); give each the same")
    return found[0] if found else TEXT_VALUE


def _read_n_most_frequent(given: Entries, problems: Problems) -> int:
    n = given.get(TEXT_MOST_FREQUENT, {}).get("n", _N_MOST_FREQUENT)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        problems.add(f"{TEXT_MOST_FREQUENT}: n is a whole number of at least 1, not {n!r}")
        return _N_MOST_FREQUENT
    return n
