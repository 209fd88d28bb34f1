"""The block `timeline_tokens`: tokens for the start, the end, and the time between events of each subject."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import polars as pl

from ...dataset.measurements import Ints
from ...dataset.schema import SUBJECT_ID, TIME
from ...errors import InputError
from ..block_settings import check_code, code_with
from ..new_rows import Block, NewRows
from ..time_units import UNITS, in_unit, microseconds, unit_name

_DELTA = "TIMELINE//DELTA//{time_unit}"
_BINNED_DELTA = "TIMELINE//DELTA//{bin}"


def timeline_tokens(
    time_unit: str | None = None,
    time_delta_code: str | None = _DELTA,
    timeline_start_code: str | None = "TIMELINE//START",
    timeline_end_code: str | None = "TIMELINE//END",
    bins: Any = None,
) -> Block:
    """Rows before a subject's first event, after the last row of its last one, and before each of the others.

    The latter have the time since the event before, in `time_unit`. A code that is None has no rows.

    Raises:
        ValueError: the unit is unknown, or missing though it is needed; a code is not text; the bins are not edges.
    """
    for key, code in (("timeline_start_code", timeline_start_code), ("timeline_end_code", timeline_end_code)):
        if code is not None:
            check_code(key, code)
    deltas = None if time_delta_code is None else _deltas(time_unit, time_delta_code, bins)

    def block(rows: pl.DataFrame, events: Ints) -> list[NewRows]:
        subjects = rows[SUBJECT_ID].to_numpy()
        is_first = np.ones(len(events), dtype=bool)
        is_first[1:] = subjects[events[1:]] != subjects[events[:-1]]
        new = [] if timeline_start_code is None else [NewRows.of_one_code(timeline_start_code, events[is_first])]
        if deltas is not None:
            at = events[~is_first]
            before = events[np.flatnonzero(~is_first) - 1]
            new.append(deltas(at, microseconds(rows[TIME].gather(at)) - microseconds(rows[TIME].gather(before))))
        if timeline_end_code is not None:
            is_last = np.ones(rows.height, dtype=bool)
            is_last[:-1] = subjects[1:] != subjects[:-1]
            ends = np.flatnonzero(is_last & rows[TIME].is_not_null().to_numpy())
            new.append(NewRows.of_one_code(timeline_end_code, ends, after=True))
        return new

    return block


def _deltas(time_unit: str | None, code: str, bins: Any) -> Callable[[Ints, Ints], NewRows]:
    """A function that makes the rows of time between events, given their positions and microseconds."""
    if time_unit is None:
        raise InputError("time_unit is missing: the unit of the time between events; or set time_delta_code: null")
    unit = unit_name(time_unit, "time_unit")
    seconds, _ = UNITS[unit]
    if bins is None:
        full_code = code_with("time_delta_code", code, time_unit=unit)
        return lambda at, spans: NewRows.of_one_code(full_code, at, in_unit(spans, seconds))
    template = _BINNED_DELTA if code == _DELTA else code
    if "{bin}" not in str(template):
        raise InputError(f"time_delta_code: {code!r} has no {{bin}}, so that all bins would have the same code")
    edges = read_edges(bins)
    codes = [code_with("time_delta_code", template, time_unit=unit, bin=interval) for interval in intervals(edges)]
    cuts = np.array([*edges.values()]) * (seconds * 1e6)

    def binned(at: Ints, spans: Ints) -> NewRows:
        return NewRows(at, pl.Series(codes), np.searchsorted(cuts, spans, side="right"), in_unit(spans, seconds))

    return binned


def read_edges(bins: Any) -> dict[str, float]:
    """The edges of bins by their names; those of a list are called as they are written.

    Raises:
        ValueError: they are not numbers above 0 in ascending order, or there are none.

    >>> read_edges([0.5, 6]), read_edges({"5m": 5, "1h": 60})
    ({'0.5': 0.5, '6': 6}, {'5m': 5, '1h': 60})
    """
    named = [*bins.items()] if isinstance(bins, Mapping) else [(e, e) for e in bins] if isinstance(bins, list) else []
    edges = [edge for _, edge in named]
    if not edges or not all(map(_is_edge, edges)) or edges != sorted(set(edges)):
        raise InputError(
            "bins must be a list of one or more numbers above 0, ascending and unique, or a mapping from names to such "
            f"numbers, not {bins}"
        )
    return {str(name): edge for name, edge in named}


def _is_edge(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def intervals(edges: Mapping[str, float]) -> list[str]:
    """The intervals between 0, the edges and infinity, in words.

    >>> intervals({"5m": 5, "1h": 60})
    ['[0,5m)', '[5m,1h)', '[1h,inf)']
    """
    return [f"[{start},{end})" for start, end in pairwise(["0", *edges, "inf"])]
