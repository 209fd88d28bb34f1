"""Merged shards to MEDS data files: columns, dtypes on disk, and files that comply already."""

import shutil
from datetime import date, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import check_meds_data, files_below
from MEDS_transforms.extract.finalize_MEDS_data import get_and_validate_data_schema

EARLY, LATE = datetime(2020, 1, 1), datetime(2021, 1, 1, 12, 30, 15, 250)
MERGED = pl.DataFrame(
    {
        "subject_id": [1, 1, 2],
        "code": ["A", "B", "A"],
        "time": pl.Series([None, EARLY, LATE], dtype=pl.Datetime("us")),
        "numeric_value": [1.5, None, 3.0],
    }
)
MEDS = pa.schema(
    [("subject_id", pa.int64()), ("time", pa.timestamp("us")), ("code", pa.string()), ("numeric_value", pa.float32())]
)


@pytest.fixture
def finalize(x):
    """Runs the stage on merged shards; gives the schema on disk and the rows of the first."""

    def run(*overrides, again=False, **shards):
        if not again:
            shards = {name.replace("__", "/"): frame for name, frame in shards.items()}
            x.shards({name: [1, 2] for name in shards})
            for name, frame in shards.items():
                path = x.cohort / "merge_to_MEDS_cohort" / f"{name}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(frame, path) if isinstance(frame, pa.Table) else frame.write_parquet(path)
        x.run("finalize_MEDS_data", *overrides)
        path = x.cohort / "data" / "train" / "0.parquet"
        return pq.read_schema(path).remove_metadata(), pl.read_parquet(path)

    return run


def test_columns_and_dtypes_of_meds_on_disk(x, finalize):
    """`code` is arrow string, as MEDS wants it; polars alone writes large_string."""
    schema, rows = finalize(train__0=MERGED)
    assert schema.equals(MEDS)
    assert rows.equals(MERGED.select("subject_id", "time", "code", pl.col("numeric_value").cast(pl.Float32)))
    check_meds_data(x.cohort / "data" / "train" / "0.parquet")


def test_merged_shards_are_no_meds_data_yet(x, finalize):
    """So the check above can fail."""
    finalize(train__0=MERGED.with_columns(pl.col("numeric_value").cast(pl.Int8)))
    with pytest.raises(Exception):  # noqa: B017, PT011 (each version of meds has its own)
        check_meds_data(x.cohort / "merge_to_MEDS_cohort" / "train" / "0.parquet")


def test_all_shards_of_all_splits(x, finalize):
    finalize(train__0=MERGED, train__1=MERGED.clear(), task__held_out__0=MERGED)
    names = ["task/held_out/0.parquet", "train/0.parquet", "train/1.parquet"]
    assert files_below(x.cohort / "data") == names
    for name in names:
        check_meds_data(x.cohort / "data" / name)


