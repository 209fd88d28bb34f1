"""Many workers, few rows each: every output is made once, and the number of workers does not show."""

import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest

from MEDS_transforms.work.claims import Staged
from MEDS_transforms.work.decisions import Asked
from MEDS_transforms.work.outputs import StageOutputs
from MEDS_transforms.work.provenance import Maker

from .cohorts import EXTRACTION, PIPELINES, command, strays, written
from .harness import SEEDS, Reference, Workers, at_random_moment, run_stage, workers

# One worker makes the reference.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]

N_OUTPUTS = {
    "shard_events": 3,
    "split_and_shard_subjects": 1,
    "convert_to_sharded_events": 18,
    "merge_to_MEDS_cohort": 8,
    "extract_code_metadata": 3,
    "finalize_MEDS_metadata": 1,
    "finalize_MEDS_data": 8,
    "filter_subjects": 8,
    "add_time_derived_measurements": 8,
    "preliminary_counts": 7,
    "filter_measurements": 8,
    "fit_outlier_detection": 7,
    "occlude_outliers": 8,
    "fit_normalization": 7,
    "fit_vocabulary_indices": 1,
    "normalization": 8,
    "tokenization": 8,
    "tensorization": 8,
    "reshard_to_split": 10,
}
"""How many outputs, or chunks, the workers of each stage share out and log."""

MANY = {"convert_to_sharded_events": 8, "merge_to_MEDS_cohort": 6}
MAPPED = ["convert_to_sharded_events", "merge_to_MEDS_cohort", "finalize_MEDS_data"]


def assert_written_once(cohort: Path, stage: str, in_hand: int = 0) -> None:
    """Each output stands in the logs once; not those that killed workers had in hand, where nobody made them again."""
    counts = written(cohort, stage)
    assert N_OUTPUTS[stage] - in_hand <= len(counts) <= N_OUTPUTS[stage], counts
    assert set(counts.values()) <= {1}, counts


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda pipeline: pipeline.stages[0])
def test_each_output_is_made_once_and_the_cohort_is_that_of_one_worker(reference: Reference, tmp_path, pipeline):
    x = reference.elsewhere(tmp_path)
    for stage in pipeline.stages:
        run_stage(x, stage, MANY.get(stage, 3))
        assert_written_once(x.cohort, stage)
    reference.check(x.cohort, pipeline.stages[-1])


@pytest.mark.parametrize("stage", ["convert_to_sharded_events", "extract_code_metadata"])
def test_workers_of_one_launcher_overwrite_each_output_once(reference: Reference, tmp_path, stage):
    x = reference.before(stage, tmp_path / "cohort")
    run_stage(x, stage)
    for log in x.cohort.rglob(f"{stage}_*.log"):
        log.unlink()
    together = ["--multirun", "hydra/launcher=joblib", "do_overwrite=True"]
    group = Workers(tmp_path)
    group.start(command(x, stage, "worker=0,1,2", *together))
    assert group.wait() == [0], group.text()
    assert_written_once(x.cohort, stage)
    reference.check(x.cohort, stage)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", MAPPED)
def test_one_worker_stands_still_while_the_others_end(reference: Reference, tmp_path, stage, seed):
    rng = random.Random(f"pause {stage} {seed}")
    x = reference.before(stage, tmp_path)
    with workers(x, stage, 3) as group:
        at_random_moment(group, reference.n_files(stage), rng, x.cohort)
        group.send(signal.SIGSTOP, 1)
        assert group.wait(0, 2) == [0, 0], group.text()
        group.send(signal.SIGCONT, 1)
        assert group.wait(1) == [0], group.text()
    assert_written_once(x.cohort, stage)
    reference.check(x.cohort, stage)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", MAPPED)
