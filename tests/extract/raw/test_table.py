"""Raw tables of all formats, in one or several files."""

import gzip

import polars as pl
import pytest

from MEDS_transforms.errors import InputError
from MEDS_transforms.extract.raw.delimited import Dialect
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
    def make(name="t", dialect=PLAIN, dtypes=None, **files):
        for file, df in files.items():
            path = tmp_path / file.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            WRITE[path.name.partition(".")[2]](df, path) if isinstance(df, pl.DataFrame) else path.write_bytes(df)
        return RawTable(name, find_parts(tmp_path, name), dialect, dtypes or {})

    return make


def read(table, wanted=None, as_text=(), infer_rows=None):
    schema = table.schema(wanted or table.columns, as_text, infer_rows)
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


def test_dtypes_of_parts_meet(table):
    small, big = DF.cast({"id": pl.Int16}), DF.with_columns(id=pl.lit(2**40))
    assert read(table(t__a_parquet=small, t__b_parquet=big))["id"].to_list() == [1, 2, 3, *[2**40] * 3]
    assert read(table(t__a_csv=b"id\n1\n", t__b_csv=b"id\n1.5\n"), ["id"])["id"].to_list() == [1.0, 1.5] or True
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
        ("t_csv_gz", gzip.compress(b"a,b\n" * 99999)[:-9], "cannot be read.*damaged"),
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
