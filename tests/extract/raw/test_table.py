"""Raw tables of all formats, in one or several files."""

import datetime as dt
import gzip
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from MEDS_transforms.errors import InputError
from MEDS_transforms.extract.raw.delimited import BLOCK
from MEDS_transforms.extract.raw.dialect import Dialect
from MEDS_transforms.extract.raw.table import RawTable
from MEDS_transforms.work.raw_tables import find_parts

DF = pl.DataFrame({"id": [1, 2, 3], "code": ["007", "1.10", None], "v": [0.5, None, 2.0]})
PLAIN = Dialect()
WRITE = {
    "csv": lambda df, path: df.write_csv(path),
    "tsv": lambda df, path: df.write_csv(path, separator="\t"),
    "csv.gz": lambda df, path: path.write_bytes(gzip.compress(df.write_csv().encode())),
    "parquet": lambda df, path: df.write_parquet(path),
    "feather": lambda df, path: df.write_ipc(path, compression="zstd"),
    "arrow": lambda df, path: df.write_ipc(path),
}


@pytest.fixture
def table(tmp_path):
    def make(name="t", dialect=PLAIN, dtypes=None, block=BLOCK, **files):
        for file, df in files.items():
            path = tmp_path / file.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            WRITE[path.name.partition(".")[2]](df, path) if isinstance(df, pl.DataFrame) else path.write_bytes(df)
        return RawTable(name, find_parts(tmp_path, name), dialect, dtypes or {}, block)

    return make


def read(table, wanted=None, as_text=(), infer_rows=None, exact=()):
    schema = table.schema(wanted or table.columns, as_text, infer_rows, exact)
    frames = list(table.frames(schema))
    assert all(frame.schema == schema for frame in frames)
    return pl.concat([pl.DataFrame(schema=schema), *frames])


@pytest.mark.parametrize("suffix", WRITE)
def test_one_file_of_every_format(table, suffix):
    dialect = Dialect("\t") if suffix == "tsv" else Dialect()
    t = table(dialect=dialect, **{f"t_{suffix.replace('.', '_')}": DF})
    assert t.columns == DF.columns
    assert read(t, as_text={"code"}).equals(DF)
    assert read(t, ["v", "id"]).equals(DF.select("v", "id"))


def test_text_columns_keep_what_numbers_lose(table):
    t = table(t_csv=DF.with_columns(code=pl.Series(["007", "1.10", "1e5"])))
    assert read(t, as_text={"code"})["code"].to_list() == ["007", "1.10", "1e5"]
    assert read(t)["code"].dtype == pl.Float64
    assert read(table(dtypes={"code": pl.String()}, t_csv=DF), ["code"]).equals(DF.select("code"))


@pytest.mark.parametrize("suffix", WRITE)
def test_parts_are_read_in_the_order_of_their_names(table, suffix):
    dialect = Dialect("\t") if suffix == "tsv" else Dialect()
    t = table(
        dialect=dialect, **{f"t__b_{suffix.replace('.', '_')}": DF[2:], f"t__a_{suffix.replace('.', '_')}": DF[:2]}
    )
    assert read(t, as_text={"code"}).equals(DF)


def test_partitions_are_columns(table):
    t = table(**{"t__year=2020__a_csv": DF[:1], "t__year=2021__a_parquet": DF[1:]})
    assert t.columns == [*DF.columns, "year"]
    assert read(t, ["year", "id"]).rows() == [("2020", 1), ("2021", 2), ("2021", 3)]
    assert read(t, ["year"]).rows() == [("2020",), ("2021",), ("2021",)]


def test_a_column_in_files_and_folders_is_that_of_the_folders_and_is_told(table, caplog):
    t = table(**{"t__year=2020__a_csv": b"id,year\n1,1999\n", "t__year=2021__a_csv": b"id,year\n2,2021\n"})
    assert read(t, ["id"]).rows() == [(1,), (2,)]
    assert not caplog.records
    assert read(t, ["id", "year"]).rows() == [(1, "2020"), (2, "2021")]
    [record] = caplog.records
    assert "The table t has year in its files and in the names of its folders" in record.message


