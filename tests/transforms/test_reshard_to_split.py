"""A dataset cut again by split: which subjects are where, the order of rows, what is left by dead workers."""

import json
import subprocess
from datetime import datetime, timedelta
from functools import partial

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import (
    Preprocessing,
    files_below,
    measurements,
    measurements_with_ties,
    stably_sorted,
    wait_until,
)
from MEDS_transforms.dataset.categories import in_texts
from MEDS_transforms.dataset.io import is_complete_parquet_file
from MEDS_transforms.dataset.splits import shard_subjects
from MEDS_transforms.mapreduce.passes import run_pass
from MEDS_transforms.transforms import reshard_to_split as stage

T = [datetime(2020, 1, 1) + timedelta(days=i) for i in range(4)]
SHARDS = {
    "a/0": measurements((1, None, "S"), (1, T[0], "B", 1), (1, T[0], "A", 2), (3, T[1], "A"), (7, None, "S")),
    "a/1": measurements((2, T[0], "A"), (4, T[0], "A"), (4, T[1], "A"), (8, T[0], "A")),
    "b": measurements((5, T[0], "A"), (6, T[0], "A")),
}
SPLITS = {"tuning": [2, 6], "train": [4, 1, 3], "empty": [99], "task": [3]}


@pytest.fixture
def x(tmp_path):
    x = Preprocessing(tmp_path)
    x.write(SHARDS, splits=SPLITS)
    return x


run = partial(Preprocessing.run, stage="reshard_to_split")


def subjects(shards):
    return {name: df["subject_id"].unique().to_list() for name, df in shards.items()}


def shard_map(x):
    return json.loads((x.cohort / "data" / ".shards.json").read_text())


def test_every_shard_has_the_subjects_of_one_split(x):
    shards = run(x, n_subjects_per_shard=2)
    assert subjects(shards) == {
        "tuning/0": [2, 6],
        **{name: sorted(ids) for name, ids in shard_map(x).items() if name.startswith("train/")},
        "empty/0": [],
        "task/0": [3],
    }
    assert sorted(len(ids) for name, ids in shard_map(x).items() if name.startswith("train/")) == [1, 2]
    assert files_below(x.cohort) == ["data/.shards.json", *sorted(f"data/{name}.parquet" for name in shards)]


def test_the_map_is_that_of_external_splits_with_the_stage_s_own_settings(x):
    run(x, n_subjects_per_shard=1, cfg_seed=7)
    want = shard_subjects([], 1, external_splits=SPLITS, split_fracs_dict=None, seed=7)
    assert list(shard_map(x).items()) == list(want.items())
    assert list(want) == ["tuning/0", "tuning/1", "train/0", "train/1", "train/2", "empty/0", "task/0"]


def test_splits_that_the_stage_s_block_names(x):
    rows = {"subject_id": [1, 2, 5], "split": ["new", "new", "other"]}
    pl.DataFrame(rows).write_parquet(x.folder / "mine.parquet")
    assert subjects(run(x, splits_fp=str(x.folder / "mine.parquet"))) == {"new/0": [1, 2], "other/0": [5]}


def test_splits_that_an_earlier_stage_has_made(x):
    stages = ["split_subjects", "reshard_to_split"]
    x.run("split_subjects", *stages, split_fracs={"train": 0.5, "tuning": None, "held_out": 0.5})
    made = dict(pl.read_parquet(x.cohort / "metadata" / "subject_splits.parquet").rows())
    shards = subjects(x.run("reshard_to_split", *stages))
    assert {i: name[:-2] for name, ids in shards.items() for i in ids} == made
    assert made.keys() == {*range(1, 9)}


def test_rows_are_whole_and_keep_their_order_within_a_time(x):
    got = run(x)["train/0"]
    assert got.rows() == [
        (1, None, "S", None), (1, T[0], "B", 1), (1, T[0], "A", 2), (3, T[1], "A", None), (4, T[0], "A", None),
        (4, T[1], "A", None),
    ]  # fmt: skip


def test_an_empty_shard_has_the_columns_of_the_others(x):
    got = run(x)["empty/0"]
    assert got.is_empty()
    assert got.schema == SHARDS["b"].schema


def test_subjects_in_no_split_are_left_out_with_a_warning_that_counts_them(x, caplog):
    shards = run(x)
    assert not {5, 7, 8} & set().union(*subjects(shards).values())
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert sorted(warnings) == [f"{name}.parquet: subjects in no split, left out: 1" for name in ("a/0", "a/1", "b")]


