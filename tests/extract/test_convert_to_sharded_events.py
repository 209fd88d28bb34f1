"""Chunks to measurements apart by subject shard: which rows and columns are in which piece, in which order."""

import gc
import json
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import Extraction, files_below
from MEDS_transforms.dataset.io import write_parquets
from MEDS_transforms.extract import chunks
from MEDS_transforms.extract import convert_to_sharded_events as stage
from MEDS_transforms.extract.chunks import Chunk

LAB = {"code": ["LAB", "col(test)"], "time": "col(t)", "time_format": "%Y", "numeric_value": "n"}
SHARDS = {"train/0": [1, 2], "train/1": [3], "held_out/0": [9]}
LABS = pl.DataFrame(
    {
        "subject_id": [3, 1, 2, 1, None, 3],
        "test": ["a", "b", None, "a", "a", "c"],
        "t": ["2020", "2021", "2022", "2020", "2020", "2019"],
        "n": [1.0, 2.0, None, 4.0, 5.0, 6.0],
    }
)


@pytest.fixture
def convert(x):
    """Runs the stage on raw tables, by default one of labs, with a given shard map."""

    def run(*overrides, tables=None, events=None, shards=None, row_chunksize=100, again=False):
        if not again:
            for name, frame in (tables or {"labs": LABS}).items():
                x.table(f"{name}.parquet", frame)
            x.events(events or {"labs": {"lab": LAB}})
            x.run("shard_events", f".row_chunksize={row_chunksize}")
            x.shards(shards or SHARDS)
        x.run("convert_to_sharded_events", *overrides)

    return run


def pieces(x):
    return [name for name in files_below(x.cohort / "convert_to_sharded_events") if name.endswith(".parquet")]


def test_every_chunk_is_read_once_whatever_the_number_of_shards(x, convert, monkeypatch):
    read, scan_parquet = [], chunks.scan_parquet
    monkeypatch.setattr(chunks, "scan_parquet", lambda path: read.append(path) or scan_parquet(path))
    convert(row_chunksize=2)
    folder = x.cohort / "shard_events"
    assert sorted(path.relative_to(folder).as_posix() for path in read) == [
        f"labs/[{start}-{start + 2}).parquet" for start in (0, 2, 4)
    ]


def test_every_shard_has_a_piece_of_every_chunk_also_where_it_is_empty(x, convert):
    convert(
        tables={"labs": LABS, "icu/labs": LABS},
        events={"labs": {"lab": LAB}, "icu/labs": {"lab": LAB}},
        row_chunksize=4,
    )
    assert pieces(x) == sorted(
        f"{shard}/{table}/{rows}.parquet"
        for shard in SHARDS
        for table in ("labs", "icu/labs")
        for rows in ("[0-4)", "[4-6)")
    )
    empty, full = x.piece("held_out/0", "labs", 0, 4), x.piece("train/0", "labs", 0, 4)
    assert empty.is_empty()
    assert empty.schema == full.schema
    assert full.schema == {
        "subject_id": pl.Int64,
        "code": pl.String,
        "time": pl.Datetime("us"),
        "numeric_value": pl.Float64,
    }
    assert not [name for name in files_below(x.cohort) if "/." in name and name != "metadata/.shards.json"]


def test_tables_whose_names_are_nearly_the_same_are_all_converted(x, convert):
    """Each chunk has a claim of its own, in one folder for all tables: two claims of one name would be one chunk."""
    tables = ["a/b", "a--b", "a%2Fb"]
    convert(tables=dict.fromkeys(tables, LABS), events={name: {"lab": LAB} for name in tables})
    assert pieces(x) == sorted(f"{shard}/{table}/[0-6).parquet" for shard in SHARDS for table in tables)


def test_rows_stand_in_file_order_in_their_subjects_shard(x, convert):
    convert()
    assert x.piece("train/0", "labs", 0, 6).rows() == [
        (1, "LAB//b", datetime(2021, 1, 1), 2.0),
        (2, "LAB//UNK", datetime(2022, 1, 1), None),
        (1, "LAB//a", datetime(2020, 1, 1), 4.0),
    ]
    assert x.piece("train/1", "labs", 0, 6)["numeric_value"].to_list() == [1.0, 6.0]


