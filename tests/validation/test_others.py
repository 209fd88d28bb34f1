"""No false alarm: datasets that others made, in all the forms that MEDS permits."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from MEDS_transforms.validation.validate import validate
from MEDS_transforms.validation.versions import MedsVersion

from .datasets import (
    CODES,
    DATASET,
    HELD_OUT,
    SPLITS,
    TRAIN_0,
    TRAIN_1,
    TUNING,
    add,
    cast,
    cells,
    change,
    drop,
    encoded,
    make_dataset,
    put,
    together,
    write,
)

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("MEDS_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
EXTRACTED = sorted(SHARED_DATA.glob("*/expected/extraction"))
SHARDS = (TRAIN_0, TRAIN_1, TUNING, HELD_OUT)
HELPERS = Path(os.environ.get("MEDS_TESTING_HELPERS", Path(sys.executable).parent)) / "build_sample_MEDS_dataset"


def kinds(root: Path, meds: MedsVersion | None = None) -> dict[str, str]:
    """The kinds of what is found, but for the parent GROUP, which is never in the data, and how severe they are."""
    report = validate(root, meds)
    assert report.is_valid
    found = {finding.kind: finding.severity.value for finding in report.findings}
    return {kind: severity for kind, severity in found.items() if kind != "unused_codes"}


def moved(name: str, to: str):
    def move(root: Path) -> None:
        (root / to).parent.mkdir(parents=True, exist_ok=True)
        (root / name).rename(root / to)

    return move


def everywhere(how, *args):
    return together(*(how(name, *args) for name in SHARDS))


@pytest.mark.parametrize("meds", MedsVersion)
@pytest.mark.parametrize(
    "form",
    [
        lambda _: None,
        everywhere(change, lambda t: t.select(t.column_names[::-1])),
        change(CODES, lambda t: t.select(t.column_names[::-1])),
        change(SPLITS, lambda t: t.select(t.column_names[::-1])),
        everywhere(change, lambda t: t.append_column("hadm_id", pa.nulls(t.num_rows, pa.int64()))),
        everywhere(change, lambda t: t.append_column("text_value", pa.nulls(t.num_rows, pa.large_string()))),
        add(CODES, "unit", pa.array(["kg"] * 5)),
        moved(TUNING, "data/0.parquet"),
        moved(TUNING, "data/a/b/c/shard=1/part-0.parquet"),
        together(*(moved(f"data/{split}", f"data/split={split}") for split in ("train", "tuning", "held_out"))),
        moved(TUNING, "data/held_in/[0-10).parquet"),
        put("data/train/.provenance/a.record"),
        put("data/.DS_Store"),
        put("tasks/x/0.parquet", b"no part of it"),
        put(DATASET, b"{}"),
        everywhere(change, lambda t: t.cast(pa.schema([t.field(0).with_nullable(False), *[*t.schema][1:]]))),
        lambda root: write(root, TUNING, pq.ParquetFile(root / TUNING).read(), row_group_size=1, compression="gzip"),
        lambda root: write(root, TRAIN_0, pq.ParquetFile(root / TRAIN_0).read(), use_dictionary=False, version="1.0"),
        cells(TUNING, "numeric_value", *((row, None) for row in range(6))),
    ],
)
def test_forms_that_meds_permits(root, form, meds):
    form(root)
    assert kinds(root, meds) == {}


def test_values_may_be_left_out_since_0_4(root):
    everywhere(drop, "numeric_value")(root)
    assert kinds(root) == {}


@pytest.mark.parametrize("form", [encoded, lambda name, column: cast(name, column, pa.large_string())])
def test_text_in_another_layout_is_text(root, form):
    everywhere(form, "code")(root)
    form(CODES, "code")(root)
    form(CODES, "description")(root)
    form(SPLITS, "split")(root)
    assert kinds(root) == {"text_layout": "warning"}
    assert validate(root).counts.codes == 4


def test_text_layout_is_one_remark_for_all_shards_and_may_differ_between_them(root):
    together(*(cast(name, "code", pa.large_string()) for name in (TRAIN_0, TUNING)))(root)
    [finding] = [finding for finding in validate(root).findings if finding.kind == "text_layout"]
    assert (finding.where, finding.files) == (TRAIN_0, 2)


def test_an_empty_shard_is_worth_a_note(root):
    change(TRAIN_1, lambda t: t.slice(0, 0))(root)
    assert kinds(root) == {"empty_shard": "note", "split_without_data": "note"}


def test_a_dataset_of_meds_0_3(tmp_path):
    root = make_dataset(tmp_path, meds_version="0.3.3")
    everywhere(change, lambda t: t.append_column("text_value", pa.nulls(t.num_rows, pa.string())))(root)
    assert kinds(root) == {}
    assert validate(root).standard.version == "0.3"
    assert kinds(root, MedsVersion.V0_4) == {"text_layout": "warning"}


def test_links_to_shards_and_folders_are_followed_once(root, tmp_path):
    shutil.move(root / "data" / "train", tmp_path / "elsewhere")
    (root / "data" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(root / "data")
    assert kinds(root) == {}


@pytest.mark.slow
def test_the_demos_cohort(demo):
    assert kinds(demo / "cohort") == {"outside_parents": "note"}


@pytest.mark.slow
@pytest.mark.parametrize("extracted", EXTRACTED or [None], ids=lambda folder: folder.parts[-3] if folder else "none")
def test_real_cohorts(extracted):
    """Their times are shifted, there is no dataset.json, and codes.parquet has only codes that a table describes."""
    if extracted is None:
        pytest.skip(f"no datasets in {SHARED_DATA}; name their folder in the environment variable MEDS_SHARED_DATA")
    found = kinds(extracted)
    assert found.pop("undescribed_codes", "warning") == "warning"
    assert {*found} <= {"missing_file", "future_time", "death_before_events", "outside_parents"}


@pytest.mark.slow
@pytest.mark.parametrize("n_subjects", [10, 300])
def test_datasets_that_meds_testing_helpers_makes(tmp_path, n_subjects):
    """They have shards directly below data/, times to come, and a codes.parquet without rows."""
    if not HELPERS.exists():
        pytest.skip(f"no {HELPERS}; name the folder of that script in the environment variable MEDS_TESTING_HELPERS")
    command = [HELPERS, f"output_dir={tmp_path}/d", f"N_subjects={n_subjects}", f"hydra.run.dir={tmp_path}/log"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert {*kinds(tmp_path / "d")} <= {"undescribed_codes", "future_time"}
