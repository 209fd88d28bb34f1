"""What is read of the time and memory of stages."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from MEDS_transforms.report.dataset import Dataset
from MEDS_transforms.report.parts import Charts, Table, Text
from MEDS_transforms.report.stage_accounts import StageNotes
from MEDS_transforms.report.stage_sections import stage_sections, usage_table
from MEDS_transforms.report.usage import Usage, read_usage

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def line(stage: str, begin: float, end: float, worker: int | None = 0, **more: Any) -> str:
    """A line as stages write it; times in seconds."""
    times = {"begin": BEGIN + timedelta(seconds=begin), "end": BEGIN + timedelta(seconds=end)}
    content = {
        "stage": stage,
        "worker": worker,
        "host": "h",
        "pid": 7,
        **{key: time.isoformat() for key, time in times.items()},
        "wall_seconds": end - begin,
        "cpu_seconds": 2 * (end - begin),
        "peak_memory": 3 << 20,
        "units": 2,
        "rows": 10,
        "pass": [stage, "other"],
        "version": "x",
    }
    return json.dumps(content | more)


def write_usage(root: Path, *lines: str, name: str = "a") -> None:
    path = root / ".logs" / "usage" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def usage_parts(usage: Usage) -> list[Any]:
    dataset = Dataset(Path(), Path(), None, ())
    [section] = [one for one in stage_sections(dataset, StageNotes(), usage) if one.id == "usage"]
    return [*section.parts]


def test_lines_of_all_files_in_the_order_of_time(tmp_path: Path):
    write_usage(tmp_path, line("b", 10, 14, worker=1), line("b", 10.5, 12, worker=None))
    write_usage(tmp_path, line("a", 0, 10), name="z")
    usage = read_usage(tmp_path)
    assert usage.stages == ["a", "b"]
    assert [(span.worker, span.begin, span.end) for span in usage.spans] == [
        ("0", 0, 10),
        ("1", 10, 14),
        ("process 7", 10.5, 12),
    ]
    assert usage.paused == 0


def test_pauses_between_runs_are_left_out(tmp_path: Path):
    write_usage(tmp_path, line("a", 0, 100), line("b", 103, 200), line("c", 90_000, 90_050))
    usage = read_usage(tmp_path)
    assert [(span.begin, span.end) for span in usage.spans] == [(0, 100), (103, 200), (200, 250)]
    assert usage.paused == 90_000 - 200


@pytest.mark.parametrize("bad", ["", "{", "[]", "{}", '{"stage": "a", "begin": "x", "end": "y"}'])
def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path, bad: str):
    write_usage(tmp_path, bad, line("a", 0, 1), '{"stage": "cut')
    assert read_usage(tmp_path).stages == ["a"]


def test_the_table_adds_up_workers(tmp_path: Path):
    write_usage(tmp_path, line("a", 0, 4), line("a", 1, 5, worker=1, rows=None, peak_memory=5 << 20))
    table = usage_table(read_usage(tmp_path))
    assert dict(zip(table.headings, table.rows[0], strict=True)) == {
        "Stage": "a",
        "Workers": 2,
        "Seconds": 5,
        "CPU seconds": 16,
        "Peak MiB": 5,
        "Units of work": 4,
        "Rows": 10,
        "Rows per second": 2,
    }


def test_without_files_the_page_says_so(tmp_path: Path):
    assert read_usage(tmp_path) == read_usage(None) == Usage()
    [text] = usage_parts(Usage())
    assert isinstance(text, Text)
    assert "no stage has noted its time" in text.text


def test_many_workers_are_shown_together(tmp_path: Path):
    write_usage(tmp_path, *(line("a", 0, 1, worker=n) for n in range(700)))
    parts = usage_parts(read_usage(tmp_path))
    [chart] = next(part for part in parts if isinstance(part, Charts)).charts
    [rows] = chart.spec["datasets"].values()
    assert len(rows) == 1
    assert any(isinstance(part, Table) for part in parts)
