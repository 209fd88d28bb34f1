"""Claims: each output once, whole or not at all, whoever dies when. Workers are real processes."""

import os
import shutil
import stat
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from helpers import files_below, wait_until
from MEDS_transforms.dataset.io import scan_parquet, scratch_path, write_lazyframe
from MEDS_transforms.mapreduce import map_over, rwlock_wrap
from MEDS_transforms.mapreduce.mapper import identity_fn
from MEDS_transforms.work.claims import Staged, Unit, claim, lock_path
from MEDS_transforms.work.environment import RUN

DF = pl.DataFrame({"subject_id": [1, 2]})


@pytest.fixture
def in_fp(tmp_path) -> Path:
    DF.write_parquet(tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


@pytest.fixture
def out_fp(tmp_path) -> Path:
    return tmp_path / "out" / "train" / "0.parquet"


def wrap(in_fp, out_fp, **arguments) -> bool:
    functions = {"read_fn": scan_parquet, "write_fn": write_lazyframe, "compute_fn": identity_fn}
    return rwlock_wrap(in_fp, out_fp, **(functions | arguments))


# One worker


def test_an_output_is_computed_once(in_fp, out_fp):
    assert wrap(in_fp, out_fp) is True
    assert wrap(in_fp, out_fp, compute_fn=lambda df: df.head(0)) is False
    assert_frame_equal(pl.read_parquet(out_fp), DF)
    assert files_below(out_fp.parent) == ["0.parquet"]


def test_do_overwrite_computes_again(in_fp, out_fp):
    wrap(in_fp, out_fp)
    for _ in range(2):
        assert wrap(in_fp, out_fp, compute_fn=lambda df: df.head(1), do_overwrite=True) is True
    assert_frame_equal(pl.read_parquet(out_fp), DF.head(1))
    assert files_below(out_fp.parent) == ["0.parquet"]


@pytest.mark.parametrize("size", [0, 10, -1])
def test_a_truncated_output_counts_as_not_there(in_fp, out_fp, size):
    wrap(in_fp, out_fp)
    out_fp.write_bytes(out_fp.read_bytes()[:size])
    assert wrap(in_fp, out_fp) is True
    assert_frame_equal(pl.read_parquet(out_fp), DF)


def test_what_is_complete_may_be_said_by_the_caller(in_fp, out_fp):
    wrap(in_fp, out_fp)
    assert wrap(in_fp, out_fp, out_fp_checker=lambda fp: pl.read_parquet(fp).height == 3) is True
    assert wrap(in_fp, out_fp, out_fp_checker=lambda fp: pl.read_parquet(fp).height == 2) is False


def test_a_write_function_may_rely_on_the_suffix(in_fp, tmp_path):
    def write(df: pl.LazyFrame, path: Path) -> None:
        np.savez(path, ids=df.collect()["subject_id"].to_numpy())  # appends the suffix where it is missing

    assert wrap(in_fp, tmp_path / "out" / "0.npz", write_fn=write) is True
    assert np.load(tmp_path / "out" / "0.npz")["ids"].tolist() == [1, 2]
    assert files_below(tmp_path / "out") == ["0.npz"]


def test_outputs_have_the_permissions_of_the_umask(in_fp, out_fp):
    before = os.umask(0o027)
    try:
        wrap(in_fp, out_fp)
    finally:
        os.umask(before)
    assert stat.S_IMODE(out_fp.stat().st_mode) == 0o640


def failing(*_):
    raise ValueError("what went wrong")


def half_written(_, path: Path) -> None:
    path.write_bytes(b"PAR1 half")
    raise ValueError("what went wrong")


@pytest.mark.parametrize(
    "step", [{"read_fn": failing}, {"compute_fn": failing}, {"write_fn": failing}, {"write_fn": half_written}]
)
@pytest.mark.parametrize("there_before", [False, True])
def test_a_failure_names_the_shard_and_leaves_what_was_there(in_fp, out_fp, step, there_before):
    if there_before:
        wrap(in_fp, out_fp)
    with pytest.raises(ValueError, match="what went wrong") as info:
        wrap(in_fp, out_fp, do_overwrite=True, **step)
    notes = "\n".join(info.value.__notes__)
    assert str(in_fp) in notes
    assert str(out_fp) in notes
    assert out_fp.exists() is there_before
    assert not scratch_path(out_fp).exists()
    if there_before:
        assert_frame_equal(pl.read_parquet(out_fp), DF)
    assert wrap(in_fp, out_fp) is not there_before  # the claim was let go
    assert files_below(out_fp.parent) == ["0.parquet"]


@pytest.mark.parametrize("there_before", [False, True])
def test_what_a_dead_worker_left_is_cleared_away(in_fp, out_fp, there_before):
    if there_before:
        wrap(in_fp, out_fp)
    out_fp.parent.mkdir(parents=True, exist_ok=True)
    lock_path(out_fp).touch()
    (scratch_path(out_fp)).mkdir()
    (scratch_path(out_fp) / "0.parquet").write_bytes(b"PAR1 half")
    (scratch_path(out_fp) / ".of_the_library").write_bytes(b"half")
    assert wrap(in_fp, out_fp) is not there_before
    assert_frame_equal(pl.read_parquet(out_fp), DF)
    assert files_below(out_fp.parent) == ["0.parquet"]


def test_what_a_live_worker_holds_is_left_alone(in_fp, out_fp):
    wrap(in_fp, out_fp)
    with claim(out_fp) as ours:
        assert ours
        scratch_path(out_fp).mkdir()
        with claim(out_fp) as another:
            assert not another
        assert wrap(in_fp, out_fp) is False
        assert wrap(in_fp, out_fp, do_overwrite=True) is False
        assert scratch_path(out_fp).exists()
        assert lock_path(out_fp).exists()
    assert wrap(in_fp, out_fp) is False
    assert files_below(out_fp.parent) == ["0.parquet"]


def test_a_unit_of_several_outputs_is_done_when_all_are_there(tmp_path):
    outputs = [tmp_path / "a", tmp_path / "b"]

    def make(folder: Path) -> Staged:
        for output in outputs:
            (folder / output.name).touch()
        return Staged({output: folder / output.name for output in outputs})

    unit = Unit(tmp_path / "both", lambda: all(o.exists() for o in outputs), make)
    outputs[0].touch()
    assert unit.compute_once() is True
    assert unit.compute_once() is False
    assert files_below(tmp_path) == ["a", "b"]


# Many workers


@pytest.mark.parametrize("overwrite", [False, True])
def test_many_workers_compute_each_shard_once(workers, overwrite):
    names = workers.make_shards(24)
    arguments = ["map", *["do_overwrite"] * overwrite]
    # Nobody gets beyond its first shard before all have begun, so that they overlap.
    gates = [workers.hold("read", name) for name in names]
    processes = [workers.start(i, *arguments) for i in range(4)]
    wait_until(lambda: len(list(workers.folder.glob("held.read.*"))) == 4)
    for gate in gates:
        gate.unlink()
    workers.finish(*processes)
    assert workers.computed == sorted(names)
    parallel = workers.results()
    assert set(parallel) == {f"{name}.parquet" for name in names}
    shutil.rmtree(workers.out)
    workers.finish(workers.start(0, *arguments))
    assert workers.results() == parallel


@pytest.mark.parametrize("step", ["read", "compute", "write"])
def test_a_killed_worker_lets_go_at_once(workers, step):
    workers.make_shards(1)
    hold = workers.hold(step, "0")
    holder = workers.start(0, "map")
    workers.wait_until_held(step, "0")
    in_fp, out_fp = workers.folder / "in" / "0.parquet", workers.out / "0.parquet"
    assert wrap(in_fp, out_fp) is False
    assert not out_fp.exists()
    workers.kill(holder)
    assert not out_fp.exists()
    hold.unlink()
    assert wrap(in_fp, out_fp) is True
    assert [name for name in files_below(workers.out) if ".provenance" not in name] == ["0.parquet"]
    assert pl.read_parquet(out_fp)["subject_id"].to_list() == [0, 0]


def test_after_a_kill_the_same_run_completes(workers):
    names = workers.make_shards(4)
    hold = workers.hold("write", "2")
    holder = workers.start(0, "map")
    workers.wait_until_held("write", "2")
    workers.kill(holder)
    hold.unlink()
    workers.finish(workers.start(0, "map"))
    assert set(workers.results()) == {f"{name}.parquet" for name in names}
    assert workers.computed == sorted([*names, "2"])


# do_overwrite


def test_do_overwrite_replaces_once_per_run_of_overlapping_workers(workers):
    names = workers.make_shards(4)
    workers.finish(workers.start(0, "map"))
    hold = workers.hold("compute", "3")
    first = workers.start(0, "map", "do_overwrite")
    workers.wait_until_held("compute", "3")
    # A worker that comes later leaves alone what the first replaced, and replaces the rest.
    workers.finish(workers.start(1, "map", "do_overwrite"))
    assert first.poll() is None
    hold.unlink()
    workers.finish(first)
    assert workers.computed == sorted([*names, *names])
    assert set(workers.results()) == {f"{name}.parquet" for name in names}


def cfg_of(workers, **more):
    folders = {"data_input_dir": str(workers.folder / "in"), "output_dir": str(workers.out)}
    return {"worker": 0, "stage_cfg": folders, **more}


def counted(calls: list):
    def compute(df):
        calls.append(1)
        return df

    return compute


@pytest.mark.parametrize("launched", [False, True])
def test_workers_of_one_launcher_are_one_run_even_one_after_the_other(workers, monkeypatch, launched):
    workers.make_shards(3)
    map_over(cfg_of(workers))
    if launched:
        monkeypatch.setenv(RUN, "a launch")
    calls = []
    for worker in range(2):
        map_over(cfg_of(workers, do_overwrite=True, worker=worker), counted(calls))
    assert len(calls) == (3 if launched else 6)


def test_without_do_overwrite_what_is_there_stays(workers):
    workers.make_shards(3)
    calls = []
    for _ in range(2):
        map_over(cfg_of(workers, do_overwrite=False), counted(calls))
    assert len(calls) == 3


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_a_killed_overwriting_worker_began_goes_on(workers, overwrite):
    workers.make_shards(2)
    workers.finish(workers.start(0, "map"))
    hold = workers.hold("compute", "1")
    holder = workers.start(0, "map", "do_overwrite")
    workers.wait_until_held("compute", "1")
    workers.kill(holder)
    hold.unlink()
    before = len(workers.computed)
    workers.finish(workers.start(0, "map", *["do_overwrite"] * overwrite))
    # The interrupted run is resumed, and what it has replaced stays: either shard was computed, and shard 1 once more.
    assert len(workers.computed) == 2 + 2 + 1
    assert before in (3, 4)
    assert files_below(workers.out) == ["0.parquet", "1.parquet"]
