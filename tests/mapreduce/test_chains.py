"""The way of one shard through several stages: what begins when, and what a failure leaves."""

import gc
import time
from pathlib import Path
from threading import Event, current_thread
from weakref import ref

import polars as pl
import pytest

from MEDS_transforms.mapreduce.chains import Chain, Step, run_chains
from MEDS_transforms.mapreduce.handover import HandOver, hand_over, handed_over
from MEDS_transforms.work.claims import Staged, Unit

FRAME = pl.DataFrame({"a": [1]})
PATIENCE = 20


def unit(folder: Path, name: str, source: str, make) -> Unit:
    path = folder / name

    def staged(scratch: Path) -> Staged:
        make(path)
        (scratch / name).touch()
        return Staged({path: scratch / name})

    return Unit(path, path.exists, staged, folder / source)


def compute(step: Step) -> bool:
    return step.unit.compute_once()


def steps_of(units: list[Unit]) -> list[Step]:
    """The steps of a chain whose units read from each other, or from elsewhere."""
    return [Step(number, one, reads=one.source) for number, one in enumerate(units)]


def run(units: list[Unit], reads: list[Path]) -> list[int]:
    """Runs units as a chain; gives the numbers of the stages that failed."""
    failed: list[int] = []
    run_chains([Chain(steps_of(units), HandOver(reads), compute, failed.append)])
    return failed


