"""Datasets to make reports on."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers import Extraction, Preprocessing, measurements

BEGIN = datetime(2012, 1, 1)


def random_rows(subjects: range, n: int, seed: int = 0) -> pl.DataFrame:
    """Measurements of subjects, sorted: births of most of them, static rows, codes with and without values."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[object, ...]] = []
    for subject in subjects:
        if subject % 5:
            rows.append((subject, BEGIN - timedelta(days=float(rng.uniform(0, 30000))), "MEDS_BIRTH", None))
        rows.append((subject, None, f"SEX//{'MF'[subject % 2]}", None))
    for _ in range(n):
        code = f"LAB//{int(rng.zipf(1.6)) % 40}"
        odd = rng.choice([None, float("nan"), float("inf")])
        value = float(np.round(rng.normal(50, 12), 1)) if rng.random() < 0.8 else odd
        when = BEGIN + timedelta(hours=int(rng.integers(0, 24 * 700)))
        rows.append((int(rng.choice(subjects)), when, code, value))
    return measurements(*rows).sort("subject_id", "time", nulls_last=False, maintain_order=True)


@pytest.fixture
def cohort(tmp_path: Path) -> Preprocessing:
    """See `make_cohort`."""
    return make_cohort(tmp_path)


@pytest.fixture
def extraction(tmp_path: Path) -> Extraction:
    """See `make_extraction`."""
    return make_extraction(tmp_path / "extraction")


def make_cohort(folder: Path) -> Preprocessing:
    """A dataset with three splits, code metadata and `dataset.json`."""
    made = Preprocessing(folder)
    shards = {
        "train/0": random_rows(range(1, 20), 900, 1),
        "train/1": random_rows(range(20, 31), 700, 2),
        "tuning/0": random_rows(range(31, 36), 60, 3),
        "held_out/0": random_rows(range(36, 41), 70, 4),
    }
    splits = {"train": [*range(1, 31)], "tuning": [*range(31, 36)], "held_out": [*range(36, 41)]}
    codes = pl.DataFrame(
        {"code": ["LAB//1", "LAB//2"], "description": ["Sodium <in serum>", None], "unit": ["mmol/L", None]}
    )
    made.write(shards, codes, splits)
    said = {"dataset_name": "Made up", "dataset_version": "1.0"}
    (made.dataset / "metadata" / "dataset.json").write_text(json.dumps(said))
    return made


def make_extraction(folder: Path) -> Extraction:
    """A small extraction, whose events lose some rows."""
    made = Extraction(folder)
    made.table(
        "labs.csv",
        "patient,taken,test,value\n1,2020-01-01,CRP,12\n1,2020-01-02,CRP,<5\n2,2020-01-02 08:30,CRP,7\n2,,CRP,8\n"
        "3,2020-01-05,HB,7.9\n3,2020-01-05,HB,7.9\n,2020-01-06,HB,8.1\n",
    )
    made.events(
        {
            "subject_id_col": "patient",
            "labs": {
                "lab": {
                    "code": ["LAB", "col(test)"],
                    "time": "col(taken)",
                    "time_format": "%Y-%m-%d",
                    "numeric_value": "value",
                }
            },
        }
    )
    return made
