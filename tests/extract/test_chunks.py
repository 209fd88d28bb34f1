"""Chunks: their names, their order, and what is said where rows are missing."""

import pytest

from MEDS_transforms.extract.chunks import chunk_name, complete_chunks, find_chunks


def touch(folder, *rows):
    for start, end in rows:
        (folder / f"{chunk_name(start, end)}.parquet").touch()


def test_chunks_come_in_row_order_not_in_that_of_their_names(tmp_path):
    touch(tmp_path, (100, 110), (0, 20), (20, 100))
    (tmp_path / ".[0-20).parquet.lock").touch()
    (tmp_path / "[0-20).txt").touch()
    (tmp_path / "[a-b).parquet").touch()
    assert [chunk.rows for chunk in complete_chunks(tmp_path)] == ["[0-20)", "[20-100)", "[100-110)"]


def test_no_chunks(tmp_path):
    assert find_chunks(tmp_path / "none") == []
    with pytest.raises(FileNotFoundError, match=r"none.*shard_events"):
        complete_chunks(tmp_path / "none")


@pytest.mark.parametrize(
    ("there", "missing"),
    [([(10, 20)], "0 to 10"), ([(0, 10), (20, 30)], "10 to 20")],
)
def test_a_gap_is_an_error(tmp_path, there, missing):
    touch(tmp_path, *there)
    with pytest.raises(FileNotFoundError, match=missing):
        complete_chunks(tmp_path)
