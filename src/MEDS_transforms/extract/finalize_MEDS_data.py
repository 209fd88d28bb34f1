"""Writes the merged shards as MEDS data files.

Workers share the shards. A shard that already complies is passed on unchanged, as a link where the file system has
links: so are those of merge_to_MEDS_cohort.

Input: the merged shards; those of the shard map, where there is one, else all that are there.
Output: `<output_dir>/<split>/<n>.parquet` with the columns subject_id (int64), time (timestamp[us]; null: static), code
(string), numeric_value (float32), then the others, text among them as large_string; rows sorted as they were, by
subject and time.
"""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..cli.script import stage_script
from ..dataset.arrow import meds_schema, write_meds_data
from ..dataset.io import Frame, scan_parquet
from ..dataset.measurements import to_meds_data
from ..dataset.schema import MANDATORY_COLUMNS
from ..mapreduce.figures import count_data
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import shuffle_shards
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import flag
from ..work.claims import staged_file
from ..work.files import link_or_copy
from ..work.sources import Source
from .cohort import cohort_shards

logger = logging.getLogger(__name__)


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg = cfg["stage_cfg"]
    output_dir = Path(stage_cfg["output_dir"])
    paths = cohort_shards(cfg, needs_map=False)
    sources = {"data": Source(Path(stage_cfg["data_input_dir"]), ".parquet")}
    outputs = stage_outputs(cfg, sources, own_folder=output_dir, count_out=count_data)
    finalize = partial(_finalize, stage_cfg=stage_cfg)
    units = []
    for shard in shuffle_shards(list(paths), cfg):
        out_fp = output_dir / f"{shard}.parquet"
        units.append(outputs.unit(out_fp, staged_file(paths[shard], out_fp, Path, _write, finalize), paths[shard]))
    with outputs.being_made(units):
        map_units(units)


def get_and_validate_data_schema(df: Frame, stage_cfg: Mapping[str, Any]) -> pa.Table:
    """The measurements as an arrow table in the MEDS schema; see `measurements.to_meds_data`."""
    table = to_meds_data(df, flag(stage_cfg, "do_retype", default=True)).to_arrow()
    return table.cast(meds_schema(table.schema))


def _finalize(path: Path, stage_cfg: Mapping[str, Any]) -> Path | pl.DataFrame:
    """The file itself where it complies, else its rows as they must be."""
    schema = pq.read_schema(path).remove_metadata()
    if schema.names[: len(MANDATORY_COLUMNS)] == MANDATORY_COLUMNS and schema == meds_schema(schema):
        return path
    return to_meds_data(scan_parquet(path), flag(stage_cfg, "do_retype", default=True))


def _write(result: Path | pl.DataFrame, path: Path) -> None:
    if isinstance(result, pl.DataFrame):
        write_meds_data(result, path)
    else:
        link_or_copy(result, path)


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
