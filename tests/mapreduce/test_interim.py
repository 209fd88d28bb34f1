"""Rows that are not kept are made once, and left on disk while they are needed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest

from MEDS_transforms.mapreduce.interim import interims
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
