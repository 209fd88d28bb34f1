"""Tokenization: what becomes of static and timed rows, of values, of the order of rows; two files per shard."""

import math
import os
import subprocess
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import SCRIPTS, files_below, write_shards
from MEDS_transforms.dataset.io import scan_parquet
from MEDS_transforms.dataset.schema import COLUMNS, FOR_MEDS_TORCH_DATA, SEQUENCES, STATIC
from MEDS_transforms.mapreduce.mapper import map_over
from MEDS_transforms.transforms.tokenization import for_meds_torch_data, main, run, tokenize
from MEDS_transforms.work.claims import lock_path

NAN = math.nan
T = [datetime(2020, 1, 1) + timedelta(hours=12 * i) for i in range(5)]
SCHEMA = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.UInt16, "numeric_value": pl.Float32}
SCHEMAS_TYPES = {
    "subject_id": pl.Int64,
    "code": pl.List(pl.UInt16),
    "numeric_value": pl.List(pl.Float32),
    "start_time": pl.Datetime("us"),
    "time": pl.List(pl.Datetime("us")),
}
EVENT_SEQS_TYPES = {
    "subject_id": pl.Int64,
    "time_delta_days": pl.List(pl.Float32),
    "code": pl.List(pl.List(pl.UInt16)),
    "numeric_value": pl.List(pl.List(pl.Float32)),
}


@pytest.mark.parametrize(
    ("types", "found_in"), [(SCHEMAS_TYPES, STATIC), (EVENT_SEQS_TYPES, SEQUENCES)], ids=["schemas", "event_seqs"]
)
def test_the_table_of_columns_has_those_of_both_files(types: dict, found_in: str) -> None:
    table = {column.name: column.dtype for column in COLUMNS if column.found_in == found_in}
    assert list(table) == list(types)
    assert all(table[name] == dtype for name, dtype in types.items() if name != "code")


def rows(*values: tuple, **dtypes: pl.DataType) -> pl.DataFrame:
    return pl.DataFrame(values, schema={**SCHEMA, **dtypes}, orient="row")


def plain(value: object) -> object:
    """A value that can be compared with ==: NaN as text."""
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


SHARD = rows(
    (1, None, 3, None),
    (1, None, 4, 2.0),
    (1, T[0], 5, 1.0),
    (1, T[1], 6, None),
    (1, T[1], 5, 0.5),
    (1, T[4], 6, NAN),
    (2, T[2], 5, math.inf),
    (2, T[2], 5, -math.inf),
    (3, None, 3, math.inf),
)


def test_static_rows_and_times_by_subject() -> None:
    schemas, _ = tokenize(SHARD)
    assert dict(schemas.schema) == SCHEMAS_TYPES
    assert schemas.rows() == [
        (1, [3, 4], [None, 2.0], T[0], [T[0], T[1], T[4]]),
        (2, None, None, T[2], [T[2]]),
        (3, [3], [math.inf], None, []),
    ]


def test_events_by_subject() -> None:
    _, event_seqs = tokenize(SHARD)
    assert dict(event_seqs.schema) == EVENT_SEQS_TYPES
    assert plain(event_seqs.rows()) == plain(
        [
            (1, [NAN, 0.5, 1.5], [[5], [6, 5], [6]], [[1.0], [NAN, 0.5], [NAN]]),
            (2, [NAN], [[5, 5]], [[NAN, NAN]]),
        ]
    )


def test_row_i_of_the_events_is_not_row_i_of_the_schemas() -> None:
    schemas, event_seqs = tokenize(rows((1, None, 3, None), (2, T[0], 5, None), (3, None, 3, None), (4, T[0], 6, None)))
    assert schemas["subject_id"].to_list() == [1, 2, 3, 4]
    assert event_seqs["subject_id"].to_list() == [2, 4]
    assert event_seqs["code"].to_list() == [[[5]], [[6]]]


