"""What shares a pass, and what becomes of it."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from omegaconf import OmegaConf

from helpers import measurements, write_shards
from MEDS_transforms.dataset.io import write_parquet
from MEDS_transforms.mapreduce import shard_work
from MEDS_transforms.mapreduce.chains import chains
from MEDS_transforms.mapreduce.handover import HandOver, hand_over, handed_over, handing_over
from MEDS_transforms.mapreduce.mapper import map_over, map_stage
from MEDS_transforms.mapreduce.passes import PlannedStage, plan_of, run_pass
from MEDS_transforms.mapreduce.plans import Others, with_columns_for_files
from MEDS_transforms.settings.calls import just_calls
from MEDS_transforms.work.expected import expecting


def drop_first(df):
    return df.slice(1)


def unchanged(df):
    return df


def only_maps(cfg):
    """Drops the first row."""
    return map_over(cfg, compute_fn=drop_first)


def maps_and_more(cfg):
    map_over(cfg, compute_fn=drop_first)
    print("done")


def maps_something_else(cfg):
    return map_over({**cfg}, compute_fn=drop_first)


def calls_another(cfg):
    return plan_of(cfg, {})


def stage(folder: Path, name: str, before: str) -> dict:
    block = {"data_input_dir": str(folder / before), "output_dir": str(folder / name)}
    return {"stage": name, "worker": 0, "stage_cfg": block}


@pytest.fixture
def folder(tmp_path) -> Path:
    write_shards(tmp_path / "in", {"a": measurements((1, None, "x"), (1, None, "y"), (1, None, "z"))})
    return tmp_path


def test_only_a_function_that_does_nothing_but_map_can_be_planned():
    assert just_calls(only_maps, "map_over")
    assert not just_calls(maps_and_more, "map_over")
    assert not just_calls(maps_something_else, "map_over")
    assert not just_calls(calls_another, "map_over")
    assert not just_calls(print, "map_over")


def test_to_plan_does_nothing(folder):
    plan = plan_of(only_maps, stage(folder, "b", "in"))
    assert [unit.claim_fp for unit in plan.units] == [folder / "b" / "a.parquet"]
    assert not (folder / "b").exists()
    assert plan_of(maps_and_more, stage(folder, "b", "in")) is None


def plans(folder, *functions, **more):
    """Plans of stages that read each other's outputs: of compute functions, or what `map_stage` makes of them."""
    found, before = [], "in"
    for number, function in enumerate(functions):
        run = function if isinstance(function, PlannedStage) else map_stage(function)
        with expecting([plan.expected() for plan in found]):
            found.append(plan_of(run, {**stage(folder, f"s{number}", before), **more}))
        before = f"s{number}"
    return found


def narrowed(plan):
    """The plan of a stage that is not written, and that gives only the codes."""
    codes = {path: partial(make, columns=["code"]) for path, make in plan.frames.items()}
    return replace(plan, frames=codes, whole_frames=plan.frames, is_written=False)


@pytest.mark.parametrize(
    ("others", "are_whole"),
    [((Others.PASSED_ON, Others.PASSED_ON), [True, True]), ((Others.PASSED_ON, Others.DROPPED), [False, True])],
)
@pytest.mark.parametrize("of_one_pass", [True, False])
def test_columns_that_reach_files_are_there(folder, others, are_whole, of_one_pass):
    first, second, last = plans(folder, *(map_stage(unchanged, others=what) for what in others), unchanged)
    one_pass, before = [narrowed(second), last], [narrowed(first)]
    if of_one_pass:
        one_pass, before = [*before, *one_pass], []
    one_pass, before = with_columns_for_files(one_pass, before)
    assert [plan.frames is plan.whole_frames for plan in [*before, *one_pass][:2]] == are_whole
    run_pass(one_pass, before)
    columns = {"code"} if Others.DROPPED in others else {"subject_id", "time", "code", "numeric_value"}
    assert set(pl.read_parquet_schema(folder / "s2/a.parquet")) == columns


def test_what_is_made_of_an_output_by_way_of_a_stage_that_is_not_written_waits_for_it(folder):
    def slow(df):
        time.sleep(0.2)
        return df.lazy().collect()

    first, second, last = plans(folder, slow, drop_first, drop_first)
    run_pass([first, replace(second, is_written=False), last])
    assert pl.read_parquet(folder / "s2/a.parquet")["code"].to_list() == ["z"]


def test_columns_that_no_file_has_are_left_out(folder):
    first, second, last = plans(folder, *[map_stage(unchanged, others=Others.PASSED_ON)] * 3)
    unwritten = [narrowed(first), narrowed(second)]
    assert with_columns_for_files([narrowed(last)], unwritten)[1] == unwritten


def test_a_shard_goes_through_all_stages_without_being_read_again(folder):
    queries = []

    def drop_last(df):
        queries.append(df.explain())
        return df.head(1)

    both = plans(folder, drop_first, drop_last)
    assert both[1].follows(both[:1])
    assert not both[0].follows([])
    run_pass(both)
    assert ["SCAN" in query for query in queries] == [False]
    assert pl.read_parquet(folder / "s0/a.parquet")["code"].to_list() == ["y", "z"]
    assert pl.read_parquet(folder / "s1/a.parquet")["code"].to_list() == ["y"]


