"""What shares a pass, and what becomes of it."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from helpers import measurements, write_shards
from MEDS_transforms.mapreduce.chains import chains
from MEDS_transforms.mapreduce.handover import HandOver, hand_over, handed_over, handing_over
from MEDS_transforms.mapreduce.mapper import map_over, map_stage
from MEDS_transforms.mapreduce.passes import plan_of, run_pass
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


def plans(folder, *functions):
    found, before = [], "in"
    for number, function in enumerate(functions):
        with expecting([plan.expected() for plan in found]):
            found.append(plan_of(map_stage(function), stage(folder, f"s{number}", before)))
        before = f"s{number}"
    return found


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