def test_the_next_stage_computes_while_the_output_of_the_one_before_is_written(tmp_path):
    second_began, first_was_there = Event(), []

    def first(path: Path) -> None:
        hand_over(path, FRAME)
        assert second_began.wait(PATIENCE), "the second stage waits for the first one's file"

    def second(_: Path) -> None:
        assert handed_over(tmp_path / "a") is FRAME
        first_was_there.append((tmp_path / "a").exists())
        second_began.set()

    run([unit(tmp_path, "a", "raw", first), unit(tmp_path, "b", "a", second)], [tmp_path / "a"])
    assert first_was_there == [False]
    assert (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()


def test_a_third_stage_waits_until_one_of_two_has_ended(tmp_path):
    third_began, began_early = Event(), []

    def first(path: Path) -> None:
        hand_over(path, FRAME)
        began_early.append(third_began.wait(0.3))

    def second(path: Path) -> None:
        hand_over(path, FRAME)
        began_early.append(third_began.wait(0.3))

    chain = [unit(tmp_path, "a", "raw", first), unit(tmp_path, "b", "a", second)]
    run([*chain, unit(tmp_path, "c", "b", lambda _: third_began.set())], [tmp_path / "a", tmp_path / "b"])
    assert began_early[0] is False
    assert third_began.is_set()


def test_what_is_not_handed_over_is_waited_for(tmp_path):
    there = []
    second = unit(tmp_path, "b", "a", lambda _: there.append((tmp_path / "a").exists()))
    run([unit(tmp_path, "a", "raw", lambda _: None), second], [tmp_path / "a"])
    assert there == [True]


def test_a_failure_is_raised_and_stops_what_depends_on_it(tmp_path):
    def fail(_: Path) -> None:
        raise ValueError("a bad row")

    failed: list[int] = []
    units = [unit(tmp_path, "a", "raw", lambda _: None), unit(tmp_path, "b", "a", fail)]
    units.append(unit(tmp_path, "c", "b", pytest.fail))
    with pytest.raises(ValueError, match="a bad row"):
        run_chains([Chain(steps_of(units), HandOver(), compute, failed.append)])
    assert failed == [1]
    assert [(tmp_path / name).exists() for name in "abc"] == [True, False, False]


def test_what_another_worker_holds_is_left_out_with_all_that_is_made_from_it(tmp_path):
    held = Unit(tmp_path / "a", lambda: False, pytest.fail, tmp_path / "raw")
    chain = [held, unit(tmp_path, "b", "a", pytest.fail), unit(tmp_path, "c", "b", pytest.fail)]
    do = {0: lambda _: False}
    run_chains([Chain(steps_of(chain), HandOver(), lambda step: do[step.number](step), pytest.fail)])
    assert not (tmp_path / "b").exists()


class Frame:
    """Stands for a frame, of which a weak reference can tell when it goes."""


def test_frames_go_at_the_end_of_a_chain_not_when_garbage_is_collected(tmp_path):
    frames = []

    def first(path: Path) -> None:
        frame = Frame()
        frames.append(ref(frame))
        hand_over(path, frame)

    units = [unit(tmp_path, "a", "raw", first), unit(tmp_path, "b", "a", lambda _: None)]
    gc.disable()
    try:
        run(units, [tmp_path / "a", tmp_path / "a"])
        assert [frame() for frame in frames] == [None]
    finally:
        gc.enable()


def alone(folder: Path, name: str, make, makes_rows: bool) -> Chain:
    """A chain of a single unit."""
    return Chain([Step(0, unit(folder, name, "raw", make), makes_rows)], HandOver(), compute, lambda _: None)


@pytest.mark.parametrize("makes_rows", [True, False])
def test_the_next_shard_begins_when_all_rows_of_the_one_before_are_made(tmp_path, makes_rows):
    next_began, began_early = Event(), []

    def count(_: Path) -> None:
        began_early.append(next_began.wait(0.3 if makes_rows else PATIENCE))

    run_chains(
        [
            alone(tmp_path, "first", lambda _: None, makes_rows=makes_rows),
            alone(tmp_path, "a", count, makes_rows=makes_rows),
            alone(tmp_path, "b", lambda _: next_began.set(), makes_rows=True),
        ]
    )
    assert began_early == [not makes_rows]
    assert (tmp_path / "a").exists()


def test_a_shard_without_rows_is_not_waited_for_though_a_stage_of_it_waits_for_another(tmp_path):
    next_began, began_early, read = Event(), [], []

    def sequences(path: Path) -> None:
        if path.name == "a":
            began_early.append(next_began.wait(PATIENCE))
        hand_over(path, FRAME)

    def tensors(path: Path) -> None:
        read.append((path.name, handed_over(tmp_path / path.name.removesuffix(".nrt")) is FRAME))

    def shard(name: str) -> Chain:
        units = [unit(tmp_path, name, "raw", sequences), unit(tmp_path, f"{name}.nrt", name, tensors)]
        steps = [step._replace(makes_rows=False) for step in steps_of(units)]
        return Chain(steps, HandOver([tmp_path / name]), compute, lambda _: None)

    def last(_: Path) -> None:
        next_began.set()

    run_chains([shard("first"), shard("a"), alone(tmp_path, "b", last, makes_rows=False)])
    assert began_early == [True]
    assert sorted(read) == [("a.nrt", True), ("first.nrt", True)]


def test_the_first_shard_is_alone_so_that_its_failure_leaves_nothing(tmp_path):
    others: list[Path] = []

    def fail(_: Path) -> None:
        time.sleep(0.1)
        raise ValueError("a wrong setting")

    ways = [alone(tmp_path, "a", fail, makes_rows=False), alone(tmp_path, "b", others.append, makes_rows=False)]
    with pytest.raises(ValueError, match="a wrong setting"):
        run_chains(ways)
    assert others == []


def test_no_other_shard_begins_once_rows_could_not_be_made(tmp_path):
    others: list[Path] = []

    def fail(_: Path) -> None:
        raise ValueError("a bad row")

    units = [unit(tmp_path, "a", "raw", fail), unit(tmp_path, "b", "raw", lambda _: None)]
    failing = Chain(steps_of(units), HandOver(), compute, lambda _: None)
    ways = [
        alone(tmp_path, "first", lambda _: None, makes_rows=False),
        failing,
        alone(tmp_path, "c", others.append, makes_rows=False),
    ]
    with pytest.raises(ValueError, match="a bad row"):
        run_chains(ways)
    assert others == []


def test_a_single_unit_that_makes_rows_runs_in_the_thread_that_asks_for_it(tmp_path):
    threads = []
    run_chains([alone(tmp_path, name, lambda _: threads.append(current_thread()), makes_rows=True) for name in "ab"])
    assert threads == [current_thread()] * 2


def test_a_failure_beside_the_next_shard_is_raised_once_that_has_ended(tmp_path):
    next_began, later = Event(), list[Path]()

    def fail(_: Path) -> None:
        assert next_began.wait(PATIENCE)
        raise ValueError("a bad row")

    ways = [
        alone(tmp_path, "first", lambda _: None, makes_rows=False),
        alone(tmp_path, "a", fail, makes_rows=False),
        alone(tmp_path, "b", lambda _: next_began.set(), makes_rows=False),
        alone(tmp_path, "c", later.append, makes_rows=False),
    ]
    with pytest.raises(ValueError, match="a bad row"):
        run_chains(ways)
    assert later == []
    assert [(tmp_path / name).exists() for name in "abc"] == [False, True, False]