def test_one_worker_is_killed_while_the_others_end_and_another_takes_its_place(
    reference: Reference, tmp_path, stage, seed
):
    rng = random.Random(f"kill one {stage} {seed}")
    x = reference.before(stage, tmp_path)
    with workers(x, stage, 3) as group:
        at_random_moment(group, reference.n_files(stage), rng, x.cohort)
        group.send(signal.SIGKILL, 1)
        assert group.wait(0, 2) == [0, 0], group.text()
    assert len([name for name in strays(x.cohort) if name.endswith(".lock")]) <= 1
    run_stage(x, stage)
    # Killed after it had published an output and before it logged that, the worker left one that nobody logs. Its lock
    # does not tell: a worker that came by the output later has removed it.
    assert_written_once(x.cohort, stage, in_hand=1)
    reference.check(x.cohort, stage)


@pytest.mark.parametrize("seed", SEEDS)
def test_worker_0_finishes_the_reduction_though_all_the_others_die(reference: Reference, tmp_path, seed):
    rng = random.Random(f"reduce {seed}")
    stage = "extract_code_metadata"
    x = reference.before(stage, tmp_path)
    with workers(x, stage, 3, "polling_time=300") as group:
        at_random_moment(group, 12, rng, x.cohort)
        group.send(signal.SIGKILL, 1, 2)
        assert group.wait(0) == [0], group.text()
    reference.check(x.cohort, stage)


@pytest.mark.parametrize("seed", SEEDS)
def test_worker_0_waits_for_a_worker_that_stands_still(reference: Reference, tmp_path, seed):
    rng = random.Random(f"wait {seed}")
    stage = "extract_code_metadata"
    x = reference.before(stage, tmp_path)
    with workers(x, stage, 3, "polling_time=300") as group:
        at_random_moment(group, 12, rng, x.cohort)
        group.send(signal.SIGSTOP, 1)
        time.sleep(rng.random())
        group.send(signal.SIGCONT, 1)
        assert group.wait() == [0, 0, 0], group.text()
    assert_written_once(x.cohort, stage)
    reference.check(x.cohort, stage)


def test_a_worker_that_comes_late_changes_nothing(reference: Reference, tmp_path):
    stage = EXTRACTION.stages[-1]
    x = reference.before(stage, tmp_path)
    for late in MAPPED:
        run_stage(x, late)
    reference.check(x.cohort)
    assert [late for late in MAPPED[:-1] if written(x.cohort, late)] == []


N_RACERS, ROUNDS = 6, 25


def make_in_turn(folders, barrier, results) -> None:
    """Takes part in an overwriting run in every folder, at the same time as the other processes."""
    for folder in folders:
        outputs = StageOutputs(folder, "race", Asked(Maker("1", {}), overwrite=True), own_folder=folder)
        barrier.wait(60)
        with outputs.being_made([unit := outputs.unit(folder / "a.json", make, "nothing")]):
            assert outputs.generation is not None
            results.put((outputs.generation.token, unit.compute_once()))
            barrier.wait(60)


def make(scratch: Path) -> Staged:
    (scratch / "a.json").write_bytes(b"[]" * 1000)
    return Staged({scratch.parent / "a.json": scratch / "a.json"})


def race(function, folders: list[Path]) -> list:
    """What processes that do the same at the same moment put into a queue."""
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(N_RACERS), spawn.Queue()
    racers = [spawn.Process(target=function, args=(folders, barrier, results)) for _ in range(N_RACERS)]
    for racer in racers:
        racer.start()
    got = [results.get(timeout=120) for _ in range(N_RACERS * len(folders))]
    for racer in racers:
        racer.join()
    return got


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    """One empty folder per round."""
    folders = [tmp_path / str(n) for n in range(ROUNDS)]
    for folder in folders:
        folder.mkdir()
    return folders


def test_workers_that_start_at_once_are_one_run_and_make_each_output_once(folders, tmp_path):
    for folder in folders:
        # What a worker left that was killed.
        (folder / ".provenance" / "race.run").mkdir(parents=True)
        (folder / ".provenance" / "race.run" / "worker.host.domain-1").touch()
    got = race(make_in_turn, folders)
    assert len({token for token, _ in got}) == sum(made for _, made in got) == ROUNDS
    assert {(folder / "a.json").read_bytes() for folder in folders} == {b"[]" * 1000}
    assert strays(tmp_path) == []
