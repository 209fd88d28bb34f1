"""The reduction: worker 0 merges when all is there, and waits neither for the dead nor longer than it must."""

import logging
import time
from contextlib import ExitStack

import polars as pl
import pytest

from helpers import files_below, wait_until
from MEDS_transforms.dataset.io import scan_parquet, write_parquet
from MEDS_transforms.mapreduce.mapper import identity_fn
from MEDS_transforms.mapreduce.passes import finish, run_pass
from MEDS_transforms.mapreduce.reducer import plan_reduction
from MEDS_transforms.mapreduce.stage_outputs import stage_outputs
from MEDS_transforms.work.claims import Unit, claim, staged_file

N = 6


def codes(workers) -> pl.DataFrame:
    return pl.read_parquet(workers.folder / "metadata" / "codes.parquet")


def assert_is_complete(workers) -> None:
    assert codes(workers).rows() == [*((str(i), 1) for i in range(N)), ("A", N)]
    assert set(workers.results()) == {f"{i}.parquet" for i in range(N)}
    assert files_below(workers.folder / "metadata") == ["codes.parquet"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_workers_share_the_shards_and_worker_0_merges(workers, overwrite):
    names = workers.make_shards(N)
    arguments = ["reduce", *["do_overwrite"] * overwrite]
    hold = workers.hold("compute", "3")
    processes = [workers.start(i, *arguments) for i in range(3)]
    wait_until(lambda: len(workers.published) == N - 1)
    wait_until(lambda: len(list(workers.folder.glob("began.*"))) == 3)
    assert not (workers.folder / "metadata" / "codes.parquet").exists()
    hold.unlink()
    workers.finish(*processes)  # within far less than the polling_time of 300 s
    assert workers.computed == sorted(names)
    assert_is_complete(workers)


def test_the_other_workers_end_after_mapping(workers):
    names = workers.make_shards(N)
    hold = workers.hold("compute", "3")
    holder = workers.start(0, "reduce")
    workers.wait_until_held("compute", "3")
    workers.finish(workers.start(1, "reduce"))
    assert holder.poll() is None
    assert not (workers.folder / "metadata").exists()
    hold.unlink()
    workers.finish(holder)
    assert workers.computed == sorted(names)
    assert_is_complete(workers)


@pytest.mark.parametrize("step", ["compute", "write"])
def test_worker_0_alone_finishes_what_a_dead_worker_held(workers, step):
    workers.make_shards(N)
    hold = workers.hold(step, "3")
    holder = workers.start(1, "reduce")
    workers.wait_until_held(step, "3")
    merger = workers.start(0, "reduce")
    # Worker 0 has done all that nobody holds, and waits for worker 1.
    wait_until(lambda: len(workers.published) == N - 1)
    assert merger.poll() is None
    workers.kill(holder)
    hold.unlink()
    workers.finish(merger)
    assert_is_complete(workers)


def test_worker_0_after_all_others_died(workers):
    workers.make_shards(N)
    hold = workers.hold("write", "3")
    holder = workers.start(1, "reduce")
    workers.wait_until_held("write", "3")
    workers.kill(holder)
    hold.unlink()
    workers.finish(workers.start(0, "reduce"))
    assert_is_complete(workers)


# In one process


class Stage:
    """A metadata stage that counts its reductions."""

    def __init__(self, tmp_path, worker: int = 0) -> None:
        self.tmp_path, self.reduced = tmp_path, []
        folders = {"output_dir": str(tmp_path / "out"), "reducer_output_dir": str(tmp_path / "meta")}
        self.cfg = {"worker": worker, "polling_time": 300, "stage_cfg": folders}
        (tmp_path / "in").mkdir(exist_ok=True)
        for name in "ba":
            pl.DataFrame({"code": [name]}).write_parquet(tmp_path / "in" / f"{name}.parquet")

    def reduce(self, paths) -> pl.DataFrame:
        self.reduced.append([path.name for path in paths])
        return pl.concat([pl.read_parquet(path) for path in paths])

    def run(self, **more) -> None:
        outputs = stage_outputs({**self.cfg, **more}, {}, own_folder=self.tmp_path / "out")
        units = []
        for name in "ba":
            in_fp, out_fp = (self.tmp_path / folder / f"{name}.parquet" for folder in ("in", "out"))
            units.append(
                outputs.unit(out_fp, staged_file(in_fp, out_fp, scan_parquet, write_parquet, identity_fn), in_fp)
            )
        run_pass([plan_reduction(self.cfg, outputs, units, self.reduce)])


def test_the_merged_table_is_made_once_from_all_outputs_in_order(tmp_path):
    stage = Stage(tmp_path)
    stage.run()
    stage.run()
    assert stage.reduced == [["a.parquet", "b.parquet"]]
    assert pl.read_parquet(tmp_path / "meta" / "codes.parquet")["code"].to_list() == ["a", "b"]
    assert files_below(tmp_path / "meta") == ["codes.parquet"]


def test_overwriting_merges_again(tmp_path):
    stage = Stage(tmp_path)
    stage.run()
    stage.run(do_overwrite=True)
    assert len(stage.reduced) == 2


@pytest.mark.parametrize("worker", [1, 17])
def test_another_worker_only_maps_and_says_so(tmp_path, caplog, worker):
    stage = Stage(tmp_path, worker)
    with caplog.at_level(logging.INFO):
        stage.run()
    assert f"{tmp_path}/meta/codes.parquet: to be merged by worker 0" in caplog.text
    assert stage.reduced == []
    assert {"a.parquet", "b.parquet"} < {*files_below(tmp_path / "out")}
    assert not (tmp_path / "meta").exists()


def test_a_failed_reduction_leaves_nothing_and_can_be_repeated(tmp_path):
    stage = Stage(tmp_path)
    merge = stage.reduce
    stage.reduce = lambda _: pl.DataFrame({"code": [1, "x"]}, strict=True)
    with pytest.raises(TypeError):
        stage.run()
    assert [name for name in files_below(tmp_path / "meta") if not name.endswith(".lock")] == []
    stage.reduce = merge
    stage.run()
    assert files_below(tmp_path / "meta") == ["codes.parquet"]


@pytest.mark.parametrize(("polling_time", "longest"), [(300, 1.0), (0.2, 0.2)])
def test_pauses_grow_to_a_second_or_the_polling_time(tmp_path, monkeypatch, polling_time, longest):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    unit = Unit(tmp_path / "0.parquet", is_done=lambda: len(pauses) == 10, make=pytest.fail)
    with claim(unit.claim_fp):
        finish([unit], polling_time)
    assert len(pauses) == 10
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.02, longest)