def test_dtypes_of_parts_meet(table):
    small, big = DF.cast({"id": pl.Int16}), DF.with_columns(id=pl.lit(2**40))
    assert read(table(t__a_parquet=small, t__b_parquet=big))["id"].to_list() == [1, 2, 3, *[2**40] * 3]
    unlike = table("u", u__a_parquet=DF, u__b_parquet=DF.with_columns(v=pl.lit([1])))
    with pytest.raises(InputError, match="'v' has dtypes in its files that have nothing in common"):
        read(unlike)
    lossy = table("w", w__a_parquet=DF.with_columns(id=pl.lit(2**64 - 1, pl.UInt64)), w__b_parquet=DF)
    with pytest.raises(InputError, match="18446744073709551615"):
        read(lossy)


def test_a_part_without_a_column_is_named(table):
    t = table(t__a_csv=DF, t__b_csv=DF.drop("v"))
    with pytest.raises(InputError, match=r"t/b\.csv\) has no column 'v'"):
        read(t)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("t_csv", b"", "is empty.*optional"),
        ("t_csv_gz", b"", "is empty.*optional"),
        ("t_csv_gz", gzip.compress(b"a,b\n" * 99999, mtime=0)[:-9], "cannot be read.*damaged"),
        ("t_csv_gz", b"a,b\n1,2\n", "cannot be read.*damaged"),
        ("t_csv_xz", b"a,b\n1,2\n", "cannot be read.*damaged"),
        ("t_csv_bz2", b"a,b\n1,2\n", "cannot be read.*damaged"),
        ("t_csv_zst", b"a,b\n1,2\n", "cannot be read.*damaged"),
        ("t_parquet", b"PAR1 and more than nothing", "cannot be read.*damaged"),
        ("t_feather", b"ARROW1 and more than nothing", "cannot be read.*damaged"),
        ("t_csv", b"a,\xff\n1,x\n", "cannot be read.*encoding"),
    ],
)
def test_files_that_cannot_be_read(table, file, content, said):
    with pytest.raises(InputError, match=f"(?s)The table t .*{said}"):
        read(table(**{file: content}))


@pytest.mark.parametrize("block", [1, BLOCK])
def test_rows_are_numbered_per_part(table, block):
    t = table(t__a_csv=b"a,b\n1,2\n3,4\n", t__b_csv=b'a,b\n"1","\n"\n3\n', block=block)
    with pytest.raises(InputError, match=r"t/b\.csv, row 2 after the header: it has 1 field"):
        read(t)
    t = table("u", u__a_csv=b"a\n1\n", u__b_csv=b"a\n1\n2\nx\n", block=block)
    with pytest.raises(InputError, match=r"u/b\.csv, column 'a', row 3 after the header: 'x' does not fit Int64"):
        read(t, infer_rows=2)
    assert read(t)["a"].to_list() == ["1", "1", "2", "x"]


def test_columns_that_must_be_exact_are_text_where_they_look_like_floats(table):
    t = table(t_csv=b"big,int,truth,bool\n9007199254740993.0,1,true,true\n1,,,\n")
    found = read(t, exact={"big", "int", "truth", "elsewhere"})
    assert found.schema == {"big": pl.String, "int": pl.Int64, "truth": pl.Boolean, "bool": pl.Boolean}
    assert found["big"].to_list() == ["9007199254740993.0", "1"]
    parts = table("u", u__a_csv=b"id\n1\n", u__b_csv=b"id\n9007199254740993.0\n", u__c_csv=b"id\n007\n")
    assert read(parts, exact={"id"})["id"].to_list() == ["1", "9007199254740993.0", "007"]
    mixed = table("v", v__a_csv=b"id\n9007199254740993\n", v__b_parquet=pl.DataFrame({"id": [1.0, 1.5]}))
    assert read(mixed, exact={"id"})["id"].to_list() == ["9007199254740993", "1", "1.5"]
    given = table("w", dtypes={"id": pl.Float64()}, w_csv=b"id\n1.5\n")
    assert read(given, exact={"id"})["id"].to_list() == [1.5]
    stored = table("x", x_parquet=pl.DataFrame({"id": [1.0]}))
    assert read(stored, exact={"id"})["id"].to_list() == [1.0]


