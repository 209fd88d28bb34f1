"""Files: whole or not at all, whatever their names, readable as the user's umask says."""

import os
import stat
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from helpers import files_below
from MEDS_transforms.dataset.io import (
    is_complete,
    is_complete_parquet_file,
    publish,
    scan_parquet,
    write_arrow,
    write_lazyframe,
    write_parquet,
    write_parquets,
)

DF = pl.DataFrame({"subject_id": [1, 2], "code": ["A", None]})


@pytest.mark.parametrize("name", ["0.parquet", "[0-10).parquet", "a b/*?{x}.parquet"])
@pytest.mark.parametrize("frame", [DF, DF.lazy()], ids=["eager", "lazy"])
def test_what_is_written_is_scanned(tmp_path, name, frame):
    write_lazyframe(frame, tmp_path / "new" / name)
    assert_frame_equal(scan_parquet(tmp_path / "new" / name).collect(), DF)


@pytest.mark.parametrize("fast", [True, False])
def test_several_files_have_the_bytes_that_each_has_alone(tmp_path, fast):
    rows = pl.DataFrame({"code": ["A", None, "B"] * 50, "tokens": [[n] * (n % 3) for n in range(150)]})
    frames = {f"{n}/x.parquet": rows.slice(n * 10, n * 30) for n in range(4)}
    write_parquets({tmp_path / name: frame for name, frame in frames.items()}, fast)
    for name, frame in frames.items():
        write_parquet(frame, tmp_path / "alone.parquet", fast)
        assert (tmp_path / name).read_bytes() == (tmp_path / "alone.parquet").read_bytes()


@pytest.mark.parametrize("fast", [True, False])
def test_both_ways_of_writing_give_the_same_frame(tmp_path, fast):
    write_parquet(DF, tmp_path / "x.parquet", fast=fast)
    assert_frame_equal(pl.read_parquet(tmp_path / "x.parquet"), DF)


def test_write_arrow_gives_exactly_the_schema(tmp_path):
    schema = pa.schema([("code", pa.string()), ("note", pa.large_string()), ("parents", pa.list_(pa.string()))])
    df = pl.DataFrame({"parents": [["x"], None], "note": ["n", ""], "code": ["A", None]})
    write_arrow(df, schema, tmp_path / "new" / "x.parquet")
    assert pq.read_schema(tmp_path / "new" / "x.parquet").equals(schema)
    assert pq.read_table(tmp_path / "new" / "x.parquet").schema.equals(schema)
    assert_frame_equal(pl.read_parquet(tmp_path / "new" / "x.parquet"), df.select("code", "note", "parents"))


def test_write_arrow_gives_the_same_bytes_for_the_same_rows(tmp_path):
    schema = pa.schema([("code", pa.string())])
    write_arrow(DF, schema, tmp_path / "whole.parquet")
    write_arrow(pl.concat([DF[:1], DF[1:]], rechunk=False), schema, tmp_path / "pieces.parquet")
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "pieces.parquet").read_bytes()


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def in_chunks(df, n):
    return pl.concat([df[i : i + n] for i in range(0, df.height, n)], rechunk=False)


