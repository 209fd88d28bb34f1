"""What is set for codes, applied to real data, is what SQL and plain Python make of it.

The dataset is no part of the project. It is looked for as by test_real_preprocessing.
"""

import os
from bisect import bisect_right
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers import Preprocessing

duckdb = pytest.importorskip("duckdb")

SHARED_DATA = Path(os.environ.get("MEDS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
DEMO = SHARED_DATA / "mimic-iv-demo" / "expected" / "extraction"

pytestmark = pytest.mark.skipif(not DEMO.is_dir(), reason=f"no {DEMO}; name the folder of data in MEDS_SHARED_DATA")


@pytest.fixture
def data(tmp_path) -> Preprocessing:
    (tmp_path / "dataset").symlink_to(DEMO)
    return Preprocessing(tmp_path)


def test_ranges(data):
    ranges = [
        {"code": "LAB//50912//mg/dL", "min": 0.4, "max": 1.2},
        {"code": {"regex": "^LAB//50(9|8)"}, "max": 140},
        {"code": {"regex": "^SUBJECT_FLUID_OUTPUT"}, "min": 1},
    ]
    got = pl.concat(data.run("enforce_value_ranges", ranges=ranges).values())
    of_rows = f"""
        select numeric_value as value, case
            when code = 'LAB//50912//mg/dL' then value between 0.4::float and 1.2::float
            when regexp_matches(code, '^LAB//50(9|8)') then value <= 140
            when starts_with(code, 'SUBJECT_FLUID_OUTPUT') then value >= 1 end as is_in
        from read_parquet('{DEMO}/data/*/*.parquet')"""
    [counts] = duckdb.sql(f"""
        select count(*), count(value) filter (is_in), count(value) filter (not is_in),
            sum(value) filter (is_in is distinct from false) from ({of_rows})""").fetchall()
    is_inlier = got["numeric_value/is_inlier"]
    assert counts[2] > 1000
    assert (got.height, is_inlier.sum(), (~is_inlier).sum()) == counts[:3]
    assert got["numeric_value"].cast(pl.Float64).sum() == pytest.approx(counts[3], rel=1e-12)


def test_bins(data):
    """Each row against a bisection in plain Python, with quartiles that duckdb has computed."""
    quartiles = duckdb.sql(f"""
        select code, quantile_disc(numeric_value, [0.25, 0.5, 0.75])::float[] as edges
        from read_parquet('{DEMO}/data/train/*.parquet') where numeric_value is not null group by code""").fetchall()
    edges = {code: [np.float32(edge).item() for edge in of_code] for code, of_code in quartiles}
    assert sum(len({*of_code}) < 3 for of_code in edges.values()) > 100, "some edges are equal"
    bins = data.folder / "bins.parquet"
    pl.DataFrame({"code": [*edges], "edges": [*edges.values()]}).write_parquet(bins)
    template = "{code}|{bin}|{left}|{right}"
    shards = data.run(
        "bin_numeric_values", bin_with_columns=[], custom_bins_filepath=str(bins), code_with_bin_name=template
    )
    n_binned = 0
    for name, got in shards.items():
        before = pl.read_parquet(DEMO / "data" / f"{name}.parquet")
        assert got.drop("code").equals(before.drop("code").select(got.drop("code").columns))
        for code, value, new in zip(before["code"], before["numeric_value"], got["code"], strict=True):
            if value is None or code not in edges:
                assert new == code
                continue
            n_binned += 1
            ends = [float("-inf"), *edges[code], float("inf")]
            at = bisect_right(edges[code], value)
            number, left, right = new.removeprefix(f"{code}|").split("|")
            assert (int(number), np.float32(left), np.float32(right)) == (at, ends[at], ends[at + 1])
    assert n_binned > 100_000