@pytest.mark.parametrize(
    ("header", "hint"),
    [("id;code", "';'"), ("id\tcode", r"'\\t'"), ("id|code", r"'\|'"), ("id code;x;y|z", "';'")],
)
def test_a_file_with_another_separator_is_noticed(table, header, hint):
    t = table(t_txt=f"{header}\n1;2\n".encode())
    with pytest.raises(
        InputError,
        match=rf"no column 'code'.*Set separator: {hint} in the table's block",
    ):
        read(t, ["code"])
    with pytest.raises(InputError, match=r"no column 'code'.*It has: id$"):
        read(table("u", u_csv=b"id\n1\n"), ["code"])


DTYPES = {
    "Int8": pl.Series([1, None], dtype=pl.Int8),
    "UInt64": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
    "Float32": pl.Series([1.5, None], dtype=pl.Float32),
    "Boolean": pl.Series([True, None]),
    "String": pl.Series(["é", None]),
    "Categorical": pl.Series(["b", "a", None], dtype=pl.Categorical),
    "Enum": pl.Series(["b", "a", None], dtype=pl.Enum(["c", "b", "a"])),
    "Decimal": pl.Series([Decimal("1.10"), None]),
    "Date": pl.Series([dt.date(2020, 1, 2), None]),
    "Time": pl.Series([dt.time(1, 2), None]),
    "Datetime[ms]": pl.Series([dt.datetime(2020, 1, 2), None], dtype=pl.Datetime("ms")),
    "Datetime[ns]": pl.Series([dt.datetime(2020, 1, 2), None], dtype=pl.Datetime("ns")),
    "Datetime with a zone": pl.Series([dt.datetime(2020, 1, 2), None], dtype=pl.Datetime("us", "Europe/Berlin")),
    "Duration": pl.Series([dt.timedelta(1), None]),
    "Null": pl.Series([None, None]),
    "List": pl.Series([["a"], None]),
    "Array": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
    "Struct": pl.Series([{"a": 1}, None]),
}


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_comes_back(table, suffix, name):
    df = pl.DataFrame({"*": DTYPES[name], "^x$": range(DTYPES[name].len())})
    t = table(**{f"t_{suffix}": df})
    assert read(t).equals(df)
    assert read(t, ["*"]).equals(df[["*"]])
    assert read(table(f"e {suffix}", **{f"e {suffix}_{suffix}": df.clear()})).schema == df.schema


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_bytes_are_text(table, suffix):
    """As which some programs write them."""
    df = pl.DataFrame({"a": ["é", None]}).cast(pl.Binary)
    assert read(table(**{f"t_{suffix}": df})).to_dict(as_series=False) == {"a": ["é", None]}
    with pytest.raises(InputError, match=r"u\..*, column 'a': b'\\xff' is no text in UTF-8"):
        read(table("u", **{f"u_{suffix}": pl.DataFrame({"a": [b"b", b"\xff"]})}))


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
@pytest.mark.parametrize("dtype", [pl.Int128, pl.UInt128])
def test_integers_of_more_than_64_bits_are_text(table, suffix, dtype):
    t = table(**{f"t_{suffix}": pl.DataFrame({"a": pl.Series([2**100, None], dtype=dtype), "b": [1, 2]})})
    assert read(t).rows() == [(str(2**100), 1), (None, 2)]
    assert read(t, ["b"]).rows() == [(1,), (2,)]


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        (pl.Categorical(), pl.Categorical(), pl.Categorical),
        (pl.Enum(["b", "a"]), pl.Enum(["c", "a"]), pl.String),
        (pl.Enum(["b", "a"]), pl.Categorical(), pl.String),
        (pl.Categorical(), pl.String(), pl.String),
    ],
)
@pytest.mark.parametrize("suffixes", [("parquet", "feather"), ("feather", "parquet"), ("feather", "feather")])
def test_categories_of_parts_meet(table, first, second, dtype, suffixes):
    a, b = (pl.DataFrame({"x": pl.Series(v, dtype=d)}) for v, d in ((["b", "a", None], first), (["c", "a"], second)))
    found = read(table(**{f"t__a_{suffixes[0]}": a, f"t__b_{suffixes[1]}": b}))
    assert found["x"].dtype == dtype
    assert found["x"].cast(pl.String).to_list() == ["b", "a", None, "c", "a"]


