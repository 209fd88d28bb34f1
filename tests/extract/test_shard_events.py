"""Raw tables to chunks: rows, columns, dtypes and names, and what is said of tables that cannot be read."""

import gzip
import re
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import Extraction, files_below
from MEDS_transforms.extract import chunk_writer, shard_events
from MEDS_transforms.extract.chunk_writer import write_chunks

EVENTS = {"labs": {"lab": {"code": ["LAB", "col(test)"], "time": "col(t)", "time_format": "%Y", "numeric_value": "n"}}}
FRAME = pl.DataFrame(
    {"t": ["2020", "x", None], "n": [1.5, None, 3.0], "subject_id": [1, 2, 3], "test": ["a", "b", "c"]}
)
CSV = FRAME.write_csv()
NEEDED = ["subject_id", "test", "t", "n"]
FORMATS = [".parquet", ".par", ".csv", ".csv.gz"]


def chunk_files(x):
    return files_below(x.cohort / "shard_events")


def left_by_failure(x):
    """What a failed run leaves, apart from the empty lock files that its repetition clears away."""
    return [name for name in chunk_files(x) if not name.endswith(".lock")]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format(x, suffix):
    x.table(f"labs{suffix}", FRAME.with_columns(t=pl.lit("2020"), other=pl.lit(1)))
    x.events(EVENTS)
    x.run("shard_events")
    assert chunk_files(x) == ["labs/[0-3).parquet"]
    chunk = x.chunk("labs", 0, 3)
    assert set(chunk.columns) == set(NEEDED)
    assert chunk["n"].to_list() == FRAME["n"].to_list()
    assert chunk.schema["t"] == pl.String


