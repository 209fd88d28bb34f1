"""A worker of a stage, as a process of its own, that does what files in its folder say.

    shard_worker_program.py FOLDER WORKER MODE [do_overwrite]

Each shard that it computes adds a line `<shard> <worker>` to FOLDER/computed. While there is a file
FOLDER/hold.<step>.<shard>, it says `held.<step>.<shard>` and waits in that step (read, compute or write) of that shard.
A reducing worker says `began.<worker>` once it takes part in the run.
MODE is `map` (map_over) or `reduce` (plan_reduction).
"""

import sys
import time
from pathlib import Path
from threading import local

import polars as pl

from MEDS_transforms.dataset.io import scan_parquet
from MEDS_transforms.mapreduce import map_over
from MEDS_transforms.mapreduce.mapper import Shards
from MEDS_transforms.mapreduce.passes import run_pass
from MEDS_transforms.mapreduce.reducer import plan_reduction
from MEDS_transforms.mapreduce.stage_outputs import stage_outputs


class Worker:
    """What the worker does in each step, for the shard that it is at."""

    def __init__(self, folder: Path, worker: int, do_overwrite: bool) -> None:
        self.folder, self.worker = folder, worker
        self.at = local()  # two shards may be at work
        self.cfg = {
            "worker": worker,
            "do_overwrite": do_overwrite,
            "polling_time": 300,
            "stage_cfg": {
                "data_input_dir": str(folder / "in"),
                "output_dir": str(folder / "out"),
                "reducer_output_dir": str(folder / "metadata"),
            },
        }

    def pause(self, step: str) -> None:
        hold = self.folder / f"hold.{step}.{self.at.shard}"
        while hold.exists():
            (self.folder / f"held.{step}.{self.at.shard}").touch()
            time.sleep(0.01)

    def read(self, in_fp: Path) -> pl.DataFrame:
        self.at.shard = in_fp.stem
        self.pause("read")
        return scan_parquet(in_fp).collect()

    def compute(self, df: pl.DataFrame) -> pl.DataFrame:
        with (self.folder / "computed").open("a") as file:
            file.write(f"{self.at.shard} {self.worker}\n")
        self.pause("compute")
        return df.with_columns(twice=pl.col("subject_id") * 2)

    def write(self, df: pl.DataFrame, out_fp: Path) -> None:
        df.write_parquet(out_fp)
        if (self.folder / f"hold.write.{self.at.shard}").exists():
            whole = out_fp.read_bytes()
            out_fp.write_bytes(whole[: len(whole) // 2])
            self.pause("write")
            out_fp.write_bytes(whole)

    def map(self) -> None:
        map_over(self.cfg, lambda df: self.compute(df), self.read, self.write)

    def reduce(self) -> None:
        def compute(df: pl.DataFrame) -> pl.DataFrame:
            return self.compute(df)

        shards = Shards(self.cfg)
        outputs = stage_outputs(self.cfg, shards.sources(compute), own_folder=self.folder / "out")
        units = shards.units(outputs, shards.work(compute, self.read, self.write))
        (self.folder / f"began.{self.worker}").touch()
        run_pass([plan_reduction(self.cfg, outputs, units, merge)])


def merge(paths: list[Path]) -> pl.DataFrame:
    """The codes of all outputs, and how many rows each has."""
    rows = pl.concat([pl.read_parquet(path, glob=False) for path in paths])
    return rows.group_by("code").len("n").sort("code")


if __name__ == "__main__":
    worker = Worker(Path(sys.argv[1]), int(sys.argv[2]), "do_overwrite" in sys.argv)
    {"map": worker.map, "reduce": worker.reduce}[sys.argv[3]]()