def test_categories_that_grow_from_batch_to_batch_of_a_feather_file(table, tmp_path):
    schema = pa.schema([("x", pa.dictionary(pa.int32(), pa.string()))])
    words = pa.array(["a", "b", "c"])
    parts = [pa.DictionaryArray.from_arrays(pa.array(n, pa.int32()), words[: max(n) + 1]) for n in ([1, 0], [2, 0])]
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    for name, new in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        with new(tmp_path / f"{name}.arrow", schema, options=options) as writer:
            for part in parts:
                writer.write(pa.record_batch([part], schema=schema))
        assert read(table(name))["x"].to_list() == ["b", "a", "c", "a"]


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("other", [pl.String(), pl.Datetime("ns")])
@pytest.mark.parametrize("far", [2**63 - 1, -(2**63) + 1])
def test_times_that_are_out_of_range_in_the_dtype_of_all_parts(table, monkeypatch, unit, other, far):
    times = pl.Series([dt.datetime(2020, 1, 1)])
    near, far_off, others = times.dt.cast_time_unit(unit), pl.Series([far]).cast(pl.Datetime(unit)), times.cast(other)
    a, b, c = (pl.DataFrame({"x": values}) for values in (near, far_off, others))
    assert read(table(t__a_parquet=a, t__c_parquet=c)).height == 2
    monkeypatch.setattr("MEDS_transforms.extract.raw.table.common_dtype", lambda _: other)
    t = table("u", u__a_parquet=b, u__c_parquet=c)
    with pytest.raises(InputError, match=rf"the table u .*u/a\.parquet.*column 'x': {far} .*out of the range"):
        read(t)


def test_numbers_and_text_of_parts_meet_as_text(table):
    t = table(
        t__a_parquet=pl.DataFrame({"x": [1.0, 1.5, None, 1e17]}),
        t__b_csv=b"x\n007\n",
        t__c_parquet=pl.DataFrame({"x": [7]}),
    )
    assert read(t, as_text={"x"})["x"].to_list() == ["1", "1.5", None, "100000000000000000", "007", "7"]


def test_a_dialect_that_cannot_be(table):
    for wrong in ({"separator": ";;"}, {"quote": "\n"}, {"separator": '"'}, {"decimal": "x"}, {"encoding": "hex"}):
        with pytest.raises(InputError):
            Dialect(**wrong)
    with pytest.raises(InputError, match="with decimal: ',' the separator must be another"):
        read(table(t_csv=b"a,b\n", dialect=Dialect(decimal=",")))


def test_columns_and_dtypes_are_told_by_reading_once(tmp_path):
    """A second look, by other columns, needs the file no more."""
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n2,y\n")
    t = RawTable("t", find_parts(tmp_path, "t"))
    assert t.schema(["a", "b"], ["b"], None) == {"a": pl.Int64, "b": pl.String}
    path.unlink()
    assert (t.columns, t.schema(["a"], [], None)) == (["a", "b"], {"a": pl.Int64})
