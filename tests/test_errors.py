"""What becomes of an exception: one message that says what, where, and what to do."""

import copy
import errno
import logging
import os
import pickle
import re
from logging.handlers import QueueHandler
from queue import SimpleQueue

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from MEDS_transforms.errors import (
    InputError,
    MissingColumnError,
    MissingInputError,
    Problem,
    Problems,
    StageError,
    counted,
    explain,
    is_explained,
    listed,
    logged_problem,
    nearest,
    not_set,
    problems_in,
    wants_trace,
    warn_of,
)
from MEDS_transforms.settings.packaged import CONFIG_DIR


def raised(function) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def extract_config(*overrides: str):
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        return compose("_extract", [*overrides], return_hydra_config=True)


def test_problems_come_together():
    problems = Problems("The file cannot be used")
    problems.raise_if_any()
    problems.add("a: no such key")
    problems.add("b: not a number")
    with pytest.raises(KeyError) as info:
        problems.raise_if_any(KeyError)
    assert info.value.args == ("The file cannot be used:\n  - a: no such key\n  - b: not a number",)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("row_chunksiz", ["row_chunksize", "seed"], " (did you mean 'row_chunksize'?)"),
        ("x", ["row_chunksize"], ""),
        ("x", [], ""),
    ],
)
def test_nearest(name, known, hint):
    assert nearest(name, known) == hint


def test_listed():
    assert listed(["b", "a"]) == "a, b"
    assert listed(range(5), limit=3) == "0, 1, 2 and 2 more"
    assert listed([]) == "(none)"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("what it says"), "what it says"),
        (ValueError("what it says"), "ValueError: what it says"),
        (MissingColumnError("what it says"), "what it says"),
        (RuntimeError(), "RuntimeError"),
        (MissingInputError("There is no file x."), "There is no file x."),
    ],
)
def test_an_exception_speaks_for_itself(error, message):
    assert explain(error) == message


@pytest.mark.parametrize(
    "number",
    [
        errno.ENOSPC,
        errno.EACCES,
        errno.EROFS,
        errno.EDQUOT,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENAMETOOLONG,
    ],
)
def test_an_error_of_the_system_has_the_path_and_a_remedy(number):
    message = explain(OSError(number, os.strerror(number), "/some/file"))
    assert message.startswith(f"{os.strerror(number)}: /some/file. ")
    assert re.search("run the same command again|mount it writable|choose a shorter one", message)


def test_the_systems_refusal_behind_a_mistake_adds_its_remedy():
    error = InputError("The pipeline p.yaml cannot be composed.")
    error.__cause__ = PermissionError(errno.EACCES, "denied", "p.yaml")
    assert explain(error).startswith("The pipeline p.yaml cannot be composed. Change the permissions")


def test_several_keys_that_are_not_set():
    assert not_set("a.b", "c") == (
        "a.b, c are not set. Give them in the pipeline file, or as a.b=… c=… on the command line."
    )


def test_notes_belong_to_the_message():
    error = InputError("bad number")
    error.add_note("This happened in train/0.parquet.")
    assert explain(error) == "bad number\nThis happened in train/0.parquet."


@pytest.mark.parametrize(
    ("access", "key"),
    [
        (lambda cfg: cfg.event_conversion_config_fp, "event_conversion_config_fp"),
        (lambda cfg: cfg.etl_metadata.dataset_name, "etl_metadata.dataset_name"),
        (lambda cfg: cfg.hydra.run.dir, "cohort_dir"),
        (lambda cfg: cfg.stage_cfg, "cohort_dir"),
        (lambda cfg: cfg.shards_map_fp, "cohort_dir"),
    ],
)
def test_a_missing_key_is_named_with_the_way_to_give_it(access, key):
    cfg = extract_config("input_dir=in", "stage=shard_events")
    message = explain(raised(lambda: access(cfg)))
    assert message == f"{key} is not set. Give it in the pipeline file, or as {key}=… on the command line."


