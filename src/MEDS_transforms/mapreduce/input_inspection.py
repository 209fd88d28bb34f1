"""A look at the MEDS dataset that a pipeline reads: its shards, the first rows of some, and its splits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.measurements import checked
from ..dataset.schema import CODE, NUMERIC_VALUE, SPLIT, SUBJECT_ID, TIME
from ..errors import UserError, counted, listed
from ..precheck.report import Inspection
from ..settings.splits_in_force import splits_in_force
from ..work.files import is_complete_parquet_file
from .flow import Form, form_in
from .limits import percent
from .mapper import Shards
from .shards import shard_iterator

NO_MEDS, DAMAGED, NULL_CODES, UNSORTED, SPLITS = "meds_schema", "unreadable", "code_null", "unsorted", "splits"
_MOST_SHARDS, _MOST_ROWS = 20, 100_000


def inspect_input(cfg: Mapping[str, Any]) -> Inspection:
    """What is wrong with the shards that a stage reads, which are there before the pipeline runs."""
    found, folder = Inspection(), Path(cfg["stage_cfg"]["data_input_dir"])
    try:
        paths = sorted(path for path, _ in shard_iterator(cfg)[0])
    except UserError as error:
        found.add_error(error, str(folder))
        return found
    found.bytes_made = sum(path.stat().st_size for path in paths)
    splits = splits_in_force(cfg)
    if not splits.are_newer_than_shards:  # else a stage will make them
        try:
            Shards(cfg)
        except UserError as error:
            found.add_error(error, str(folder), SPLITS)
    if damaged := [path for path in paths if not is_complete_parquet_file(path)]:
        what = f"{counted(len(damaged), 'shard')} cannot be read, such as {damaged[0].name}: damaged or truncated"
        found.error(DAMAGED, str(damaged[0]), what, "Get a new copy")
    elif form_in(folder) in (Form.MEASUREMENTS, None):
        _inspect_shards(_some_of(paths), found)
        if not found.remarks and not splits.are_newer_than_shards:
            _inspect_splits(splits.path, paths[0], found)
    return found


def _some_of(paths: Sequence[Path]) -> Sequence[Path]:
    """Some paths, from first to last."""
    step = -(-len(paths) // _MOST_SHARDS)
    return paths[::step]


def _inspect_shards(paths: Sequence[Path], found: Inspection) -> None:
    empty = []
    for path in paths:
        schema = pl.read_parquet_schema(path)
        try:
            checked(pl.LazyFrame(schema=schema), SUBJECT_ID, TIME, CODE, NUMERIC_VALUE)
        except UserError as error:
            found.add_error(error, str(path), NO_MEDS)
            return
        rows = pl.scan_parquet(path, glob=False).select(SUBJECT_ID, TIME, CODE).head(_MOST_ROWS // len(paths)).collect()
        empty += [] if rows.height else [path]
        _inspect_rows(path, rows, found)
    if len(empty) == len(paths):
        found.warning("empty_table", str(paths[0].parent), "no shard has any rows", "Check input_dir")


def _inspect_rows(path: Path, rows: pl.DataFrame, found: Inspection) -> None:
    n_codes, n_ids = rows[CODE].null_count(), rows[SUBJECT_ID].null_count()
    if n_codes:
        what = f"measurements without a code: {percent(n_codes, rows.height)} of the first rows"
        found.warning(NULL_CODES, str(path), what, "Correct the data, or remove these rows")
    if n_ids:
        what = f"measurements without a subject_id: {percent(n_ids, rows.height)} of the first rows"
        found.error("ids_null", str(path), what, "Correct the data: events of no subject can be in no sequence")
    elif not _is_sorted(rows):
        what = "the rows are not sorted by subject_id and time (null first)"
        found.warning(UNSORTED, str(path), what, "Sort the shards; some stages count on it")


def _is_sorted(rows: pl.DataFrame) -> bool:
    later = pl.col(SUBJECT_ID) > pl.col(SUBJECT_ID).shift(1)
    same = pl.col(SUBJECT_ID) == pl.col(SUBJECT_ID).shift(1)
    time, before = pl.col(TIME), pl.col(TIME).shift(1)
    in_time = before.is_null() | (time >= before).fill_null(False)
    return bool(rows.select((later | (same & in_time)).fill_null(True).all()).item())


def _inspect_splits(path: Path, shard: Path, found: Inspection) -> None:
    """Whether the splits are a table of splits, and know the subjects of a shard."""
    if not path.is_file():
        return
    try:
        splits = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        found.error(SPLITS, str(path), f"it cannot be read: {str(error).splitlines()[0]}", "Get a new copy")
        return
    if missing := [name for name in (SUBJECT_ID, SPLIT) if name not in splits.columns]:
        what = f"there is no column {listed(missing)}; it has {listed(splits.columns)}"
        found.error(SPLITS, str(path), what, "Correct the file of splits")
        return
    if (twice := splits.filter(pl.col(SUBJECT_ID).is_duplicated())).height:
        what = f"subjects are in it several times, such as {twice[SUBJECT_ID][0]}"
        found.warning(SPLITS, str(path), what, "Keep each subject in one split")
    subjects = pl.scan_parquet(shard, glob=False).select(SUBJECT_ID).head(_MOST_ROWS).unique().collect().to_series()
    unknown = subjects.filter(~subjects.is_in(splits[SUBJECT_ID].implode()))
    if unknown.len():
        what = f"{shard.name} has {counted(unknown.len(), 'subject')} of no split, such as {unknown[0]}"
        found.warning(SPLITS, str(path), what, "Check that the splits are of this dataset")
