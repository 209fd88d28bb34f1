"""How long it takes to validate a dataset, or to report on it, and how much memory: of made-up measurements.

    python benchmarks/validation.py --shards 200 --rows 750000
    python benchmarks/validation.py --shards 200 --rows 750000 --command report

Writes the dataset to benchmarks/data/, as MEDS has it, unless it is there, runs the command of `MEDS_transforms` on it,
and prints the rows per second, the largest resident memory of the process, and its time on the processors.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from meds import birth_code

from MEDS_transforms.dataset.arrow import SPLITS_SCHEMA, write_codes, write_measurements
from MEDS_transforms.dataset.io import write_arrow

DATA_DIR = Path(__file__).parent / "data"
ROWS_PER_SUBJECT = 300
N_CODES = 5_000
SECONDS_BETWEEN_ROWS = 3_600
FIRST_TIME = 1_262_304_000  # 2010
OLDEST = 90 * 365 * 24 * 3_600


def shard(number: int, n_rows: int) -> pl.DataFrame:
    """Sorted measurements of subjects that no other shard has."""
    rng = np.random.default_rng(number)
    within = np.arange(n_rows) % ROWS_PER_SUBJECT
    subjects = np.arange(n_rows) // ROWS_PER_SUBJECT + number * (n_rows // ROWS_PER_SUBJECT + 1)
    is_birth = within == 1  # after a static row
    seconds = FIRST_TIME + within * SECONDS_BETWEEN_ROWS + rng.integers(0, SECONDS_BETWEEN_ROWS, n_rows)
    seconds -= is_birth * rng.integers(0, OLDEST, n_rows)
    codes = pl.Series([*(f"LAB//{code}//mg/dL" for code in range(N_CODES)), birth_code])
    values = pl.Series(rng.normal(size=n_rows).astype(np.float32))
    return pl.DataFrame(
        {
            "subject_id": subjects,
            "time": pl.Series(seconds * 1_000_000).cast(pl.Datetime("us")),
            "code": codes.gather(np.where(is_birth, N_CODES, rng.random(n_rows) ** 3 * N_CODES).astype(np.int64)),
            "numeric_value": values.set(pl.Series(is_birth | (rng.random(n_rows) < 0.2)), None),
        }
    ).with_columns(time=pl.when(pl.Series(within) > 0).then("time"))


def make_dataset(root: Path, n_shards: int, n_rows: int) -> None:
    """Writes shards, codes and splits."""
    splits = []
    for number in range(n_shards):
        df = shard(number, n_rows)
        write_measurements(df, root / "data" / "train" / f"{number}.parquet")
        splits.append(df.select(pl.col("subject_id").unique(), split=pl.lit("train")))
    codes = pl.DataFrame({"code": [*(f"LAB//{code}//mg/dL" for code in range(N_CODES)), birth_code]})
    described = codes.with_columns(description=pl.lit(None, pl.String), parent_codes=pl.lit(None, pl.List(pl.String)))
    write_codes(described, root / "metadata" / "codes.parquet")
    write_arrow(pl.concat(splits), SPLITS_SCHEMA, root / "metadata" / "subject_splits.parquet")
    (root / "metadata" / "dataset.json").write_text(json.dumps({"dataset_name": "benchmark"}), encoding="utf-8")


def main() -> None:
    """Makes the dataset if need be, runs the command, and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--rows", type=int, default=75_000, help="of each shard")
    parser.add_argument("--command", choices=["validate", "report"], default="validate")
    args = parser.parse_args()
    root = DATA_DIR / f"meds-{args.shards}x{args.rows}"
    if not (root / "metadata" / "dataset.json").exists():
        # NOTE: in a process of its own, since a child's largest memory begins with that of the process it comes from.
        with ProcessPoolExecutor(1) as pool:
            pool.submit(make_dataset, root, args.shards, args.rows).result()
    begin = time.monotonic()
    output = ["--output", root / "report.html"] if args.command == "report" else []
    subprocess.run([sys.executable, "-m", "MEDS_transforms", args.command, root, *output], check=True)
    seconds = time.monotonic() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    megabytes, cpu = used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
    n_rows = args.shards * args.rows
    print(
        f"{n_rows:,} rows in {seconds:.1f} s: {n_rows / seconds / 1e6:.1f} million rows per second, "
        f"{megabytes:.0f} MB, {cpu:.1f} CPU seconds"
    )


if __name__ == "__main__":
    main()
