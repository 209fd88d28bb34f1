"""Pieces to shards: the order of rows, duplicates, and columns of several tables."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import check_meds_data, files_below
from MEDS_transforms.extract.merge_to_MEDS_cohort import merge_pieces

EARLY, LATE = datetime(2020, 1, 1), datetime(2021, 1, 1)


def piece(*rows, **more):
    schema = {"subject_id": pl.Int64, "code": pl.String, "time": pl.Datetime("us"), "n": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(**more)


@pytest.fixture
def merge(x):
    """Runs the stage on pieces, by table and chunk, of the shard train/0."""

    def run(*overrides, shards=None, **tables):
        x.events({name: {"e": {"code": "A", "time": None}} for name in tables})
        x.shards(shards or {"train/0": [1, 2, 3]})
        for name, chunks in tables.items():
            start = 0
            for chunk in chunks:
                path = x.cohort / "convert_to_sharded_events/train/0" / name / f"[{start}-{start + 10}).parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                chunk.write_parquet(path)
                start += 10
        x.run("merge_to_MEDS_cohort", *overrides)
        return x.shard("merge_to_MEDS_cohort", "train/0")

    return run


def test_rows_are_sorted_by_subject_and_time_static_ones_first(merge):
    merged = merge(
        a=[piece((2, "A", EARLY, 1), (1, "B", LATE, 2), (1, "C", EARLY, 3), (2, "D", None, 4), (1, "E", None, 5))]
    )
    assert merged["n"].to_list() == [5, 3, 2, 4, 1]
    assert merged.columns == ["subject_id", "time", "code", "numeric_value", "n"]


def test_ties_keep_the_order_of_tables_then_of_chunks_then_of_rows(merge):
    """Tables as in the event file, chunks by their rows: [10-20) before [100-110), whatever the file system says."""
    tables = {
        "z": [piece((1, "x", EARLY, 100 * c), (1, "x", EARLY, 100 * c + 1)) for c in range(12)],
        "a": [piece((1, "a", EARLY, 5000), (1, "s", None, 5001))],
    }
    merged = merge(**tables)
    assert merged["n"].to_list() == [5001, *(100 * c + i for c in range(12) for i in (0, 1)), 5000]


@pytest.mark.slow
def test_ties_keep_their_order_in_more_than_a_million_rows(merge):
    """Smaller shards do not show it: only there do sorts, joins and groups of polars leave the order of rows."""
    n = 1_500_000
    rng = np.random.default_rng(1)
    times = np.array([None, EARLY, LATE])[rng.integers(0, 3, n)]
    frame = pl.DataFrame(
        {
            "subject_id": rng.integers(1, 6, n),
            "code": pl.Series(["A", "B"])[rng.integers(0, 2, n)],
            "time": pl.Series(times.tolist(), dtype=pl.Datetime("us")),
            "n": np.arange(n),
        }
    )
    merged = merge(a=[frame[:600_000], frame[600_000:1_200_000]], b=[frame[1_200_000:]])
    by = np.lexsort(
        [frame["time"].fill_null(datetime(1, 1, 1)).to_physical().to_numpy(), frame["subject_id"].to_numpy()]
    )
    assert merged.height == n
    assert np.array_equal(merged["n"].to_numpy(), by)
    assert merged.select(frame.columns).equals(frame[by])


# Duplicates


DOUBLED = [
    piece((1, "A", EARLY, 1), (1, "A", EARLY, 2), (1, "A", EARLY, 1)),
    piece((1, "A", EARLY, 1), (1, "B", EARLY, 1)),
]


@pytest.mark.parametrize(
    ("override", "kept"),
    [
        ('.unique_by="*"', [("A", 1), ("A", 2), ("B", 1)]),
        (".unique_by=null", [("A", 1), ("A", 2), ("A", 1), ("A", 1), ("B", 1)]),
        (".unique_by=[subject_id,time]", [("A", 1)]),
        (".unique_by=[n]", [("A", 1), ("A", 2)]),
        (".unique_by=[code,nothing]", [("A", 1), ("B", 1)]),
        (".unique_by=[]", [("A", 1), ("A", 2), ("A", 1), ("A", 1), ("B", 1)]),
    ],
)
def test_unique_by(merge, override, kept):
    """The first place is kept, across chunks and tables."""
    assert merge(override, a=DOUBLED).select("code", "n").rows() == kept


def test_duplicates_of_another_table_lose(merge):
    merged = merge(a=[piece((1, "A", EARLY, 1))], b=[piece((1, "B", EARLY, 0), (1, "A", EARLY, 1))])
    assert merged["code"].to_list() == ["A", "B"]


@pytest.mark.parametrize("unique_by", ['"*"', "[numeric_value]"])
def test_rows_that_differ_before_the_final_cast_are_no_duplicates(merge, unique_by):
    rows = piece((1, "A", EARLY, 1), (1, "A", EARLY, 1), numeric_value=pl.Series([16777216, 16777217]))
    assert merge(f".unique_by={unique_by}", a=[rows])["numeric_value"].to_list() == [16777216] * 2


@pytest.mark.parametrize("key", ["unique_by", "additional_sort_by"])
def test_unknown_columns_are_ignored_with_a_warning(merge, caplog, key):
    merge(f".{key}=[code,nothing,nowhere]", a=DOUBLED)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    for part in (key, "nothing", "nowhere", "ignored"):
        assert part in warnings[0]


@pytest.mark.parametrize("value", ["code", "3", "true", "[code,3]", "{a: 1}"])
def test_any_other_unique_by_is_an_error_before_anything_is_written(x, merge, value):
    with pytest.raises(ValueError, match=r"unique_by.* must be"):
        merge(f".unique_by={value}", a=DOUBLED)
    assert not (x.cohort / "merge_to_MEDS_cohort").exists()


def test_additional_sort_by(merge):
    rows = piece((1, "B", EARLY, 1), (1, "A", EARLY, 2), (1, None, EARLY, 3), (1, "A", EARLY, 1), (1, "Z", None, 9))
    assert merge(".additional_sort_by=[code]", a=[rows])["n"].to_list() == [9, 3, 2, 1, 1]
    assert merge(".additional_sort_by=[code,n]", "do_overwrite=True", a=[rows])["n"].to_list() == [9, 3, 1, 2, 1]


def test_additional_sort_by_compares_numbers_before_the_final_cast(merge):
    rows = piece((1, "A", EARLY, 1), (1, "A", EARLY, 2), numeric_value=pl.Series([16777217, 16777216]))
    assert merge(".additional_sort_by=[numeric_value]", a=[rows])["n"].to_list() == [2, 1]


# Columns


@pytest.mark.parametrize("numbers", [pl.Int64, pl.Float64, pl.UInt8, pl.Boolean, None])
def test_shards_are_meds_data_which_are_passed_on(x, merge, numbers):
    """Release 0.1 left numbers as they were, and encoded everything once more to finalize it."""
    more = {} if numbers is None else {"numeric_value": pl.lit(1, dtype=numbers)}
    merged = merge(a=[piece((1, "A", EARLY, 1), (1, "B", None, 2), categorical_value=pl.lit(7), **more)])
    assert merged.columns == ["subject_id", "time", "code", "numeric_value", "n", "categorical_value"]
    assert merged["numeric_value"].to_list() == [None if numbers is None else 1.0] * 2
    assert merged["categorical_value"].to_list() == ["7", "7"]
    path = x.cohort / "merge_to_MEDS_cohort/train/0.parquet"
    check_meds_data(path)
    x.run("finalize_MEDS_data", ".do_retype=False")
    assert (x.cohort / "data/train/0.parquet").samefile(path)


def test_the_union_of_columns_in_order_of_appearance(merge):
    merged = merge(a=[piece((1, "A", EARLY, 1), v=pl.lit("x"))], b=[piece((2, "B", None, 2), w=pl.lit(True))])
    assert merged.drop("numeric_value").rows(named=True) == [
        {"subject_id": 1, "time": EARLY, "code": "A", "n": 1, "v": "x", "w": None},
        {"subject_id": 2, "time": None, "code": "B", "n": 2, "v": None, "w": True},
    ]


@pytest.mark.parametrize(
    ("dtypes", "met"),
    [
        ([pl.Int32, pl.Int64], pl.Int64),
        ([pl.Float32, pl.Int64], pl.Float64),
        ([pl.Int64, pl.String], pl.String),
        ([pl.Null, pl.Float64], pl.Float64),
        ([pl.Boolean, pl.String, pl.Float64], pl.String),
    ],
)
def test_columns_of_several_tables_get_a_common_dtype_and_text_wins(merge, dtypes, met):
    pieces = {f"t{i}": [piece((i, "A", EARLY, i), v=pl.lit(None, dtype=d))] for i, d in enumerate(dtypes)}
    assert merge(**pieces).schema["v"] == met


def test_categorical_columns_are_combined_with_other_categories(merge):
    first, second = (piece((1, v, EARLY, 1), v=pl.lit(v, dtype=pl.Categorical)) for v in ("x", "y"))
    assert merge(a=[first, second, first])["v"].cast(pl.String).to_list() == ["x", "y"]


# What is missing


def test_a_table_without_pieces(merge):
    with pytest.raises(FileNotFoundError, match=r"train/0/b.*convert_to_sharded_events"):
        merge(a=DOUBLED, b=[])


def test_a_missing_chunk(x, merge):
    merge(a=DOUBLED)
    (x.cohort / "convert_to_sharded_events/train/0/a/[0-10).parquet").unlink()
    with pytest.raises(FileNotFoundError, match="0 to 10 are missing"):
        x.run("merge_to_MEDS_cohort", "do_overwrite=True")


def test_a_shard_without_pieces_is_an_error_and_not_left_out(merge):
    """Release 0.1 ended in success with a whole split missing, after a kill in an earlier stage."""
    with pytest.raises(FileNotFoundError, match="train/1"):
        merge(a=DOUBLED, shards={"train/0": [1], "train/1": [2]})


def test_nothing_to_merge(x):
    x.events({"a": {"e": {"code": "A", "time": None}}})
    x.shards({"train/0": [1]})
    with pytest.raises(FileNotFoundError, match=r"convert_to_sharded_events/train/0/a.*convert_to_sharded_events"):
        x.run("merge_to_MEDS_cohort")


def test_pieces_of_tables_that_are_not_in_the_event_file_are_left_alone(x, merge):
    merge(a=DOUBLED, b=[piece((1, "B", EARLY, 7))])
    x.events({"a": {"e": {"code": "A", "time": None}}})
    x.run("merge_to_MEDS_cohort", "do_overwrite=True")
    assert 7 not in x.shard("merge_to_MEDS_cohort", "train/0")["n"]


def test_empty_pieces_make_an_empty_shard(merge):
    merged = merge(a=[piece(), piece()])
    assert merged.is_empty()
    assert merged.select(piece().columns).schema == piece().schema


# The whole contract, at once

ROWS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["A", "B"]), st.sampled_from([None, EARLY, LATE]), st.integers(0, 2)),
    max_size=8,
)


@given(
    chunks=st.lists(ROWS, min_size=1, max_size=4),
    unique_by=st.sampled_from(["*", None, ["code"], ["subject_id", "time"]]),
    sort_by=st.sampled_from([[], ["n"], ["code", "n"]]),
)
def test_merging_is_dropping_then_a_stable_sort(chunks, unique_by, sort_by):
    names = ["subject_id", "code", "time", "n"]
    expected, seen = [], set()
    for row in (row for rows in chunks for row in rows):
        key = tuple(row[names.index(c)] for c in (names if unique_by == "*" else unique_by or []))
        if unique_by is None or key not in seen:
            seen.add(key)
            expected.append(row)
    expected.sort(key=lambda r: (r[0], r[2] or datetime(1, 1, 1), *(r[names.index(c)] for c in sort_by)))
    assert merge_pieces([piece(*rows) for rows in chunks], unique_by, sort_by).rows() == expected


def test_what_is_there_stays_and_overwriting_replaces_it(x, merge):
    merge(a=DOUBLED)
    path = x.cohort / "merge_to_MEDS_cohort/train/0.parquet"
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r'unique_by: "\*" -> null'):
        merge(".unique_by=null", a=DOUBLED)
    merge(".unique_by=null", "keep_existing=True", a=DOUBLED)
    assert path.read_bytes() == before
    assert merge(".unique_by=null", "do_overwrite=True", a=DOUBLED).height == 5
    assert files_below(x.cohort / "merge_to_MEDS_cohort") == ["train/0.parquet"]
