"""Converts chunks of raw rows to measurements, separated by subject shard.

Each chunk is read and converted once, in memory that does not grow with it: a million rows at a time. Workers share
the chunks.

Input: the chunks of shard_events, the event conversion file, the shard map.
Output: `<output_dir>/<split>/<n>/<table>/[<start>-<end>).parquet` for every subject shard and every chunk, with the
columns subject_id (Int64), code (String), time (Datetime[us]) and then those of the table's events; events in
the order of the file, within them rows in the order of the table; `<output_dir>/event_conversion_config.yaml`,
the event conversion file as it was used; and `<output_dir>/chunks.json`, the names of the chunks.
"""

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl

from ..cli.script import stage_script
from ..dataset.io import write_parquet, write_parquets
from ..mapreduce.mapper import map_units
from ..mapreduce.shards import read_shard_map, shuffle_shards
from ..mapreduce.stage_outputs import stage_outputs
from ..precheck.report import Inspection
from ..settings.keys import config_value, flag
from ..settings.layout import CHUNKS_FILE, EVENT_CONFIG_FILE
from ..work.claims import Staged, Unit
from ..work.outputs import StageOutputs
from ..work.sources import Source
from .chunks import Chunk, complete_chunks, list_chunks
from .conversion import EVENT, SHARD, ChunkConverter, Events
from .event_counts import TableCounts
from .event_file.model import Table
from .event_file.read import event_file_content, read_event_file
from .event_findings import find_in_events
from .event_inspection import inspect_events
from .events import drop_duplicate_rows
from .spill import Spill
from .subject_numbers import TABLE, numbering, table_path

logger = logging.getLogger(__name__)

_ROWS_AT_A_TIME, _FILES_AT_A_TIME = 50_000, 32
"""How many rows of small pieces are written at the same time, at most, and as how many files."""


def inspect(cfg: Mapping[str, Any]) -> Inspection:
    """What the events will yield, by the first rows of the raw tables."""
    return inspect_events(cfg)


def run(cfg: Mapping[str, Any]) -> None:
    """Runs the stage."""
    stage_cfg = cfg["stage_cfg"]
    input_dir, output_dir = Path(stage_cfg["data_input_dir"]), Path(stage_cfg["output_dir"])
    event_config_fp = Path(config_value(cfg, "event_conversion_config_fp"))
    event_file = read_event_file(event_config_fp)
    tables, id_kind = event_file.tables, event_file.default.subject_ids
    shards = read_shard_map(cfg)
    chunks = {table.name: complete_chunks(input_dir / table.name, table.options.optional) for table in tables.values()}
    sources = {"chunks": Source(input_dir, ".parquet"), "shard map": Source.of_files(Path(cfg["shards_map_fp"]))}
    if id_kind == TABLE:
        sources["subject ids"] = Source.of_files(table_path(cfg))
    events = {"events": event_file_content(event_config_fp)}
    watched, judge = [event_config_fp], find_in_events
    outputs = stage_outputs(cfg, sources, own_folder=output_dir, settings=events, watched=watched, judge=judge)
    convert = ChunkConverter(shards, flag(stage_cfg, "do_dedup_text_and_numeric"), numbering(id_kind, cfg))
    units = {
        f"{table.name}/{chunk.rows}": _chunk_unit(table, chunk, convert, outputs, output_dir)
        for table in tables.values()
        for chunk in chunks[table.name]
    }
    notes = _notes_unit(outputs, output_dir, event_config_fp, units)
    with outputs.being_made([notes, *units.values()]):
        map_units([notes, *(units[name] for name in shuffle_shards(list(units), cfg))])


def _notes_unit(outputs: StageOutputs, output_dir: Path, event_config_fp: Path, chunks: Iterable[str]) -> Unit:
    """The unit of work that leaves the event conversion file as it was used, and the names of the chunks."""
    paths = [output_dir / name for name in (EVENT_CONFIG_FILE, CHUNKS_FILE)]

    def make(scratch: Path) -> Staged:
        shutil.copyfile(event_config_fp, scratch / EVENT_CONFIG_FILE)
        list_chunks(scratch, chunks)
        return Staged({path: scratch / path.name for path in paths})

    return outputs.unit(paths[-1], make, event_config_fp, outputs=paths)


def _chunk_unit(table: Table, chunk: Chunk, convert: ChunkConverter, outputs: StageOutputs, output_dir: Path) -> Unit:
    """The unit of work that converts one chunk into a piece for every shard: done when all pieces are there."""
    name = f"{table.name}/{chunk.rows}"
    pieces = [output_dir / shard / f"{name}.parquet" for shard in convert.shards]

    def make(scratch: Path) -> Staged:
        finished = [scratch / "pieces" / f"{n}.parquet" for n in range(len(pieces))]
        counts = TableCounts(table)
        rows = write_pieces(convert.batches(table, chunk, counts), finished, scratch, counts)
        logger.info("%s: %d measurements", name, rows)
        return Staged(dict(zip(pieces, finished, strict=True)), counts.account())

    return outputs.unit(output_dir / quote(name, safe=""), make, chunk.path, outputs=pieces)


