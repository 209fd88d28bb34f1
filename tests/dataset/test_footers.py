"""The rows of a file by its footer are those that polars finds, whoever wrote the file."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from MEDS_transforms.dataset import footers
from MEDS_transforms.dataset.footers import rows_in
from MEDS_transforms.dataset.io import write_parquet

FRAME = pl.DataFrame(
    {"ä": range(1000), "list": [[i, None] for i in range(1000)], "text": ["x" * i for i in range(1000)]}
)
WRITERS = {
    "fast": lambda df, path: write_parquet(df, path, fast=True),
    "small": write_parquet,
    "pyarrow": lambda df, path: pq.write_table(df.to_arrow(), path, row_group_size=7),
    "metadata": lambda df, path: df.write_parquet(path, metadata={"key": "PAR1" * 1000}),
}


@pytest.fixture
def no_query(monkeypatch):
    """What asks polars fails."""
    monkeypatch.setattr(footers.pl, "scan_parquet", lambda *_, **__: pytest.fail("polars was asked"))


@pytest.mark.usefixtures("no_query")
@pytest.mark.parametrize("n", [0, 1, 1000])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_rows(tmp_path, write, n):
    write(FRAME.head(n), tmp_path / "a.parquet")
    assert rows_in(tmp_path / "a.parquet") == n


def damaged(path: Path, change) -> Path:
    """A file of one row whose bytes were changed."""
    write_parquet(FRAME.head(1), path)
    path.write_bytes(change(path.read_bytes()))
    return path


CHANGES = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "no magic word": lambda data: data[:-4] + b"PARE",
    "a footer larger than the file": lambda data: data[:-8] + b"\xff\xff\xff\x7f" + data[-4:],
    "zeros": lambda data: b"\0" * len(data),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_no_parquet_file_is_an_error_of_polars(tmp_path, change):
    path = damaged(tmp_path / "a.parquet", change)
    with pytest.raises(pl.exceptions.PolarsError):
        rows_in(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        rows_in(tmp_path / "a.parquet")