def test_the_event_file_is_kept_as_it_was_used(x, convert):
    convert()
    kept = x.cohort / "convert_to_sharded_events" / "event_conversion_config.yaml"
    assert kept.read_bytes() == x.event_file.read_bytes()
    x.events({"labs": {"another": LAB}})
    convert("do_overwrite=True", again=True)
    assert kept.read_bytes() == x.event_file.read_bytes()


def test_events_come_in_file_order_and_columns_are_their_union(x, convert):
    events = {
        "labs": {
            "z": {"code": "Z", "time": None, "ward": "test"},
            "a": {"code": "A", "time": None, "numeric_value": "n", "text_value": "test"},
        }
    }
    convert(tables={"labs": LABS.head(2)}, events=events, shards={"train/0": [1, 3]})
    assert x.piece("train/0", "labs", 0, 2).rows(named=True) == [
        {"subject_id": i, "code": code, "time": None, "ward": ward, "numeric_value": n, "text_value": text}
        for i, code, ward, n, text in [
            (3, "Z", "a", None, None),
            (1, "Z", "b", None, None),
            (3, "A", None, 1.0, "a"),
            (1, "A", None, 2.0, "b"),
        ]
    ]


@pytest.mark.parametrize(("first", "second", "met"), [("n", "test", pl.String), ("n", "i", pl.Float64)])
def test_columns_of_several_events_get_a_common_dtype(x, convert, first, second, met):
    events = {"labs": {"a": {"code": "A", "time": None, "v": first}, "b": {"code": "B", "time": None, "v": second}}}
    convert(tables={"labs": LABS.with_columns(i=pl.lit(7))}, events=events)
    assert x.piece("train/0", "labs", 0, 6).schema["v"] == met


def test_a_subject_in_two_splits_has_its_rows_in_both(x, convert):
    convert(shards={"train/0": [1, 2, 3], "task/0": [3, 1]})
    both = x.piece("task/0", "labs", 0, 6)
    assert both["subject_id"].to_list() == [3, 1, 1, 3]
    assert both.equals(x.piece("train/0", "labs", 0, 6).filter(pl.col("subject_id") != 2))


def test_subjects_in_no_shard_are_left_out_with_a_warning_that_counts_them(x, convert, caplog):
    convert(shards={"train/0": [1]})
    assert x.piece("train/0", "labs", 0, 6)["subject_id"].to_list() == [1, 1]
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "labs" in warnings[0]
    assert "subjects in no shard, left out: 2" in warnings[0]


def test_rows_without_a_subject_give_nothing_and_no_warning(x, convert, caplog):
    convert()
    rows = pl.concat([x.piece(shard, "labs", 0, 6) for shard in SHARDS])
    assert rows.height == 5
    assert rows["subject_id"].null_count() == 0
    assert "in no shard" not in caplog.text


@pytest.mark.parametrize("ids", [["01", "2"], pl.Series([1, 2], dtype=pl.UInt64), [1.0, 2.0]])
def test_ids_of_any_dtype_become_int64(x, convert, ids):
    """In release 0.1 they kept the dtype they had."""
    convert(
        tables={"labs": pl.DataFrame({"MRN": ids})},
        events={"labs": {"subject_id_col": "MRN", "a": {"code": "A", "time": None}}},
    )
    found = x.piece("train/0", "labs", 0, 2)
    assert found.schema["subject_id"] == pl.Int64
    assert found["subject_id"].to_list() == [1, 2]


def test_ids_that_are_no_integers_are_an_error(x, convert):
    with pytest.raises(ValueError, match=r"Table labs, column MRN.*'x'"):
        convert(
            tables={"labs": pl.DataFrame({"MRN": ["1", "x"]})},
            events={"labs": {"subject_id_col": "MRN", "a": {"code": "A", "time": None}}},
        )
    assert pieces(x) == []


