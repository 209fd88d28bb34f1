"""The memory that reading takes does not grow with the table."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from .texts import COMPRESS

ROWS, COLUMNS = 80_000, 8
READER = """
import sys
from pathlib import Path
from MEDS_transforms.extract.raw.table import RawTable
from MEDS_transforms.work.raw_tables import find_parts

def mib(key):
    return int(Path("/proc/self/status").read_text().partition(key + ":")[2].split()[0]) // 1024

for name in ("small", "large"):
    table, rows, most = RawTable(name, find_parts(Path(sys.argv[1]), name)), 0, 0
    for frame in table.frames(table.schema(table.columns, [], 1000)):
        rows += frame.height
        most = max(most, mib("RssAnon"))
    print(rows, most if sys.argv[2] == "parquet" else mib("VmHWM"))
"""
"""NOTE: polars 1 maps parquet files, whose pages count as memory of the process until the system wants them back."""


def numbers(high: int) -> pl.DataFrame:
    random = np.random.default_rng(0)
    return pl.DataFrame({f"c{n}": random.integers(0, high, ROWS) + 10**17 for n in range(COLUMNS)})


def write(df: pl.DataFrame, path, suffix: str, times: int) -> None:
    """Writes a table of the rows of a frame, again and again."""
    if suffix == "parquet":
        pl.concat([df] * times).write_parquet(path, row_group_size=df.height // 4)
    elif suffix in ("feather", "arrow"):
        pl.concat([df] * times).write_ipc(path, compression="zstd" if suffix == "arrow" else "uncompressed")
    else:
        header, _, rows = df.write_csv().encode().partition(b"\n")
        compress = COMPRESS[suffix.removeprefix("csv")]
        path.write_bytes(compress(header + b"\n") + compress(rows) * times)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak of a process")
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "csv.bz2", "csv.xz", "parquet", "feather", "arrow"])
def test_peak_memory_does_not_grow_with_the_table(tmp_path, suffix):
    slow = suffix in ("csv.bz2", "csv.xz")
    df = numbers(3).head(ROWS // 4) if slow else numbers(2**60)
    write(df, tmp_path / f"small.{suffix}", suffix, 4)
    write(df, tmp_path / f"large.{suffix}", suffix, 20)
    command = [sys.executable, "-c", READER, str(tmp_path), suffix]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    small, large = (tuple(map(int, line.split())) for line in run.stdout.splitlines())
    assert (small[0], large[0]) == (4 * df.height, 20 * df.height)
    table_mib = 20 * df.height * COLUMNS * (19 if suffix.startswith("csv") else 8) >> 20
    assert large[1] - small[1] < table_mib / 2