@pytest.mark.parametrize(
    "shard",
    [rows(), rows((1, None, 3, None), (2, None, 4, 1.0)), rows((1, T[0], 3, None), (2, T[0], 4, 1.0))],
    ids=["no row", "static rows only", "no static row"],
)
def test_columns_are_the_same_whatever_there_is(shard: pl.DataFrame) -> None:
    schemas, event_seqs = tokenize(shard)
    assert dict(schemas.schema) == SCHEMAS_TYPES
    assert dict(event_seqs.schema) == EVENT_SEQS_TYPES
    assert schemas.height == shard["subject_id"].n_unique()
    assert event_seqs.height == shard.drop_nulls("time")["subject_id"].n_unique()


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.Int64, pl.String])
def test_codes_keep_their_dtype(dtype: pl.DataType) -> None:
    schemas, event_seqs = tokenize(SHARD.cast({"code": dtype}))
    assert schemas.schema["code"] == pl.List(dtype)
    assert event_seqs.schema["code"] == pl.List(pl.List(dtype))
    assert_frame_equal(
        event_seqs.cast({"code": EVENT_SEQS_TYPES["code"]}), tokenize(SHARD)[1].cast({"code": EVENT_SEQS_TYPES["code"]})
    )


def test_rows_out_of_order_are_sorted_and_ties_stay() -> None:
    mixed = SHARD[[8, 3, 4, 6, 0, 7, 2, 1, 5]]
    for got, want in zip(tokenize(mixed), tokenize(SHARD), strict=True):
        assert_frame_equal(got, want)


def test_order_within_an_event_is_that_of_the_rows() -> None:
    codes = [9, 1, 8, 2, 7, 2, 9]
    _, event_seqs = tokenize(rows(*((1, T[0], c, None) for c in codes)))
    assert event_seqs["code"].to_list() == [[codes]]


def test_wider_dtypes_and_columns_without_values_are_taken() -> None:
    other = SHARD.cast({"time": pl.Datetime("ms"), "numeric_value": pl.Float64, "subject_id": pl.Int32})
    for got, want in zip(tokenize(other), tokenize(SHARD), strict=True):
        assert_frame_equal(got, want)
    empty = SHARD.with_columns(time=pl.lit(None), numeric_value=pl.lit(None))
    schemas, event_seqs = tokenize(empty)
    assert schemas["numeric_value"].to_list()[0] == [None] * 6
    assert event_seqs.is_empty()