def test_other_columns_follow_in_their_order_with_text_as_large_string(x, finalize):
    more = MERGED.select(
        pl.all(),
        text_value=pl.lit("t"),
        ward=pl.lit("w"),
        n=pl.lit(7, dtype=pl.Int16),
        b=pl.lit(True),
        categorical_value=pl.lit("c"),
    )
    schema, _ = finalize(train__0=more)
    assert schema.names == [*MEDS.names, "text_value", "ward", "n", "b", "categorical_value"]
    assert [str(t) for t in schema.types[4:]] == ["large_string", "large_string", "int16", "bool", "large_string"]
    check_meds_data(x.cohort / "data" / "train" / "0.parquet")


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("subject_id", pl.Series([1, 1, 2], dtype=pl.Int32), [1, 1, 2]),
        ("subject_id", pl.Series([1, 1, 2], dtype=pl.UInt64), [1, 1, 2]),
        ("time", pl.Series([None, EARLY, LATE], dtype=pl.Datetime("ns")), [None, EARLY, LATE]),
        ("time", pl.Series([None, date(2020, 1, 1), date(2021, 1, 1)]), [None, EARLY, datetime(2021, 1, 1)]),
        ("time", pl.Series([None, None, None]), [None] * 3),
        ("code", pl.Series(["A", "B", "A"], dtype=pl.Categorical), ["A", "B", "A"]),
        ("code", pl.Series(["A", "B", "A"], dtype=pl.Categorical(pl.Categories("of a name"))), ["A", "B", "A"]),
        ("numeric_value", pl.Series([1, None, 3], dtype=pl.Int64), [1.0, None, 3.0]),
        ("numeric_value", pl.Series([0.1, None, 16777217.0]), [float(np.float32(0.1)), None, 16777216.0]),
        ("numeric_value", pl.Series([None] * 3), [None] * 3),
        ("numeric_value", pl.Series([True, False, None]), [1.0, 0.0, None]),
        ("text_value", pl.Series(["x", None, "y"], dtype=pl.Categorical), ["x", None, "y"]),
        ("categorical_value", pl.Series([1, None, 2]), ["1", None, "2"]),
    ],
)
def test_retyping(x, finalize, column, values, expected):
    frame = MERGED.with_columns(values.alias(column))
    schema, rows = finalize(train__0=frame)
    assert rows[column].to_list() == expected
    assert schema.names[:4] == MEDS.names
    assert schema.types[:4] == MEDS.types
    check_meds_data(x.cohort / "data" / "train" / "0.parquet")
    with pytest.raises(ValueError, match=rf"{column} must be .*, but is {values.dtype}".replace("(", r"\(")[:40]):
        x.run("finalize_MEDS_data", ".do_retype=False", "do_overwrite=True")


@pytest.mark.parametrize("column", ["numeric_value", "time"])
def test_missing_values_and_times_are_added_as_nulls(x, finalize, column):
    schema, rows = finalize(train__0=MERGED.drop(column))
    assert schema.equals(MEDS)
    assert rows[column].null_count() == 3
    check_meds_data(x.cohort / "data" / "train" / "0.parquet")


@pytest.mark.parametrize("column", ["code", "subject_id"])
@pytest.mark.parametrize("retype", ["True", "False"])
def test_other_missing_columns_are_an_error(x, finalize, column, retype):
    with pytest.raises(ValueError, match=f"{column} is missing"):
        finalize(f".do_retype={retype}", train__0=MERGED.drop(column))
    assert not [name for name in files_below(x.cohort / "data") if "lock" not in name]


def test_without_retype_every_violation_is_listed(x, finalize):
    frame = MERGED.select(pl.col("subject_id").cast(pl.Int32), text_value=pl.lit(1), numeric_value=pl.lit(1.0))
    with pytest.raises(ValueError, match="do_retype") as error:
        finalize(".do_retype=False", train__0=frame)
    for part in (
        "subject_id must be Int64, but is Int32",
        "time is missing",
        "code is missing",
        "numeric_value must be Float32, but is Float64",
        "text_value must be String, but is Int32",
        "train/0.parquet",
    ):
        assert part in "\n".join([str(error.value), *error.value.__notes__])
    assert not [name for name in files_below(x.cohort / "data") if "lock" not in name]


def test_without_retype_what_complies_passes(finalize):
    schema, rows = finalize(".do_retype=False", train__0=MERGED.cast({"numeric_value": pl.Float32}))
    assert schema.equals(MEDS)
    assert rows.height == 3


def test_rows_keep_their_order(finalize):
    """Also those of one time, and in a shard that is larger than what polars does at once."""
    n = 1_100_000
    frame = pl.select(
        subject_id=pl.int_range(n) // 400_000,
        code=pl.format("C{}", pl.int_range(n) % 7),
        time=pl.lit(EARLY, dtype=pl.Datetime("us")),
        numeric_value=pl.int_range(n).cast(pl.Float64),
    )
    _, rows = finalize(train__0=frame)
    assert np.array_equal(rows["numeric_value"].to_numpy(), np.arange(n, dtype=np.float32))


