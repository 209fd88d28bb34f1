"""Checks what no shard shows by itself: whether a subject is in one shard only, and in one split."""

from pathlib import Path

import polars as pl
import pyarrow as pa

from ..dataset.columns import internal
from ..dataset.schema import SPLIT, SUBJECT_ID
from ..errors import counted
from .columns import check_columns, has, is_id, is_text
from .findings import EXAMPLES, Findings, some
from .shard import N_ROWS, ROW
from .standards import SPLIT_NAMES, Table
from .tables import read_columns

SHARD = internal("shard")
SUBJECTS = {SUBJECT_ID: pl.Int64, ROW: pl.Int64, N_ROWS: pl.Int64, SHARD: pl.UInt32}
"""The subjects of all shards: the first row of each there, how many there are, the number of the shard."""
_N_SPLITS = internal("splits")


def check_one_shard_each(subjects: pl.DataFrame, shards: list[str], findings: Findings) -> None:
    """Adds the subjects that are in several shards, which it names."""
    several = subjects.filter(pl.col(SUBJECT_ID).is_duplicated()).sort(SUBJECT_ID, SHARD)
    if several.is_empty():
        return
    n = several[SUBJECT_ID].n_unique()
    first = several.filter(pl.col(SUBJECT_ID) == several[SUBJECT_ID][0])
    names = " and ".join(shards[shard] for shard in first[SHARD].head(EXAMPLES))
    what = f"{counted(n, 'subject')} in several shards, such as {first[SUBJECT_ID][0]} in {names}"
    places = _places(several, shards)
    findings.add("subject_in_two_shards", places[0][0], what, n, places, several[SHARD].n_unique())


def check_splits(
    path: Path, table: Table, subjects: pl.DataFrame, shards: list[str], is_all: bool, findings: Findings
) -> pl.DataFrame | None:
    """Adds what is wrong with the splits.

    Args:
        path: of subject_splits.parquet.
        table: what MEDS asks of it.
        subjects: those of all shards.
        shards: the names of the shards, by number.
        is_all: whether these are all subjects; not so where a shard could not be read.
        findings: to add to.

    Returns:
        For each split, how many `subjects` and `measurements` the data have; None if the splits cannot be read.
    """
    where = findings.name(path)

    def wanted(schema: pa.Schema) -> list[str]:
        check_columns(schema, table, where, findings)
        fits = {SUBJECT_ID: is_id, SPLIT: is_text}
        return [*fits] if all(has(schema, name, fit) for name, fit in fits.items()) else []

    found = read_columns(path, wanted, where, findings)
    if found is None:
        return None
    splits = found.select(pl.col(SUBJECT_ID).cast(pl.Int64), pl.col(SPLIT).cast(pl.String))
    complete = splits.drop_nulls()
    if n := splits.height - complete.height:
        findings.add("null_split", where, f"{counted(n, 'row')} without a subject or a split", n)
    _check_repeats(complete, where, findings)
    _check_names(complete, where, findings)
    _check_subjects(complete, subjects, shards, is_all, where, findings)
    _check_folders(complete, subjects, shards, findings)
    counts = subjects.join(complete.unique(), on=SUBJECT_ID).group_by(SPLIT)
    return counts.agg(subjects=pl.col(SUBJECT_ID).n_unique(), measurements=pl.col(N_ROWS).sum()).sort(SPLIT)


def _check_repeats(splits: pl.DataFrame, where: str, findings: Findings) -> None:
    per_subject = splits.group_by(SUBJECT_ID).agg(pl.len().alias(N_ROWS), pl.col(SPLIT).n_unique().alias(_N_SPLITS))
    several = per_subject.filter(pl.col(_N_SPLITS) > 1)[SUBJECT_ID].sort()
    if n := several.len():
        findings.add("subject_in_two_splits", where, f"{counted(n, 'subject')} in several splits: {_ids(several)}", n)
    repeated = per_subject.filter((pl.col(_N_SPLITS) == 1) & (pl.col(N_ROWS) > 1))[SUBJECT_ID].sort()
    if n := repeated.len():
        findings.add("split_row_repeats", where, f"{counted(n, 'subject')} in several equal rows: {_ids(repeated)}", n)


def _check_names(splits: pl.DataFrame, where: str, findings: Findings) -> None:
    if others := sorted({*splits[SPLIT].unique()} - {*SPLIT_NAMES}):
        what = f"{counted(len(others), 'split')} of other names: {some(others)}"
        findings.add("split_name", where, what, len(others))


def _check_subjects(
    splits: pl.DataFrame, subjects: pl.DataFrame, shards: list[str], is_all: bool, where: str, findings: Findings
) -> None:
    without = subjects.join(splits, on=SUBJECT_ID, how="anti").sort(SHARD, ROW)
    if n := without.height:
        what = f"{counted(n, 'subject')} of the data without a split: {_ids(without[SUBJECT_ID])}"
        findings.add("subject_without_split", where, what, n, _places(without, shards))
    idle = splits.join(subjects, on=SUBJECT_ID, how="anti")[SUBJECT_ID].unique().sort()
    if is_all and (n := idle.len()):
        findings.add("split_without_data", where, f"{counted(n, 'subject')} without data: {_ids(idle)}", n)


def _check_folders(splits: pl.DataFrame, subjects: pl.DataFrame, shards: list[str], findings: Findings) -> None:
    """Adds the subjects whose shard is below a folder that has the name of another split than theirs."""
    names = {*splits[SPLIT].unique()}
    folders = [split_of_folder(shard, names) for shard in shards]
    folder = pl.DataFrame({SHARD: range(len(shards)), internal("folder"): folders}, schema_overrides={SHARD: pl.UInt32})
    of_one = splits.unique().filter(pl.col(SUBJECT_ID).is_unique())
    known = of_one.join(subjects, on=SUBJECT_ID).join(folder.drop_nulls(), on=SHARD)
    other = known.filter(pl.col(SPLIT) != pl.col(internal("folder"))).sort(SHARD, ROW)
    if n := other.height:
        places = _places(other, shards)
        first = f"{other[SUBJECT_ID][0]} of {other[SPLIT][0]!r} in {other[internal('folder')][0]!r}"
        what = f"{counted(n, 'subject')} in the folder of another split, such as {first}"
        findings.add("other_split_in_folder", places[0][0], what, n, places, other[SHARD].n_unique())


def split_of_folder(shard: str, splits: set[str]) -> str | None:
    """The split that a shard is of, by the names of its folders; None where these name none.

    >>> split_of_folder("data/train/0.parquet", {"train"}), split_of_folder("data/split=a/b/0.parquet", {"a"})
    ('train', 'a')
    """
    folders = [folder.removeprefix(f"{SPLIT}=") for folder in shard.split("/")[1:-1]]
    return next((folder for folder in folders if folder in splits), None)


def _ids(subjects: pl.Series) -> str:
    return some(subjects.head(EXAMPLES + 1).to_list())


def _places(subjects: pl.DataFrame, shards: list[str]) -> list[tuple[str, int]]:
    return [(shards[shard], row) for shard, row in subjects.select(SHARD, ROW).head(EXAMPLES).iter_rows()]
