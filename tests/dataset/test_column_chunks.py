"""A file with copied columns is the same as one written anew."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from MEDS_transforms.dataset.column_chunks import write_changed
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
_COPIES = {*BEFORE.columns}
CHANGED = {
    "a value": (BEFORE.with_columns(_HALVED), {"numeric_value"}, _COPIES - {"numeric_value"}),
    "a new column at the end": (BEFORE.with_columns(new=True), {"new"}, _COPIES),
    "a new column in the middle": (BEFORE.clone().insert_column(1, pl.Series("ü", np.arange(N)[::-1])), {"ü"}, _COPIES),
    "text": (
        BEFORE.with_columns(code=pl.col("code") + "!", text_value=pl.lit(None, pl.String)),
        {"code", "text_value"},
        _COPIES - {"code", "text_value"},
    ),
    "a column less": (
        BEFORE.with_columns(_HALVED).drop("time"),
        {"numeric_value"},
        _COPIES - {"numeric_value", "time"},
    ),
    "another order": (BEFORE[BEFORE.columns[::-1]], {"code"}, _COPIES - {"code"}),
    "another dtype": (BEFORE.cast({"subject_id": pl.Int32}), {"code"}, _COPIES - {"code", "subject_id"}),
    "lists": (BEFORE.with_columns(lists=pl.concat_list(pl.concat_list("code", "text_value"))), {"lists"}, _COPIES),
    "all": (BEFORE[::-1], _COPIES, set()),
}
"""Frames, the columns that may have changed, and those that are to be copied."""


def anew(df, tmp_path):
    write_parquet(df, tmp_path / "anew.parquet", fast=True)
    return (tmp_path / "anew.parquet").read_bytes()


def changed(df, changes, tmp_path, before=BEFORE, write=write_parquet, **options):
    write(before, tmp_path / "before.parquet", **(options or {"fast": True}))
    path = tmp_path / "new folder" / "changed.parquet"
    copied = write_changed(df, path, tmp_path / "before.parquet", changes)
    return path.read_bytes(), copied


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("change", CHANGED)
def test_the_bytes_are_those_of_writing_anew(tmp_path, change, lazy):
    df, changes, copied = CHANGED[change]
    found, names = changed(df.lazy() if lazy else df, changes, tmp_path)
    # NOTE: not compared in an assertion, which would show a difference of megabytes for minutes.
    is_same = found == anew(df, tmp_path)
    assert is_same
    assert set(names) == copied
    assert pl.read_parquet(tmp_path / "new folder" / "changed.parquet").equals(df)
    assert pq.read_table(tmp_path / "new folder" / "changed.parquet").num_rows == N


def test_of_a_query_only_the_columns_that_change_are_computed(tmp_path):
    def fail(_):
        raise AssertionError("a column that is copied was computed")

    df = BEFORE.lazy().with_columns(_HALVED, pl.col("code").map_batches(fail, pl.String))
    found, _ = changed(df, {"numeric_value"}, tmp_path)
    is_same = found == anew(BEFORE.with_columns(_HALVED), tmp_path)
    assert is_same


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
    found, copied = changed(df, {"numeric_value"}, tmp_path, write=write, **options)
    is_same = found == anew(df, tmp_path)
    assert is_same
    assert copied == []


@pytest.mark.parametrize("df", [BEFORE.head(5), BEFORE[1:], BEFORE.clear()], ids=["few rows", "one row less", "no row"])
def test_fewer_rows_are_encoded(tmp_path, df):
    assert changed(df, {"numeric_value"}, tmp_path) == (anew(df, tmp_path), [])


def test_an_empty_shard(tmp_path):
    df = BEFORE.clear().with_columns(new=1)
    assert changed(df, {"new"}, tmp_path, before=BEFORE.clear())[0] == anew(df, tmp_path)


def test_a_column_of_categories_is_not_taken_for_one_of_text(tmp_path):
    before = BEFORE.with_columns(pl.col("code").cast(pl.Categorical))
    _, copied = changed(BEFORE.with_columns(_HALVED), {"numeric_value"}, tmp_path, before=before)
    assert "code" not in copied
    assert "text_value" in copied
