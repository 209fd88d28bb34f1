"""Delimited text: any dialect, blocks of any size, and rows that are not as the header says."""

import csv
import io
import re

import polars as pl
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from MEDS_transforms.errors import InputError
from MEDS_transforms.extract.raw.delimited import BLOCK, DelimitedFile
from MEDS_transforms.extract.raw.dialect import Dialect

from .texts import COMPRESS, PLAIN, read, text_of

CELL = st.text(st.sampled_from("a0é ,;|\t\"\n'.-"), max_size=6)
BLOCKS = st.sampled_from([1, 2, 7, 64, BLOCK])


def tables(cells, columns=(1, 4)):
    width = st.integers(*columns)
    return width.flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=12))


def written(folder, data: bytes | str, name="t.csv"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@given(
    rows=tables(CELL),
    separator=st.sampled_from([",", ";", "\t", "|", " "]),
    quote=st.sampled_from(['"', "'"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    suffix=st.sampled_from([*COMPRESS]),
    block=BLOCKS,
    has_last_end=st.booleans(),
)
def test_what_the_csv_module_writes_comes_back(
    tmp_path_factory, rows, separator, quote, encoding, line_end, quoting, suffix, block, has_last_end
):
    dialect = Dialect(separator, quote, encoding)
    text = text_of(
        [[f"c{n}" for n in range(len(rows[0]))], *rows], Dialect(separator, quote), quoting, line_end
    ).decode()
    data = COMPRESS[suffix]((text if has_last_end else text.removesuffix(line_end)).encode(encoding))
    found = read(written(tmp_path_factory.mktemp("t"), data, f"t.csv{suffix}"), dialect, block=block)
    # csv quotes what is empty only where it quotes everything; polars takes unquoted emptiness for null.
    assert [[cell or "" for cell in row] for row in found.rows()] == rows


@given(
    rows=tables(st.none() | CELL),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    style=st.sampled_from(["necessary", "always", "non_numeric"]),
    bom=st.booleans(),
    suffix=st.sampled_from([*COMPRESS]),
    block=BLOCKS,
)
def test_what_polars_writes_comes_back(tmp_path_factory, rows, separator, line_end, style, bom, suffix, block):
    df = pl.DataFrame(rows, schema={f"c{n}": pl.String for n in range(len(rows[0]))}, orient="row")
    file, options = io.BytesIO(), {"separator": separator, "line_terminator": line_end, "quote_style": style}
    df.write_csv(file, include_bom=bom, **options)
    path = written(tmp_path_factory.mktemp("t"), COMPRESS[suffix](file.getvalue()), f"t.csv{suffix}")
    expected = df.fill_null("") if style == "always" else df  # so polars writes null then
    assert read(path, Dialect(separator), block=block).rows() == expected.rows()


@given(rows=tables(st.text(st.sampled_from("a0é\"' .-"), min_size=1, max_size=6)), block=BLOCKS)
def test_without_quotes_all_is_text(tmp_path_factory, rows, block):
    lines = [",".join(row) for row in [[f"c{n}" for n in range(len(rows[0]))], *rows]]
    path = written(tmp_path_factory.mktemp("t"), "\n".join(lines))
    assert [[*row] for row in read(path, Dialect(quote=None), block=block).rows()] == rows


@given(
    rows=tables(st.text(st.sampled_from('a",\n é'), max_size=5), columns=(2, 3)),
    block=BLOCKS,
)
@example(rows=[['5" tube', "2"], ["3", '"']], block=1)
def test_quotes_within_a_field_are_read_as_the_csv_module_reads_them(tmp_path_factory, rows, block):
    """Fields are quoted only where they must be: where they begin with a quote, or hold a separator or a line end."""

    def cell(text):
        return '"' + text.replace('"', '""') + '"' if {",", "\n"} & {*text} or text[:1] == '"' else text

    text = "".join(",".join(map(cell, row)) + "\n" for row in [[f"c{n}" for n in range(len(rows[0]))], *rows])
    assert [*csv.reader(io.StringIO(text, newline=""))][1:] == rows
    found = read(written(tmp_path_factory.mktemp("t"), text), block=block)
    assert [[cell or "" for cell in row] for row in found.rows()] == rows


@given(text=st.text(st.sampled_from('a,"\n'), max_size=30), block=BLOCKS)
def test_whatever_the_quotes_rows_are_right_or_an_error(tmp_path_factory, text, block):
    """Never is anything read otherwise than by the csv module."""
    path = written(tmp_path_factory.mktemp("t"), f"c,d\n{text}")
    try:
        found = read(path, block=block).rows()
    except InputError:
        return
    expected = [row or [""] * 2 for row in csv.reader(io.StringIO(text, newline=""))]
    assert [[cell or "" for cell in row] for row in found] == expected


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        ('a,b\n1,2\n"x"y,2\n', 2, r"text follows the closing quote of a field: '\"x\"y.*quote: null"),
        ('a,b\n"1\n",2\n"x" ,2\n', 2, "text follows the closing quote"),
        ('a,b\n1,2\n\n3,"4\n5,6\n', 3, r"a quote is opened and not closed .*'3,\"4\\n5,6\\n'.*quote: null"),
        ('a,b\n1,2\n3,"', 2, "a quote is opened and not closed"),
        ('a,b\n5" tube,2\n"x\n', 2, "a quote is opened and not closed"),
        ('a,b\n"tube,2\n3,tube"\n', 1, "1 field where the header has 2"),
    ],
)
@pytest.mark.parametrize("block", [1, 2, BLOCK])
def test_quotes_that_cannot_be_read_are_shown_with_their_row(tmp_path, text, row, said, block):
    with pytest.raises(InputError, match=rf"(?s)t\.csv, row {row} after the header: .*{said}"):
        read(written(tmp_path, text), block=block)


def test_a_quote_that_is_not_closed_in_the_header(tmp_path):
    with pytest.raises(InputError, match=r"t\.csv, in the header: a quote is opened"):
        read(written(tmp_path, 'a,"b\n1,2\n'))


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        ("a,b\n1,2\n3,4,5\n", 2, "3 fields where the header has 2: '3,4,5'"),
        ("a,b\r\n1,2\r\n3,4,5\r\n", 2, "3 fields where the header has 2: '3,4,5'"),
        ("a,b\n1,2\n3\n4,5\n", 2, "1 field where the header has 2"),
        ("a,b\n1,2\n3", 2, "1 field"),
        ("a,b\n1,2,\n", 1, "3 fields"),
        ("a,b\n1\n2,3,4\n", 1, "1 field"),  # together as many as two rows have
        ("a,b,c\n1,2,3\n4,5\n6,7,8,9\n", 2, "2 fields"),  # likewise, and a column between that may not be read
        ("a,b,c\n1,2,3\n4,5,6,7\n8,9\n", 2, "4 fields"),
        ('a,b\n1,"x,\ny"\n2,3,4\n', 2, "3 fields"),
        ('a,b\n1,"x"\n2\n', 2, "1 field"),
        ("a,b\n\n1,2\n\r\n3\n", 4, "1 field"),
        ("a\n1\n1,2\n", 2, "2 fields where the header has 1"),
    ],
)
@pytest.mark.parametrize("names", [None, ["a"]])
@pytest.mark.parametrize("block", [1, BLOCK])
def test_the_number_of_fields_is_checked_whatever_columns_are_read(tmp_path, text, row, said, names, block):
    with pytest.raises(InputError, match=rf"t\.csv, row {row} after the header: it has {said}"):
        read(written(tmp_path, text), names=names, block=block)


