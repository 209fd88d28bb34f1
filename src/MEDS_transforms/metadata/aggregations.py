"""Reads and checks `aggregations`: the figures that a stage computes for every code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ..dataset.schema import CODE_N_SUBJECTS, NUMERIC_VALUE, VALUES_N_SUBJECTS, VALUES_QUANTILES
from ..errors import InputError, Problems, listed, nearest
from ..settings.keys import flag
from ..settings.plain import plain
from .statistics import STATISTICS

KNOWN = [*STATISTICS, VALUES_QUANTILES]

_EXAMPLE = f"{{name: {VALUES_QUANTILES}, quantiles: [0.25, 0.5, 0.75]}}"


@dataclass(frozen=True)
class Aggregations:
    """The figures to compute, in the order of the result, and whether also over all codes together."""

    names: tuple[str, ...]
    quantiles: tuple[float, ...] = ()
    over_all_codes: bool = False

    @property
    def statistics(self) -> list[str]:
        """The names without `values/quantiles`."""
        return [name for name in self.names if name in STATISTICS]

    @property
    def parts(self) -> dict[str, pl.Expr]:
        """The columns of a shard's part, without quantiles."""
        return {column: part for name in self.statistics for column, part in STATISTICS[name].parts.items()}

    def columns_with(self, key: Sequence[str]) -> list[str]:
        """The columns of the data that are needed, the key first."""
        of_quantiles = [NUMERIC_VALUE] if self.quantiles else []
        of_parts = (column for part in self.parts.values() for column in part.meta.root_names())
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
    entries = stage_cfg.get("aggregations")
    entries = plain(entries)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{where} must be a list of at least one of {listed(KNOWN)}, not {entries!r}.")
    problems = Problems(f"{where} is not valid")
    names: list[str] = []
    quantiles: tuple[float, ...] = ()
    for entry in entries:
        name, settings = _name_and_settings(entry)
        if name not in KNOWN:
            hint = nearest(name, KNOWN) if isinstance(name, str) else ""
            problems.add(f"{entry!r} is unknown{hint}; known are: {listed(KNOWN)}")
        elif name in names:
            problems.add(f"{name} is given twice")
        elif name == VALUES_QUANTILES:
            quantiles = _read_quantiles(entry, settings, problems)
        elif settings:
            problems.add(f"{entry!r}: {name} has no settings; write only its name")
        names.append(name)
    problems.raise_if_any()
    return Aggregations(tuple(names), quantiles, flag(stage_cfg, "do_summarize_over_all_codes"))


def _name_and_settings(entry: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(entry, dict):
        return entry, {}
    return entry.get("name"), {key: value for key, value in entry.items() if key != "name"}


def _read_quantiles(entry: Any, settings: Mapping[str, Any], problems: Problems) -> tuple[float, ...]:
    quantiles = settings.get("quantiles")
    if set(settings) != {"quantiles"} or not isinstance(quantiles, list) or not quantiles:
        problems.add(f"{entry!r} must have a list of quantiles and nothing else: {_EXAMPLE}")
        return ()
    for q in quantiles:
        if isinstance(q, bool) or not isinstance(q, int | float) or not 0 <= q <= 1:
            problems.add(f"{VALUES_QUANTILES}: a quantile is a number from 0 to 1, not {q!r}")
    if len({*map(str, quantiles)}) < len(quantiles):
        problems.add(f"{VALUES_QUANTILES}: {quantiles} repeats a quantile")
    return tuple(quantiles)
