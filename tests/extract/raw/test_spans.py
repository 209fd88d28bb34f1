"""Rows are found again at the places that were noted of them, whatever the file."""

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extract.raw.texts import COMPRESS
from MEDS_transforms.extract.raw.dialect import Dialect
from MEDS_transforms.extract.raw.spans import Span, spans_of_chunks, within
from MEDS_transforms.extract.raw.table import RawTable
from MEDS_transforms.work.raw_tables import find_parts

CELLS = st.text(st.sampled_from('ab",\n é'), max_size=5)
ROWS = st.lists(st.tuples(st.integers(0, 99).map(str), CELLS), max_size=12)


def text_of(rows, line_end="\n", bom=False, last_end=True) -> bytes:
    """Fields are quoted only where they must be; others keep the quotes that are within them."""

    def cell(text):
        return '"' + text.replace('"', '""') + '"' if {",", "\n"} & {*text} or text[:1] == '"' else text

    text = "".join(",".join(map(cell, row)) + line_end for row in [("id", "c"), *rows])
    return (b"\xef\xbb\xbf" if bom else b"") + (text if last_end else text.removesuffix(line_end)).encode()


def table_of(folder, parts, block=5, dialect=None) -> RawTable:
    """A table of text files and of frames, in their order."""
    (folder / "t").mkdir()
    for number, part in enumerate(parts):
        path = folder / "t" / f"{number:02}.{'csv' if isinstance(part, bytes) else 'parquet'}"
        if isinstance(part, bytes):
            path.write_bytes(part)
        else:
            part.write_parquet(path, row_group_size=2)
    return RawTable("t", find_parts(folder, "t"), dialect or Dialect(), block=block)


def check(table: RawTable, row_chunksize: int) -> None:
    """Reads the chunks from the last to the first, and compares them with the rows of the whole table."""
    schema = table.schema(["id", "c"], ["c"], None)
    whole = pl.concat([pl.DataFrame(schema=schema), *table.frames(schema)])
    of_ids = {"id": schema["id"]}
    chunks = [*spans_of_chunks(table.located(of_ids), row_chunksize)]
    assert pl.concat([pl.DataFrame(schema=of_ids), *(one.rows for one in table.located(of_ids))]).equals(whole[["id"]])
    starts = range(0, whole.height, row_chunksize)
    assert len(chunks) == len(starts)
    for start, spans in [*zip(starts, chunks, strict=True)][::-1]:
        found = pl.concat([pl.DataFrame(schema=schema), *table.frames(schema, spans)])
        assert found.equals(whole.slice(start, row_chunksize))


@given(
    parts=st.lists(
        st.one_of(
            st.builds(text_of, ROWS, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans()),
            ROWS.map(lambda rows: pl.DataFrame(rows, schema={"id": pl.String, "c": pl.String}, orient="row")),
        ),
        min_size=1,
        max_size=3,
    ),
    row_chunksize=st.integers(1, 9),
    block=st.integers(1, 40),
)
@example(parts=[b'id,c\n1,5" tube\n2,b\n3,c\n'], row_chunksize=2, block=100)
@example(parts=[b'id,c,d"x\n1,2,\n3,4,\n5,6,a'], row_chunksize=1, block=100)
@example(parts=[b"\n\nid,c\n1,\n\n3,4\n\n"], row_chunksize=2, block=3)
def test_every_chunk_has_the_rows_that_a_reading_from_the_first_on_finds(tmp_path_factory, parts, row_chunksize, block):
    check(table_of(tmp_path_factory.mktemp("t"), parts, block), row_chunksize)


def test_a_chunk_is_read_without_the_bytes_before_and_after_it(tmp_path):
    text = text_of([(str(n), f"row {n}") for n in range(9)])
    table = table_of(tmp_path, [text], block=1000)
    chunks = [*spans_of_chunks(table.located({"id": pl.Int64()}), 4)]
    assert [text[span.start : span.stop].count(b"row") for [span] in chunks] == [4, 4, 1]
    assert [(span.row, span.rows, span.skip) for [span] in chunks] == [(0, 4, 0), (4, 4, 0), (8, 1, 0)]


def test_where_quotes_were_made_regular_a_chunk_is_read_from_the_block_on_in_which_it_begins(tmp_path):
    rows = [(str(n), f'{n}" tube') for n in range(9)]
    table = table_of(tmp_path, [text_of(rows)], block=40)
    chunks = [*spans_of_chunks(table.located({"id": pl.Int64()}), 4)]
    assert any(span.skip for [span] in chunks)
    assert max(span.skip for [span] in chunks) < 4
    check(table, 4)


def test_a_wrong_row_is_named_by_its_number_in_the_file(tmp_path):
    table = table_of(tmp_path, [b"id,c\n1,a\n2,b\n3,c,d\n4,e\n"], block=8)
    chunks = [*spans_of_chunks(table.located({"id": pl.Int64()}), 2)]
    with pytest.raises(ValueError, match="row 3 after the header: it has 3 fields where the header has 2"):
        [*table.frames({"id": pl.Int64(), "c": pl.String()}, chunks[1])]


def test_an_id_that_is_of_another_dtype_than_its_column_is_found_at_once(tmp_path):
    table = table_of(tmp_path, [b"id,c\n1,a\nx,b\n"])
    with pytest.raises(ValueError, match="column 'id', row 2 after the header: 'x' does not fit Int64"):
        [*table.located({"id": pl.Int64()})]


@pytest.mark.parametrize(
    ("suffix", "dialect", "has_places"),
    [("", Dialect(), True), ("", Dialect(encoding="utf-8-sig"), True), ("", Dialect(encoding="cp1252"), False)]
    + [(suffix, Dialect(), False) for suffix in COMPRESS if suffix],
)
def test_places_are_in_text_that_is_read_as_it_is(tmp_path, suffix, dialect, has_places):
    (tmp_path / f"t.csv{suffix}").write_bytes(COMPRESS[suffix](b"id,c\n1,a\n"))
    assert RawTable("t", find_parts(tmp_path, "t"), dialect).has_places(100) is has_places


def test_parquet_files_have_places_if_their_row_groups_are_small(tmp_path):
    table = table_of(tmp_path, [pl.DataFrame({"id": [1, 2, 3, 4], "c": ["a"] * 4})])
    assert (table.has_places(8), table.has_places(7)) == (True, False)


def test_feather_has_no_places(tmp_path):
    pl.DataFrame({"id": [1]}).write_ipc(tmp_path / "t.arrow")
    assert not RawTable("t", find_parts(tmp_path, "t")).has_places(10**9)


def test_columns_of_folders_are_there_in_chunks(tmp_path):
    for site, ids in (("a", [1, 2, 3]), ("b", [4, 5])):
        (tmp_path / "t" / f"id={site}").mkdir(parents=True)
        pl.DataFrame({"c": map(str, ids)}).write_csv(tmp_path / "t" / f"id={site}" / "x.csv")
    table = RawTable("t", find_parts(tmp_path, "t"), block=3)
    check(table, 2)
    assert next(spans_of_chunks(table.located({"id": pl.String()}), 4)) == [
        Span(0, 0, 3, 2, None, 0),
        Span(1, 0, 1, 2, 4, 0),
    ]


def test_nothing_is_read_after_the_last_row_of_a_span():
    """Else a look at the first rows of a table reads all of it."""

    def frames():
        yield pl.DataFrame({"n": range(5)})
        yield pl.DataFrame({"n": range(5, 10)})
        raise AssertionError("a frame too many")

    assert pl.concat(within(frames(), Span(0, 0, 7)))["n"].to_list() == [*range(7)]
