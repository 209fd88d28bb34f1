"""Results of pre-processing do not depend on how the rows are cut into shards, on the workers, or on polars' engine."""

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import MEASUREMENT_TYPES, Preprocessing

STAGES = (
    "filter_subjects",
    "add_time_derived_measurements",
    "aggregate_code_metadata",
    "filter_measurements",
    "occlude_outliers",
    "fit_vocabulary_indices",
    "normalization",
    "tokenization",
)
BLOCKS = {
    "filter_subjects": {"min_events_per_subject": 2},
    "aggregate_code_metadata": {
        "aggregations": ["code/n_subjects", "code/n_occurrences", "values/mean", "values/std"],
        "train_only": False,
    },
    "filter_measurements": {"min_occurrences_per_code": 2},
    "occlude_outliers": {"stddev_cutoff": 1.5},
}
CODES = ("MEDS_BIRTH", "LAB//1", "LAB//(2", "é")

TIMES = st.none() | st.integers(0, 6).map(lambda days: datetime(2020, 1, 1) + timedelta(days=days, hours=5 * days))
VALUES = st.none() | st.sampled_from([0.0, 1.0, 2.5, -3.0, 100.0, float("nan")])
ROWS = st.lists(st.tuples(st.integers(1, 9), TIMES, st.sampled_from(CODES), VALUES), min_size=1, max_size=60)


def preprocess(rows: pl.DataFrame, n_shards: int, n_workers: int) -> dict[str, pl.DataFrame]:
    """What every stage makes of the rows, all shards together, sorted by subject; rows of a subject in their order."""
    with TemporaryDirectory() as folder:
        data = Preprocessing(Path(folder))
        shard_of = pl.col("subject_id") % n_shards
        data.write({f"train/{n}": rows.filter(shard_of == n) for n in range(n_shards)})
        made = {}
        for stage in STAGES:
            for worker in reversed(range(n_workers)):
                shards = data.run(stage, *STAGES, cfg_worker=worker, **run_block(stage))
            made[stage] = together(shards, stage)
        codes = pl.read_parquet(data.cohort / "metadata" / "codes.parquet", glob=False)
    return made | {"codes": codes}


def run_block(stage):
    # All metadata stages of the pipeline have to be known as such, whichever stage runs.
    others = {name: block for name, block in BLOCKS.items() if name != stage}
    return BLOCKS.get(stage, {}) | {"cfg_stage_configs": others}


def together(shards: dict[str, pl.DataFrame], stage: str) -> pl.DataFrame:
    wanted = [frame for name, frame in sorted(shards.items()) if stage != "tokenization" or "event_seqs" in name]
    if stage in ("aggregate_code_metadata", "fit_vocabulary_indices"):
        return pl.DataFrame()  # parts of shards; what they are merged to is in codes
    return pl.concat(wanted).sort("subject_id", maintain_order=True)


def as_shard(rows) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=MEASUREMENT_TYPES, orient="row")
    return frame.sort("subject_id", "time", maintain_order=True, nulls_last=False)


def assert_same(got, want):
    for name, frame in want.items():
        assert_frame_equal(got[name], frame, check_exact=False, rel_tol=1e-5, abs_tol=1e-6)


@settings(max_examples=8)
@given(rows=ROWS, n_shards=st.integers(2, 4), n_workers=st.integers(1, 3))
def test_shards_and_workers_do_not_show(rows, n_shards, n_workers):
    frame = as_shard(rows)
    assert_same(preprocess(frame, n_shards, n_workers), preprocess(frame, 1, 1))


@settings(max_examples=5)
@given(rows=ROWS)
def test_the_engine_does_not_show(rows):
    frame = as_shard(rows)
    made = []
    for engine in ("in-memory", "streaming"):
        with pl.Config():
            pl.Config.set_engine_affinity(engine)
            made.append(preprocess(frame, 2, 1))
    assert_same(*made)