def test_other_columns_are_left_out() -> None:
    for got, want in zip(tokenize(SHARD.with_columns(text_value=pl.lit("x"))), tokenize(SHARD), strict=True):
        assert_frame_equal(got, want)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        (SHARD.drop("code"), "code is missing"),
        (SHARD.drop("time", "code"), "time is missing"),
        (SHARD.cast({"time": pl.String}), "time must be a Datetime"),
        (SHARD.cast({"numeric_value": pl.String}), "numeric_value must be a number"),
        (SHARD.cast({"subject_id": pl.String}), "subject_id must be an integer"),
        (SHARD.with_columns(subject_id=pl.lit(None, pl.Int64)), "9 rows without subject_id"),
    ],
)
def test_what_cannot_be_tokenized(shard: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokenize(shard)


def test_data_without_values() -> None:
    with_nulls = tokenize(SHARD.with_columns(numeric_value=pl.lit(None, pl.Float32)))
    for got, want in zip(tokenize(SHARD.drop("numeric_value")), with_nulls, strict=True):
        assert_frame_equal(got, want)


measurements = st.tuples(
    st.integers(1, 4),
    st.none() | st.sampled_from(T),
    st.integers(1, 9),
    st.none() | st.floats(width=32),
)


@given(st.lists(measurements, max_size=25))
@settings(max_examples=150)
def test_same_as_row_by_row(values: list[tuple]) -> None:
    values.sort(key=lambda row: (row[0], row[1] or datetime.min))
    schemas, event_seqs = tokenize(rows(*values))
    static, events = {}, {}
    for subject, time, code, value in values:
        events.setdefault(subject, {})
        where = static.setdefault(subject, []) if time is None else events[subject].setdefault(time, [])
        value = NAN if time and (value is None or not math.isfinite(value)) else value
        where.append((code, value))
    want_schemas = [
        (s, *(map(list, zip(*static[s], strict=True)) if s in static else (None, None)), min(e, default=None), list(e))
        for s, e in events.items()
    ]
    want_seqs = [
        (s, [[c for c, _ in event] for event in e.values()], [[v for _, v in event] for event in e.values()])
        for s, e in events.items()
        if e
    ]
    assert plain(schemas.rows()) == plain(want_schemas)
    assert plain(event_seqs.drop("time_delta_days").rows()) == plain(want_seqs)
    for deltas, (_, *_, times) in zip(
        event_seqs["time_delta_days"], filter(lambda s: s[-1], want_schemas), strict=True
    ):
        assert math.isnan(deltas[0])
        assert deltas.to_list()[1:] == [(b - a) / timedelta(days=1) for a, b in pairwise(times)]


@pytest.mark.slow
def test_a_large_shard_keeps_the_order_of_its_rows(tmp_path: Path) -> None:
    n = 1_000_000
    shard = pl.select(
        subject_id=pl.int_range(n) // 5_000,
        time=pl.lit(T[0]) + pl.duration(hours=(pl.int_range(n) // 7) % 700).cast(pl.Duration("us")),
        code=(pl.int_range(n) * 7919 % 5_003).cast(pl.UInt16),
        numeric_value=pl.lit(None, pl.Float32),
    ).sort("subject_id", "time", maintain_order=True)
    shard.write_parquet(tmp_path / "0.parquet", row_group_size=50_000)
    _, event_seqs = tokenize(scan_parquet(tmp_path / "0.parquet"))
    got = event_seqs["code"].explode(empty_as_null=True).explode(empty_as_null=True)
    assert got.to_list() == shard["code"].to_list()


def stage(folder: Path, **more: object) -> dict:
    """The configuration of the stage below a folder, `do_overwrite` and keys of the stage's block added."""
    do_overwrite = more.pop("do_overwrite", False)
    block = {"data_input_dir": str(folder / "in"), "output_dir": str(folder / "tokenization"), **more}
    return {"stage_cfg": block, "do_overwrite": do_overwrite, "worker": 0, "input_dir": str(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shards(tmp_path / "in", {"train/0": SHARD, "train/1": SHARD.clear(), "held_out/0": SHARD[:6]})
    return tmp_path


SHARDS = ["held_out/0", "train/0", "train/1"]
FILES = sorted(f"{kind}/{shard}.parquet" for kind in ("schemas", "event_seqs") for shard in SHARDS)


def test_two_files_per_shard_and_nothing_else(folder: Path) -> None:
    run(stage(folder))
    assert files_below(folder / "tokenization") == FILES
    for got, name in zip(tokenize(SHARD), ("schemas", "event_seqs"), strict=True):
        assert_frame_equal(pl.read_parquet(folder / "tokenization" / name / "train" / "0.parquet"), got)


def test_schemas_for_meds_torch_data(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(stage(folder))
    plain_seqs = {name: (folder / "tokenization" / name).read_bytes() for name in FILES if "event_seqs" in name}
    run(stage(folder, layout="meds_torch_data", do_overwrite=True))
    got = pl.read_parquet(folder / "tokenization" / "schemas" / "train" / "0.parquet")
    assert [(c.name, c.dtype) for c in COLUMNS if c.found_in == FOR_MEDS_TORCH_DATA and c.name != "static_code"] == [
        (name, got.schema[name]) for name in ("static_numeric_value", "measurements_per_event")
    ]
    assert got.rows() == [
        (1, [3, 4], [None, 2.0], T[0], [T[0], T[1], T[4]], [1, 2, 1]),
        (2, None, None, T[2], [T[2]], [2]),
    ]
    infinite = for_meds_torch_data(*tokenize(rows((1, None, 3, math.inf), (1, None, 4, None), (1, T[0], 5, None))))
    assert plain(infinite["static_numeric_value"].to_list()) == [["NaN", None]]
    assert "no row in schemas for 1 subject without events" in caplog.text  # which has no row in the tensors either
    assert {name: (folder / "tokenization" / name).read_bytes() for name in plain_seqs} == plain_seqs
    empty = pl.read_parquet(folder / "tokenization" / "schemas" / "train" / "1.parquet")
    assert empty.schema == got.schema
    assert empty.is_empty()


@pytest.mark.parametrize("lost", FILES)
def test_a_shard_is_done_only_when_both_files_are_there(folder: Path, lost: str) -> None:
    run(stage(folder))
    before = {name: (folder / "tokenization" / name).read_bytes() for name in FILES}
    stamps = {name: (folder / "tokenization" / name).stat().st_mtime_ns for name in FILES}
    (folder / "tokenization" / lost).unlink()
    run(stage(folder))
    assert {name: (folder / "tokenization" / name).read_bytes() for name in FILES} == before
    shard = lost.partition("/")[2]
    untouched = [name for name in FILES if not name.endswith(shard)]
    assert all((folder / "tokenization" / name).stat().st_mtime_ns == stamps[name] for name in untouched)


def test_half_a_file_is_rebuilt(folder: Path) -> None:
    run(stage(folder))
    broken = folder / "tokenization" / "schemas" / "train" / "0.parquet"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    run(stage(folder))
    assert broken.read_bytes() == whole


def test_what_a_dead_worker_left_is_cleared_away(folder: Path) -> None:
    run(stage(folder))
    event_seqs = folder / "tokenization" / "event_seqs" / "train" / "0.parquet"
    schemas = folder / "tokenization" / "schemas" / "train" / "0.parquet"
    schemas.unlink()
    event_seqs.with_name(".tmp.0.parquet").mkdir()
    (event_seqs.with_name(".tmp.0.parquet") / "schemas.parquet").write_bytes(b"half")
    lock_path(event_seqs).touch()
    run(stage(folder))
    assert files_below(folder / "tokenization") == FILES


def test_overwriting_rebuilds_both_files(folder: Path) -> None:
    run(stage(folder))
    for name in FILES:
        os.utime(folder / "tokenization" / name, (0, 0))
    write_shards(folder / "in", {"train/0": SHARD[:6]})
    run(stage(folder, do_overwrite=True))
    assert all((folder / "tokenization" / name).stat().st_mtime > 0 for name in FILES)
    assert pl.read_parquet(folder / "tokenization" / "schemas" / "train" / "0.parquet").height == 1
    assert pl.read_parquet(folder / "tokenization" / "event_seqs" / "train" / "0.parquet").height == 1


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"train_only": True}, "train_only"),
        ({"layout": "torch"}, "layout must be"),
        ({"_match_revise": [{"_matcher": {"code": 5}}]}, "_match_revise"),
    ],
)
def test_what_the_stage_does_not_do(folder: Path, block: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main(stage(folder, **block))
    assert not (folder / "tokenization").exists()


def test_an_error_names_the_files_and_leaves_nothing(folder: Path) -> None:
    write_shards(folder / "in", {"train/0": SHARD.drop("code")})
    with pytest.raises(ValueError, match="code is missing") as error:
        run(stage(folder))
    assert any(str(folder / "in" / "train" / "0.parquet") in note for note in error.value.__notes__)
    assert not [f for f in files_below(folder / "tokenization") if f.endswith("train/0.parquet")]


def test_a_later_stage_finds_both_folders(folder: Path) -> None:
    run(stage(folder))
    cfg = stage(folder, data_input_dir=str(folder / "tokenization"), output_dir=str(folder / "next"))
    map_over(cfg)
    assert files_below(folder / "next") == FILES


def test_script(folder: Path) -> None:
    arguments = [f"input_dir={folder}", f"cohort_dir={folder}/cohort", "stages=[tokenization]"]
    more = [f"++stage_configs.tokenization.data_input_dir={folder}/in"]
    ran = subprocess.run(
        [SCRIPTS / "MEDS_transform-tokenization", *arguments, *more], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert files_below(folder / "cohort" / "data") == FILES
