"""The stage on small frames, and in the pipeline, as people run it."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from my_stages.keep_first_of_day import keep_first_of_day

PIPELINE = Path(__file__).parents[1] / "pipeline.yaml"
MORNING, NOON, NEXT_DAY = datetime(2024, 5, 1, 8), datetime(2024, 5, 1, 12), datetime(2024, 5, 2, 8)


def measurements(*rows: tuple[int, datetime | None, str, float | None]) -> pl.DataFrame:
    """A shard with these rows."""
    dtypes = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32}
    return pl.DataFrame(rows, dtypes, orient="row")


SHARD = measurements(
    (1, None, "SEX//F", None),
    (1, MORNING, "VITAL//pulse", 71.0),
    (1, MORNING, "VITAL//pulse", 72.0),
    (1, NOON, "LAB//sodium", 140.0),
    (1, NOON, "LAB//sodium", 141.0),
    (1, NOON, "VITAL//pulse", 73.0),
    (1, NEXT_DAY, "VITAL//pulse", 74.0),
    (2, None, "SEX//M", None),
    (2, None, "SEX//M", None),
    (2, MORNING, "VITAL//pulse", 75.0),
)


@pytest.mark.parametrize(
    ("codes", "values"),
    [
        (None, [None, 71.0, 140.0, 74.0, None, None, 75.0]),
        ("^VITAL//", [None, 71.0, 140.0, 141.0, 74.0, None, None, 75.0]),
        ("^nothing$", SHARD["numeric_value"].to_list()),
    ],
)
def test_the_first_row_of_a_day_is_kept(codes: str | None, values: list[float | None]) -> None:
    kept = keep_first_of_day(SHARD.lazy(), {"codes": codes}).collect()
    assert kept["numeric_value"].to_list() == values


def write_dataset(folder: Path) -> Path:
    """A MEDS dataset of one shard."""
    (folder / "data" / "train").mkdir(parents=True)
    (folder / "metadata").mkdir()
    SHARD.write_parquet(folder / "data" / "train" / "0.parquet")
    codes = SHARD.select("code").unique().with_columns(pl.lit(None, pl.String).alias("description"))
    codes.write_parquet(folder / "metadata" / "codes.parquet")
    return folder


def run_pipeline(folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Runs the pipeline on a new dataset; its result is in `folder/result`."""
    folders = [f"input_dir={write_dataset(folder / 'dataset')}", f"cohort_dir={folder / 'result'}"]
    command = [sys.executable, "-m", "MEDS_transforms", "run", str(PIPELINE), *folders, *settings]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_pipeline_runs_the_stage_by_name(tmp_path: Path) -> None:
    ran = run_pipeline(tmp_path)
    assert ran.returncode == 0, ran.stderr
    result = pl.read_parquet(tmp_path / "result" / "data" / "train" / "0.parquet")
    assert result["numeric_value"].to_list() == [None, 71.0, 140.0, 141.0, 74.0]  # and subject 2 has too few rows


def test_a_value_that_is_not_allowed_is_refused_before_the_first_stage(tmp_path: Path) -> None:
    ran = run_pipeline(tmp_path, "stage_configs.keep_first_of_day.codes=[VITAL]")
    assert ran.returncode == 1
    assert "stage_configs.keep_first_of_day.codes must be" in ran.stderr
    assert not (tmp_path / "result" / "keep_first_of_day").exists()
