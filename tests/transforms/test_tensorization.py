"""Tensorization: the tensors of nested lists, their form on disk, what is refused."""

import json
import math
import os
import struct
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nested_ragged_tensors.ragged_numpy import JointNestedRaggedTensorDict

from helpers import SCRIPTS, files_below, write_shards
from MEDS_transforms.transforms.tensorization import main, run, tensorize, write_tensors

NAN = math.nan
SCHEMA = {
    "subject_id": pl.Int64,
    "time_delta_days": pl.List(pl.Float32),
    "code": pl.List(pl.List(pl.UInt16)),
    "numeric_value": pl.List(pl.List(pl.Float32)),
}
NAMES = ["dim1/bounds", "dim1/time_delta_days", "dim2/bounds", "dim2/code", "dim2/numeric_value"]


def event_seqs(*rows: tuple, code: pl.DataType = SCHEMA["code"]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={**SCHEMA, "code": code}, orient="row")


SEQS = event_seqs(
    (1, [NAN, 0.5, 1.5], [[5], [6, 300], [6]], [[1.0], [NAN, 0.5], [NAN]]),
    (2, [NAN], [[5, 5]], [[NAN, 7.0]]),
)


def header(path: Path) -> dict:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size])


def saved(df: pl.DataFrame, path: Path) -> Path:
    write_tensors(tensorize(df), path)
    return path


def test_bounds_and_values() -> None:
    tensors = tensorize(SEQS)
    assert sorted(tensors) == NAMES
    want = {
        "dim1/bounds": ([3, 4], np.int64),
        "dim1/time_delta_days": ([NAN, 0.5, 1.5, NAN], np.float32),
        "dim2/bounds": ([1, 3, 4, 6], np.int64),
        "dim2/code": ([5, 6, 300, 6, 5, 5], np.uint16),
        "dim2/numeric_value": ([1.0, NAN, 0.5, NAN, NAN, 7.0], np.float32),
    }
    for name, (values, dtype) in want.items():
        np.testing.assert_array_equal(tensors[name], np.array(values, dtype))
        assert tensors[name].dtype == dtype


def test_file_on_disk(tmp_path: Path) -> None:
    head = header(saved(SEQS, tmp_path / "0.nrt"))
    assert {name: (t["dtype"], t["shape"]) for name, t in head.items()} == {
        "dim1/bounds": ("I64", [2]),
        "dim1/time_delta_days": ("F32", [4]),
        "dim2/bounds": ("I64", [4]),
        "dim2/code": ("U16", [6]),
        "dim2/numeric_value": ("F32", [6]),
    }


@pytest.mark.parametrize(
    ("largest", "dtype"), [(255, "U8"), (256, "U16"), (65_535, "U16"), (65_536, "U32"), (2**32, "U64")]
)
@pytest.mark.parametrize("of_column", [pl.UInt64, pl.Int64])
def test_codes_in_the_smallest_type_that_holds_them(
    tmp_path: Path, largest: int, dtype: str, of_column: pl.DataType
) -> None:
    seqs = event_seqs((1, [NAN], [[0, largest]], [[NAN, NAN]]), code=pl.List(pl.List(of_column)))
    path = saved(seqs, tmp_path / "0.nrt")
    assert header(path)["dim2/code"]["dtype"] == dtype
    assert JointNestedRaggedTensorDict(tensors_fp=path).to_dense()["code"].tolist() == [[[0, largest]]]


@pytest.mark.parametrize("seqs", [event_seqs(), event_seqs((1, [], [], []))], ids=["no subject", "no event"])
def test_a_shard_without_events_is_what_the_library_saves(tmp_path: Path, seqs: pl.DataFrame) -> None:
    JointNestedRaggedTensorDict({}).save(tmp_path / "library.nrt")
    assert saved(seqs, tmp_path / "0.nrt").read_bytes() == (tmp_path / "library.nrt").read_bytes()
    assert not JointNestedRaggedTensorDict(tensors_fp=tmp_path / "0.nrt").tensors


def assert_same_tensors(got: JointNestedRaggedTensorDict, want: JointNestedRaggedTensorDict) -> None:
    dense, dense_wanted = got.to_dense(), want.to_dense()
    assert dense.keys() == dense_wanted.keys()
    for name, tensor in dense.items():
        np.testing.assert_array_equal(tensor, dense_wanted[name])
        assert tensor.dtype == dense_wanted[name].dtype