def test_what_a_worker_leaves_that_is_killed_just_after_its_output_appeared_is_removed(tmp_path):
    """It may be killed before others look, or while they wait for it."""
    (tmp_path / "a.parquet").touch()
    for name in (".a.parquet.lock", ".b.parquet.lock"):
        (tmp_path / name).touch()
    for name in (".tmp.a.parquet", ".tmp.b.parquet"):
        (tmp_path / name).mkdir()
    looks = []

    def appears() -> bool:
        looks.append(1)
        if len(looks) == 4:
            (tmp_path / "b.parquet").touch()
            held.close()
        return len(looks) >= 4

    before = Unit(tmp_path / "a.parquet", is_done=lambda: True, make=pytest.fail)
    meanwhile = Unit(tmp_path / "b.parquet", is_done=appears, make=pytest.fail)
    with ExitStack() as held:
        held.enter_context(claim(meanwhile.claim_fp))
        finish([before, meanwhile])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_what_is_waited_for_is_logged(workers, caplog):
    workers.make_shards(1)
    hold = workers.hold("compute", "0")
    holder = workers.start(1, "map")
    workers.wait_until_held("compute", "0")
    in_fp, out_fp = workers.folder / "in" / "0.parquet", workers.out / "0.parquet"
    unit = Unit(out_fp, out_fp.exists, staged_file(in_fp, out_fp, scan_parquet, write_parquet, identity_fn))

    class Release(logging.Handler):
        def emit(self, record):
            if "Waiting" in record.getMessage():
                hold.unlink(missing_ok=True)

    handler = Release()
    logging.getLogger().addHandler(handler)
    try:
        with caplog.at_level(logging.INFO):
            finish([unit], polling_time=300)
    finally:
        logging.getLogger().removeHandler(handler)
    assert f"Waiting for other workers: {out_fp}" in caplog.text
    assert out_fp.exists()
    workers.finish(holder)
    assert workers.computed == ["0"]
