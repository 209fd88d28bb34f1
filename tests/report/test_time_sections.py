"""What is shown over time."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from helpers import measurements, write_shards
from MEDS_transforms.report.data_comparison import Pair, data_comparison
from MEDS_transforms.report.dataset import find_dataset
from MEDS_transforms.report.parts import Charts, Text
from MEDS_transforms.report.summary import Summary, summarize
from MEDS_transforms.report.time_sections import NOT_SHOWN, over_time


def with_a_wrong_time(folder: Path) -> Summary:
    """Two measurements of the same year, and one of a year far from it."""
    times = [datetime(2015, 1, 5), datetime(2015, 3, 5), datetime(9999, 1, 1)]
    write_shards(folder / "data", {"0": measurements(*((n, time, "A") for n, time in enumerate(times)))})
    return summarize(find_dataset(folder))


def test_a_wrong_time_does_not_turn_months_into_years(tmp_path: Path):
    parts = [*over_time(with_a_wrong_time(tmp_path))]
    assert Text(f"{NOT_SHOWN}: 1 measurement.") in parts
    [charts] = [part.charts for part in parts if isinstance(part, Charts)]
    assert charts[0].title == "Measurements by month"
    assert "from 2015-01 to 2015-03" in charts[0].words


def test_a_wrong_time_does_not_widen_a_comparison(tmp_path: Path):
    found = with_a_wrong_time(tmp_path)
    over_years = {section.id: section for section in data_comparison(Pair(found, found, ("A", "B")))}["time"]
    assert Text(f"{NOT_SHOWN}: 1 measurement of B.") in over_years.parts
    assert "9999" not in str(over_years.parts)


@pytest.mark.parametrize(("min_count", "of_b"), [(0, {"2015": 2, "2016": 0, "2017": 1}), (2, {"2015": 2, "2016": 0})])
def test_years_without_measurements_are_no_gaps_in_a_comparison(tmp_path: Path, min_count: int, of_b: dict[str, int]):
    times = [datetime(2015, 1, 1), datetime(2015, 1, 1), datetime(2017, 1, 1)]
    rows = measurements(*((n, time, "A") for n, time in enumerate(times)))
    for name, some in (("a", pl.concat([rows, rows.with_columns(pl.col("subject_id") + 5)])), ("b", rows)):
        write_shards(tmp_path / name / "data", {"0": some})
    a, b = (summarize(find_dataset(tmp_path / name), min_count) for name in ("a", "b"))
    over_years = {section.id: section for section in data_comparison(Pair(a, b, ("A", "B")))}["time"]
    [charts] = [part.charts for part in over_years.parts if isinstance(part, Charts)]
    [values] = charts[0].spec["datasets"].values()
    rows_of_b = [row for row in values if row["group"] == "B"]
    assert {row["label"]: row["count"] for row in rows_of_b} == of_b