@pytest.mark.parametrize("block", [1, BLOCK])
@pytest.mark.parametrize(
    "text", ["a,b\n\n1,2\n\r\n3,4\n\n", "a\n\n1\n\n\n", "a\n\n", "\n\r\na,b\n1,2", "a,b\n", "a,b", 'a\n""\n']
)
def test_blank_lines_are_read_as_polars_reads_them(tmp_path, text, block):
    path = written(tmp_path, text)
    assert read(path, block=block).equals(pl.scan_csv(path, infer_schema=False).collect())


@pytest.mark.parametrize("block", [1, BLOCK])
def test_values_that_do_not_fit_are_shown_with_their_row(tmp_path, block):
    file = DelimitedFile(written(tmp_path, "a,b\n1,x\n2,3\nn.a.,z\n"), PLAIN, ["b"], block)
    said = (
        r"t\.csv, column 'a', row 3 after the header: 'n\.a\.' does not fit Int64, the dtype inferred from the "
        r"preceding rows\. Raise stage_configs\.shard_events\.infer_schema_length above that row \(null: all rows\)"
    )
    with pytest.raises(InputError, match=said):
        list(file.frames({"a": pl.Int64()}))
    with pytest.raises(InputError, match=r"column 'b', row 1 after the header: 'x' does not fit Float64.*block gives"):
        list(file.frames({"a": pl.Int64(), "b": pl.Float64()}))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [("2", pl.Boolean), ("+", pl.Float64), ("1.0", pl.Int64), ("x", pl.Date), ("300", pl.UInt8)],
)
def test_values_that_do_not_fit_dtypes_of_all_kinds(tmp_path, value, dtype):
    file = DelimitedFile(written(tmp_path, f"a,b\n,1\n{value},2\n"), PLAIN)
    with pytest.raises(InputError, match=rf"column 'a', row 2 after the header: '{re.escape(value)}' does not fit"):
        list(file.frames({"a": dtype()}))


