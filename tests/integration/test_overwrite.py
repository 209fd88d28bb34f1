"""What an earlier run left does not get into the cohort of a later one with another layout."""

import polars as pl
import pytest

from helpers import EXTRACTION_STAGES, Extraction


@pytest.fixture
def extraction(tmp_path):
    extraction = Extraction(tmp_path)
    extraction.table("labs.csv", pl.DataFrame({"subject_id": [i % 40 for i in range(200)], "v": range(200)}))
    extraction.events({"labs": {"lab": {"code": "LAB", "time": None, "numeric_value": "v"}}})
    for stage in EXTRACTION_STAGES:
        extraction.run(stage, *LAYOUT)
    return extraction


LAYOUT = (
    "stage_configs.split_and_shard_subjects.n_subjects_per_shard=5",
    "stage_configs.shard_events.row_chunksize=30",
)
OTHER_LAYOUT = (
    "stage_configs.split_and_shard_subjects.n_subjects_per_shard=15",
    "stage_configs.shard_events.row_chunksize=70",
    "do_overwrite=True",
)


def rows(extraction):
    shards = (extraction.cohort / "data").rglob("*.parquet")
    return pl.concat([pl.read_parquet(path, glob=False) for path in shards])


def test_overwriting_with_another_layout_gives_every_measurement_once(extraction):
    for stage in EXTRACTION_STAGES:
        extraction.run(stage, *OTHER_LAYOUT)
    assert sorted(rows(extraction)["numeric_value"]) == list(range(200))


def test_shards_of_another_layout_are_refused_unless_they_may_be_overwritten(extraction):
    for stage in EXTRACTION_STAGES[:-1]:
        extraction.run(stage, *OTHER_LAYOUT)
    with pytest.raises(FileExistsError, match=r"(?s)inputs\.data\.files\.train/.*do_overwrite=True"):
        extraction.run(EXTRACTION_STAGES[-1], *OTHER_LAYOUT[:2])