@pytest.mark.parametrize(
    ("row_chunksize", "names"),
    [
        (1, ["[0-1)", "[1-2)", "[2-3)", "[3-4)"]),
        (3, ["[0-3)", "[3-4)"]),
        (4, ["[0-4)"]),
        (2, ["[0-2)", "[2-4)"]),
        (10**9, ["[0-4)"]),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_chunks_smaller_equal_and_larger_than_the_table(x, row_chunksize, names, suffix):
    frame = pl.DataFrame({"subject_id": [4, 2, 9, 7], "n": [1, 2, 3, 4]})
    x.table(f"labs{suffix}", frame)
    x.events({"labs": {"lab": {"code": "A", "time": None, "numeric_value": "n"}}})
    x.run("shard_events", f".row_chunksize={row_chunksize}")
    assert chunk_files(x) == sorted(f"labs/{name}.parquet" for name in names)
    bounds = [tuple(map(int, re.findall(r"\d+", name))) for name in names]
    chunks = [x.chunk("labs", *rows) for rows in bounds]
    assert [c.height for c in chunks] == [end - start for start, end in bounds]
    assert pl.concat(chunks).equals(frame)


@settings(max_examples=40)
@given(rows=st.integers(1, 40), row_chunksize=st.integers(1, 45), batch=st.integers(1, 45), held=st.integers(1, 45))
def test_chunks_depend_neither_on_the_batches_nor_on_how_many_rows_are_held(
    tmp_path_factory, rows, row_chunksize, batch, held
):
    """A chunk that is larger than what is held in memory is appended to."""
    folder = tmp_path_factory.mktemp("chunks")
    frame = pl.DataFrame({"n": range(rows)})
    frame = frame.with_columns(c=pl.format("c{}", pl.col("n") % 7).cast(pl.Categorical), s=pl.format("s{}", "n"))
    batches = [frame.slice(i, batch) for i in range(0, rows, batch)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_writer, "_HELD_ROWS", held)
        assert write_chunks(batches, row_chunksize, folder) == rows
    bounds = [(i, min(i + row_chunksize, rows)) for i in range(0, rows, row_chunksize)]
    assert files_below(folder) == sorted(f"[{start}-{end}).parquet" for start, end in bounds)
    for start, end in bounds:
        chunk = pl.read_parquet(folder / f"[{start}-{end}).parquet", glob=False)
        assert chunk.schema == frame.schema
        assert chunk.cast({"c": pl.String}).equals(frame[start:end].cast({"c": pl.String}))


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_rows_keep_the_order_of_the_file_in_a_large_table(x, suffix):
    """Large enough for polars to read it on several threads."""
    n = 600_000
    x.table(f"labs{suffix}", pl.DataFrame({"subject_id": pl.int_range(n, eager=True) % 7, "n": range(n)}))
    x.events({"labs": {"lab": {"code": "A", "time": None, "numeric_value": "n"}}})
    x.run("shard_events", ".row_chunksize=400000")
    rows = pl.concat([x.chunk("labs", 0, 400_000), x.chunk("labs", 400_000, n)])["n"]
    assert rows.equals(pl.Series("n", range(n)))


def test_nested_folders_and_subject_columns(x):
    x.table("hosp/core/labs.csv", "MRN,n\n1,2\n")
    x.table("icu/labs.parquet", pl.DataFrame({"pid": [3], "n": [4]}))
    event = {"lab": {"code": "A", "time": None, "numeric_value": "n"}}
    x.events({"subject_id_col": "MRN", "hosp/core/labs": event, "icu/labs": {"subject_id_col": "pid", **event}})
    x.run("shard_events")
    assert chunk_files(x) == ["hosp/core/labs/[0-1).parquet", "icu/labs/[0-1).parquet"]
    assert x.chunk("hosp/core/labs", 0, 1).rows(named=True) == [{"MRN": 1, "n": 2}]


def test_tables_and_formats_that_are_not_read_are_named(x, caplog):
    x.table("labs.csv", CSV)
    x.table("labs.parquet", FRAME)
    x.table("hosp/other.csv", "a\n1\n")
    x.table("notes.pdf", "nothing")
    x.events(EVENTS)
    x.run("shard_events")
    assert x.chunk("labs", 0, 3)["t"].to_list() == FRAME["t"].to_list()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("hosp/other" in w and "skipped" in w for w in warnings)
    assert any(".parquet is read" in w and ".csv skipped" in w for w in warnings)
    assert "notes" not in caplog.text


def test_the_cohort_may_lie_inside_the_input(tmp_path, caplog):
    x = Extraction(tmp_path)
    x.table("labs.csv", CSV)
    x.events(EVENTS)
    inside = f"cohort_dir={x.raw}/cohort"
    x.run("shard_events", inside)
    caplog.clear()
    x.run("shard_events", inside)
    assert "skipped" not in caplog.text


def test_an_input_folder_of_its_own(x):
    x.events(EVENTS)
    (x.folder / "elsewhere").mkdir()
    (x.folder / "elsewhere" / "labs.csv").write_text(CSV)
    x.run("shard_events", f".data_input_dir={x.folder}/elsewhere")
    assert chunk_files(x) == ["labs/[0-3).parquet"]


# csv dtypes


def test_dtypes_come_from_the_first_rows(x):
    x.table("labs.csv", "subject_id,test,t,n\n" + "1,1,2020,1\n" * 5 + "1,a,2020,2.5\n")
    x.events(EVENTS)
    x.run("shard_events", ".infer_schema_length=6")
    assert dict(x.chunk("labs", 0, 6).schema) == {
        "subject_id": pl.Int64,
        "test": pl.String,
        "t": pl.String,
        "n": pl.Float64,
    }


@pytest.mark.parametrize("length", [5, 1])
def test_a_later_row_that_does_not_fit_is_named(x, length):
    """Table, column, row and the key to raise; nothing is left, and after raising the key all is well."""
    x.table("hosp/labs.csv", "subject_id,test,t,n\n" + "1,1,2020,1\n" * 5 + "1,1,2020,high\n")
    x.events({"hosp/labs": EVENTS["labs"]})
    with pytest.raises(ValueError, match="infer_schema_length") as error:
        x.run("shard_events", f".infer_schema_length={length}")
    for part in ("hosp/labs", "'n'", "row 6", "'high'"):
        assert part in str(error.value)
    assert left_by_failure(x) == []
    x.run("shard_events", ".infer_schema_length=6")
    assert x.chunk("hosp/labs", 0, 6)["n"].to_list() == ["1"] * 5 + ["high"]


def test_null_infers_from_all_rows(x):
    x.table("labs.csv", "subject_id,test,t,n\n" + "1,1,2020,1\n" * 5 + "1,1,2020,high\n")
    x.events(EVENTS)
    x.run("shard_events", ".infer_schema_length=null")
    assert x.chunk("labs", 0, 6)["n"].to_list() == ["1"] * 5 + ["high"]


def test_columns_that_no_event_needs_never_fail(x):
    x.table("labs.csv", "subject_id,test,t,n,other\n" + "1,1,2020,1,1\n" * 5 + "1,1,2020,2,high\n")
    x.events(EVENTS)
    x.run("shard_events", ".infer_schema_length=2")
    assert x.chunk("labs", 0, 6)["n"].to_list() == [1] * 5 + [2]


@pytest.mark.parametrize("held_rows", [1_000_000, 45_000])
def test_categorical_columns_stay_categorical_also_with_many_categories(x, monkeypatch, held_rows):
    """More categories than fit the usual page of a parquet dictionary, in chunks written at once and bit by bit."""
    monkeypatch.setattr(chunk_writer, "_HELD_ROWS", held_rows)
    texts = pl.Series([f"{i:0>30}" for i in range(60_000)])
    frame = pl.DataFrame({"subject_id": range(60_000), "c": texts.cast(pl.Categorical), "e": ["x", "y"] * 30_000})
    x.table("labs.parquet", frame.with_columns(e=pl.col("e").cast(pl.Enum(["y", "x"]))))
    x.events({"labs": {"lab": {"code": "A", "time": None, "categorical_value": "c", "e": "e"}}})
    x.run("shard_events", ".row_chunksize=50000")
    chunk = x.chunk("labs", 0, 50_000)
    assert chunk.schema["c"] == pl.Categorical
    assert chunk["c"].cast(pl.String).equals(texts.head(50_000))
    assert isinstance(chunk.schema["e"], pl.Categorical | pl.Enum)


def test_columns_of_parquet_that_no_event_needs_may_have_any_dtype(x):
    x.table("labs.parquet", FRAME.with_columns(other=pl.struct(a=pl.lit([1]), b=pl.lit(date(2020, 1, 1)))))
    x.events(EVENTS)
    x.run("shard_events")
    assert set(x.chunk("labs", 0, 3).columns) == set(NEEDED)


def test_quoted_fields_may_hold_commas_and_line_breaks(x):
    x.table("labs.csv", 'subject_id,test,t,n\n1,"a, b",2020,1\n2,"c\nd",2021,2\n')
    x.events(EVENTS)
    x.run("shard_events", ".row_chunksize=1")
    assert [x.chunk("labs", i, i + 1)["test"].item() for i in (0, 1)] == ["a, b", "c\nd"]


def test_whole_numbers_beyond_64_bits_stay_text(x):
    """Ids of other systems; polars infers a dtype that no parquet file can hold."""
    x.table("labs.csv", f"subject_id,test,t,n\n1,{10**24},2020,{2**63}\n2,x,2020,1\n")
    x.events(EVENTS)
    x.run("shard_events", ".infer_schema_length=1")
    assert x.chunk("labs", 0, 2).select("test", "n").rows() == [(str(10**24), str(2**63)), ("x", "1")]


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_other_systems(x, line_break, mark):
    x.table("labs.csv", f"{mark}{CSV}".replace("\n", line_break))
    x.events(EVENTS)
    x.run("shard_events")
    assert x.chunk("labs", 0, 3).select(FRAME.columns).equals(FRAME)


# Bad input


def test_text_that_is_not_utf_8(x):
    x.table("labs.csv", "subject_id,test,t,n\n1,caf\xe9,2020,1\n".encode("latin-1"))
    x.events(EVENTS)
    with pytest.raises(ValueError, match=r"labs\.csv, row 1 after.*Save the file as UTF-8"):
        x.run("shard_events")
    assert left_by_failure(x) == []


@pytest.mark.parametrize("row", ["1,a,2020,1,surplus", "1,a,2020,1,,"])
def test_a_row_with_too_many_fields(x, row):
    x.table("labs.csv", f"{CSV}{row}\n")
    x.events(EVENTS)
    with pytest.raises(ValueError, match=r"labs\.csv, row 4 after.*[56] fields.*Quote fields"):
        x.run("shard_events")
    assert left_by_failure(x) == []


def test_no_event_file(x):
    x.table("labs.csv", CSV)
    with pytest.raises(FileNotFoundError, match=r"events\.yaml"):
        x.run("shard_events")


def test_no_input_at_all(x):
    x.events(EVENTS)
    with pytest.raises(FileNotFoundError, match=rf"no tables.*{x.raw}.*input_dir"):
        x.run("shard_events")


def test_no_input_folder(x):
    x.raw.rmdir()
    x.events(EVENTS)
    with pytest.raises(FileNotFoundError, match=str(x.raw)):
        x.run("shard_events")


def test_all_missing_tables_are_named_with_folder_and_near_names(x):
    """Release 0.1 passed three stages and failed in merge with a count of folders."""
    x.table("lab.csv", CSV)
    x.table("vitals.csv", CSV)
    x.events({**EVENTS, "vitals": EVENTS["labs"], "nothing/alike": EVENTS["labs"]})
    with pytest.raises(FileNotFoundError) as error:
        x.run("shard_events")
    for part in (f"labs below {x.raw} (did you mean 'lab'?)", "nothing/alike", "vitals"):
        assert part in str(error.value)
    assert left_by_failure(x) == []


def test_all_missing_columns_are_named_with_near_names(x):
    x.table("labs.csv", "subject,test,tt,value\n1,a,2020,2\n")
    x.events(EVENTS)
    with pytest.raises(ValueError, match="Tables cannot be used") as error:
        x.run("shard_events")
    for part in (
        "labs.subject_id_col",
        "'subject_id' (did you mean 'subject'?)",
        "labs.lab.time",
        "'t' (did you mean 'tt'?)",
        "labs.lab.numeric_value",
        "'n'",
        "labs.csv",
        "It has: subject, test, tt, value",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labs.csv", b""),
        ("labs.csv.gz", b""),
        ("labs.csv.gz", gzip.compress(b"", mtime=0)),
        ("labs.csv", b"\n"),
        ("labs.csv", b"subject_id,test,t,n\n"),
        ("labs.csv", b"subject_id,test,t,n"),
        ("labs.csv.gz", b"subject_id,test,t,n\n"),
        ("labs.parquet", FRAME.clear()),
        ("labs.parquet", b""),
    ],
)
def test_a_table_without_rows_header_or_bytes(x, name, content):
    x.table(name, content)
    x.events(EVENTS)
    with pytest.raises(ValueError, match=rf"labs .*{re.escape(name)}.*empty.*remove it from the event conversion file"):
        x.run("shard_events")
    assert left_by_failure(x) == []


def big_gzip():
    return gzip.compress(
        b"subject_id,test,t,n\n" + b"".join(b"%d,%d,2020,1\n" % (i, i * i % 977) for i in range(60_000))
    )


@pytest.mark.parametrize("keep", [5, 100, -1000, -4])
def test_a_truncated_gzip(x, keep):
    data = big_gzip()
    x.table("labs.csv.gz", data[:keep])
    x.events(EVENTS)
    with pytest.raises(ValueError, match=r"labs.*labs\.csv\.gz.*Get a new copy"):
        x.run("shard_events")
    assert left_by_failure(x) == []


def test_a_corrupt_gzip(x):
    data = bytearray(big_gzip())
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    x.table("labs.csv.gz", bytes(data))
    x.events(EVENTS)
    with pytest.raises(ValueError, match=r"labs.*labs\.csv\.gz.*Get a new copy"):
        x.run("shard_events")
    assert left_by_failure(x) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labs.parquet", b"subject_id,test,t,n\n1,a,2020,1\n"),
        ("labs.parquet", b"PAR1"),
        ("labs.par", b"PAR1" + bytes(100) + b"PAR1"),
        ("labs.csv.gz", b"\x1f\x8bno gzip after all"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(x, name, content):
    x.table(name, content)
    x.events(EVENTS)
    with pytest.raises(ValueError, match=rf"labs.*{re.escape(name)}.*cannot be read"):
        x.run("shard_events")
    assert left_by_failure(x) == []


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "many", "null"])
def test_a_chunk_size_that_is_none(x, value):
    x.table("labs.csv", CSV)
    x.events(EVENTS)
    with pytest.raises(ValueError, match="row_chunksize must be a whole number of at least 1"):
        x.run("shard_events", f".row_chunksize={value}")


