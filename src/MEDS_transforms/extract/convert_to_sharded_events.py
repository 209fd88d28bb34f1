"""Makes measurements of the chunks of raw rows, apart by subject shard.

Each chunk is read and converted once, in memory that does not grow with it: a million rows at a time. Workers share
the chunks.

Input: the chunks of shard_events, the event conversion file, the shard map.
Output: `<output_dir>/<split>/<n>/<table>/[<start>-<end>).parquet` for every subject shard and every chunk, with the
columns subject_id (Int64), code (String), time (Datetime[us]) and then those of the table's events; events in
the order of the file, within them rows in the order of the table; `<output_dir>/event_conversion_config.yaml`,
the event conversion file as it was used; and `<output_dir>/chunks.json`, the names of the chunks.

Keys of stage_configs.convert_to_sharded_events:
  - do_dedup_text_and_numeric (bool; default True): make a text_value null that is only the numeric_value written
    as text (compared as 32-bit floats).
"""

import logging
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.dtypes import concat_meeting
from ..dataset.io import is_complete_parquet_file, scan_parquet, scratch_path, write_parquet
from ..dataset.schema import SUBJECT_ID
from ..dataset.subjects import subject_ids
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import read_shard_map, shuffle_shards
from ..settings.keys import config_value, flag
from ..settings.packaged import EXTRACT_CONFIG_YAML
from ..work.claims import Unit, is_current, overwriting_run, publish_once
from ..work.files import clear_scratch
from .chunks import Chunk, complete_chunks, list_chunks
from .event_config import EVENT_CONFIG_NAME, Table, read_event_config
from .events import TimeCheck, drop_duplicate_rows, extract_event

logger = logging.getLogger(__name__)

_BATCH_ROWS = 1_000_000
_ROW, _ID, _SHARD, _EVENT = "__row", "__subject_id", "__shard", "__event"


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg = cfg["stage_cfg"]
    input_dir, output_dir = Path(stage_cfg["data_input_dir"]), Path(stage_cfg["output_dir"])
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    tables = read_event_config(event_config_fp)
    shards = read_shard_map(cfg)
    with overwriting_run(output_dir, flag(cfg, "do_overwrite")) as since:
        publish_once(output_dir / EVENT_CONFIG_NAME, event_config_fp.read_bytes())
        convert = ChunkConverter(shards, flag(stage_cfg, "do_dedup_text_and_numeric"))
        units = {
            f"{table.name}/{chunk.rows}": _chunk_unit(table, chunk, convert, output_dir, since)
            for table in tables.values()
            for chunk in complete_chunks(input_dir / table.name)
        }
        list_chunks(output_dir, units)
        map_units([units[name] for name in shuffle_shards(list(units), cfg)])
        list_chunks(output_dir, units)  # again, should the worker that wrote the list have died over it


class ChunkConverter:
    """Converts chunks for a given shard map: what does not change from chunk to chunk."""

    def __init__(self, shards: Mapping[str, list[int]], dedup_text: bool) -> None:
        self.shards = list(shards)
        self.dedup_text = dedup_text
        self.shard_of = pl.DataFrame(
            {
                SUBJECT_ID: [i for ids in shards.values() for i in ids],
                _SHARD: [n for n, ids in enumerate(shards.values()) for _ in ids],
            },
            schema={SUBJECT_ID: pl.Int64, _SHARD: pl.UInt32},
        )
        self.ids_repeat = self.shard_of[SUBJECT_ID].is_duplicated().any()

    def batches(self, table: Table, chunk: Chunk) -> Iterator[pl.DataFrame]:
        """The measurements of a chunk's rows, a million rows at a time, with the shard and the event of each.

        Raises:
            ValueError: a row or an event cannot be converted, or none of the times of an event parses.
        """
        times, left_out = TimeCheck(), set[int]()
        scan = scan_parquet(chunk.path)
        for start in range(0, chunk.end - chunk.start, _BATCH_ROWS):
            raw = scan.slice(start, _BATCH_ROWS).collect()
            rows = self._assign_shards(raw, table, left_out)
            parts = []
            for n, event in enumerate(table.events):
                part = extract_event(rows, event, [_SHARD], self.dedup_text, _ID)
                times.look(event, raw, part)
                parts.append(drop_duplicate_rows(part).with_columns(pl.lit(n, dtype=pl.UInt16).alias(_EVENT)))
            yield concat_meeting(parts)
        times.raise_if_none_parsed()
        if left_out:
            logger.warning("%s %s: %d subjects are in no shard and left out", table.name, chunk.rows, len(left_out))

    def _assign_shards(self, raw: pl.DataFrame, table: Table, left_out: set[int]) -> pl.DataFrame:
        """The rows of subjects that are in shards, once per shard, in order, with the ids as Int64.

        NOTE: the ids have a column of their own; a raw column `subject_id` may hold something else.
        """
        where = f"Table {table.name}, column {table.subject_id_col}"
        ids = subject_ids(raw[table.subject_id_col], where)
        rows = ids.to_frame().with_row_index(_ROW)
        rows = rows.join(self.shard_of, on=SUBJECT_ID, how="left", maintain_order="left_right")
        if rows[_SHARD].null_count():
            unknown = rows.filter(pl.col(_SHARD).is_null() & pl.col(SUBJECT_ID).is_not_null())
            left_out.update(unknown[SUBJECT_ID].unique())
            rows = rows.drop_nulls(_SHARD)
        if self.ids_repeat or rows.height != raw.height:
            raw = raw[rows[_ROW]]
        return raw.with_columns(rows[SUBJECT_ID].alias(_ID), rows[_SHARD])


