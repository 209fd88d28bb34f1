"""What a stage does with one shard: reads it, or takes it from the stage before; computes; writes it, or links it."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.categories import in_texts
from ..dataset.column_chunks import write_changed
from ..dataset.columns import column
from ..dataset.io import Frame, scan_parquet, shard_writer
from ..settings.layout import DATA_DIR
from ..work.accounts import ON_THE_WAY, in_words, noting, noting_on_the_way
from ..work.claims import Staged
from ..work.files import link_or_copy
from .compute import ComputeFn
from .handover import file_of, hand_over, handed_over, is_same_as, is_wanted
from .plans import Others

logger = logging.getLogger(__name__)

ReadFn = Callable[[Path], Any]
WriteFn = Callable[[Any, Path], None]


@dataclass(frozen=True)
class ShardWork:
    """What a stage does with each shard.

    Args:
        folder: where the stage writes.
        stage: its name.
        compute_fn: the bound function of a frame.
        read_fn: makes the frame.
        write_fn: writes the result; None: as `shard_writer` does in that folder.
        only: if given, the function gets only the rows for which this holds.
        changes: the columns that the function may make or change where it leaves the order of the rows as it is, and
            makes no new ones. Others are copied from a file that is read, not decoded and encoded again. Empty:
            nothing is known.
        others: what the function does with columns that not every MEDS file has.
        takes_categories: whether the function takes codes as categories, of data that are not kept.
    """

    folder: Path
    stage: str
    compute_fn: ComputeFn
    read_fn: ReadFn = scan_parquet
    write_fn: WriteFn | None = None
    only: pl.Expr | None = None
    changes: Collection[str] = ()
    others: Others = Others.NEEDED
    takes_categories: bool = False

    def make(self, in_fp: Path, out_fp: Path, scratch: Path) -> Staged:
        """Makes the output of a shard in a scratch folder.

        A shard that the function gives back as it got it is linked. What a later stage of the pass reads is handed on.
        What the function notes is the account, and in the log.
        """
        finished = scratch / out_fp.name
        with noting() as account:
            self._write(in_fp, out_fp, finished)
        for line in in_words({what: counts for what, counts in account.items() if what != ON_THE_WAY}):
            logger.info("%s: %s", out_fp, line)
        return Staged({out_fp: finished}, account)

    def _write(self, in_fp: Path, out_fp: Path, finished: Path) -> None:
        handed = self._handed(in_fp)
        result, is_unchanged = self._computed(in_fp, handed)
        if is_unchanged and self.is_plain and (file := file_of(in_fp)):
            self._hand_over(out_fp, handed)
            link_or_copy(file, finished)
            return
        if self.changes and self.is_plain and handed is None:  # else the file may still be that of a former run
            if self._is_narrow(result):
                result = result.lazy().collect()
                self._hand_over(out_fp, result)  # else what reads it need not read all columns
            write_changed(result, finished, in_fp, self.changes)
            return
        if self.is_plain and is_wanted(out_fp):
            result = result.lazy().collect()
        self._hand_over(out_fp, result)
        del handed
        (self.write_fn or shard_writer(self.folder))(in_texts(result), finished)

    def _is_narrow(self, result: Frame) -> bool:
        """Whether to compute all columns takes little more than to compute those that change."""
        return len(result.lazy().collect_schema()) <= 2 * len(self.changes)

    def _hand_over(self, out_fp: Path, result: Any) -> None:
        if self.is_plain and isinstance(result, pl.DataFrame):
            hand_over(out_fp, result)

    def frame(self, in_fp: Path, out_fp: Path, columns: Collection[str] = ()) -> Any:
        """The rows of the output of a shard, without a file; if given, just of the columns that are needed."""
        handed, needed = self._handed(in_fp), self._needed_for(columns)
        try:
            with noting_on_the_way(self.stage):
                result, is_unchanged = self._computed(in_fp, handed, needed)
        except Exception as error:
            error.add_note(f"This happened on the way to data of {self.folder}, which are not kept, from {in_fp}.")
            raise
        if is_unchanged and not columns:
            is_same_as(out_fp, in_fp)
        return only(result, columns)

    def _needed_for(self, columns: Collection[str]) -> Collection[str]:
        """The columns of a shard that these of the output are made from; none: all may be."""
        if not columns or self.others.needed is None or not self.others.are_passed_on:
            return ()
        return [*columns, *self.others.needed]

    def _handed(self, in_fp: Path) -> Frame | None:
        if self.read_fn is not scan_parquet:
            return None
        handed = handed_over(in_fp)
        return handed if self.takes_categories else in_texts(handed)

    def _computed(self, in_fp: Path, handed: Frame | None, columns: Collection[str] = ()) -> tuple[Any, bool]:
        """What the function makes of a shard, and whether that is just what it got."""
        read = only(self.read_fn(in_fp) if handed is None else handed.lazy(), columns)
        result = self.compute_fn(read if self.only is None else read.filter(self.only))
        return result, result is read and self.read_fn is scan_parquet

    @property
    def is_plain(self) -> bool:
        """Whether files hold just what the function gives: in a finished dataset they may have other types."""
        return self.write_fn is None and self.folder.name != DATA_DIR


def only(rows: Any, columns: Collection[str]) -> Any:
    """The rows with just these columns; with all, where none are given, or one is missing: a message will name them."""
    if not columns:
        return rows
    there = rows.lazy().collect_schema()
    return rows.select(column(name) for name in there if name in columns) if {*columns} <= {*there} else rows
