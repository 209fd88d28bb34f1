"""Delimited text: any dialect, blocks of any size, and rows that are not as the header says."""

import bz2
import csv
import gzip
import io
import lzma

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.errors import InputError
from MEDS_transforms.extract.raw import delimited
from MEDS_transforms.extract.raw.delimited import DelimitedFile, Dialect, blocks_of_rows

PLAIN = Dialect()
ZSTD = pa.Codec("zstd")
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".GZ": lambda data: gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :]),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: ZSTD.compress(data, asbytes=True),
}
CELL = st.text(st.sampled_from("a0é ,;|\t\"\n'.-"), max_size=6)
SEPARATORS = {",": "csv", ";": "csv", "\t": "tsv", "|": "txt"}


def text_of(rows, dialect: Dialect, quoting=csv.QUOTE_MINIMAL, line_end="\n") -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(
        file, delimiter=dialect.separator, quotechar=dialect.quote, quoting=quoting, lineterminator=line_end
    )
    writer.writerows(rows)
    return file.getvalue().encode(dialect.encoding)


def read(path, dialect=PLAIN, names=None) -> pl.DataFrame:
    file = DelimitedFile(path, dialect)
    schema = dict.fromkeys(names or file.columns, pl.String())
    return pl.concat([pl.DataFrame(schema=schema), *file.frames(schema)])


@given(
    rows=st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=12)),
    separator=st.sampled_from([*SEPARATORS]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    block=st.sampled_from([1, 7, 64, 2**20]),
)
def test_what_the_csv_module_writes_comes_back(tmp_path_factory, rows, separator, encoding, line_end, quoting, block):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    dialect = Dialect(separator=separator, encoding=encoding)
    names = [f"c{n}" for n in range(len(rows[0]))]
    path.write_bytes(text_of([names, *rows], dialect, quoting, line_end))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_BLOCK", block)
        found = read(path, dialect)
    # csv quotes what is empty only where it quotes everything; polars takes unquoted emptiness for null.
    assert [[cell or "" for cell in row] for row in found.rows()] == rows


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files(tmp_path, suffix):
    path = tmp_path / f"t.csv{suffix}"
    rows = [[str(n), f"x{n}"] for n in range(5000)]
    path.write_bytes(COMPRESS[suffix](text_of([["a", "b"], *rows], Dialect())))
    assert list(map(list, read(path).rows())) == rows


@pytest.mark.parametrize("suffix", [s for s in COMPRESS if s])
def test_truncated_compressed_files_are_noticed(tmp_path, suffix):
    path = tmp_path / f"t.csv{suffix}"
    data = COMPRESS[suffix](text_of([["a", "b"], *([str(n), f"x{n * 7919}"] for n in range(50_000))], Dialect()))
    path.write_bytes(data[:-20])
    with pytest.raises((OSError, EOFError, lzma.LZMAError)):
        read(path)


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        ("a,b\n1,2\n3,4,5\n", 2, "3 fields where the header has 2"),
        ("a,b\n1,2\n3\n4,5\n", 2, "1 field where the header has 2"),
        ("a,b\n1,2\n3", 2, "1 field"),
        ("a,b\n1,2,\n", 1, "3 fields"),
        ("a,b\n1\n2,3,4\n", 1, "1 field"),  # together as many as two rows have
        ('a,b\n1,"x,\ny"\n2,3,4\n', 2, "3 fields"),
        ("a,b\n\n1,2\n\r\n3\n", 4, "1 field"),
    ],
)
@pytest.mark.parametrize("names", [None, ["a"]])
@pytest.mark.parametrize("block", [1, 2**20])
def test_the_number_of_fields_is_checked_whatever_columns_are_read(
    tmp_path, monkeypatch, text, row, said, names, block
):
    monkeypatch.setattr(delimited, "_BLOCK", block)
    path = tmp_path / "t.csv"
    path.write_text(text, newline="")
    with pytest.raises(InputError, match=rf"t\.csv, row {row} after the header: it has {said}"):
        read(path, names=names)


def test_values_that_do_not_fit_are_shown_with_their_row(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 1)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n2,y\nn.a.,z\n")
    file = DelimitedFile(path, Dialect())
    with pytest.raises(InputError, match=r"row 3 after the header: column 'a': 'n.a.' does not fit Int64"):
        list(file.frames({"a": pl.Int64()}))


@pytest.mark.parametrize("block", [1, 2**20])
@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["1", "2"], pl.Int64),
        (["1", "2.5"], pl.Float64),
        (["1", "", "x"], pl.String),
        (["true", "false"], pl.Boolean),
        (["true", "1"], pl.String),
        (["1" * 30, "1"], pl.String),
        (["1.5", "1" * 30], pl.Float64),
    ],
)
def test_dtypes_are_inferred_as_by_polars_whatever_the_blocks(tmp_path, monkeypatch, block, values, dtype):
    monkeypatch.setattr(delimited, "_BLOCK", block)
    path = tmp_path / "t.csv"
    path.write_text("k,a\n" + "".join(f"k,{value}\n" for value in values))
    assert DelimitedFile(path, Dialect()).inferred(None) == {"k": pl.String(), "a": dtype()}


def test_as_many_rows_are_looked_at_as_are_asked_for(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n2\nx\n")
    file = DelimitedFile(path, Dialect())
    assert [file.inferred(n)["a"] for n in (2, 3, 100)] == [pl.Int64, pl.String, pl.String]


def test_decimal_commas_and_words_for_null(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;x\nNA;-\n")
    file = DelimitedFile(path, Dialect(";", decimal=",", null_values=("NA", "-")))
    schema = file.inferred(None)
    assert schema == {"a": pl.Float64(), "b": pl.String()}
    assert [row for frame in file.frames(schema) for row in frame.rows()] == [(1.5, "x"), (None, None)]


def test_a_header_with_names_that_repeat_or_are_odd(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfa,a,"b,\n c",*\n1,2,3,4\n')
    assert DelimitedFile(path, Dialect()).columns == ["a", "a_duplicated_0", "b,\n c", "*"]
    assert read(path, names=["*", "a"]).rows() == [("4", "1")]


def test_bytes_of_another_encoding_are_an_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("a,b\nµ,x\n".encode("utf-16")[:-1])
    with pytest.raises(InputError, match="is not utf-16"):
        read(path, Dialect(encoding="utf-16"))


def test_an_empty_file(tmp_path):
    (tmp_path / "t.csv").touch()
    with pytest.raises(pl.exceptions.NoDataError):
        read(tmp_path / "t.csv")


@given(
    text=st.text(st.sampled_from('a,"\n'), max_size=40).map(lambda text: text + '"' * (text.count('"') % 2)),
    sizes=st.lists(st.integers(1, 5), min_size=1),
)
def test_blocks_are_the_text_and_end_where_rows_do(text, sizes):
    data, pieces, at = text.encode(), [], 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    blocks = list(blocks_of_rows(pieces, b'"'))
    assert b"".join(blocks) == data
    assert all(block.endswith(b"\n") and block.count(b'"') % 2 == 0 for block in blocks[:-1])