def write_pieces(batches: Iterator[Events], pieces: list[Path], spill_dir: Path, counts: TableCounts) -> int:
    """Writes the measurements of a chunk as one piece per shard; returns how many there are.

    A chunk of one batch goes straight from memory. Of a larger one each batch is first written apart by shard to
    `spill_dir`, so that memory holds one batch, or one piece, at a time.
    """
    first, second = next(batches), next(batches, None)
    if second is None:
        return _write_at_once(first, pieces)
    spill = Spill(spill_dir)
    for batch in chain([first, second], batches):
        spill.write(part for some in _by_shard(batch, len(pieces)) for part in some)
    del first, second
    rows = 0
    for path, spilled in zip(pieces, spill.groups(), strict=True):
        piece = spilled.sort(EVENT, maintain_order=True)
        distinct = drop_duplicate_rows(piece)
        if distinct.height < piece.height:
            _count_repeats(piece, distinct, counts)
        write_parquet(distinct.drop(EVENT), path, fast=True)
        rows += distinct.height
    return rows


def _write_at_once(batch: Events, pieces: Sequence[Path]) -> int:
    """Writes the only batch of a chunk as `write_pieces` does; empties the list."""
    batch[:] = [measurements.drop(EVENT) for measurements in batch]
    rows, paths = 0, iter(pieces)
    for some in _by_shard(batch, len(pieces)):
        rows += sum(part.height for part in some)
        write_parquets(dict(zip(islice(paths, len(some)), some, strict=True)), fast=True)
    return rows


def _count_repeats(piece: pl.DataFrame, distinct: pl.DataFrame, counts: TableCounts) -> None:
    """Counts the measurements of a piece that repeat some of an earlier batch, for each event."""
    before, after = (dict(frame[EVENT].value_counts().iter_rows()) for frame in (piece, distinct))
    for event, of_event in enumerate(counts.events.values()):
        of_event.repeats(before.get(event, 0) - after.get(event, 0))


def _by_shard(measurements: Events, n_shards: int) -> Iterator[Events]:
    """The measurements of every shard, those of one event after those of another, each in their order.

    Some shards at a time, if they are small: to gather one by one, or write one by one, takes longer. They are gathered
    as they are asked for, so that memory never holds all of them twice, and is used again for the next ones: new
    memory costs more time than the gathering. Those that are in no shard are left out.

    NOTE: empties the list of measurements, so that the former columns do not stay in memory.
    """
    events = [_InShards.of(measurements.pop(0), n_shards) for _ in range(len(measurements))]
    rows = np.sum([event.ends for event in events], axis=0)
    for first, last in _groups(rows.tolist()):
        of_events = [event.of_shards(first, last) for event in events]
        yield [pl.concat(parts, how="diagonal") for parts in zip(*of_events, strict=True)]


def _groups(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first shards of groups, and those after their last, given the rows up to the end of each shard.

    >>> list(_groups([10, 20, 60_000, 60_001]))
    [(0, 2), (2, 3), (3, 4)]
    """
    first = before = 0
    for n, end in enumerate(ends):
        if n > first and (end - before > _ROWS_AT_A_TIME or n - first == _FILES_AT_A_TIME):
            yield first, n
            first, before = n, ends[n - 1]
    yield first, len(ends)


@dataclass(frozen=True)
class _InShards:
    """The measurements of one event, with their numbers in the order of shards, and where in this each shard ends."""

    measurements: pl.DataFrame
    order: pl.Series
    ends: Sequence[int]

    @classmethod
    def of(cls, measurements: pl.DataFrame, n_shards: int) -> "_InShards":
        shards = measurements[SHARD].fill_null(n_shards).to_numpy().astype(np.min_scalar_type(n_shards))
        order = pl.Series(np.argsort(shards, kind="stable"))
        ends = np.cumsum(np.bincount(shards, minlength=n_shards)).tolist()
        # NOTE: of more than a few chunks polars makes one whenever it gathers.
        return cls(measurements.drop(SHARD).rechunk(), order, ends[:n_shards])

    def of_shards(self, first: int, last: int) -> Iterator[pl.DataFrame]:
        """Those of some shards, up to the last, which is left out."""
        starts = [0, *self.ends]
        gathered = self.measurements[self.order[starts[first] : starts[last]]]
        for n in range(first, last):
            yield gathered.slice(starts[n] - starts[first], starts[n + 1] - starts[n])


main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
