"""Cohorts of tensors, and what must be read from them, in plain Python.

Only packages that every reader of tensors has are imported, since the tests with PyTorch run in another environment.
"""

import math
import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from MEDS_transforms.transforms.tensorization import tensorize, write_tensors
from MEDS_transforms.transforms.tokenization import tokenize

TYPES = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.UInt16, "numeric_value": pl.Float32}
DAY = datetime(2020, 1, 1)


class Event(NamedTuple):
    """What happened to a subject at one time; values are None where there is none."""

    time: datetime
    measurements: list[tuple[int, float | None]]


class History(NamedTuple):
    """A subject, by rows of normalized measurements."""

    static: list[tuple[int, float | None]]
    events: list[Event]


def rows(*measurements: tuple[Any, ...]) -> pl.DataFrame:
    """Normalized measurements, from subject, day (None: static), code and value."""
    timed = [(i, None if day is None else DAY + timedelta(days=day), *rest) for i, day, *rest in measurements]
    return pl.DataFrame(timed, schema=TYPES, orient="row")


def random_rows(seed: int, subjects: Iterable[int]) -> pl.DataFrame:
    """Rows of some subjects, of which some have no event, and some no static measurement."""
    chance = random.Random(seed)
    made: list[tuple[Any, ...]] = []
    for subject in subjects:
        n_static, n_events = chance.choice([0, 1, 3]), chance.choice([0, 1, 2, 5, 40])
        made += [(subject, None, chance.randint(1, 9), None) for _ in range(n_static or not n_events)]
        days = sorted(chance.sample(range(4000), n_events))
        for day in days:
            values = [chance.choice([None, chance.gauss(0, 1)]) for _ in range(chance.choice([1, 2, 7]))]
            made += [(subject, day / 7, chance.randint(1, 500), value) for value in values]
    return rows(*made)


def write_cohort(folder: Path, shards: Mapping[str, pl.DataFrame]) -> Path:
    """Writes what tokenization and tensorization make of shards, in the folders of a cohort."""
    for name, df in shards.items():
        schemas, sequences = tokenize(df)
        path = folder / "tokenization" / "schemas" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        schemas.write_parquet(path)
        write_tensors(tensorize(sequences), folder / "data" / f"{name}.nrt")
    return folder


def histories(*frames: pl.DataFrame) -> dict[int, History]:
    """The subjects of shards that have events, in order, row by row in plain Python."""
    found: dict[int, History] = {}
    for subject, time, code, value in (row for df in frames for row in df.select(*TYPES).iter_rows()):
        history = found.setdefault(subject, History([], []))
        value = value if value is not None and math.isfinite(value) else None
        if time is None:
            history.static.append((code, value))
            continue
        if not history.events or history.events[-1].time != time:
            history.events.append(Event(time, []))
        history.events[-1].measurements.append((code, value))
    return {subject: history for subject, history in found.items() if history.events}


def deltas(history: History) -> list[float | None]:
    """The days between the events of a subject, as 32-bit floats; None for the first."""
    times = [event.time for event in history.events]
    between = [(b - a) / timedelta(days=1) for a, b in pairwise(times)]
    return [None, *(float(np.float32(days)) for days in between)]


def plain(values: Iterable[float]) -> list[float | None]:
    """Numbers with None for NaN, so that they can be compared."""
    return [None if math.isnan(value) else float(value) for value in values]


def pairs(codes: Iterable[int], values: Iterable[float]) -> list[tuple[int, float | None]]:
    """Measurements as the histories have them."""
    return list(zip((int(code) for code in codes), plain(values), strict=True))