def test_a_shard_that_a_stage_gives_back_as_it_got_it_is_linked(folder):
    run_pass(plans(folder, unchanged, drop_first, unchanged))
    inodes = {name: (folder / name / "a.parquet").stat().st_ino for name in ("in", "s0", "s1", "s2")}
    assert inodes["s0"] == inodes["in"] != inodes["s1"] == inodes["s2"]


def test_a_shard_that_stages_give_back_is_linked_also_where_the_first_is_not_written(folder):
    first, second = plans(folder, unchanged, unchanged)
    run_pass([replace(first, is_written=False), second])
    assert not (folder / "s0/a.parquet").exists()
    assert (folder / "s1/a.parquet").stat().st_ino == (folder / "in/a.parquet").stat().st_ino


def test_a_shard_is_written_where_the_stage_before_made_it_and_did_not_write_it(folder):
    first, second = plans(folder, drop_first, unchanged)
    run_pass([replace(first, is_written=False), second])
    assert not (folder / "s0/a.parquet").exists()
    assert pl.read_parquet(folder / "s1/a.parquet")["code"].to_list() == ["y", "z"]


def set_value(df):
    return df.with_columns(numeric_value=pl.lit(7, pl.Float32))


def last_two_backwards(df):
    return df.collect().slice(1).reverse().lazy()


def codes(folder, *names):
    return [pl.read_parquet(folder / name / "a.parquet")["code"].to_list() for name in names]


def slowly(write):
    """A `shard_writer` whose files take a while, so that those of a former run are there meanwhile."""

    def written(df, path):
        time.sleep(0.5)
        write(df, path)

    return lambda _: written


def test_columns_are_not_copied_from_the_file_of_a_former_run(folder, monkeypatch):
    changing = map_stage(set_value, changes=("numeric_value",))
    run_pass(plans(folder, drop_first, changing))
    assert codes(folder, "s0", "s1") == [["y", "z"]] * 2
    monkeypatch.setattr(shard_work, "shard_writer", slowly(partial(write_parquet, fast=True)))
    run_pass(plans(folder, last_two_backwards, changing, do_overwrite=True))
    assert codes(folder, "s0", "s1") == [["z", "y"]] * 2


def test_columns_are_not_copied_where_parts_of_a_shard_are_put_together_in_another_order(folder):
    write_parquet(pl.read_parquet(folder / "in/a.parquet"), folder / "in/a.parquet", fast=True)
    cfg = stage(folder, "s0", "in")
    cfg["stage_cfg"]["_match_revise"] = [{"_matcher": {"code": "y"}}]
    run_pass([plan_of(map_stage(set_value, changes=("numeric_value",)), OmegaConf.create(cfg))])
    found = pl.read_parquet(folder / "s0/a.parquet")
    assert found.select("code", "numeric_value").rows() == [("y", 7), ("x", None), ("z", None)]


def test_the_file_of_a_former_run_is_not_linked_where_the_new_one_cannot_be_written(folder, monkeypatch):
    def fail(*_):
        raise OSError("the disk is full")

    run_pass(plans(folder, drop_first, unchanged))
    with monkeypatch.context() as context:
        context.setattr(shard_work, "shard_writer", slowly(fail))
        with pytest.raises(OSError, match="the disk is full"):
            run_pass(plans(folder, last_two_backwards, unchanged, do_overwrite=True))
    run_pass(plans(folder, last_two_backwards, unchanged, do_overwrite=True))
    assert codes(folder, "s0", "s1") == [["z", "y"]] * 2


def test_frames_go_after_their_last_read(tmp_path):
    frame, path = pl.DataFrame({"a": [1]}), tmp_path / "x"
    with handing_over(HandOver([path, path])):
        assert handed_over(path) is None
        hand_over(path, frame)
        assert handed_over(path) is frame
        assert handed_over(path) is None
    assert handed_over(path) is None


def test_what_is_not_written_is_made_when_it_is_read(tmp_path):
    made, path = [], tmp_path / "x"
    maker = {path: lambda: made.append(1) or pl.DataFrame({"a": [1]})}
    with handing_over(HandOver([path, path], maker)):
        assert handed_over(path) is handed_over(path)
    assert made == [1]


def test_a_chain_reads_what_is_on_its_way_and_nothing_of_other_shards(folder):
    write_shards(folder / "in", {"b": measurements((2, None, "x"))})
    first, second, third, fourth = plans(folder, unchanged, drop_first, unchanged, unchanged)
    made = [replace(first, is_written=False), replace(second, is_written=False), third, fourth]
    found = {steps[0].unit.source.stem: (steps, reads) for steps, reads in chains(made, [])}
    assert sorted(found) == ["a", "b"]
    steps, reads = found["a"]
    assert [step.number for step in steps] == [2, 3]
    assert sorted(path.relative_to(folder).as_posix() for path in reads) == [
        "s0/a.parquet",
        "s1/a.parquet",
        "s2/a.parquet",
    ]
