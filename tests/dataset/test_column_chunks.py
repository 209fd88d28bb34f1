"""A file with copied columns is the same as one written anew."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from MEDS_transforms.dataset.column_chunks import unchanged, write_changed
from MEDS_transforms.dataset.io import write_parquet

N = 230_000
_NUMBER = pl.int_range(N)
_TEXT = pl.when(_NUMBER % 7 > 0).then(pl.format("a text that is too long for a view: {}", _NUMBER % 1000))
BEFORE = pl.select(
    subject_id=_NUMBER // 100,
    time=pl.when(_NUMBER > 0).then(_NUMBER * 7919).cast(pl.Datetime("us")),
    code=pl.format("C{}", _NUMBER % 300),
    numeric_value=pl.when(_NUMBER % 3 > 0).then(_NUMBER * 0.1).cast(pl.Float32),
    text_value=_TEXT,
    none=pl.lit(None, pl.String),
    true=_NUMBER % 2 == 0,
    struct=pl.struct(a=_NUMBER, b=_TEXT),
).rename({"none": "*"})

_HALVED = pl.col("numeric_value") / 2
CHANGES = {
    "a value": (BEFORE.with_columns(_HALVED), set()),
    "a new column at the end": (BEFORE.with_columns(_HALVED, pl.lit(True).alias("new")), set()),
    "a new column in the middle": (BEFORE.clone().insert_column(1, pl.Series("ü", np.arange(N)[::-1])), set()),
    "text": (
        BEFORE.with_columns(code=pl.col("code") + "!", text_value=pl.lit(None, pl.String)),
        {"code", "text_value"},
    ),
    "a column less": (BEFORE.with_columns(_HALVED).drop("time"), {"time"}),
    "another order": (BEFORE[BEFORE.columns[::-1]], set()),
    "another dtype": (BEFORE.cast({"subject_id": pl.Int32}), {"subject_id"}),
    "lists": (BEFORE.with_columns(lists=pl.concat_list(pl.concat_list("code", "text_value"))), set()),
}
"""Frames, and which columns are not as they were, beside those that are always encoded."""


def anew(df, tmp_path):
    write_parquet(df, tmp_path / "anew.parquet", fast=True)
    return (tmp_path / "anew.parquet").read_bytes()


def changed(df, tmp_path, before=BEFORE, write=write_parquet, **options):
    write(before, tmp_path / "before.parquet", **(options or {"fast": True}))
    path = tmp_path / "new folder" / "changed.parquet"
    copied = write_changed(df, path, tmp_path / "before.parquet", before)
    return path.read_bytes(), copied


@pytest.mark.parametrize("change", CHANGES)
def test_the_bytes_are_those_of_writing_anew(tmp_path, change):
    df, copied = CHANGES[change]
    found, names = changed(df, tmp_path)
    # NOTE: not compared in an assertion, which would show a difference of megabytes for minutes.
    is_same = found == anew(df, tmp_path)
    assert is_same
    assert set(names) == {"subject_id", "time", "code", "text_value", "*", "true"} - copied
    assert pl.read_parquet(tmp_path / "new folder" / "changed.parquet").equals(df)
    assert pq.read_table(tmp_path / "new folder" / "changed.parquet").num_rows == N


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (write_parquet, {"fast": False}),
        (pl.DataFrame.write_parquet, {"compression": "lz4", "statistics": False}),
        (pl.DataFrame.write_parquet, {"compression": "lz4", "row_group_size": 100_000}),
        (pl.DataFrame.write_parquet, {"compression": "zstd", "statistics": False, "row_group_size": 100_000}),
        (lambda df, path, **kw: pq.write_table(df.to_arrow(), path, **kw), {"compression": "lz4"}),
    ],
)
def test_files_that_were_written_otherwise_are_left_aside(tmp_path, write, options):
    df = BEFORE.with_columns(_HALVED)
    found, copied = changed(df, tmp_path, write=write, **options)
    is_same = found == anew(df, tmp_path)
    assert is_same
    assert copied == []


@pytest.mark.parametrize("df", [BEFORE.head(5), BEFORE.clear()], ids=["few rows", "no row"])
def test_frames_of_other_rows_are_encoded(tmp_path, df):
    assert unchanged(df, BEFORE) == []
    assert changed(df, tmp_path) == (anew(df, tmp_path), [])


def test_where_nothing_changed_nothing_is_copied():
    """Such a file is to be linked."""
    assert unchanged(BEFORE[["code"]], BEFORE) == []


def test_an_empty_shard(tmp_path):
    df = BEFORE.clear().with_columns(new=1)
    assert changed(df, tmp_path, before=BEFORE.clear())[0] == anew(df, tmp_path)


def test_only_what_is_equal_byte_by_byte_is_unchanged():
    before = pl.DataFrame({"a": [0.0], "b": [[1]], "c": [1], "d": ["x"], "e": [None]})
    before = before.with_columns(f=pl.col("d").cast(pl.Categorical))
    df = before.with_columns(a=-pl.col("a"), e=pl.lit(None, pl.String), g=1)
    assert unchanged(df, before) == ["c", "d"]
