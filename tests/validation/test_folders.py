"""Folders that are no MEDS dataset, or a part of one: it is said what they are."""

import shutil

import pytest

from MEDS_transforms.errors import InputError, MissingInputError
from MEDS_transforms.validation.validate import validate

from .datasets import DATASET, HELD_OUT, TRAIN_0, TRAIN_1, TUNING, change, put, rename

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outputs_of_the_demo")]


def what(folder):
    """What a folder is said to be; it is the only finding."""
    report = validate(folder)
    [finding] = report.findings
    assert finding.kind == "not_meds"
    assert not report.is_valid
    assert finding.where == str(folder)
    assert report.what in finding.what
    return report.what


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("tensors", "tensors"),
        ("tensors/data", "tensors"),
        ("tensors/tokenization", "tokenized data"),
        ("tensors/normalization", "normalized data"),
        ("tensors/filter_subjects", "measurements without the folders of a dataset"),
        ("cohort/merge_to_MEDS_cohort", "measurements without the folders of a dataset"),
        ("raw", "raw tables"),
        (".", "a folder of datasets. Name one of them: cohort, tensors"),
    ],
)
def test_outputs_of_the_demo(demo, folder, words, tmp_path):
    copy = tmp_path / "x"  # where it was made the folder above is a dataset's
    shutil.copytree(demo / folder, copy)
    assert what(copy).startswith(words)


@pytest.mark.parametrize("inner", ["event_seqs", "schemas"])
def test_tokenized_and_normalized_shards_below_data(demo, tmp_path, inner):
    shutil.copytree(demo / "tensors" / "tokenization" / inner, tmp_path / "data")
    assert what(tmp_path).startswith("tokenized data")
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(demo / "tensors" / "normalization", tmp_path / "data")
    assert what(tmp_path).startswith("normalized data")


def test_a_cohort_in_the_middle_of_the_extraction(demo, tmp_path):
    shutil.copytree(demo / "cohort", tmp_path / "cohort", ignore=shutil.ignore_patterns("data", "codes.parquet"))
    assert what(tmp_path / "cohort").startswith("a cohort in the middle of a pipeline")


def test_a_cohort_in_the_middle_of_the_preprocessing(demo, tmp_path):
    shutil.copytree(demo / "tensors", tmp_path / "cohort", ignore=shutil.ignore_patterns("data"))
    assert what(tmp_path / "cohort").startswith("a cohort with the outputs of stages")


def test_labels_of_a_task(root):
    for name in (TRAIN_0, TRAIN_1, TUNING, HELD_OUT):
        change(name, lambda t: t.select(["subject_id", "time"]))(root)
        rename(name, time="prediction_time")(root)
    assert what(root).startswith("labels of a task")


@pytest.mark.parametrize("part", ["data", "metadata", "data/train", TRAIN_0, DATASET])
def test_a_part_of_a_dataset_leads_to_the_whole(root, part):
    with pytest.raises(InputError, match=f"Name the folder above .*: {root}$"):
        validate(root / part)


def test_a_part_alone_leads_to_the_folder_above(root):
    (root / "metadata").rename(root / "elsewhere")
    with pytest.raises(InputError, match=f"Name the folder above data/: {root}$"):
        validate(root / "data")


def test_a_dataset_below_another_folder_called_data_is_one(root):
    inner = root / "data" / "inner"
    shutil.copytree(root, root.parent / "copy")
    shutil.move(root.parent / "copy", inner)
    assert validate(inner).is_valid


def test_neither_file_nor_nothing_is_a_dataset(tmp_path):
    put("x.parquet")(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        validate(tmp_path / "x.parquet")
    with pytest.raises(MissingInputError, match="There is no folder"):
        validate(tmp_path / "nowhere")


def test_a_folder_without_shards(root, tmp_path):
    (tmp_path / "empty").mkdir()
    shutil.rmtree(root / "data")
    for folder in (root, tmp_path / "empty"):
        report = validate(folder)
        assert "no_data" in {finding.kind for finding in report.findings}
        assert not report.is_valid


def test_a_dataset_without_rows(root):
    for name in (TRAIN_0, TRAIN_1, TUNING, HELD_OUT):
        change(name, lambda t: t.slice(0, 0))(root)
    report = validate(root)
    assert {"no_measurements", "empty_shard"} <= {finding.kind for finding in report.findings}
    assert report.is_valid
