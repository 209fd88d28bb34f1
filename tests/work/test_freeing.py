"""Outputs that are not kept: how they are told apart from lost ones, and what later stages may do with them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest

from helpers import files_below, write_table
from MEDS_transforms.errors import MissingInputError
from MEDS_transforms.work.claims import staged_file
from MEDS_transforms.work.decisions import Asked
from MEDS_transforms.work.expected import Expected, expecting
from MEDS_transforms.work.files import lock_path, try_lock
from MEDS_transforms.work.freeing import forget_interim, free, interim_folder
from MEDS_transforms.work.outputs import StageOutputs
from MEDS_transforms.work.provenance import Maker, read_record, record_path
from MEDS_transforms.work.sources import Source, check_not_freed, describe_source, has_changed, is_as_recorded
from MEDS_transforms.work.unwritten import is_untouched, leave_no_files

DF = pl.DataFrame({"subject_id": [1, 2], "code": ["A", "B"]})


def make(folder: Path, stage: str, before: str, settings: dict | None = None) -> StageOutputs:
    """Runs a stage that copies two shards in nested folders."""
    source = Source(folder / before, ".parquet")
    maker = Maker("v", settings or {}, {"data": describe_source(source, folder / stage)})
    outputs = StageOutputs(folder / stage, stage, Asked(maker), folder / stage)
    pairs = [(folder / before / name, folder / stage / name) for name in ("train/0.parquet", "held_out/0.parquet")]
    read_and_write = (pl.read_parquet, lambda df, path: df.write_parquet(path), lambda df: df)
    units = [outputs.unit(b, staged_file(a, b, *read_and_write), a) for a, b in pairs]
    with outputs.being_made(units):
        for unit in units:
            unit.compute_once()
    return outputs


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("train/0", "held_out/0"):
        write_table(tmp_path / "raw" / f"{name}.parquet", DF)
    make(tmp_path, "a", "raw")
    make(tmp_path, "b", "a")
    return tmp_path


def test_what_is_freed_is_gone_and_counts_as_done(folder):
    size = sum((folder / "a" / name).stat().st_size for name in files_below(folder / "a"))
    assert free(folder / "a", "a") == size
    assert [path.name for path in (folder / "a").iterdir()] == [".provenance"]
    assert free(folder / "a", "a") == 0
    assert is_as_recorded(folder / "a", "a")
    assert is_as_recorded(folder / "b", "b")


def test_a_change_before_what_was_freed_is_seen(folder):
    free(folder / "a", "a")
    write_table(folder / "raw/train/0.parquet", DF.reverse())
    assert not is_as_recorded(folder / "a", "a")


def test_a_link_frees_nothing(folder):
    (folder / "link").hardlink_to(folder / "a/train/0.parquet")
    assert free(folder / "a", "a") == (folder / "b/held_out/0.parquet").stat().st_size


def test_an_unfinished_stage_or_another_is_left_alone(folder):
    assert free(folder / "a", "other") == 0
    (folder / "a/.provenance/a.run").mkdir()
    assert free(folder / "a", "a") == 0
    assert len(files_below(folder / "a")) == 2


def test_a_reader_knows_what_was_there_and_cannot_read_it(folder):
    source = Source(folder / "a", ".parquet")
    before = describe_source(source, folder / "b")
    free(folder / "a", "a")
    assert source.files() == ["held_out/0.parquet", "train/0.parquet"]
    assert describe_source(source, folder / "b") == before
    with pytest.raises(MissingInputError, match=r"outputs of the stage a in .* are not kept"):
        check_not_freed(source)
    check_not_freed(Source(folder / "b", ".parquet"))


def test_what_was_freed_is_made_again_by_its_stage(folder):
    free(folder / "a", "a")
    make(folder, "a", "raw")
    assert len(files_below(folder / "a")) == 2
    assert not read_record(folder / "a", "a").freed
    assert is_as_recorded(folder / "b", "b")


def test_what_was_never_written_is_known_by_what_makes_it(folder):
    maker = Maker("v", {"cutoff": 1}, {"data": describe_source(Source(folder / "raw", ".parquet"), folder / "c")})
    outputs = StageOutputs(folder / "c", "c", Asked(maker), folder / "c")
    assert is_untouched(outputs)
    leave_no_files(outputs)
    described = describe_source(Source(folder / "c", ".parquet"), folder / "d")
    assert described == {"folder": "../c", "suffix": ".parquet", "made_by": {"c": maker.digest}}
    assert not has_changed(described, folder / "d")
    another = Maker("v", {"cutoff": 2}, maker.inputs)
    leave_no_files(StageOutputs(folder / "c", "c", Asked(another), folder / "c"))
    assert has_changed(described, folder / "d")


def test_the_digest_of_a_stage_is_known_before_its_input_is_there(folder):
    record = read_record(folder / "b", "b")
    digest = read_record(folder / "a", "a").made_by.digest
    paths = frozenset(folder / "a" / name for name in files_below(folder / "a"))
    with expecting([Expected(folder / "a", "a", digest, paths)]):
        source = Source(folder / "a", ".parquet")
        assert source.files() == ["held_out/0.parquet", "train/0.parquet"]
        expected = Maker("v", {}, {"data": describe_source(source, folder / "b")})
    assert not expected.is_whole
    assert expected.digest == record.made_by.digest
    assert record.made_by.is_same_as(expected)


def test_other_files_by_the_same_maker_are_another_input(folder):
    whole = read_record(folder / "b", "b").made_by
    files = {name: [1, "x"] for name in whole.inputs["data"]["files"]}
    other = Maker("v", {}, {"data": {**whole.inputs["data"], "files": files}})
    assert other.digest == whole.digest
    assert not other.is_same_as(whole)


def test_what_was_freed_and_is_not_written_again_leaves_readers_as_they_are(folder):
    free(folder / "a", "a")
    maker = read_record(folder / "a", "a").made_by
    leave_no_files(StageOutputs(folder / "a", "a", Asked(maker), folder / "a"))
    assert read_record(folder / "a", "a").outputs == {}
    assert "files" not in describe_source(Source(folder / "a", ".parquet"), folder / "b")
    assert is_as_recorded(folder / "b", "b")
    other = Maker("v", {"cutoff": 2}, maker.inputs)
    leave_no_files(StageOutputs(folder / "a", "a", Asked(other), folder / "a"))
    assert not is_as_recorded(folder / "b", "b")


def test_workers_that_forget_the_same_at_the_same_time_count_each_file_once(tmp_path):
    together = Barrier(2)

    def forget(_: int) -> int:
        together.wait()
        return forget_interim(tmp_path, "a")

    with ThreadPoolExecutor(2) as workers:
        for _ in range(20):
            for number in range(50):
                path = interim_folder(tmp_path, "a") / "maker" / str(number) / "0.parquet"
                path.parent.mkdir(parents=True)
                path.write_bytes(b"12345678")
            assert sum(workers.map(forget, range(2))) == 50 * 8
            assert not interim_folder(tmp_path, "a").exists()


def test_what_was_added_while_another_worker_frees_goes_too(folder):
    added = interim_folder(folder / "a", "a") / "1" / "x.parquet"
    added.parent.mkdir(parents=True)
    added.write_bytes(b"12345")
    with try_lock(lock_path(record_path(folder / "a", "a"))) as held_by_another:
        assert held_by_another
        assert free(folder / "a", "a") == 5
    assert not interim_folder(folder / "a", "a").exists()
    assert len(list((folder / "a").rglob("0.parquet"))) == 2, "these are for the other one"