def test_the_raw_column_subject_id_is_what_the_events_see(x, convert):
    """Also where the ids come from another column, or read differently as integers."""
    convert(
        tables={"labs": pl.DataFrame({"MRN": [1, 2], "subject_id": ["x", "y"]})},
        events={
            "labs": {"subject_id_col": "MRN", "a": {"code": ["A", "col(subject_id)"], "time": None, "id": "subject_id"}}
        },
    )
    assert x.piece("train/0", "labs", 0, 2).rows() == [(1, "A//x", None, "x"), (2, "A//y", None, "y")]


def test_the_text_of_an_id_is_kept_in_a_code(x, convert):
    convert(
        tables={"labs": pl.DataFrame({"subject_id": ["001", "2"]})},
        events={"labs": {"a": {"code": ["A", "col(subject_id)"], "time": None}}},
    )
    assert x.piece("train/0", "labs", 0, 2)["code"].to_list() == ["A//001", "A//2"]


# Duplicates, and text that repeats the number


def test_duplicates_of_one_event_within_a_chunk_keep_their_first_place(x, convert):
    rows = pl.DataFrame({"subject_id": [1, 2, 1, 1, 2], "n": [1, 2, 1, 3, 2], "unused": [1, 2, 3, 4, 5]})
    event = {"code": "A", "time": None, "numeric_value": "n"}
    convert(tables={"labs": rows}, events={"labs": {"a": event, "b": event}}, row_chunksize=4)
    assert x.piece("train/0", "labs", 0, 4).select("subject_id", "numeric_value").rows() == [(1, 1), (2, 2), (1, 3)] * 2
    assert x.piece("train/0", "labs", 4, 5).select("subject_id", "numeric_value").rows() == [(2, 2)] * 2


def test_duplicates_are_judged_before_the_final_cast(x, convert):
    """Equal as 32-bit floats, not as they are."""
    rows = pl.DataFrame({"subject_id": [1, 1, 1], "n": [16777216, 16777217, 16777216]})
    convert(tables={"labs": rows}, events={"labs": {"a": {"code": "A", "time": None, "numeric_value": "n"}}})
    assert x.piece("train/0", "labs", 0, 3)["numeric_value"].to_list() == [16777216, 16777217]


@pytest.mark.parametrize(
    ("override", "texts"), [("True", [None, "2 mg"]), ("False", ["1.0", "2 mg"]), ("'no'", ["1.0", "2 mg"])]
)
def test_do_dedup_text_and_numeric(x, convert, override, texts):
    rows = pl.DataFrame({"subject_id": [1, 1], "n": [1, 2], "text": ["1.0", "2 mg"]})
    event = {"code": "A", "time": None, "numeric_value": "n", "text_value": "text"}
    convert(f".do_dedup_text_and_numeric={override}", tables={"labs": rows}, events={"labs": {"a": event}})
    assert x.piece("train/0", "labs", 0, 2)["text_value"].to_list() == texts


# Times


def test_a_chunk_in_which_no_time_parses_is_an_error_and_leaves_nothing(x, convert):
    rows = LABS.with_columns(t=pl.Series(["2020", "2021", "1/2/20", "3/4/20", None, "2020"]))
    with pytest.raises(ValueError, match=r"labs\.lab\.time.*'t'.*'%Y'.*'1/2/20'"):
        convert(tables={"labs": rows}, row_chunksize=2)
    # Other chunks of the table may be there; of this one there is nothing.
    assert not [name for name in pieces(x) if "[2-4)" in name]
    assert not [name for name in files_below(x.cohort / "convert_to_sharded_events") if "tmp" in name]


@pytest.mark.parametrize("batch_rows", [1, 2, 5, 6, 7])
def test_no_time_parses_in_several_batches(x, convert, monkeypatch, batch_rows):
    monkeypatch.setattr(Chunk, "batch_rows", batch_rows)
    with pytest.raises(ValueError, match=r"labs\.lab\.time.*'1/2/20'"):
        convert(tables={"labs": LABS.with_columns(t=pl.lit("1/2/20"))})
    assert pieces(x) == []
    assert not [name for name in files_below(x.cohort / "convert_to_sharded_events") if "tmp" in name]