# Files that comply


@pytest.fixture
def compliant():
    table = MERGED.with_columns(ward=pl.lit("w")).select(*MEDS.names, "ward").to_arrow()
    return table.cast(pa.schema([*MEDS, ("ward", pa.large_string())]))


@pytest.mark.parametrize("retype", ["True", "False"])
def test_files_that_comply_are_passed_on_unchanged(x, finalize, compliant, retype):
    finalize(f".do_retype={retype}", train__0=compliant)
    before, after = x.cohort / "merge_to_MEDS_cohort/train/0.parquet", x.cohort / "data/train/0.parquet"
    assert after.read_bytes() == before.read_bytes()
    assert after.stat().st_ino == before.stat().st_ino
    check_meds_data(after)


@pytest.mark.parametrize("field", [("code", pa.large_string()), ("ward", pa.string())])
def test_files_with_the_other_text_type_are_rewritten(finalize, compliant, field):
    i = compliant.schema.get_field_index(field[0])
    schema, _ = finalize(train__0=compliant.cast(compliant.schema.set(i, pa.field(*field))))
    assert schema.field("code").type == pa.string()
    assert schema.field("ward").type == pa.large_string()


def test_files_with_another_order_of_columns_are_rewritten(finalize, compliant):
    schema, _ = finalize(train__0=compliant.select(["ward", "code", "time", "subject_id", "numeric_value"]))
    assert schema.names == [*MEDS.names, "ward"]


def test_overwriting_does_not_touch_the_file_that_was_passed_on(x, finalize, compliant):
    finalize(train__0=compliant)
    before = (x.cohort / "merge_to_MEDS_cohort/train/0.parquet").read_bytes()
    finalize("do_overwrite=True", again=True)
    assert (x.cohort / "merge_to_MEDS_cohort/train/0.parquet").read_bytes() == before
    assert (x.cohort / "data/train/0.parquet").read_bytes() == before


# Runs again, and what is missing


def test_missing_shards_are_named_and_nothing_is_written(x, finalize):
    """Release 0.1 finished with a whole split missing."""
    finalize(train__0=MERGED, train__1=MERGED, held_out__0=MERGED)
    (x.cohort / "merge_to_MEDS_cohort/held_out/0.parquet").unlink()
    (x.cohort / "merge_to_MEDS_cohort/train/1.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(
        FileNotFoundError, match=r"2 of 3 shards are missing.*held_out/0, train/1.*merge_to_MEDS_cohort"
    ):
        finalize("do_overwrite=True", again=True)


def test_what_is_there_stays_and_overwriting_replaces_it(x, finalize):
    finalize(train__0=MERGED)
    with pytest.raises(FileExistsError, match=r"train/0\.parquet"):
        finalize(train__0=MERGED.head(1))
    _, rows = finalize("keep_existing=True", train__0=MERGED.head(1))
    assert rows.height == 3
    _, rows = finalize("do_overwrite=True", train__0=MERGED.head(1))
    assert rows.height == 1
    assert files_below(x.cohort / "data") == ["train/0.parquet"]


@pytest.mark.parametrize("lazy", [True, False])
def test_the_former_function(lazy):
    table = get_and_validate_data_schema(MERGED.lazy() if lazy else MERGED, {"do_retype": True})
    assert isinstance(table, pa.Table)
    assert table.schema.remove_metadata().equals(MEDS)
    with pytest.raises(ValueError, match="numeric_value must be Float32"):
        get_and_validate_data_schema(MERGED, {"do_retype": False})


def test_without_a_shard_map_every_merged_shard_counts(x, finalize):
    finalize(train__0=MERGED)
    (x.cohort / "metadata" / ".shards.json").unlink()
    shutil.rmtree(x.cohort / "data")
    x.run("finalize_MEDS_data")
    assert files_below(x.cohort / "data") == ["train/0.parquet"]