def _chunk_unit(table: Table, chunk: Chunk, convert: ChunkConverter, output_dir: Path, since: float | None) -> Unit:
    """The unit of work that converts one chunk into a piece for every shard: done when all pieces are there."""
    name = f"{table.name}/{chunk.rows}"
    claim_fp = output_dir / name.replace("/", "--")
    pieces = [output_dir / shard / f"{name}.parquet" for shard in convert.shards]

    def work() -> None:
        started = time.monotonic()
        spill_dir = scratch_path(claim_fp)
        try:
            clear_scratch(claim_fp)
            spill_dir.mkdir()
            rows = write_pieces(convert.batches(table, chunk), pieces, spill_dir)
        except Exception as error:
            error.add_note(f"This happened while {chunk.path} was converted.")
            raise
        finally:
            clear_scratch(claim_fp)
        logger.info("%s: %d measurements in %.1f s", name, rows, time.monotonic() - started)

    def is_done() -> bool:
        # From the last: pieces are published in order, so that a chunk that is not done shows it at once.
        return all(is_current(piece, since, is_complete_parquet_file) for piece in reversed(pieces))

    return Unit(claim_fp, is_done, work)


def write_pieces(batches: Iterator[pl.DataFrame], pieces: list[Path], spill_dir: Path) -> int:
    """Publishes the measurements of a chunk as one piece per shard; returns how many there are.

    A chunk of one batch goes straight from memory. Of a larger one each batch is first written apart by shard to
    `spill_dir`, so that memory holds one batch, or one piece, at a time.
    """
    first, second = next(batches), next(batches, None)
    if second is None:
        by_shard = _by_shard(first)
        return sum(_publish_piece(path, by_shard.get(n, first.clear()), spill_dir) for n, path in enumerate(pieces))
    count = 0
    for count, batch in enumerate(chain([first, second], batches), start=1):
        for n, part in _by_shard(batch).items():
            write_parquet(part, spill_dir / f"{n}/{count}.parquet", fast=True)
    empty = first.clear()
    del first, second
    rows = 0
    for n, path in enumerate(pieces):
        spilled = [spill_dir / f"{n}/{i}.parquet" for i in range(1, count + 1)]
        parts = [pl.read_parquet(fp, glob=False) for fp in spilled if fp.exists()]
        piece = pl.concat([empty, *parts]).sort(_EVENT, maintain_order=True)
        rows += _publish_piece(path, drop_duplicate_rows(piece), spill_dir)
    return rows


def _by_shard(measurements: pl.DataFrame) -> dict[int, pl.DataFrame]:
    parts = measurements.partition_by(_SHARD, maintain_order=True, as_dict=True)
    return {int(key[0]): part for key, part in parts.items()}


def _publish_piece(path: Path, piece: pl.DataFrame, spill_dir: Path) -> int:
    """NOTE: as `publish`, but with the chunk's scratch folder: one for each of many small files would take longer."""
    write_parquet(piece.drop(_SHARD, _EVENT), spill_dir / path.name, fast=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    (spill_dir / path.name).replace(path)
    return piece.height


main = stage_script("MEDS_transforms.extract.convert_to_sharded_events", EXTRACT_CONFIG_YAML)
