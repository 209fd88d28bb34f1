"""Converts rows of a table to measurements, with the shard and the event of each."""

import logging
from collections.abc import Iterator, Mapping

import polars as pl

from ..dataset.columns import internal
from ..dataset.dtypes import with_common_dtypes
from ..dataset.schema import SUBJECT_ID
from ..dataset.subjects import shard_numbers
from .chunks import Chunk
from .event_counts import TableCounts
from .event_file.model import Table
from .event_times import TimeCheck, check_range
from .events import event_rows, extract_event, repeated_rows
from .subject_numbers import Numbering

logger = logging.getLogger(__name__)

SHARD, EVENT = internal("shard"), internal("event")
_ROW, _ID = internal("row"), internal("subject_id")

Events = list[pl.DataFrame]
"""Measurements, a frame for each event."""


class ChunkConverter:
    """Converts chunks for a given shard map: what does not change from chunk to chunk."""

    def __init__(self, shards: Mapping[str, list[int]], dedup_text: bool, number_ids: Numbering) -> None:
        self.shards = list(shards)
        self.dedup_text, self.number_ids = dedup_text, number_ids
        self.shard_of = shard_numbers(shards, SHARD)
        self.ids_repeat = self.shard_of[SUBJECT_ID].is_duplicated().any()

    def batches(self, table: Table, chunk: Chunk, counts: TableCounts) -> Iterator[Events]:
        """The measurements of a chunk's rows, a batch at a time, with the shard and the event of each.

        A frame for each event; all of them have common dtypes.

        Those that repeat an earlier one are in no shard (null), so that they need not be taken out of all the others.
        `counts` takes in what becomes of the rows.

        Raises:
            ValueError: a row or an event cannot be converted, or none of the times of an event parses.
        """
        times, left_out, start = TimeCheck(), set[int](), chunk.start
        of_events: list[Events] = [[] for _ in table.events]
        for rows in chunk.frames():
            for held, made in zip(of_events, self._converted(rows, start, table, times, left_out, counts), strict=True):
                held.append(made)
            start += rows.height
            del rows  # else they would stay in memory while what is made of them is written
            if chunk.ends_batch(start):
                yield _batch(of_events, counts)
        times.raise_if_none_parsed()
        if left_out:
            logger.warning("%s %s: subjects in no shard, left out: %d", table.name, chunk.rows, len(left_out))

    def _converted(
        self, raw: pl.DataFrame, start: int, table: Table, times: TimeCheck, left_out: set[int], counts: TableCounts
    ) -> Events:
        """The measurements of some rows, of which `start` is the number of the first; a frame for each event."""
        rows = self._assign_shards(raw, table, left_out, counts)
        parts = []
        for event in table.events:
            check_range(raw, event, start)
            of_event = counts.events[event.name]
            made = event_rows(rows, event, of_event.choose)
            if event.time not in raw.columns:
                check_range(made, event, None)
            parts.append(extract_event(made, event, [SHARD], self.dedup_text, _ID, of_event.look))
            times.look(event, made, parts[-1])
        return parts

    def _assign_shards(self, raw: pl.DataFrame, table: Table, left_out: set[int], counts: TableCounts) -> pl.DataFrame:
        """The rows of subjects that are in shards, once per shard, in order, with the ids as Int64.

        NOTE: the ids have a column of their own; a raw column `subject_id` may hold something else.
        """
        where = f"Table {table.name}, column {table.subject_id_col}"
        ids = self.number_ids(raw[table.subject_id_col], where)
        rows = ids.to_frame().with_row_index(_ROW)
        rows = rows.join(self.shard_of, on=SUBJECT_ID, how="left", maintain_order="left_right")
        repeated, no_subject, shardless = rows.height - raw.height, ids.null_count(), rows[SHARD].null_count()
        counts.rows(raw.height, repeated, no_subject, shardless - no_subject)
        if shardless:
            unknown = rows.filter(pl.col(SHARD).is_null() & pl.col(SUBJECT_ID).is_not_null())
            left_out.update(unknown[SUBJECT_ID].unique())
            rows = rows.drop_nulls(SHARD)
        if self.ids_repeat or rows.height != raw.height:
            raw = raw[rows[_ROW]]
        return raw.with_columns(rows[SUBJECT_ID].alias(_ID), rows[SHARD])


def _batch(of_events: list[Events], counts: TableCounts) -> Events:
    """The measurements of a batch, a frame for each event, without repeats; empties the lists."""
    batch = []
    for n, (held, of_event) in enumerate(zip(of_events, counts.events.values(), strict=True)):
        made = pl.concat(held)
        held.clear()
        if (repeats := repeated_rows(made)) is not None:
            of_event.repeats(int(repeats.sum()))
            made = made.with_columns(made[SHARD].set(repeats, None))
        batch.append(made.with_columns(pl.lit(n, dtype=pl.UInt16).alias(EVENT)))
    return with_common_dtypes(batch)
