"""How many rows, subjects and codes there are in shards."""

import subprocess
import sys

import polars as pl
import pytest

from helpers import write_table
from MEDS_transforms.mapreduce.figures import count_codes, count_data

SHARD = pl.DataFrame({"subject_id": [1, 1, 2], "code": ["a", None, "b"]})


@pytest.mark.parametrize(
    ("shards", "figures"),
    [
        ([], {"files": 0, "rows": 0}),
        ([SHARD], {"files": 1, "rows": 3, "subjects": 2, "codes": 2}),
        ([SHARD, SHARD.head(1)], {"files": 2, "rows": 4, "subjects": 2, "codes": 2}),
        ([SHARD, SHARD.drop("code")], {"files": 2, "rows": 6, "subjects": 2}),
        ([SHARD, SHARD.with_columns(pl.col("code").cast(pl.Categorical))], {"files": 2, "rows": 6, "codes": 2}),
        (
            [
                pl.DataFrame({"subject_id": [1], "code": pl.Series([n], dtype=t)})
                for n, t in ((7, pl.UInt8), (300, pl.UInt16))
            ],
            {"files": 2, "rows": 2, "subjects": 1, "codes": 2},
        ),
        ([pl.DataFrame({"subject_id": [1, 2], "code": [[1], None]})], {"files": 1, "subjects": 2}),
        (
            [pl.DataFrame({"subject_id": [None, None, 3, None, 3, 1, 1, None, 3], "code": ["a"] * 9}), SHARD],
            {"files": 2, "rows": 12, "subjects": 3, "codes": 2},
        ),
        (
            [pl.DataFrame({"subject_id": [n // 100 % 7 for n in range(400_000)], "code": ["a"] * 400_000})],
            {"files": 1, "rows": 400_000, "subjects": 7, "codes": 1},
        ),
        ([SHARD.clear()], {"files": 1, "rows": 0, "subjects": 0, "codes": 0}),
        ([pl.DataFrame({"x": [1]})], {"files": 1, "rows": 1}),
    ],
)
def test_what_is_in_shards(tmp_path, shards, figures):
    paths = [write_table(tmp_path / f"{number}.parquet", shard) for number, shard in enumerate(shards)]
    got = count_data([*paths, tmp_path / "shards.json"])
    assert got | figures == got
    assert list(got) == [name for name in ("files", "rows", "subjects", "codes") if name in got]
    assert len(shards) > 1 or got == figures


def test_of_many_shards_values_count_once(tmp_path):
    """They are read a few at a time; null is among the values of each few."""
    shards = [pl.DataFrame({"subject_id": [n // 12, n], "code": [None, f"C{n % 13}"]}) for n in range(35)]
    paths = [write_table(tmp_path / f"{number}.parquet", shard) for number, shard in enumerate(shards)]
    assert count_data(paths) == {"files": 35, "rows": 70, "subjects": 35, "codes": 13}


PEAK_OF_COUNTING = """
import resource, sys
from pathlib import Path
from MEDS_transforms.mapreduce.figures import count_data
count_data([Path(sys.argv[1])] * int(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_shards(tmp_path):
    n = pl.int_range(1_000_000)
    path = write_table(tmp_path / "0.parquet", pl.select(subject_id=n // 100, code=pl.format("C{}", n * 7919 % 2000)))

    def peak(n_shards: int) -> int:
        command = [sys.executable, "-c", PEAK_OF_COUNTING, path, str(n_shards)]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert peak(100) < 1.5 * peak(10)


def test_codes_of_code_metadata():
    assert count_codes(pl.DataFrame({"code": ["a", None, "a", "b"]})) == {"rows": 4, "codes": 2}
