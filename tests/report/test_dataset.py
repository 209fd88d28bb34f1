"""What a report is about: which folder."""

from pathlib import Path

import pytest

from helpers import Preprocessing, measurements, write_shards
from MEDS_transforms.report.dataset import find_dataset

ROWS = measurements((1, None, "A"))


def test_a_dataset_or_its_data(cohort: Preprocessing):
    for path in (cohort.dataset, cohort.dataset / "data"):
        found = find_dataset(path)
        assert len(found.shards) == 4
        assert found.root == cohort.dataset
        assert found.name == "Made up 1.0"


def test_the_output_of_a_stage_is_of_its_cohort(tmp_path: Path):
    write_shards(tmp_path / "filter_subjects", {"train/0": ROWS})
    write_shards(tmp_path / "metadata", {"codes": ROWS})
    found = find_dataset(tmp_path / "filter_subjects")
    assert [path.name for path in found.shards] == ["0.parquet"]
    assert (found.root, found.name) == (tmp_path, "filter_subjects")


def test_tables_of_metadata_are_no_shards(tmp_path: Path):
    write_shards(tmp_path, {"0": ROWS, "metadata/codes": ROWS})
    assert [path.name for path in find_dataset(tmp_path).shards] == ["0.parquet"]


def test_a_stage_of_a_dataset_is_called_so(cohort: Preprocessing):
    write_shards(cohort.dataset / "filter_subjects", {"train/0": ROWS})
    assert find_dataset(cohort.dataset / "filter_subjects").name == "Made up 1.0, filter_subjects"


def test_a_cohort_without_data_names_the_folders_that_have_some(tmp_path: Path):
    write_shards(tmp_path, {"filter_subjects/train/0": ROWS})
    (tmp_path / "filter_subjects" / ".logs").mkdir()
    with pytest.raises(FileNotFoundError, match="filter_subjects"):
        find_dataset(tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_shards(tmp_path: Path, there: bool):
    with pytest.raises(FileNotFoundError, match="no shards" if there else "no folder"):
        find_dataset(tmp_path if there else tmp_path / "nowhere")


def test_tables_that_are_no_measurements(tmp_path: Path):
    write_shards(tmp_path, {"0": ROWS.select("subject_id", "time")})
    with pytest.raises(ValueError, match="its columns are subject_id, time"):
        find_dataset(tmp_path)
    write_shards(tmp_path, {"0": ROWS.group_by("subject_id").agg("code")})
    with pytest.raises(ValueError, match="before tokenization"):
        find_dataset(tmp_path)
