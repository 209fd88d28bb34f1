"""Many workers and a great many tiny shards: as many computations as there are shards, none of them twice.

MEDS_FAULTS_REPEATS rounds, as the random tests.
"""

from pathlib import Path

import polars as pl
import pytest

from helpers import Preprocessing, measurements

from .cohorts import strays, written
from .harness import SEEDS, Workers

pytestmark = pytest.mark.slow

N_SHARDS, N_WORKERS = 500, 8
RARE = [f"B{n}" for n in range(7)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """A subject with two measurements in each shard, one of a code that all have, one of a rarer code."""
    x = Preprocessing(tmp_path_factory.mktemp("many_shards"))
    rare = [RARE[n % len(RARE)] for n in range(N_SHARDS)]
    shards = {f"train/{n}": measurements((n, None, "A"), (n, None, rare[n], 1.0)) for n in range(N_SHARDS)}
    subjects = {"code": ["A", *RARE], "code/n_subjects": [N_SHARDS, *map(rare.count, RARE)]}
    x.write(shards, pl.DataFrame(subjects))
    return x.dataset


def run_with_many_workers(x: Preprocessing, stage: str, *overrides: str) -> None:
    group = Workers(x.folder)
    try:
        for worker in range(N_WORKERS):
            group.start(x.arguments(stage, f"worker={worker}", *overrides))
        assert group.wait() == [0] * N_WORKERS, group.text()
    finally:
        group.end()


def assert_made_once(x: Preprocessing, stage: str, outputs: set[Path]) -> None:
    """By the logs of all workers each output was made once, and nothing else lies about."""
    counts = written(x.cohort, stage)
    assert {Path(name) for name in counts} == outputs
    assert sum(counts.values()) == len(outputs), counts.most_common(5)
    assert strays(x.cohort) == []


@pytest.mark.parametrize("_round", SEEDS)
def test_many_workers_map_each_of_many_shards_once(dataset, tmp_path, _round):
    x, stage = Preprocessing(tmp_path), "filter_measurements"
    run_with_many_workers(x, stage, f"input_dir={dataset}", ".min_subjects_per_code=100")
    assert_made_once(x, stage, {x.cohort / f"data/train/{n}.parquet" for n in range(N_SHARDS)})
    rows = pl.concat(x.shards(x.cohort / "data").values())
    assert rows["code"].to_list() == ["A"] * N_SHARDS


@pytest.mark.parametrize("_round", SEEDS)
def test_many_workers_count_codes_in_each_of_many_shards_once(dataset, tmp_path, _round):
    x, stage = Preprocessing(tmp_path), "aggregate_code_metadata"
    run_with_many_workers(
        x, stage, f"input_dir={dataset}", "+stage_configs.aggregate_code_metadata.aggregations=[code/n_occurrences]"
    )
    codes = x.cohort / "metadata" / "codes.parquet"
    assert_made_once(x, stage, {codes} | {x.cohort / stage / f"train/{n}.parquet" for n in range(N_SHARDS)})
    counts = dict(pl.read_parquet(codes).select("code", "code/n_occurrences").iter_rows())
    assert counts["A"] == N_SHARDS
    assert sum(counts.values()) == 2 * N_SHARDS
