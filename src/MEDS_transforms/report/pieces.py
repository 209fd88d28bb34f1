"""Reads shards piece by piece: the columns that are counted, in order, whole subjects, and the split of each piece."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from ..dataset.footers import rows_in
from ..dataset.io import scan_parquet
from ..dataset.measurements import checked, in_order
from ..dataset.schema import CODE, NUMERIC_VALUE, SPLIT, SUBJECT_ID, TIME, VOCAB_INDEX
from .dataset import NO_SPLIT, Dataset, reading

PIECE_ROWS = 2_000_000
"""Rows that are read at once, more only where one subject has more."""
NO_CODE = "(no code)"
"""Stands for a code that is null."""


def rows_of(shard: Path) -> int:
    """The number of rows of a shard.

    Raises:
        ValueError: it cannot be read.
    """
    with reading(shard):
        return rows_in(shard)


@dataclass(frozen=True)
class Reader:
    """Reads the shards of a dataset.

    Args:
        dataset: what to read.
        piece_rows: how many rows to read at once.
    """

    dataset: Dataset
    piece_rows: int = PIECE_ROWS

    def pieces(self, shard: Path) -> Iterator[tuple[str, pl.DataFrame]]:
        """The rows of a shard, with their split: `subject_id`, `time` (null: static), `code` (text), `numeric_value`.

        Rows are sorted by subject and time; a subject is in one piece, unless its rows are apart in the shard.

        Raises:
            ValueError: columns are missing or have unsuitable dtypes, rows have no subject, or the file is damaged.
        """
        with reading(shard):
            try:
                for rows in self._whole_subjects(shard):
                    yield from self._by_split(shard, in_order(rows))
            except ValueError as error:
                error.add_note(f"It is in {shard}.")
                raise

    def _whole_subjects(self, shard: Path) -> Iterator[pl.DataFrame]:
        scan, n_rows = self._rows(shard), rows_in(shard)
        if n_rows <= self.piece_rows:
            yield scan.collect()
            return
        rest = pl.DataFrame(schema=scan.collect_schema())
        for start in range(0, n_rows, self.piece_rows):
            rows = pl.concat([rest, scan.slice(start, self.piece_rows).collect()])
            subject = rows[SUBJECT_ID]
            others = (subject != subject[-1]).arg_true()  # the last subject may have rows in the next piece
            end = 0 if others.is_empty() else int(others[-1]) + 1
            if end:
                yield rows[:end]
            rest = rows[end:]
        yield rest

    def _rows(self, shard: Path) -> pl.LazyFrame:
        scan = scan_parquet(shard)
        schema = scan.collect_schema()
        coded = [] if schema[CODE].is_integer() else [CODE]
        rows = checked(scan, SUBJECT_ID, NUMERIC_VALUE, *coded, *([TIME] if TIME in schema else []))
        code = pl.col(CODE) if coded else self._code_of_index(schema[CODE])
        time = pl.col(TIME) if TIME in schema else pl.lit(None)
        return rows.select(
            pl.col(SUBJECT_ID).cast(pl.Int64),
            time.cast(pl.Datetime("us")).alias(TIME),
            code.fill_null(NO_CODE).alias(CODE),
            pl.col(NUMERIC_VALUE).cast(pl.Float32),
        )

    def _code_of_index(self, dtype: pl.DataType) -> pl.Expr:
        """Codes for the numbers that normalization puts in their place; a number stays where nothing says its code."""
        number = pl.col(CODE)
        if self._vocabulary is None:
            return number.cast(pl.String)
        index, code = self._vocabulary[VOCAB_INDEX].cast(dtype), self._vocabulary[CODE]
        return number.replace_strict(index, code, default=number.cast(pl.String), return_dtype=pl.String)

    @cached_property
    def _vocabulary(self) -> pl.DataFrame | None:
        codes = self.dataset.codes()
        if codes is None or VOCAB_INDEX not in codes.columns:
            return None
        return codes.select(pl.col(CODE).cast(pl.String), VOCAB_INDEX).drop_nulls().unique(VOCAB_INDEX)

    @cached_property
    def _splits(self) -> pl.DataFrame | None:
        return self.dataset.splits()

    def _by_split(self, shard: Path, rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        """The rows by split: that of the shard's folder, or where the folder is none, that of each subject."""
        folder, splits = shard.relative_to(self.dataset.data).parts[0], self._splits
        in_folder = folder != shard.name
        if splits is None or (in_folder and folder in splits[SPLIT]):
            yield folder if in_folder else NO_SPLIT, rows
            return
        of_subject = splits.unique(SUBJECT_ID, keep="first", maintain_order=True)
        found = rows.join(of_subject, on=SUBJECT_ID, how="left", maintain_order="left")
        for key, part in (
            found.with_columns(pl.col(SPLIT).fill_null(NO_SPLIT)).partition_by(SPLIT, as_dict=True).items()
        ):
            yield str(key[0]), part.drop(SPLIT)
