"""What a process takes for its stages, measured in the process itself."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path

import pytest

from MEDS_transforms.work.memory import peak_memory
from MEDS_transforms.work.turn import turn_to
from MEDS_transforms.work.usage import USAGE_DIR, count_unit, metered

MIB = 2**20


@pytest.fixture(autouse=True)
def _no_stage_at_work():
    yield
    turn_to("")


def test_units_count_for_the_stage_at_work_in_whichever_thread():
    with metered({}) as meter, ThreadPoolExecutor(4) as pool:
        for stage, rows in [("a", 2), ("b", None), ("a", 3), ("a", None)] * 25:
            turn_to(stage)
            pool.submit(copy_context().run, count_unit, rows).result()
        meter.ended("a", 1.0)
        meter.ended("b", 3.0)
        of_a, of_b = meter.lines()
    assert (of_a["units"], of_a["rows"]) == (75, 125)
    assert (of_b["units"], of_b["rows"]) == (25, None)
    assert of_b["cpu_seconds"] == pytest.approx(3 * of_a["cpu_seconds"])


def test_memory_is_the_most_that_was_held_meanwhile_as_far_as_the_system_tells():
    most = peak_memory()
    with metered({}) as meter:
        held = b"x" * most
        del held
        meter.ended("a")
        [line] = meter.lines()
    assert line["peak_memory"] == peak_memory() > most


def test_where_more_was_held_before_the_stage_its_memory_is_that_seen_when_a_unit_was_made():
    before = b"x" * (300 * MIB)
    del before
    with metered({}) as meter:
        held = b"x" * (100 * MIB)
        count_unit(None)
        del held
        meter.ended("a")
        [line] = meter.lines()
    assert 100 * MIB < line["peak_memory"] < peak_memory()


def test_a_stage_that_had_ended_before_a_failure_has_its_line(tmp_path):
    count_unit(5)  # outside: of no stage
    for ended in ([], ["a"]):
        with suppress(ZeroDivisionError), metered({"cohort_dir": str(tmp_path), "worker": 0}) as meter:
            for stage in ended:
                meter.ended(stage)
            1 / 0  # noqa: B018
        lines = [t for path in Path(tmp_path, USAGE_DIR).glob("*.jsonl") for t in path.read_text().splitlines()]
        assert [json.loads(line)["units"] for line in lines] == [0] * len(ended)