def test_what_a_resolver_raises_is_told_without_its_wrapping():
    cfg = extract_config("input_dir=in", "cohort_dir=out", "stage=shard_event")
    message = explain(raised(lambda: cfg.hydra.run.dir))
    assert message.startswith("'shard_event' is not a valid stage name.")
    assert message.endswith("(did you mean 'shard_events'?)")
    assert "\n" not in message


def test_an_environment_variable_that_is_not_set_is_named():
    """Without what OmegaConf says around it."""
    cfg = OmegaConf.create({"x": "${oc.env:SURELY_NOT_SET}"})
    error = raised(lambda: cfg.x)
    assert "raised while resolving" in str(error)
    assert explain(error) == "The environment variable SURELY_NOT_SET, which the configuration names, is not set."
    assert is_explained(error)


def test_an_override_that_hydra_refuses_is_told_with_its_cause():
    """In the words of Hydra; `test_command_line` has those for the keys that a configuration does not have."""
    error = raised(lambda: extract_config("inputdir=in"))
    assert explain(error) == f"{error}: Key 'inputdir' is not in struct"


def test_the_error_of_a_stage_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(StageError("what went wrong")))
    assert str(error) == "what went wrong"


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("0", False), (None, False)])
def test_traces_are_asked_for_by_hydras_variable(monkeypatch, value, wanted):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if value is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", value)
    assert wants_trace() is wanted


PROBLEM = Problem("none of the times fits", "labs.lab.time", "Add a format.")


def test_a_problem_is_the_message_that_its_parts_make():
    assert PROBLEM == "labs.lab.time: none of the times fits. Add a format."
    assert Problem("must be text", "seed", joint=" ") == "seed must be text"
    assert Problem("rows:\n  1\n  2", remedy="Remove one") == "rows:\n  1\n  2\nRemove one"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_keeps_the_parts(copied):
    same = copied(PROBLEM)
    assert (same.what, same.where, same.remedy, same) == (PROBLEM.what, PROBLEM.where, PROBLEM.remedy, PROBLEM)
    [of_error] = problems_in(copied(MissingInputError(PROBLEM)))
    assert of_error.remedy == PROBLEM.remedy


def test_a_problem_below_a_place_keeps_its_own():
    assert PROBLEM.below("e.yaml") == "e.yaml: labs.lab.time: none of the times fits. Add a format."
    assert PROBLEM.below("e.yaml").where == "e.yaml"


def test_an_error_has_the_parts_of_each_problem():
    problems = Problems("It cannot be used")
    problems.add("is odd", "x", "Correct it")
    problems.add("a whole message")
    with pytest.raises(MissingInputError, match=r"used:\n  - x: is odd\. Correct it\n  - a whole") as raised:
        problems.raise_if_any(MissingInputError)
    assert raised.value.headline == "It cannot be used"
    assert [(one.where, one.remedy) for one in problems_in(raised.value)] == [("x", "Correct it"), ("", "")]


def test_what_the_system_refuses_has_its_remedy_apart():
    [problem] = problems_in(PermissionError(errno.EACCES, "Permission denied", "/x"))
    assert (problem.what, problem.remedy[:6]) == ("Permission denied: /x", "Change")


def test_an_error_with_notes_is_one_problem_with_all_of_its_words():
    error = InputError(PROBLEM)
    error.add_note("in the shard train/0")
    assert [*problems_in(error)] == [f"{PROBLEM}\nin the shard train/0"]


def test_a_logged_problem_keeps_its_parts_through_a_queue():
    logger, queue = logging.Logger("a"), SimpleQueue()
    logger.addHandler(QueueHandler(queue))
    warn_of(logger, "100 % odd", "x", "Correct it")
    logger.warning("%d tables", 3)
    first, second = (logged_problem(queue.get()) for _ in range(2))
    assert (first, first.where, first.remedy) == ("x: 100 % odd. Correct it", "x", "Correct it")
    assert (second, second.where) == ("3 tables", "")


def test_numbers_are_counted_with_separators_of_thousands():
    assert counted(1234567, "row") == "1,234,567 rows"
