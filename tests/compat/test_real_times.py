"""What stages derive from the times of a real dataset must be what SQL says.

The dataset is no part of the project: MIMIC-IV's demo, extracted, below the folder of `test_real_preprocessing.py`.
"""

import os
from pathlib import Path

import duckdb
import polars as pl
import pytest

from MEDS_transforms.transforms.add_record_bounds import add_record_bounds
from MEDS_transforms.transforms.add_time_derived_measurements import add_time_derived_measurements

SHARED_DATA = Path(os.environ.get("MEDS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
DATA = SHARED_DATA / "mimic-iv-demo" / "expected" / "extraction" / "data"
KEY = ["subject_id", "time", "code", "numeric_value"]

EVENTS = "SELECT DISTINCT subject_id, time FROM data WHERE time IS NOT NULL"
HOURS = "CAST(date_diff('microsecond', {}, time) / 3600e6 AS FLOAT)"
ADMITTED, DISCHARGED = "^HOSPITAL_ADMISSION", "^HOSPITAL_DISCHARGE"
NULL = "CAST(NULL AS FLOAT)"

BLOCKS = {
    "age": (
        {"DOB_regex": "^MEDS_BIRTH", "age_code": "AGE", "age_unit": "hours"},
        f"""SELECT subject_id, time, 'AGE', {HOURS.format("birth")} FROM ({EVENTS}) JOIN
        (SELECT subject_id, min(time) AS birth FROM data WHERE code LIKE 'MEDS_BIRTH%' GROUP BY 1) USING (subject_id)
        WHERE time > birth""",
    ),
    "time_since": (
        {"ADM": {"matcher": {"code": {"regex": ADMITTED}}, "until": {"code": {"regex": DISCHARGED}}}},
        f"""SELECT subject_id, time, 'TIME_SINCE//ADM//hours', {HOURS.format("began")} FROM
        (SELECT e.subject_id, e.time, max(a.time) AS began FROM ({EVENTS}) e JOIN data a
            ON a.subject_id = e.subject_id AND a.time < e.time AND regexp_matches(a.code, '{ADMITTED}') GROUP BY ALL) s
        WHERE NOT EXISTS (SELECT 1 FROM data d WHERE d.subject_id = s.subject_id AND d.time > began AND d.time < s.time
            AND regexp_matches(d.code, '{DISCHARGED}'))""",
    ),
    "season": (
        {},
        f"""SELECT subject_id, time, 'SEASON//' || CASE WHEN month(time) IN (12, 1, 2) THEN 'WINTER'
        WHEN month(time) < 6 THEN 'SPRING' WHEN month(time) < 9 THEN 'SUMMER' ELSE 'AUTUMN' END, {NULL}
        FROM ({EVENTS})""",
    ),
    "month": ({}, f"SELECT subject_id, time, strftime(time, 'MONTH//%m'), {NULL} FROM ({EVENTS})"),
    "weekday": ({}, f"SELECT subject_id, time, upper(strftime(time, 'WEEKDAY//%a')), {NULL} FROM ({EVENTS})"),
    "timeline_tokens": (
        {"time_unit": "h", "bins": [1, 24]},
        f"""WITH e AS (SELECT *, lag(time) OVER (PARTITION BY subject_id ORDER BY time) AS b FROM ({EVENTS}))
        SELECT subject_id, time, CASE WHEN time - b < INTERVAL 1 HOUR THEN 'TIMELINE//DELTA//[0,1)'
        WHEN time - b < INTERVAL 24 HOUR THEN 'TIMELINE//DELTA//[1,24)' ELSE 'TIMELINE//DELTA//[24,inf)' END,
        {HOURS.format("b")} FROM e WHERE b IS NOT NULL
        UNION ALL SELECT subject_id, min(time), 'TIMELINE//START', {NULL} FROM e GROUP BY 1
        UNION ALL SELECT subject_id, max(time), 'TIMELINE//END', {NULL} FROM e GROUP BY 1""",
    ),
}
BOUNDS = f"""SELECT subject_id, coalesce(max(time) FILTER (regexp_matches(code, '{DISCHARGED}')), max(time))
    + INTERVAL 36 HOUR, 'E', {NULL} FROM data WHERE time IS NOT NULL GROUP BY 1
    UNION ALL SELECT subject_id, min(time) - INTERVAL 1 DAY, 'S', {NULL} FROM data
    WHERE regexp_matches(code, '{ADMITTED}') GROUP BY 1"""


@pytest.fixture(scope="module")
def shards() -> list[pl.DataFrame]:
    if not DATA.is_dir():
        pytest.skip(f"no dataset in {DATA}; name the folder of datasets in the environment variable MEDS_SHARED_DATA")
    return [pl.read_parquet(path, glob=False).select(KEY) for path in sorted(DATA.rglob("*.parquet"))]


def by_sql(shards: list[pl.DataFrame], query: str) -> list[tuple]:
    with duckdb.connect() as connection:
        connection.register("data", pl.concat(shards).to_arrow())
        return sorted(connection.execute(query).fetchall(), key=str)


def added(shards: list[pl.DataFrame], make) -> list[tuple]:
    """The new rows; the old ones must be there, in order."""
    found = []
    for shard in shards:
        made = make(shard.with_columns(is_old=pl.lit(True)))
        assert made.filter(pl.col("is_old")).drop("is_old").equals(shard)
        assert made.equals(made.sort("subject_id", "time", nulls_last=False, maintain_order=True))
        found += made.filter(pl.col("is_old").is_null()).select(KEY).rows()
    return sorted(found, key=str)


@pytest.mark.parametrize("name", BLOCKS)
def test_rows_of_every_block(shards, name):
    block, query = BLOCKS[name]
    got = added(shards, add_time_derived_measurements({name: block}))
    assert len(got) > 5000
    assert got == by_sql(shards, query)


def test_bounds_of_records(shards):
    at = {name: {"code": {"regex": pattern}} for name, pattern in (("start", ADMITTED), ("end", DISCHARGED))}
    start = {"code": "S", "at": at["start"], "offset": -1, "otherwise": "skip"}
    end = {"code": "E", "at": at["end"], "offset": 36, "offset_unit": "h"}
    got = added(shards, add_record_bounds({"start": start, "end": end}))
    assert len(got) == 200
    assert got == by_sql(shards, BOUNDS)
