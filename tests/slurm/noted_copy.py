"""Copies shards, notes who took each of them, and holds the ones that a test wants held.

A stage of the tests' own. For every shard that a worker takes it writes a file into the folder `notes`, then waits
while there is a file `hold.<shard>` in it.

Keys of its block:
  - notes (path): the folder of the notes.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from MEDS_transforms.cli.script import stage_script
from MEDS_transforms.dataset.io import scan_parquet
from MEDS_transforms.mapreduce import map_over
from MEDS_transforms.settings.packaged import PREPROCESS_CONFIG_YAML
from MEDS_transforms.work.files import publish

PATIENCE = 120
"""Seconds after which a shard that is held is an error, so that no job lives on when a test has died."""


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    notes = Path(cfg["stage_cfg"]["notes"])

    def read(in_fp: Path) -> pl.LazyFrame:
        note(notes, in_fp.stem, cfg["worker"])
        hold(notes / f"hold.{in_fp.stem}")
        return scan_parquet(in_fp)

    map_over(cfg, read_fn=read)


def note(notes: Path, shard: str, worker: int) -> None:
    """Writes down which process took a shard, where it runs and how many threads its polars has."""
    taking = {
        "shard": shard,
        "worker": worker,
        "node": os.environ.get("SLURMD_NODENAME"),
        "pid": os.getpid(),
        "threads": pl.thread_pool_size(),
    }
    publish(notes / f"{shard}.{os.getpid()}.json", lambda path: path.write_text(json.dumps(taking)))


def hold(file: Path) -> None:
    """Waits while there is such a file."""
    deadline = time.monotonic() + PATIENCE
    while file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{file} is still there")
        time.sleep(0.02)


main = stage_script("noted_copy", PREPROCESS_CONFIG_YAML)

if __name__ == "__main__":
    main()