VALUES = st.sampled_from(["1", "2.5", "", '""', "x", "true", "1" * 30, "2020-01-01", " 1", "1e5"])


@given(values=st.lists(VALUES, min_size=1, max_size=6), block=BLOCKS)
@example(values=["", "1"], block=1)
@example(values=["1.5", "1" * 30], block=1)
def test_dtypes_are_inferred_as_by_polars_whatever_the_blocks(tmp_path_factory, values, block):
    assume(not ("1" * 30 in values and {*values} & {"2.5", "1e5"} and "1" in values))
    path = written(tmp_path_factory.mktemp("t"), "k,a\n" + "".join(f"k,{value}\n" for value in values))
    inferred = pl.read_csv(path, infer_schema_length=None).schema["a"]
    assume(not {"2.5", "1e5"} & {*values} or "1" * 30 not in values)  # where polars' answer depends on their order
    expected = pl.String() if inferred == pl.Int128 else inferred
    assert DelimitedFile(path, PLAIN, block=block).inferred(None) == {"k": pl.String(), "a": expected}


@pytest.mark.parametrize("block", [1, BLOCK])
def test_as_many_rows_are_looked_at_as_are_asked_for(tmp_path, block):
    file = DelimitedFile(written(tmp_path, 'a,b\n1,"\n"\n2,\nx,\n'), PLAIN, block=block)
    assert [file.inferred(n)["a"] for n in (0, 1, 2, 3, 100)] == [pl.String, *[pl.Int64] * 2, *[pl.String] * 2]


@pytest.mark.parametrize("block", [1, BLOCK])
def test_decimal_commas_and_words_for_null(tmp_path, block):
    path = written(tmp_path, 'a;b\n1,5;x\nNA;-\n"2,5";"NA"\n')
    file = DelimitedFile(path, Dialect(";", decimal=",", null_values=("NA", "-")), block=block)
    schema = file.inferred(None)
    assert schema == {"a": pl.Float64(), "b": pl.String()}
    assert [row for frame in file.frames(schema) for row in frame.rows()] == [(1.5, "x"), (None, None), (2.5, None)]


@pytest.mark.parametrize("block", [1, BLOCK])
def test_a_header_with_names_that_repeat_or_are_odd(tmp_path, block):
    path = written(tmp_path, b'\xef\xbb\xbfa,a,"b,\n c",*,^x$,5" d,\n1,2,3,4,5,6,7\n')
    names = ["a", "a_duplicated_0", "b,\n c", "*", "^x$", '5" d', ""]
    assert DelimitedFile(path, PLAIN, block=block).columns == names
    assert read(path, names=["*", "a", "^x$", '5" d', ""], block=block).rows() == [("4", "1", "5", "6", "7")]


def test_names_in_a_header_that_repeat_are_named_as_polars_names_them(tmp_path):
    path = written(tmp_path, "a,,a,,a,b,NA\n")
    assert DelimitedFile(path, Dialect(null_values=("NA",))).columns == pl.read_csv(path).columns
    with pytest.raises(InputError, match=r"t\.csv: the name 'a_duplicated_0' repeats in the header"):
        _ = DelimitedFile(written(tmp_path, "a,a,a_duplicated_0\n"), PLAIN).columns


@pytest.mark.parametrize(("name", "separator"), [("t.tsv", "\t"), ("t.TSV.GZ", "\t"), ("t.txt", ","), ("t.csv", ",")])
def test_the_suffix_tells_the_separator(tmp_path, name, separator):
    data = f"a{separator}b\n1{separator}2\n".encode()
    path = written(tmp_path, COMPRESS[".gz"](data) if name.endswith("GZ") else data, name)
    assert read(path).rows() == [("1", "2")]


def test_bytes_of_another_encoding_are_an_error(tmp_path):
    path = written(tmp_path, "a,b\nµ,x\n".encode("utf-16")[:-1])
    with pytest.raises(InputError, match="is not utf-16"):
        read(path, Dialect(encoding="utf-16"))
    path = written(tmp_path, 'a,b\n1,"\n"\nµ,x\n'.encode("cp1252"))
    with pytest.raises(InputError, match=r"row 2 after the header: it is not UTF-8: .*xb5,x.*encoding: cp1252"):
        read(path)
    assert DelimitedFile(path, PLAIN).inferred(None) == {"a": pl.String(), "b": pl.String()}


def test_an_empty_file(tmp_path):
    for text in ("", "\n", "\n\r\n"):
        with pytest.raises(pl.exceptions.NoDataError):
            read(written(tmp_path, text))
