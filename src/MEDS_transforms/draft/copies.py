"""Finds tables that are copies of others, saved in another way: with the same columns and rows."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import polars as pl

from ..errors import InputError
from .samples import KEY_BLOCK, KEY_ROWS, Sample

_FEWEST = 2
"""Tables with fewer rows may be alike by chance."""


def same_rows(samples: Iterable[Sample]) -> dict[str, str]:
    """Tables with the same columns and rows as another, by their names; the shortest name is the original's.

    Of two large tables that begin alike the rows are read, `KEY_ROWS` at most.
    """
    originals: dict[tuple[str, ...], list[Sample]] = {}
    copies = {}
    for sample in sorted(samples, key=lambda sample: (len(sample.name), sample.name)):
        if sample.rows.height < _FEWEST:
            continue
        others = originals.setdefault(tuple(sample.rows.columns), [])
        original = next((other for other in others if _are_alike(other, sample)), None)
        if original is None:
            others.append(sample)
        else:
            copies[sample.name] = original.name
    return copies


def _are_alike(one: Sample, other: Sample) -> bool:
    if one.whole != other.whole or not one.rows.head(one.first).equals(other.rows.head(other.first)):
        return False
    try:
        return one.whole or _go_on_alike(_rows(one), _rows(other))
    except InputError:  # further on than what was looked at; `check` and `run` tell of it
        return False


def _rows(sample: Sample) -> Iterator[pl.DataFrame]:
    """All rows, some at a time, but never none."""
    raw, schema = replace(sample.raw, block=KEY_BLOCK), sample.rows.schema
    return (frame for frame in raw.frames(schema) if frame.height)


def _go_on_alike(one: Iterator[pl.DataFrame], other: Iterator[pl.DataFrame]) -> bool:
    """Whether two tables have the same rows, `KEY_ROWS` at most, and end together, if that is before."""
    nothing, compared = pl.DataFrame(), 0
    left = right = nothing
    while compared < KEY_ROWS:
        left = left if left.height else next(one, nothing)
        right = right if right.height else next(other, nothing)
        height = min(left.height, right.height)
        if not height:
            return left.height == right.height
        if not left.head(height).equals(right.head(height)):
            return False
        left, right, compared = left[height:], right[height:], compared + height
    return True