finite_or_nan = st.just(NAN) | st.floats(width=32, allow_infinity=False)
events = st.tuples(
    finite_or_nan, st.lists(st.tuples(st.integers(0, 2**20), st.none() | finite_or_nan), min_size=0, max_size=4)
)
subjects = st.lists(events, max_size=5)


@given(st.lists(subjects, max_size=6))
@settings(max_examples=200)
def test_same_as_from_nested_lists(tmp_path_factory: pytest.TempPathFactory, shard: list) -> None:
    """Subjects without events, single events, events without measurements, and empty shards are among them."""
    deltas = [[delta for delta, _ in subject] for subject in shard]
    codes = [[[code for code, _ in rows] for _, rows in subject] for subject in shard]
    values = [[[value for _, value in rows] for _, rows in subject] for subject in shard]
    seqs = pl.DataFrame(
        {"subject_id": range(len(shard)), "time_delta_days": deltas, "code": codes, "numeric_value": values},
        schema={**SCHEMA, "code": pl.List(pl.List(pl.UInt32))},
    )
    path = saved(seqs, tmp_path_factory.mktemp("nrt") / "0.nrt")
    got = JointNestedRaggedTensorDict(tensors_fp=path)
    assert got.keys() == ({"time_delta_days", "code", "numeric_value"} if any(shard) else set())
    if not any(rows for subject in shard for _, rows in subject):
        return  # of such lists the library makes no tensors
    values = [[[NAN if value is None else value for value in rows] for rows in subject] for subject in values]
    largest = max(code for subject in codes for rows in subject for code in rows)
    want = JointNestedRaggedTensorDict(
        {"time_delta_days": deltas, "code": codes, "numeric_value": values},
        schema={
            "time_delta_days": np.float32,
            "code": np.min_scalar_type(largest).type,
            "numeric_value": np.float32,
        },
    )
    assert_same_tensors(got, want)
    want.save(path.with_name("library.nrt"))
    assert path.read_bytes() == path.with_name("library.nrt").read_bytes()


def test_null_values_and_null_lists() -> None:
    seqs = event_seqs((1, None, None, None), (2, [NAN], [[5, 6]], [[None, 1.0]]))
    tensors = tensorize(seqs)
    assert tensors["dim1/bounds"].tolist() == [0, 1]
    np.testing.assert_array_equal(tensors["dim2/numeric_value"], np.array([NAN, 1.0], np.float32))


def test_slices_and_chunks_give_the_same() -> None:
    whole = pl.concat([SEQS, SEQS, SEQS], rechunk=False)[1:5]
    want = tensorize(pl.DataFrame(whole.to_dict(as_series=False), schema=SCHEMA))
    for name, tensor in tensorize(whole).items():
        np.testing.assert_array_equal(tensor, want[name])