@pytest.mark.parametrize("fast", [True, False])
def test_the_same_rows_give_the_same_bytes_however_they_are_laid_out_in_memory(tmp_path, fast):
    """Else a file would depend on whether its rows come from another file or from a function."""
    n = 110_000
    number = pl.int_range(n)
    text = pl.when(number % 7 > 0).then(pl.format("a text that is too long for a view: {}", number % 1000))
    df = pl.select(
        subject_id=number // 100,
        time=(number * 7919).cast(pl.Datetime("us")),
        code=pl.format("C{}", number % 300),
        numeric_value=pl.when(number % 3 > 0).then(number * 0.1).cast(pl.Float32),
        text_value=text,
        rare=pl.when(number == n - 2).then(pl.lit("x")),
        kind=text.cast(pl.Categorical),
        true=number % 2 == 0,
        list=pl.concat_list(text, text),
        lists=pl.concat_list(pl.concat_list(number, number), pl.concat_list(number)),
        struct=pl.struct(a=number, b=text),
    ).rechunk()
    layouts = {
        "whole": df,
        "chunks": in_chunks(df, 33_333),
        "many chunks": in_chunks(df, 1_000),
        "row groups": in_chunks(df, 100_000),
        "part of a larger frame": pl.concat([df.head(1_234), df, df])[1_234 : 1_234 + n],
        "filtered": pl.concat([in_chunks(df, 70_000).with_columns(x=y) for y in (1, 2)]).filter(x=1).drop("x"),
        "filtered lazily": pl.concat([df, df]).lazy().with_row_index("x").filter(pl.col("x") < n).drop("x"),
        "gathered": df.reverse()[np.arange(n)[::-1]],
        "collected": df.lazy(),
    }
    written = {}
    for name, frame in layouts.items():
        write_parquet(frame, tmp_path / name, fast=fast)
        written[name] = (tmp_path / name).read_bytes()
        write_arrow(frame.lazy().collect(), df.head(0).to_arrow().schema, tmp_path / name)
        written[name] += (tmp_path / name).read_bytes()
    assert [name for name, found in written.items() if found != written["whole"]] == []
    assert scan_parquet(tmp_path / "whole").collect().equals(df)


@pytest.mark.parametrize("kept", [0, 4, 11, 60, -1, -4, -8])
def test_a_truncated_parquet_file_is_not_complete(tmp_path, kept):
    path = tmp_path / "x.parquet"
    DF.write_parquet(path)
    assert is_complete_parquet_file(path)
    cut(path, kept)
    assert not is_complete_parquet_file(path)


def test_a_file_with_the_right_ends_and_an_impossible_footer_is_not_complete(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1")
    assert not is_complete_parquet_file(path)


def test_what_is_no_file_is_not_complete(tmp_path):
    assert not is_complete_parquet_file(tmp_path / "none.parquet")
    assert not is_complete_parquet_file(tmp_path)


def test_files_of_other_kinds_are_complete_where_they_are(tmp_path):
    path = tmp_path / "x.json"
    assert not is_complete(path)
    path.write_text("")
    assert is_complete(path)
    (tmp_path / "x.parquet").write_text("")
    assert not is_complete(tmp_path / "x.parquet")


def test_publish_hands_over_a_path_of_the_same_name_in_a_hidden_folder(tmp_path):
    seen = []

    def write(scratch: Path) -> None:
        seen.append(scratch)
        assert not (tmp_path / "a" / "x.json.gz").exists()
        scratch.write_text("new")

    publish(tmp_path / "a" / "x.json.gz", write)
    assert seen[0].parent.parent == tmp_path / "a"
    assert seen[0].parent.name.startswith(".")
    assert seen[0].name == "x.json.gz"
    assert files_below(tmp_path) == ["a/x.json.gz"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, kind):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def write(scratch: Path) -> None:
        scratch.write_text("half")
        raise kind

    with pytest.raises(kind):
        publish(path, write)
    assert path.read_text() == "old"
    assert files_below(tmp_path) == ["x.txt"]


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    path = tmp_path / "x.txt"
    scratches = []
    publish(path, lambda scratch: scratches.append(scratch) or scratch.write_text("first"))
    scratches[0].parent.mkdir()
    scratches[0].write_text("left by a dead worker, and longer than what comes")
    publish(path, lambda scratch: scratch.write_text("second"))
    assert path.read_text() == "second"
    assert files_below(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize(
    "write",
    [
        partial(write_parquet, DF),
        partial(write_lazyframe, DF.lazy()),
        partial(write_arrow, DF, pa.schema([("code", pa.string())])),
    ],
    ids=["write_parquet", "write_lazyframe", "write_arrow"],
)
def test_permissions_follow_the_umask(tmp_path, umask, write):
    before = os.umask(umask)
    try:
        publish(tmp_path / "x.parquet", write)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.parquet").stat().st_mode) == 0o666 & ~umask
