"""Rows that are not kept are made once, and left on disk while they are needed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from MEDS_transforms.dataset.categories import CODE_CATEGORIES
from MEDS_transforms.mapreduce.handover import HandOver, handing_over, scan_shard
from MEDS_transforms.mapreduce.interim import interims
from MEDS_transforms.mapreduce.shard_work import ShardWork
from MEDS_transforms.work.accounts import note, noting
from MEDS_transforms.work.files import files_below

ROWS = pl.DataFrame({"subject_id": [1, 2], "code": ["a", "b"]})


class Maker:
    """Makes rows, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> pl.LazyFrame:
        self.made += 1
        note({"rows": {"made": ROWS.height}})
        return ROWS.lazy()


def interim(folder: Path, make: Maker, maker: str = "v1"):
    [found] = interims({folder / "train/0.parquet": make}, folder, "stage", maker).values()
    return found


def test_rows_are_made_once_and_then_read(tmp_path):
    make = Maker()
    for _ in range(3):
        with noting() as account:
            assert interim(tmp_path, make)().lazy().collect().equals(ROWS)
        assert account == {"rows": {"made": 2}}  # for each that reads them
    assert make.made == 1
    assert [*files_below(tmp_path)] == []  # nothing that a stage would read


@pytest.mark.parametrize("takes_categories", [False, True])
def test_only_who_takes_categories_gets_them_and_files_have_texts(tmp_path, takes_categories):
    seen, [source, out_fp, scratch] = [], [tmp_path / name for name in ("source.parquet", "out/0.parquet", "scratch")]

    def look(rows):
        seen.append(rows.lazy().collect_schema()["code"])
        return rows.with_columns(new=1)

    work = ShardWork(out_fp.parent, "stage", look, takes_categories=takes_categories)
    makers = {source: interim(tmp_path, Maker())}
    for read in (lambda: work.frame(source, out_fp), lambda: work.make(source, out_fp, scratch)):
        with handing_over(HandOver([source], makers)):
            read()
    assert seen == [CODE_CATEGORIES if takes_categories else pl.String] * 2
    assert_frame_equal(pl.read_parquet(scratch / "0.parquet").drop("new"), ROWS)
    with handing_over(HandOver([source], makers)):
        assert_frame_equal(scan_shard(source).collect(), ROWS)


def test_rows_of_another_maker_are_not_read(tmp_path):
    make = Maker()
    interim(tmp_path, make)()
    interim(tmp_path, make, "v2")()
    assert make.made == 2


def test_a_file_that_is_not_whole_is_made_again(tmp_path):
    make = Maker()
    interim(tmp_path, make)()
    [path] = [path for path in tmp_path.rglob("*.parquet") if path.is_file()]
    path.write_bytes(path.read_bytes()[:-9])
    assert interim(tmp_path, make)().lazy().collect().equals(ROWS)
    assert make.made == 2


def test_threads_that_need_the_same_rows_at_the_same_time_make_them_once(tmp_path):
    make, together = Maker(), Barrier(4)

    def read(_: int) -> int:
        together.wait()
        return interim(tmp_path, make)().lazy().collect().height

    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(read, range(4))] == [2] * 4
    assert make.made == 1


def test_what_could_not_be_made_leaves_nothing(tmp_path):
    def fail() -> pl.LazyFrame:
        return ROWS.lazy().select(pl.col("code").cast(pl.Int64))

    with pytest.raises(pl.exceptions.InvalidOperationError):
        interim(tmp_path, fail)()
    assert [path for path in tmp_path.rglob("*.parquet") if path.is_file()] == []
