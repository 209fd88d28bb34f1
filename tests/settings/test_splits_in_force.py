"""Which splits stages go by, where a pipeline makes some."""

import polars as pl
import pytest

from helpers import Preprocessing, measurements
from MEDS_transforms import run_pipeline
from MEDS_transforms.runner.metadata_files import bring_along
from MEDS_transforms.settings.folders import stage_folders
from MEDS_transforms.settings.splits_in_force import splits_in_force
from MEDS_transforms.work.sources import Source, describe_source

INPUT, MADE = "in/metadata/subject_splits.parquet", "out/metadata/subject_splits.parquet"
SPLIT = {"is_metadata": True, "output_dir": "out/metadata", "reducer_output_dir": None}
STAGES = ["before", "split_subjects", "between", "reshard_to_split", "after"]


def cfg_of(stage, stages, **blocks):
    folders = {"input_dir": "in", "cohort_dir": "out"}
    return {"stage": stage, "stages": stages, "stage_configs": {"split_subjects": SPLIT} | blocks, **folders}


@pytest.mark.parametrize(
    ("stage", "path", "are_newer"),
    [
        ("before", INPUT, False),
        ("split_subjects", INPUT, False),
        ("between", MADE, True),
        ("reshard_to_split", MADE, True),
        ("after", MADE, False),
    ],
)
def test_those_that_the_last_stage_made_or_cut_by(stage, path, are_newer):
    found = splits_in_force(cfg_of(stage, STAGES))
    assert (str(found.path), found.are_newer_than_shards) == (path, are_newer)


@pytest.mark.parametrize(
    ("stages", "blocks", "path"),
    [
        (["filter_subjects"], {}, INPUT),
        (["reshard_to_split"], {}, INPUT),
        (["split_subjects"], {}, MADE),
        (["reshard_to_split"], {"reshard_to_split": {"splits_fp": "mine.parquet"}}, "mine.parquet"),
        (["mine"], {"mine": {**SPLIT, "_script": "MEDS_transform-split_subjects"}}, MADE),
        (["split_subjects"], {"split_subjects": {**SPLIT, "output_dir": "x"}}, "x/subject_splits.parquet"),
    ],
)
def test_those_of_the_cohort(stages, blocks, path):
    assert str(splits_in_force(cfg_of(stages[0], stages, **blocks), after_all=True).path) == path


def test_a_stage_without_code_metadata_is_passed_by():
    stages = ["count", "split_subjects", "number"]
    blocks = {"count": {"is_metadata": True}, "split_subjects": SPLIT, "number": {"is_metadata": True}}
    folders = stage_folders("in", "out", stages, blocks)
    assert folders["number"]["metadata_input_dir"] == "out/count"
    assert folders["number"]["data_input_dir"] == "in/data"
    folders = stage_folders("in", "out", stages[:2], blocks)
    assert folders["count"]["reducer_output_dir"] == "out/metadata"
    folders = stage_folders("in", "out", ["split_subjects"], blocks)
    assert folders["split_subjects"]["output_dir"] == "out/metadata"
    assert folders["split_subjects"]["reducer_output_dir"] is None


@pytest.mark.parametrize("splits_fp", [None, "mine.parquet"])
def test_the_cohort_gets_the_splits_of_its_shards(tmp_path, splits_fp):
    for name in (INPUT, "mine.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    folders = [tmp_path / name for name in ("in", "out", "logs")]
    bring_along(*folders, made=(), overwrite=False, splits_fp=splits_fp and tmp_path / splits_fp)
    assert (tmp_path / MADE).read_text() == (splits_fp or INPUT)


def test_splits_of_a_stage_that_left_the_pipeline_are_replaced_when_asked(tmp_path):
    """They are not those of the shards any more; and who reads the cohort must not take the copy for damaged."""
    x = Preprocessing(tmp_path)
    x.write({"train/0": measurements(*((i, None, "A") for i in range(20)))}, splits={"train": [*range(20)]})
    folders = {"input_dir": x.dataset, "cohort_dir": x.cohort}
    splits_fp = x.cohort / "metadata" / "subject_splits.parquet"
    run_pipeline({"stages": ["split_subjects", "reshard_to_split"], **folders}, progress="plain")
    assert pl.read_parquet(splits_fp)["split"].n_unique() == 3
    run_pipeline({"stages": ["reshard_to_split"], **folders}, do_overwrite=True, progress="plain")
    assert pl.read_parquet(splits_fp)["split"].unique().to_list() == ["train"]
    assert "made_by" not in describe_source(Source.of_files(splits_fp), x.cohort)
