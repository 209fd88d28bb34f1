"""What the checks of stages find wrong: as items of a message, and without what is said already."""

import pytest

from MEDS_transforms.errors import InputError, MissingInputError, Problem, Problems
from MEDS_transforms.precheck.report import MISSING, UNUSABLE
from MEDS_transforms.runner.stage_problems import StageProblems, top_keys


def of_tables() -> StageProblems:
    problems = Problems("Tables cannot be used")
    problems.add("it is empty", "labs")
    problems.add("no such column", "meds.drug", "Name another")
    with pytest.raises(InputError) as raised:
        problems.raise_if_any()
    return StageProblems.of("shard_events", raised.value)


def test_what_a_stage_lists_is_indented_below_its_name():
    assert of_tables().message == (
        "shard_events: Tables cannot be used:\n      - labs: it is empty\n"
        "      - meds.drug: no such column. Name another"
    )


def test_a_single_problem_follows_the_name():
    assert StageProblems.of("a", InputError("it is odd", "x")).message == "a: x: it is odd"
    assert StageProblems("", [Problem("it is odd", "x")]).message == "x: it is odd"


def test_what_is_said_is_left_out_with_or_without_its_full_stop():
    left = of_tables().without(["meds.drug: no such column. Name another."])
    assert [problem.where for problem in left.found] == ["labs"]
    assert left.headline == "Tables cannot be used"


def test_what_is_all_about_a_key_at_the_top_is_left_out():
    unset = StageProblems("a", [Problem("are not set", "seed, input_dir", joint=" ")])
    assert unset.without([], ["seed"]).found == []
    assert unset.without([], ["limits"]).found == unset.found


def test_the_key_at_the_top():
    assert top_keys(Problem("x", "limits.one_code")) == top_keys(Problem("x", "limits[0]")) == {"limits"}
    assert top_keys(Problem("x")) == set()


def test_kinds():
    assert StageProblems.of("a", MissingInputError("no file")).kind == MISSING
    assert StageProblems.of("a", InputError("there is no such key")).kind == UNUSABLE
