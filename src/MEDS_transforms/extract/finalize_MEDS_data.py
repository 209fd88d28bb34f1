"""Writes the merged shards as MEDS data files.

Workers share the shards. A shard that already complies is passed on unchanged.

Input: the merged shards; those of the shard map, where there is one, else all that are there.
Output: `<output_dir>/<split>/<n>.parquet` with the columns subject_id (int64), time (timestamp[us]; null: static), code
(string), numeric_value (float32), then the others, text among them as large_string; rows sorted as they were, by
subject and time.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..cli.script import stage_script
from ..dataset.arrow import meds_schema
from ..dataset.columns import columns
from ..dataset.io import Frame, scan_parquet, write_arrow
from ..dataset.schema import MANDATORY_COLUMNS, MANDATORY_TYPES, NUMERIC_VALUE, TIME
from ..errors import Problems
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import shuffle_shards
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import flag
from ..work.claims import staged_file
from ..work.provenance import Source
from .cohort import cohort_shards

logger = logging.getLogger(__name__)


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg = cfg["stage_cfg"]
    output_dir = Path(stage_cfg["output_dir"])
    paths = cohort_shards(cfg, needs_map=False)
    sources = {"data": Source(Path(stage_cfg["data_input_dir"]), ".parquet")}
    outputs = stage_outputs(cfg, sources, own_folder=output_dir)
    finalize = partial(_finalize, stage_cfg=stage_cfg)
    units = []
    for shard in shuffle_shards(list(paths), cfg):
        out_fp = output_dir / f"{shard}.parquet"
        units.append(outputs.unit(out_fp, staged_file(paths[shard], out_fp, Path, _write, finalize), paths[shard]))
    with outputs.being_made(units):
        map_units(units)


def get_and_validate_data_schema(df: Frame, stage_cfg: Mapping[str, Any]) -> pa.Table:
    """The measurements as an arrow table in the MEDS schema; see `to_meds_data`."""
    table = to_meds_data(df, flag(stage_cfg, "do_retype", default=True)).to_arrow()
    return table.cast(meds_schema(table.schema))


def to_meds_data(df: Frame, do_retype: bool) -> pl.DataFrame:
    """The measurements with the mandatory columns first, in their MEDS dtypes.

    Raises:
        ValueError: without `do_retype`, columns are missing or have other dtypes; with it, another column than
            `numeric_value` and `time` is missing. The message lists all of them.
    """
    df = df.lazy().collect()
    remedy = "fix the data" if do_retype else "set do_retype: true, or fix the data"
    problems = Problems(f"The data does not comply with MEDS; {remedy}")
    for column in MANDATORY_COLUMNS:
        if column not in df.columns and not (do_retype and column in (NUMERIC_VALUE, TIME)):
            problems.add(f"{column} is missing")
    for column, dtype in MANDATORY_TYPES.items():
        found = df.schema.get(column, dtype)
        if found != dtype and not do_retype:
            problems.add(f"{column} must be {dtype}, but is {found}")
    problems.raise_if_any()
    df = df.with_columns(pl.lit(None).alias(column) for column in MANDATORY_COLUMNS if column not in df.columns)
    df = df.with_columns(pl.col(c).cast(dtype) for c, dtype in MANDATORY_TYPES.items() if c in df.columns)
    return df.select(columns([*MANDATORY_COLUMNS, *(c for c in df.columns if c not in MANDATORY_COLUMNS)]))


def _finalize(path: Path, stage_cfg: Mapping[str, Any]) -> Path | pl.DataFrame:
    """The file itself where it complies, else its rows as they must be."""
    schema = pq.read_schema(path).remove_metadata()
    if schema.names[: len(MANDATORY_COLUMNS)] == MANDATORY_COLUMNS and schema == meds_schema(schema):
        return path
    return to_meds_data(scan_parquet(path), flag(stage_cfg, "do_retype", default=True))


def _write(result: Path | pl.DataFrame, path: Path) -> None:
    if isinstance(result, pl.DataFrame):
        write_arrow(result, meds_schema(result.head(0).to_arrow().schema), path)
        return
    path.unlink(missing_ok=True)
    try:
        os.link(result, path)  # the same bytes under both names: files are replaced, never changed
    except OSError:
        shutil.copyfile(result, path)


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