def test_values_never_become_objects_of_python() -> None:
    """Some 16 bytes a value, in arrays; a list of lists of numbers takes more than 70."""
    subject = (1, [0.0] * 3, [[1], [2, 3], [4]], [[1.0], [2.0, 3.0], [4.0]])
    n_subjects = 50_000
    seqs = pl.concat([event_seqs(subject)] * n_subjects, rechunk=True)
    tracemalloc.start()
    tensorize(seqs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * 4 * n_subjects


def test_time_delta_in_another_unit() -> None:
    assert "dim1/time_delta_hours" in tensorize(SEQS.rename({"time_delta_days": "time_delta_hours"}))


@pytest.mark.parametrize(
    ("seqs", "message"),
    [
        (SEQS.drop("time_delta_days"), "one column time_delta_…, but there are 0"),
        (SEQS.with_columns(time_delta_hours="time_delta_days"), "there are 2.*time_delta_days, time_delta_hours"),
        (SEQS.drop("code", "numeric_value"), "code is missing.*\n.*numeric_value is missing"),
        (SEQS.cast({"code": pl.List(pl.List(pl.String))}), "code must be.*run fit_vocabulary_indices and normaliz"),
        (SEQS.with_columns(pl.col("code").list.first()), "code must be lists of lists"),
        (SEQS.with_columns(numeric_value="time_delta_days"), "numeric_value must be lists of lists of numbers"),
        (event_seqs((1, [NAN], [[None]], [[NAN]])), "1 measurement without code"),
        (
            event_seqs((1, [NAN], [[-1]], [[NAN]]), code=pl.List(pl.List(pl.Int64))),
            "-1 is not a vocabulary index",
        ),
        (event_seqs((1, [NAN], [[1], [2]], [[NAN], [NAN]])), "differ in length"),
        (event_seqs((1, [NAN], [[1]], [[NAN, NAN]])), "differ in length"),
    ],
)
def test_what_cannot_become_tensors(seqs: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tensorize(seqs)


def stage(folder: Path, **block: object) -> dict:
    block = {"data_input_dir": str(folder / "in"), "output_dir": str(folder / "data"), **block}
    return {"stage_cfg": block, "do_overwrite": False, "worker": 0, "input_dir": str(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shards(tmp_path / "in" / "event_seqs", {"train/0": SEQS, "train/1": SEQS.clear(), "held_out/0": SEQS[1:]})
    write_shards(tmp_path / "in" / "schemas", {"train/0": pl.DataFrame({"subject_id": [1, 2, 3]})})
    return tmp_path


FILES = ["held_out/0.nrt", "train/0.nrt", "train/1.nrt"]


def test_a_file_per_shard(folder: Path) -> None:
    run(stage(folder))
    assert files_below(folder / "data") == FILES
    assert len(JointNestedRaggedTensorDict(tensors_fp=folder / "data" / "train" / "0.nrt")) == 2


def test_only_the_train_split_where_asked_for(folder: Path) -> None:
    run(stage(folder, train_only=True))
    assert files_below(folder / "data") == ["train/0.nrt", "train/1.nrt"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_usual_permissions(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        run(stage(folder))
    finally:
        os.umask(before)
    assert {(folder / "data" / name).stat().st_mode & 0o777 for name in FILES} == {0o666 & ~umask}


def test_a_failure_leaves_nothing_and_what_was_there_stays(folder: Path) -> None:
    run(stage(folder))
    before = (folder / "data" / "train" / "0.nrt").read_bytes()
    os.utime(folder / "data" / "train" / "0.nrt", (0, 0))  # from a run of long ago
    write_shards(folder / "in" / "event_seqs", {"train/0": SEQS.drop("code")})
    cfg = {**stage(folder), "do_overwrite": True}
    with pytest.raises(ValueError, match="code is missing") as error:
        run(cfg)
    assert any("event_seqs/train/0.parquet" in note for note in error.value.__notes__)
    assert (folder / "data" / "train" / "0.nrt").read_bytes() == before
    assert not [f for f in files_below(folder / "data") if ".tmp." in f]


def test_without_tokenization(tmp_path: Path) -> None:
    write_shards(tmp_path / "in", {"train/0": pl.DataFrame({"subject_id": [1]})})
    with pytest.raises(FileNotFoundError, match="event_seqs") as error:
        run(stage(tmp_path))
    assert any("tokenization" in note for note in error.value.__notes__)


def test_match_and_revise_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="_match_revise"):
        main(stage(folder, _match_revise=[{"_matcher": {}}]))


def test_scripts_from_rows_to_tensors(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "subject_id": [1, 1, 2, 3],
            "time": [None, 0, 5, None],
            "code": [1, 2, 3, 1],
            "numeric_value": [None, 1, 2, 3],
        },
        schema={"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.UInt8, "numeric_value": pl.Float32},
    )
    write_shards(tmp_path / "data", {"train/0": rows, "tuning/0": rows.filter(pl.col("time").is_null())})
    arguments = [f"input_dir={tmp_path}", f"cohort_dir={tmp_path}/out", "stages=[tokenization,tensorization]"]
    for script in ("tokenization", "tensorization"):
        command = [SCRIPTS / f"MEDS_transform-{script}", *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    assert files_below(tmp_path / "out" / "data") == ["train/0.nrt", "tuning/0.nrt"]
    tensors = JointNestedRaggedTensorDict(tensors_fp=tmp_path / "out" / "data" / "train" / "0.nrt")
    assert tensors.to_dense()["code"].tolist() == [[[2]], [[3]]]
    event_seqs = pl.read_parquet(tmp_path / "out" / "tokenization" / "event_seqs" / "train" / "0.parquet")
    assert event_seqs.height == len(tensors) == 2
