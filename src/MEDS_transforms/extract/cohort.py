"""The merged shards of a cohort, before they are finalized."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.io import few_at_a_time, is_complete_parquet_file, scan_parquet
from ..dataset.schema import CODE
from ..errors import MissingInputError, counted, is_or_are, listed
from ..mapreduce.shards import read_shard_map, shard_iterator


def cohort_shards(cfg: Mapping[str, Any], needs_map: bool = True) -> dict[str, Path]:
    """The file of every shard of the shard map, below the stage's input folder.

    Where there is no shard map and none is needed, every shard below that folder.

    Raises:
        FileNotFoundError: some are missing; the message lists them.
    """
    folder = Path(cfg["stage_cfg"]["data_input_dir"])
    if not needs_map and not Path(cfg.get("shards_map_fp") or "").is_file():
        return {
            in_fp.relative_to(folder).as_posix().removesuffix(".parquet"): in_fp for in_fp, _ in shard_iterator(cfg)[0]
        }
    paths = {shard: folder / f"{shard}.parquet" for shard in read_shard_map(cfg)}
    if missing := [shard for shard, path in paths.items() if not is_complete_parquet_file(path)]:
        raise MissingInputError(
            f"{len(missing)} of {counted(len(paths), 'shard')} {is_or_are(len(missing))} missing below {folder}: "
            f"{listed(missing)}. Finish the stage that writes them (merge_to_MEDS_cohort) first."
        )
    return paths


def codes_of(paths: Mapping[str, Path]) -> pl.Series:
    """The distinct codes of some shards, sorted."""
    codes = [scan_parquet(path).select(CODE) for path in paths.values()]
    found = [few.unique().collect().to_series() for few in few_at_a_time(codes)]
    return pl.concat(found).unique().drop_nulls().sort()
