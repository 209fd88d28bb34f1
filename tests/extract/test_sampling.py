"""Samples of raw tables: which rows, how many all are, and what cannot be read."""

import bz2
import gzip
import lzma
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from helpers import write_table
from MEDS_transforms.extract.event_file.read import read_event_file
from MEDS_transforms.extract.sampling import FIRST_ROWS, LATER_ROWS, Sample, sample_of, text_size
from MEDS_transforms.extract.table_rows import found_table, open_rows

EVENTS = "labs: {lab: {code: [LAB, col(test)], time: null, text: col(note)}}"


def rows(n: int, note: str = "x") -> pl.DataFrame:
    numbers = pl.int_range(n, eager=True)
    return pl.DataFrame({"subject_id": numbers, "test": numbers % 7}).with_columns(note=pl.lit(note))


def sample(folder: Path, events: str = EVENTS) -> Sample:
    (folder / "events.yaml").write_text(events)
    event_file = read_event_file(folder / "events.yaml")
    table = event_file.tables["labs"]
    rights = [found_table(join.table, folder, event_file.options_of(join.table)) for join in table.joins]
    found = sample_of(open_rows(table, found_table("labs", folder, table.options), rights, 100))
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["labs.csv", "labs.csv.gz", "labs.parquet"])
def test_of_a_small_table_all_rows(tmp_path, name):
    write_table(tmp_path / name, rows(50))
    found = sample(tmp_path)
    assert (found.frame.height, found.n_rows, found.is_whole, found.error) == (50, 50, True, None)
    assert found.ids.to_list() == ([] if name.endswith("parquet") else [str(n) for n in range(50)])


@pytest.mark.parametrize(("name", "n"), [("labs.csv", 2_500_000), ("labs.parquet", 200_000)])
def test_of_a_large_table_rows_of_three_places(tmp_path, name, n):
    write_table(tmp_path / name, rows(n, "a note of some length"))
    found = sample(tmp_path)
    ids = found.frame["subject_id"]
    assert ids.len() == FIRST_ROWS + 2 * LATER_ROWS
    assert ids[FIRST_ROWS - 1] == FIRST_ROWS - 1
    assert 0.4 * n < ids[FIRST_ROWS] < 0.6 * n
    assert ids[-1] > 0.9 * n
    assert (found.is_whole, found.is_spread) == (False, True)
    assert found.n_rows == pytest.approx(n, rel=0.1)


def test_of_compressed_text_the_first_rows(tmp_path):
    write_table(tmp_path / "labs.csv.gz", rows(100_000))
    found = sample(tmp_path)
    assert (found.frame.height, found.is_whole, found.is_spread) == (FIRST_ROWS, False, False)
    assert found.n_rows == pytest.approx(100_000, rel=0.3)
    assert text_size(tmp_path / "labs.csv.gz") == pytest.approx(len(rows(100_000).write_csv()), rel=0.3)


def in_members(text: bytes) -> bytes:
    """As several cores, or bgzip, compress."""
    return b"".join(gzip.compress(text[at : at + 65_000]) for at in range(0, len(text), 65_000))


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", in_members),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", lambda text: pa.compress(text, "zstd", asbytes=True)),
    ],
)
def test_the_size_of_compressed_text_is_estimated_by_its_beginning(suffix, compress, tmp_path):
    text = "".join(f"{n * 7919 % 1_000_003},K,{n}\n" for n in range(600_000)).encode()
    path = tmp_path / f"labs.csv{suffix}"
    path.write_bytes(compress(text))
    assert text_size(path) == pytest.approx(len(text), rel=0.3)


def test_of_parts_the_first_one_and_others(tmp_path):
    for part in range(5):
        write_table(
            tmp_path / "labs" / f"{part}.csv", rows(10).with_columns(subject_id=pl.col("subject_id") + 100 * part)
        )
    found = sample(tmp_path)
    assert found.frame["subject_id"].unique().sort().to_list() == [
        100 * part + n for part in (0, 2, 4) for n in range(10)
    ]
    assert (found.is_whole, found.is_spread) == (False, True)
    assert found.n_rows == pytest.approx(50, abs=6)


def test_lines_within_quotes_are_no_mistake(tmp_path):
    write_table(tmp_path / "labs.csv", rows(1_500_000, "a, note,,\nof\nmany, lines"))
    found = sample(tmp_path)
    assert found.error is None
    assert found.frame.height >= FIRST_ROWS


def test_a_wrong_row_is_told_as_the_run_tells_it(tmp_path):
    (tmp_path / "labs.csv").write_text(rows(5).write_csv() + "7,7\n")
    found = sample(tmp_path)
    assert "row 6 after the header: it has 2 fields" in str(found.error)
    assert found.frame.height == 0


def test_other_tables_are_joined(tmp_path):
    write_table(tmp_path / "labs.csv", rows(20).drop("note"))
    write_table(tmp_path / "tests.csv", pl.DataFrame({"test": range(7), "note": [f"n{n}" for n in range(7)]}))
    events = EVENTS.replace("labs: {", "labs: {join: {table: tests, on: test, columns: [note]}, ")
    found = sample(tmp_path, events)
    assert found.frame["note"].to_list() == [f"n{n % 7}" for n in range(20)]
    assert found.is_whole