# Runs again


def test_what_is_there_stays_and_overwriting_replaces_it(x):
    path = x.table("labs.csv", CSV)
    x.events(EVENTS)
    x.run("shard_events", ".row_chunksize=2")
    path.write_text(CSV + "2021,5,9,z\n")
    with pytest.raises(FileExistsError, match=r"(?s)row_chunksize: 2 -> 3.*labs\.csv"):
        x.run("shard_events", ".row_chunksize=3")
    x.run("shard_events", ".row_chunksize=3", "keep_existing=True")
    assert chunk_files(x) == ["labs/[0-2).parquet", "labs/[2-3).parquet"]
    x.run("shard_events", ".row_chunksize=3", "do_overwrite=True")
    assert chunk_files(x) == ["labs/[0-3).parquet", "labs/[3-4).parquet"]


def test_what_a_killed_worker_left_is_cleared_away(x):
    x.table("labs.csv", CSV)
    x.events(EVENTS)
    x.run("shard_events", ".row_chunksize=1")
    folder = x.cohort / "shard_events"
    (folder / "labs" / "[0-1).parquet").unlink()
    (folder / ".tmp.labs").mkdir()
    (folder / ".tmp.labs" / "[0-1).parquet").write_bytes(b"PAR1")
    x.run("shard_events", ".row_chunksize=1")
    assert chunk_files(x) == ["labs/[0-1).parquet", "labs/[1-2).parquet", "labs/[2-3).parquet"]


def test_a_bad_table_does_not_keep_the_others_from_being_corrected(x):
    """Tables that are cut stay cut; only the corrected one is read on the next run."""
    x.table("a.csv", "subject_id,n\n1,2\n")
    bad = x.table("b.csv", "subject_id,n\n1,2\nx,3\n")
    event = {"e": {"code": "A", "time": None, "numeric_value": "n"}}
    x.events({"a": event, "b": event})
    for _ in range(2):
        with pytest.raises(ValueError, match=r"b\.csv, column 'subject_id', row 2"):
            x.run("shard_events", ".infer_schema_length=1")
    bad.write_text("subject_id,n\n1,2\n2,3\n")
    x.run("shard_events", ".infer_schema_length=1")
    assert chunk_files(x) == ["a/[0-1).parquet", "b/[0-2).parquet"]


def test_meta_keys():
    assert {"time_format", "_metadata"} == shard_events.META_KEYS