def test_a_subject_of_several_old_shards_and_unordered_shards(x):
    first = measurements((1, T[2], "x", 1), (1, T[0], "x", 2), (2, T[0], "x", 3))
    second = measurements((2, T[0], "x", 4), (1, T[2], "x", 5), (1, None, "x", 6), (1, T[0], "x", 7))
    x = Preprocessing(x.folder / "more")
    x.write({"1": second, "0": first}, splits={"train": [1, 2]})
    assert run(x)["train/0"]["numeric_value"].to_list() == [6, 2, 7, 1, 5, 3, 4]


def test_columns_get_a_common_dtype(x):
    a = SHARDS["a/0"].with_columns(unit=pl.lit("mg"), n=pl.lit(1, pl.Int32))
    b = SHARDS["a/1"].with_columns(n=pl.lit(2, pl.Int64), numeric_value=pl.lit(None)).cast({"subject_id": pl.Int32})
    x = Preprocessing(x.folder / "more")
    x.write({"0": a, "1": b}, splits=SPLITS)
    got = run(x)["train/0"]
    assert got.schema == {**SHARDS["b"].schema, "unit": pl.String, "n": pl.Int64}
    assert got["unit"].to_list() == ["mg"] * 4 + [None] * 2
    x = Preprocessing(x.folder / "more")
    x.write({"0": a, "1": SHARDS["a/1"].with_columns(n=pl.lit([1]))}, splits=SPLITS)
    with pytest.raises(ValueError, match="incompatible dtypes in the old shards"):
        run(x)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), n_old=st.integers(1, 4), n_per_shard=st.integers(1, 9))
def test_nothing_is_lost_or_doubled_whatever_the_shards(tmp_path_factory, data, n_old, n_per_shard):
    ids, times = st.integers(1, 8), st.sampled_from([None, *T])
    rows = data.draw(st.lists(st.tuples(ids, times), min_size=1, max_size=40))
    whole = measurements(*((*row, "A", n) for n, row in enumerate(rows)))
    whole = whole.sort("subject_id", "time", maintain_order=True)
    x = Preprocessing(tmp_path_factory.mktemp("x"))
    x.write(
        {str(n): whole.filter(pl.col("subject_id") % n_old == n) for n in range(n_old)},
        splits={"train": [5, 3, 8, 1], "tuning": [2, 7], "task": [5, 6]},
    )
    shards = run(x, n_subjects_per_shard=n_per_shard)
    assert shards.keys() == shard_map(x).keys()
    for name, members in shard_map(x).items():
        assert_frame_equal(shards[name], whole.filter(pl.col("subject_id").is_in(members)))


# What it does not take


@pytest.mark.parametrize(
    ("key", "value"), [("train_only", True), ("_match_revise", [{"_matcher": {}}]), ("n_subjects_per_shard", 0)]
)
def test_settings_that_are_an_error(x, key, value):
    with pytest.raises(ValueError, match=key):
        run(x, **{key: value})
    assert files_below(x.cohort) == []


@pytest.mark.parametrize(
    ("table", "error", "says"),
    [
        (None, FileNotFoundError, "subject_splits.parquet"),
        (pl.DataFrame({"subject_id": [1], "spilt": ["a"]}), ValueError, "no column split; it has spilt, subject_id"),
        (pl.DataFrame({"subject_id": ["1"], "split": ["a"]}), ValueError, "must be an integer"),
        (pl.DataFrame({"subject_id": [1], "split": [None]}), ValueError, "no subject is in a split"),
    ],
)
def test_splits_that_cannot_be_used(x, table, error, says):
    path = x.dataset / "metadata" / "subject_splits.parquet"
    path.unlink()
    if table is not None:
        table.write_parquet(path)
    with pytest.raises(error, match=says):
        run(x)


def test_a_shard_with_wrong_columns_is_named(x):
    SHARDS["b"].drop("time").write_parquet(x.dataset / "data" / "b.parquet")
    with pytest.raises(ValueError, match="time is missing") as info:
        run(x)
    assert "b.parquet" in "".join(info.value.__notes__)


# Runs again, and several at once


@pytest.mark.parametrize("prepare", [stably_sorted, lambda df: df], ids=["sorted", "unsorted"])
def test_ties_keep_their_order_among_many_rows(tmp_path, prepare):
    x, df = Preprocessing(tmp_path), prepare(measurements_with_ties(60_000))
    old = {str(i): df.filter(pl.col("subject_id") % 3 == i) for i in range(3)}
    x.write(old, splits={"train": [*range(200)], "tuning": [*range(200, 300)]})
    got = pl.concat(run(x, n_subjects_per_shard=50).values()).sort("subject_id", maintain_order=True)
    assert_frame_equal(got, stably_sorted(df))


def old_shards_read(monkeypatch):
    """The old shards that are read from now on."""
    read, scan_shard = [], stage.scan_shard
    monkeypatch.setattr(stage, "scan_shard", lambda path: read.append(path.name) or scan_shard(path))
    return read