@pytest.mark.parametrize("batch_rows", [1, 2, 5, 6])
def test_one_time_that_parses_in_any_batch_is_enough(x, convert, monkeypatch, batch_rows):
    monkeypatch.setattr(Chunk, "batch_rows", batch_rows)
    convert(tables={"labs": LABS.with_columns(t=pl.Series(["x", "y", "z", "2020", None, "w"]))})
    assert x.piece("train/0", "labs", 0, 6)["subject_id"].to_list() == [1]


def test_times_of_nothing_but_nulls_are_no_error(x, convert):
    convert(tables={"labs": LABS.with_columns(t=pl.lit(None, dtype=pl.String))})
    assert x.piece("train/0", "labs", 0, 6).is_empty()


# The same in one batch and in many

ROWS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, 4, 77, None]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["2020", "2021-05", "never", None]),
        st.sampled_from([0.5, 1.0, None, float("nan")]),
    ),
    min_size=1,
    max_size=25,
)
EVENTS = {
    "labs": {
        "static": {"code": ["S", "col(test)"], "time": None},
        "first": {"code": ["col(test)", "col(n)"], "time": None, "v": "test"},
        "timed": {
            "code": "T",
            "time": "col(t)",
            "time_format": ["%Y", "%Y-%m"],
            "numeric_value": "n",
            "v": "n",
            "c": "cat",
        },
    }
}


@settings(max_examples=25)
@given(rows=ROWS, batch_rows=st.integers(1, 12))
def test_batches_make_no_difference(tmp_path_factory, rows, batch_rows):
    x = Extraction(tmp_path_factory.mktemp("batches"))
    schema = {"subject_id": pl.Int64, "test": pl.String, "t": pl.String, "n": pl.Float64}
    # One row whose time parses, so that the chunk is not an error.
    frame = pl.DataFrame([*rows, (3, "a", "2020", 1.0)], schema=schema, orient="row")
    frame = frame.with_columns(cat=pl.col("test").cast(pl.Categorical))
    x.table("labs.parquet", frame)
    x.events(EVENTS)
    shards = {"train/0": [1, 2], "train/1": [3], "task/0": [2, 4, 5]}
    x.shards(shards)
    x.run("shard_events")
    found = []
    for size in (1_000_000, batch_rows):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Chunk, "batch_rows", size)
            x.run("convert_to_sharded_events", "do_overwrite=True", f".output_dir={x.cohort}/{size}")
        parts = [x.cohort / str(size) / s / "labs" / f"[0-{frame.height}).parquet" for s in shards]
        found.append([pl.read_parquet(path, glob=False) for path in parts])
    for at_once, in_batches in zip(*found, strict=True):
        assert at_once.schema == in_batches.schema
        assert at_once.equals(in_batches)


@pytest.mark.parametrize(("batch_rows", "looks"), [(4, {"write_parquet", "write"}), (6, {"write_parquets"})])
def test_no_raw_rows_stay_in_memory_while_a_batch_is_written(convert, monkeypatch, batch_rows, looks):
    held, looked = [], set()

    def look_before(write):
        def look_and_write(*args, **kwargs):
            there = [known for known in gc.get_objects() if isinstance(known, pl.DataFrame)]
            held.append([frame.height for frame in there if "raw only" in frame.columns])
            looked.add(write.__name__)
            write(*args, **kwargs)

        return look_and_write

    tables = {"labs": LABS.rename({"test": "raw only"})}
    convert(tables=tables, events={"labs": {"lab": LAB | {"code": "col(raw only)"}}})
    monkeypatch.setattr(Chunk, "batch_rows", batch_rows)
    for place, name in ((stage, "write_parquet"), (stage, "write_parquets"), (stage.Spill, "write")):
        monkeypatch.setattr(place, name, look_before(getattr(place, name)))
    convert("do_overwrite=True", again=True)
    assert looked == looks
    assert held == [[tables["labs"].height]] * len(held)


