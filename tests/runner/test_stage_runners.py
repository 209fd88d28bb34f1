"""The stage-runner file: what a stage's block inherits, and which entries have no effect."""

import pytest

from MEDS_transforms.errors import Problems
from MEDS_transforms.runner.stage_runners import Parallel, StageRunners


@pytest.mark.parametrize(
    ("default", "own", "expected"),
    [
        (None, None, None),
        ({"n_workers": 2}, None, {"n_workers": 2}),
        ({"n_workers": 2, "launcher": "joblib"}, {"n_workers": 3}, {"n_workers": 3, "launcher": "joblib"}),
        (
            {"launcher": "j", "launcher_params": {"x": 1}},
            {"launcher_params": {"y": 2}},
            {"launcher": "j", "launcher_params": {"y": 2}},
        ),
        ({"launcher": "j", "launcher_params": {"x": 1}}, {"launcher": None}, {"launcher": None}),
        ({"launcher": "j", "launcher_params": {"x": 1}}, {"launcher": "processes"}, {"launcher": "processes"}),
        ({"launcher": "j", "launcher_params": {"x": 1}}, {"launcher": "k"}, {"launcher": "k"}),
        (
            {"launcher": "j", "launcher_params": {"x": 1}},
            {"launcher": "j"},
            {"launcher": "j", "launcher_params": {"x": 1}},
        ),
        ({"n_workers": 2}, {}, {"n_workers": 2}),
    ],
)
def test_a_stage_overrides_the_default_key_by_key(default, own, expected):
    problems = Problems("")
    entry = {} if own is None else {"a": {"parallelize": own}}
    merged = StageRunners({"parallelize": default, **entry}).parallelize_block("a", problems)
    assert merged == (expected or {})
    assert problems.found == []


def test_entries_of_the_stage_runner_file_without_effect():
    entries = {
        "parallelize": {"n_worker": 2},
        "_anchors": {"x": 1},
        "shard_event": {"script": "x"},
        "b": {"scripts": "x", "parallelize": {"launchers": "joblib"}},
    }
    messages = StageRunners(entries).unknown_keys(["shard_events", "b"])
    assert [message.split(":")[1].strip() for message in messages] == [
        *("shard_event", "parallelize.n_worker", "b.scripts", "b.parallelize.launchers")
    ]
    assert "did you mean 'shard_events'" in messages[0]


def test_one_stage_runner_file_serves_several_pipelines():
    entries = {"a": {}, "tensorization": {"parallelize": None}, "tensorisation": {}, "_mine": {}}
    messages = StageRunners(entries).unknown_keys(["a"])
    assert len(messages) == 1
    assert "tensorisation: no such stage in the pipeline" in messages[0]


def test_a_stage_is_one_process_where_nobody_says_otherwise():
    problems = Problems("")
    assert StageRunners().parallel("a", problems) == Parallel()
    assert StageRunners({"a": {"parallelize": None}}).parallel("a", problems) == Parallel()
    assert Parallel().multirun_overrides(3) == []
    assert problems.found == []
