"""Merges the pieces of each subject shard into one file, sorted by subject and time.

Rows of one subject and time keep the order of their sources: tables in the order of the event conversion file,
chunks in the order of their rows. Workers share the subject shards.

Input: the pieces of convert_to_sharded_events, the event conversion file, the shard map.
Output: `<output_dir>/<split>/<n>.parquet` in the MEDS schema, so that finalize_MEDS_data passes the files on: the
columns subject_id (int64), time (timestamp[us]; null, for static measurements, first), code (string), numeric_value
(float32), then the union of the events' other columns, where columns of the same name get their common dtype, and text
wins. Rows are compared and sorted before numbers are rounded to float32.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.arrow import write_meds_data
from ..dataset.columns import columns
from ..dataset.dtypes import concat_with_common_dtypes
from ..dataset.io import scan_parquet
from ..dataset.measurements import order_of_rows, to_meds_data
from ..dataset.schema import SUBJECT_ID, TIME
from ..mapreduce.accounting import IN
from ..mapreduce.figures import ROWS, count_data
from ..mapreduce.limits import DUPLICATES, Finding, percent
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import shard_iterator_by_shard_map
from ..mapreduce.stage_outputs import stage_outputs
from ..settings.keys import config_value
from ..settings.layout import CHUNKS_FILE
from ..work.accounts import Account
from ..work.claims import Staged
from ..work.sources import Source
from .chunks import find_pieces
from .event_counts import DROPPED, DUPLICATE
from .event_file.read import read_event_file
from .events import drop_duplicate_rows

logger = logging.getLogger(__name__)

ALL_COLUMNS = "*"


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg = cfg["stage_cfg"]
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    tables = read_event_file(event_config_fp).tables
    unique_by, additional_sort_by = stage_cfg.get("unique_by"), stage_cfg.get("additional_sort_by") or []

    pieces_dir, output_dir = Path(stage_cfg["data_input_dir"]), Path(stage_cfg["output_dir"])
    shards, _ = shard_iterator_by_shard_map(cfg)
    needed = {name: not table.options.optional for name, table in tables.items()}
    read = partial(read_pieces, tables=needed, chunk_list=pieces_dir / CHUNKS_FILE)
    sources = {"pieces": Source(pieces_dir, ".parquet"), "shard map": Source.of_files(Path(cfg["shards_map_fp"]))}
    order = {"tables": list(tables)}
    outputs = stage_outputs(
        cfg,
        sources,
        own_folder=output_dir,
        settings=order,
        watched=[event_config_fp],
        count_out=count_data,
        judge=too_many_duplicates,
    )

    def make(in_fp: Path, out_fp: Path, folder: Path) -> Staged:
        pieces = read(in_fp)
        rows, finished = sum(piece.height for piece in pieces), folder / out_fp.name
        merged = to_meds_data(merge_pieces(pieces, unique_by, additional_sort_by))
        write_meds_data(merged, finished)
        return Staged({out_fp: finished}, {IN: {ROWS: rows}, DROPPED: {DUPLICATE: rows - merged.height}})

    units = [outputs.unit(out_fp, partial(make, in_fp, out_fp), in_fp) for in_fp, out_fp in shards]
    with outputs.being_made(units):
        map_units(units)


def too_many_duplicates(account: Account) -> list[Finding]:
    """The share of rows that repeat others, to be checked against the limit."""
    rows, repeats = account.get(IN, {}).get(ROWS, 0), account.get(DROPPED, {}).get(DUPLICATE, 0)
    words = f"rows that repeat others: {percent(repeats, rows)}"
    return [Finding(DUPLICATES, "merged shards", repeats / rows, words)] if repeats else []


def read_pieces(shard_dir: Path, tables: Mapping[str, bool], chunk_list: Path) -> list[pl.DataFrame]:
    """The pieces of a subject shard, in the order in which equal times are to stand.

    `tables` are those that have pieces, with whether they must.

    Raises:
        FileNotFoundError: a table has no pieces, or some are missing.
    """
    return pl.collect_all([scan_parquet(path) for path in find_pieces(shard_dir, tables, chunk_list)])


def merge_pieces(
    pieces: list[pl.DataFrame], unique_by: str | Sequence[str] | None, additional_sort_by: Sequence[str]
) -> pl.DataFrame:
    """The pieces as one frame without duplicates, stably sorted by subject and time.

    NOTE: empties the list of pieces, so that only the merged frame stays in memory.

    >>> a = pl.DataFrame({"subject_id": [2, 1, 1], "time": [None] * 3, "code": ["x", "y", "y"]})
    >>> merge_pieces([a, a], "*", []).rows()
    [(1, None, 'y'), (2, None, 'x')]
    """
    merged = concat_with_common_dtypes(pieces)
    pieces.clear()
    merged = merged.rechunk()  # which polars would do again and again
    if unique_by == ALL_COLUMNS:
        merged = drop_duplicate_rows(merged)
    elif unique_by is not None:
        merged = drop_duplicate_rows(merged, _known("unique_by", unique_by, merged.columns))
    more = _known("additional_sort_by", additional_sort_by, merged.columns)
    if more or (order := order_of_rows(merged)) is None:
        return merged.sort(columns([SUBJECT_ID, TIME, *more]), maintain_order=True, nulls_last=False)
    unsorted = merged.get_columns()
    del merged  # so that every column is freed as soon as it is sorted
    return pl.DataFrame([unsorted.pop(0)[order] for _ in range(len(unsorted))])


def _known(key: str, wanted: Sequence[str], columns: list[str]) -> list[str]:
    if unknown := [c for c in wanted if c not in columns]:
        logger.warning("%s: the data has no column %s; ignored", key, ", ".join(unknown))
    return [c for c in wanted if c in columns]


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