def test_small_pieces_are_written_together_and_large_ones_alone(convert, monkeypatch, x):
    written = []
    monkeypatch.setattr(stage, "_ROWS_AT_A_TIME", 3)
    monkeypatch.setattr(stage, "_FILES_AT_A_TIME", 4)
    monkeypatch.setattr(stage, "write_parquets", lambda f, fast: written.append(len(f)) or write_parquets(f, fast))
    frame = pl.DataFrame({"subject_id": [1, 1, 1, 1, 2, 3, 4, 5, 5], "test": "a", "t": "2020", "n": range(9)})
    shards = {f"train/{n}": [n] for n in range(1, 12)}
    convert(tables={"labs": frame}, events={"labs": {"lab": LAB, "same": LAB | {"code": "B"}}}, shards=shards)
    assert written == [1, 1, 1, 1, 1, 4, 2]
    for shard, [subject] in shards.items():
        expected = frame.filter(subject_id=subject)["n"].to_list() * 2
        assert x.piece(shard, "labs", 0, 9)["numeric_value"].to_list() == expected


@pytest.mark.parametrize("batch_rows", [1, 2, 4])
def test_subjects_that_are_left_out_are_counted_once_over_all_batches(convert, monkeypatch, caplog, batch_rows):
    monkeypatch.setattr(Chunk, "batch_rows", batch_rows)
    convert(shards={"train/0": [2]})
    assert [r.getMessage() for r in caplog.records if "subjects in no shard, left out: 2" in r.getMessage()]


# Runs again


def test_a_chunk_counts_as_done_only_when_all_its_pieces_are_there(x, convert):
    convert(row_chunksize=4)
    folder = x.cohort / "convert_to_sharded_events"
    before = {name: (folder / name).read_bytes() for name in pieces(x)}
    stamps = {name: (folder / name).stat().st_mtime_ns for name in pieces(x)}
    (folder / "train/1/labs/[0-4).parquet").unlink()
    (folder / "held_out/0/labs/[0-4).parquet").write_bytes(b"PAR1 cut short")
    convert(again=True)
    assert {name: (folder / name).read_bytes() for name in pieces(x)} == before
    assert all((folder / n).stat().st_mtime_ns == stamps[n] for n in pieces(x) if "[4-6)" in n)


def test_what_is_there_is_not_made_again_unless_it_is_overwritten(x, convert):
    convert()
    x.events({"labs": {"lab": {**LAB, "code": "B"}}})
    with pytest.raises(FileExistsError, match=r'events\.labs\.lab\.code: \["LAB", "col\(test\)"\] -> "B"'):
        convert(again=True)
    convert("keep_existing=True", again=True)
    assert "B" not in x.piece("train/0", "labs", 0, 6)["code"]
    convert("do_overwrite=True", again=True)
    assert x.piece("train/0", "labs", 0, 6)["code"].to_list() == ["B"] * 3


def test_a_changed_event_file_that_wants_other_columns_says_what_to_do(x, convert):
    convert()
    x.events({"labs": {"lab": {**LAB, "ward": "ward"}}})
    with pytest.raises(ValueError, match=r"labs\.lab\.ward: there is no column 'ward'.*run shard_events again"):
        convert("do_overwrite=True", again=True)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (None, FileNotFoundError, "Run split_and_shard_subjects first"),
        ("{", ValueError, "is not valid JSON"),
        ("{}", ValueError, "holds no shards"),
    ],
)
def test_a_shard_map_that_is_none(x, convert, content, kind, said):
    convert()
    path = x.cohort / "metadata" / ".shards.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(kind, match=rf"\.shards\.json.*{said}"):
        convert(again=True)


def test_missing_chunks(x, convert):
    convert(row_chunksize=2)
    (x.cohort / "shard_events" / "labs" / "[2-4).parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"shard_events/labs.*2 to 4 are missing"):
        convert(again=True)


def test_a_shard_map_of_the_users_own(x, convert):
    convert()
    other = x.folder / "map.json"
    other.write_text(json.dumps({"all/0": [1, 2, 3]}))
    convert(f"shards_map_fp={other}", "do_overwrite=True", again=True)
    assert x.piece("all/0", "labs", 0, 6).height == 5