def test_old_shards_are_read_once_and_not_at_all_when_all_is_done(x, monkeypatch):
    read = old_shards_read(monkeypatch)
    for _ in range(2):
        run(x, n_subjects_per_shard=1)
        assert read == ["0.parquet", "1.parquet", "b.parquet"]


def test_a_run_that_was_cut_off_goes_on_from_its_parts(x, monkeypatch):
    alone = Preprocessing(x.folder / "alone")
    alone.write(SHARDS, splits=SPLITS)
    cut_off = stage.plan(x.cfg("reshard_to_split", n_subjects_per_shard=2))
    with cut_off.outputs.joined(cut_off.steps):
        assert [unit.compute_once() for unit in cut_off.units[:2]] == [True, True]
    [parts] = (x.cohort / "data").glob(".interim.*/*/b.parquet")
    for path in (parts.with_name(".tmp.b.parquet"), x.cohort / "data/tuning/.tmp.0.parquet"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    read = old_shards_read(monkeypatch)
    again = run(x, n_subjects_per_shard=2)
    assert read == []
    undisturbed = run(alone, n_subjects_per_shard=2)
    assert files_below(x.cohort) == files_below(alone.cohort)
    assert all(again[name].equals(df) for name, df in undisturbed.items())


def test_a_late_worker_does_not_make_the_parts_again(x, monkeypatch):
    late = stage.plan(x.cfg("reshard_to_split"))
    run(x)
    before, read = files_below(x.cohort), old_shards_read(monkeypatch)
    run_pass([late])
    assert read == []
    assert files_below(x.cohort) == before


def test_a_new_shard_that_is_not_written_has_the_columns_that_are_needed(x):
    units = {name: df.with_columns(unit=pl.lit("mg"), other=pl.lit(1)) for name, df in SHARDS.items()}
    x = Preprocessing(x.folder / "more")
    x.write(units, splits=SPLITS)
    plan = stage.plan(x.cfg("reshard_to_split"))
    make = plan.frames[x.cohort / "data/train/0.parquet"]
    columns = ["subject_id", "time", "code", "numeric_value", "unit"]
    assert make(columns=columns).columns == columns
    assert_frame_equal(in_texts(make(columns=columns)).drop("unit"), run(x)["train/0"].select(columns[:4]))
    assert make(columns=["code", "spelt wrong"]).columns == [*columns, "other"]  # which a message will list


def test_other_settings_do_not_mix_with_what_is_there(x):
    run(x, n_subjects_per_shard=1)
    with pytest.raises(FileExistsError, match=r"(?s)n_subjects_per_shard: 1 -> 2.*do_overwrite=True"):
        run(x, n_subjects_per_shard=2)
    shards = run(x, n_subjects_per_shard=2, cfg_do_overwrite=True)
    assert sorted(shards) == sorted(shard_map(x)) == ["empty/0", "task/0", "train/0", "train/1", "tuning/0"]
    assert subjects(shards)["tuning/0"] == [2, 6]


def large(x):
    """Shards that take a worker some time."""
    for old in range(6):
        ids = pl.Series([i for i in range(old, 60, 6) for _ in range(5000)])
        rows = (
            pl.DataFrame({"subject_id": ids, "code": "A"})
            .with_row_index("n")
            .with_columns(
                time=(pl.col("n") % 5000 * 10**6).cast(pl.Datetime("us")), numeric_value=pl.col("n").cast(pl.Float32)
            )
        )
        x.write({str(old): rows.sort("subject_id", "time")})
    x.write({}, splits={"train": [*range(50)], "tuning": [*range(50, 60)]})


def start(x, worker):
    command = x.arguments("reshard_to_split", ".n_subjects_per_shard=3", f"worker={worker}")
    return subprocess.Popen(command, cwd=x.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_several_workers_some_of_them_killed_give_what_one_gives(tmp_path):
    alone, several = Preprocessing(tmp_path / "alone"), Preprocessing(tmp_path / "several")
    for x in (alone, several):
        large(x)
    run(alone, n_subjects_per_shard=3)
    out = several.cohort / "data"

    def whole(pattern):
        return [path for path in out.glob(pattern) if is_complete_parquet_file(path)]

    # Killed once while old shards are put apart, once while new ones are put together.
    for pattern in (".interim.*/*/*.parquet", "train/*.parquet"):
        workers = [start(several, n) for n in range(2)]
        wait_until(lambda pattern=pattern: whole(pattern))
        for worker in workers:
            with worker:
                worker.kill()
    workers = [start(several, n) for n in range(2)]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    assert files_below(several.cohort) == files_below(alone.cohort)
    for name in files_below(alone.cohort):
        assert (several.cohort / name).read_bytes() == (alone.cohort / name).read_bytes(), name
