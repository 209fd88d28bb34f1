"""The runner's decisions: which overrides are whose, what is wrong with a pipeline, how its stages are called."""

import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from MEDS_transforms.cli.overrides import hydra_value, quoted, split_overrides
from MEDS_transforms.runner.done import DoneMark, done_mark
from MEDS_transforms.runner.pipeline import PACKAGED_CONFIGS, Pipeline, load_pipeline
from MEDS_transforms.runner.plan import StageRun, Surroundings, plan, program_path, serial_workers, unknown_keys
from MEDS_transforms.runner.processes import Children, copy_lines
from MEDS_transforms.runner.retries import Failure
from MEDS_transforms.runner.secrets import without_secrets
from MEDS_transforms.runner.stage_process import failure_message, stage_log_dir
from MEDS_transforms.runner.stage_runners import StageRunners
from MEDS_transforms.work.journal import Work

EVERYTHING = Surroundings(lambda name: f"/bin/{name}", lambda _: True, lambda _pipeline, _overrides: None)
NOTHING = Surroundings(lambda _: None, lambda _: False, lambda _pipeline, _overrides: None)
SEARCHPATH = f"hydra.searchpath=[{PACKAGED_CONFIGS}]"


def pipeline_of(tmp_path: Path, text: str, overrides: tuple[str, ...] = (), name: str = "pipe.yaml") -> Pipeline:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return load_pipeline(str(path), overrides)


def planned(pipeline: Pipeline, stage_runners: dict | None = None, **settings) -> Sequence[StageRun]:
    return plan(
        pipeline, StageRunners(stage_runners or {}), Path("/logs"), surroundings=EVERYTHING, **settings
    ).checked()


def commands(pipeline: Pipeline, stage_runners: dict | None = None, **settings) -> dict[str, list[str]]:
    """The one command of each stage."""
    runs = planned(pipeline, stage_runners, **settings)
    return {run.name: command for run in runs for [command] in [run.commands(run.parallel.n_workers)]}


@pytest.mark.parametrize(
    ("argv", "runner_args", "stage_overrides"),
    [
        ([], [], []),
        (["pipeline_config_fp=p.yaml", "seed=2"], ["pipeline_config_fp=p.yaml"], ["seed=2"]),
        (["++do_overwrite=True", "do_profile=True"], ["do_profile=True"], ["++do_overwrite=True"]),
        (["stage_configs.a.b=1", "~code_modifiers"], [], ["stage_configs.a.b=1", "~code_modifiers"]),
        (["~parallelize", "parallelize.n_workers=2"], ["~parallelize", "parallelize.n_workers=2"], []),
        (
            ["hydra.verbose=true", "hydra/job_logging=none"],
            ["hydra.verbose=true", "hydra/job_logging=none"],
            [],
        ),
        (["+hydra.x=1", "log_dir=/x"], ["+hydra.x=1", "log_dir=/x"], []),
        (["-cn", "mine", "--config-path", "/a=b"], ["-cn", "mine", "--config-path", "/a=b"], []),
        (["--config-path=/a", "--help", "n=1"], ["--config-path=/a", "--help"], ["n=1"]),
        (["logs=1", "hydration=2"], [], ["logs=1", "hydration=2"]),
    ],
)
def test_overrides_are_divided_between_the_runner_and_the_stages(argv, runner_args, stage_overrides):
    assert split_overrides(argv) == (runner_args, stage_overrides)


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1000, 1000),
    st.text(st.characters(codec="ascii", exclude_characters="$", exclude_categories=["Cc"]), max_size=12),
)


@given(st.one_of(PLAIN, st.lists(PLAIN, max_size=3), st.dictionaries(st.sampled_from("abc"), PLAIN, max_size=3)))
def test_hydra_reads_back_every_value(value):
    assert OverridesParser.create().parse_override(f"k={hydra_value(value)}").value() == value


@pytest.mark.parametrize("text", ["it's", "a\\", "a\\'b", "\\\\'", "", "a,b=[c]{d}", "x y"])
def test_quoted_text_is_read_back_as_it_was(text):
    assert OverridesParser.create().parse_override(f"k={quoted(text)}").value() == text


def test_the_command_line_of_a_stage_is_that_of_release_0_1(tmp_path):
    pipeline = pipeline_of(tmp_path, "stages: [a]\nstage_configs: {a: {_script: python show.py x 'y z'}}")
    assert commands(pipeline)["a"] == [
        *("/bin/python", "show.py", "x", "y z"),
        *(f"--config-dir={tmp_path}", "--config-name=pipe", SEARCHPATH, "stage=a"),
    ]


def test_workers_launcher_profiler_and_overrides_come_in_order(tmp_path):
    pipeline = pipeline_of(tmp_path, "stages: [a]\nn: 1\nstage_configs: {a: {_script: x}}", ("n=3",))
    params = {"n_jobs": 2, "partition": "x y", "time": None, "gres": "gpu:1", "more": {"k": [1, True]}}
    runners = {"a": {"parallelize": {"n_workers": 3, "launcher": "joblib", "launcher_params": params}}}
    assert commands(pipeline, runners, do_profile=True)["a"][1:] == [
        *(f"--config-dir={tmp_path}", "--config-name=pipe", "--multirun", SEARCHPATH, "stage=a"),
        "++hydra.callbacks.profiler._target_=hydra_profiler.profiler.ProfilerCallback",
        "n=3",
        *("worker=range(0,3)", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        *("hydra.launcher.partition='x y'", "hydra.launcher.time=null", "hydra.launcher.gres=gpu:1"),
        "hydra.launcher.more={k:[1,True]}",
    ]


@pytest.mark.parametrize(
    ("stage_runner", "in_pipeline", "expected"),
    [
        ("python a.py", "python b.py", ["/bin/python", "a.py"]),
        (None, "python b.py", ["/bin/python", "b.py"]),
        (None, "$FOLDER/b.py '${oc.env:FOLDER}/c d'", ["/bin//f/b.py", "/f/c d"]),
        (None, None, ["/bin/MEDS_extract-a"]),
    ],
)
def test_the_script_of_a_stage(tmp_path, monkeypatch, stage_runner, in_pipeline, expected):
    monkeypatch.setenv("FOLDER", "/f")
    block = {"_script": in_pipeline} if in_pipeline else {}
    text = OmegaConf.to_yaml(OmegaConf.create({"stages": ["a"], "stage_configs": {"a": block}}))
    runners = {"a": {"script": stage_runner}} if stage_runner else {}
    argv = commands(pipeline_of(tmp_path, text), runners)["a"]
    assert argv[: len(expected)] == expected
    assert argv[len(expected)].startswith("--config-dir")


def test_our_own_scripts_are_taken_from_the_environment_of_the_running_python(tmp_path, monkeypatch):
    beside, on_path = tmp_path / "env", tmp_path / "other"
    for folder in (beside, on_path):
        folder.mkdir()
        for name in ("MEDS_transform-x", "python", "tool"):
            (folder / name).touch(mode=0o755)
    (on_path / "tool").unlink()
    monkeypatch.setattr("sys.executable", str(beside / "python"))
    monkeypatch.setenv("PATH", str(on_path))
    assert program_path("MEDS_transform-x") == str(beside / "MEDS_transform-x")
    assert program_path("python") == str(on_path / "python")
    assert program_path("tool") == str(beside / "tool")
    assert program_path("MEDS_transform-y") is None


def test_a_stage_with_a_null_block_is_one_process(tmp_path):
    pipeline = pipeline_of(tmp_path, "stages: [a, b]")
    runners = {"parallelize": {"launcher": "joblib"}, "b": {"parallelize": None}}
    by_stage = commands(pipeline, runners)
    assert by_stage["a"][-2:] == ["worker=range(0,1)", "hydra/launcher=joblib"]
    assert by_stage["b"][-1] == "stage=b"


@pytest.mark.parametrize(
    ("text", "runners", "messages"),
    [
        ("stages: []", {}, ["such as [filter_subjects], not []"]),
        ("x: 1", {}, ["such as [filter_subjects], not None"]),
        ("stages: a", {}, ["such as [filter_subjects], not 'a'"]),
        ("stages: [a, b, a]", {}, ["repeated: a"]),
        ("stages: [1]", {}, ["the name 1 of a stage cannot be a path below the cohort: it is 1, not text"]),
        ("stages: [a]\nstage_configs: {a: 3}", {}, ["stage_configs.a: must be a block of keys, not 3"]),
        ('stages: [a]\nstage_configs: {a: {_script: "x \'y"}}', {}, ["a: its script cannot be read"]),
        ("stages: [a]\nstage_configs: {a: {_script: '${oc.env:NOT_SET_X}'}}", {}, ["NOT_SET_X"]),
        (
            "stages: [a]",
            {"parallelize": {"launcher_params": {"x": 1}}},
            ["launcher_params without a launcher"],
        ),
        (
            "stages: [a]",
            {"parallelize": {"launcher": "processes", "launcher_params": {"n_jobs": 1}}},
            ["a: the launcher processes takes no launcher_params"],
        ),
        ("stages: [a]", {"parallelize": {"n_workers": 0}}, ["whole number, at least 1, not 0"]),
        ("stages: [a]", {"parallelize": {"n_workers": "two"}}, ["not 'two'"]),
        ("stages: [a]", {"parallelize": {"n_workers": True}}, ["not True"]),
        ("stages: [a]", {"a": {"parallelize": 3}}, ["a.parallelize: must be a block"]),
        ("stages: [a]", {"a": "python x.py"}, ["a: must be a block (parallelize, script), not 'python x.py'"]),
        ("stages: [a]", {"a": {"script": ["python", "x.py"]}}, ["a: its script cannot be read"]),
        ("stages: [a]", {"parallelize": {"launcher": ["joblib"]}}, ["launcher must be a name"]),
        (
            "stages: [a]",
            {"parallelize": {"launcher": "joblib", "launcher_params": 3}},
            ["must be a block of keys, not 3"],
        ),
        ("stages: [a]\nstrict: yess", {}, ["strict must be true or false, not 'yess'"]),
        ("stages: [a]\ndo_overwrite: flase", {}, ["do_overwrite must be true or false, not 'flase'"]),
        (
            "stages: [a, b]",
            {"a": {"parallelize": {"n_workers": 0}}, "b": {"parallelize": 3}},
            ["not 0", "not 3"],
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(tmp_path, text, runners, messages):
    with pytest.raises(ValueError, match=r"cannot be run:\n  - ") as caught:
        commands(pipeline_of(tmp_path, text), runners)
    assert all(message in str(caught.value) for message in messages)


def test_every_stage_without_a_script_is_named_and_what_is_not_installed(tmp_path):
    pipeline = pipeline_of(tmp_path, "stages: [a, b, c]\nstage_configs: {c: {_script: pyhton c.py}}")
    runners = {
        "a": {"parallelize": {"launcher": "joblib"}},
        "b": {"parallelize": {"launcher": "submitit_slurm"}},
    }
    with pytest.raises(ValueError, match="cannot be run") as caught:
        plan(pipeline, StageRunners(runners), Path("/logs"), do_profile=True, surroundings=NOTHING).checked()
    message = str(caught.value)
    for part in (
        "a: no script: there is no MEDS_extract-a or MEDS_transform-a",
        "b: no script",
        "c: 'pyhton' of its script 'pyhton c.py' is not found",
        "pip install 'MEDS_transforms[local-parallelism]'",
        "pip install 'MEDS_transforms[slurm-parallelism]'",
        "pip install hydra-profiler",
    ):
        assert part in message


@pytest.mark.parametrize("override", ["stage=a", "++worker=3"])
def test_what_the_runner_sets_itself_may_not_be_overridden(tmp_path, override):
    pipeline = pipeline_of(tmp_path, "stages: [a]\nstage: x\nworker: 0", (override,))
    with pytest.raises(ValueError, match="the runner itself sets"):
        commands(pipeline)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "No pipeline is given"),
        ("pipe.yml", "end in .yaml"),
        ("_extract.yaml", "reserved"),
        ("_runner.yaml", "reserved"),
        ("absent.yaml", "There is no pipeline file .*did you mean 'present.yaml'"),
    ],
)
def test_a_file_that_cannot_be_a_pipeline(tmp_path, name, message):
    for present in ("pipe.yml", "_extract.yaml", "_runner.yaml", "present.yaml"):
        (tmp_path / present).write_text("stages: [a]")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_pipeline(name and str(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("stages: [a", (), "cannot be composed"),
        ("defaults: [_exract]", (), "_exract"),
        ("seed: 1", ("sed=2",), "with the overrides sed=2 cannot be composed"),
        *(
            (
                f"defaults: [_extract, _self_]\n{key}: [1]",
                (),
                rf"cannot be composed: {key} must be a block of keys, not",
            )
            for key in ("limits", "stage_configs", "etl_metadata", "hydra")
        ),
    ],
)
def test_a_pipeline_that_cannot_be_composed(tmp_path, text, overrides, message):
    with pytest.raises(ValueError, match=message):
        pipeline_of(tmp_path, text, overrides)


def test_stages_and_blocks_come_from_the_packaged_defaults(tmp_path):
    text = "defaults: [_preprocess, _self_]\ninput_dir: /in\nroot: /r\ncohort_dir: ${root}/out"
    pipeline = pipeline_of(tmp_path, text, ("stage_configs.filter_subjects.min_events_per_subject=5",))
    assert pipeline.stages[0] == "filter_subjects"
    assert pipeline.block("filter_subjects")["min_events_per_subject"] == 5
    assert pipeline.value("cohort_dir") == "/r/out"
    assert "MEDS_transform-aggregate_code_metadata" in commands(pipeline)["preliminary_counts"][0]
    assert stage_log_dir(pipeline, "filter_subjects") == "/r/out/filter_subjects/.logs"


def test_overrides_decide_which_stages_there_are(tmp_path):
    text = "defaults: [_extract, _self_]\ninput_dir: /in\ncohort_dir: /out"
    assert [*commands(pipeline_of(tmp_path, text, ("stages=[shard_events]",)))] == ["shard_events"]


def test_the_search_path_of_the_file_is_kept_and_passed_on(tmp_path):
    more = tmp_path / "my configs"
    more.mkdir()
    (more / "base.yaml").write_text("stages: [a]\nstage_configs: {a: {_script: x}}")
    text = f"defaults: [base, _self_]\nhydra: {{searchpath: ['file://{more}']}}"
    pipeline = pipeline_of(tmp_path, text)
    assert f"hydra.searchpath=['file://{more}',{PACKAGED_CONFIGS}]" in commands(pipeline)["a"]


@pytest.mark.parametrize("strict", [False, True])
def test_unknown_keys_of_a_block_are_an_error_under_strict_only(tmp_path, strict):
    text = "defaults: [_extract, _self_]\nstage_configs: {shard_events: {row_chunksise: 5}}"
    pipeline = pipeline_of(tmp_path, text, (f"strict={strict}",))
    if not strict:
        assert "shard_events" in commands(pipeline)
        return
    with pytest.raises(ValueError, match="did you mean 'row_chunksize'"):
        commands(pipeline)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("text", "runners", "message"),
    [
        (
            "stage_configs: {bb: {x: 1}}",
            {},
            "stage_configs.bb: there is no such stage in `stages` (did you mean 'bbb'?)",
        ),
        (
            "stage_configs: {bbb: {_script: MEDS_transform-filter_subjects, min_events: 2}}",
            {},
            "stage_configs.bbb.min_events: filter_subjects has no such key (did you mean",
        ),
        ("", {"parallelize": {"n_worker": 2}}, "parallelize.n_worker: no such key (did you mean 'n_workers'?)"),
    ],
)
def test_what_has_no_effect_is_an_error_under_strict_only(tmp_path, text, runners, message, strict):
    pipeline = pipeline_of(tmp_path, f"strict: {strict}\nstages: [bbb]\n{text}")
    if strict:
        with pytest.raises(ValueError, match=re.escape(message)):
            commands(pipeline, runners)
        return
    assert "bbb" in commands(pipeline, runners)
    assert message in "\n".join(unknown_keys(pipeline) + StageRunners(runners).unknown_keys(["bbb"]))


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"launcher": "jobib"}, "'hydra/launcher/jobib'"),
        ({"launcher": "joblib", "launcher_params": {"n_job": 2}}, "n_job"),
        ({"launcher": "joblib", "launcher_params": {"n_jobs": "two"}}, "'two'"),
        ({"launcher": "submitit_local", "launcher_params": {"partition": "x"}}, "partition"),
        ({"launcher": "submitit_slurm", "launcher_params": {"partition": "x", "mem_gb": 2}}, None),
        ({"launcher": "joblib", "launcher_params": {"n_jobs": 2}}, None),
    ],
)
def test_a_launcher_that_cannot_be_set_up_is_told_once_before_anything_runs(tmp_path, block, said):
    pipeline = pipeline_of(tmp_path, f"stages: [a, b]\nstage_configs: {{a: &x {{_script: {sys.executable}}}, b: *x}}")
    runners = StageRunners({"parallelize": block}, "stage-runner file x.yaml")
    if said is None:
        plan(pipeline, runners, tmp_path).checked()
        return
    with pytest.raises(ValueError, match="cannot be run") as caught:
        plan(pipeline, runners, tmp_path).checked()
    [_, problem] = str(caught.value).split("\n  - ")
    assert problem.startswith(f"stage-runner file x.yaml: a, b: the launcher {block['launcher']} cannot be set up: ")
    assert said in problem


def test_several_workers_without_a_launcher_are_told(tmp_path):
    pipeline = pipeline_of(tmp_path, "stages: [a, b, c]")
    runners = {"parallelize": {"n_workers": 2}, "b": {"parallelize": {"launcher": "processes"}}}
    [message] = serial_workers(pipeline, planned(pipeline, runners))
    assert "the workers of a, c run one after the other" in message
    assert serial_workers(pipeline, planned(pipeline, {"parallelize": {"n_workers": 1}})) == []
    launching = pipeline_of(tmp_path, "defaults: [_self_, {override hydra/launcher: joblib}]\nstages: [a, b, c]")
    assert serial_workers(launching, planned(launching, runners)) == []


def test_done_files_are_named_after_the_stages(tmp_path):
    pipeline = pipeline_of(tmp_path, "stages: [a, b]")
    runs = plan(pipeline, StageRunners(), tmp_path, surroundings=EVERYTHING).checked()
    assert [run.done.path for run in runs] == [tmp_path / "a.done", tmp_path / "b.done"]


def test_what_was_done_in_another_list_of_stages_is_not_done(tmp_path):
    def first(stages: str, cohort: str = "out") -> StageRun:
        pipeline = pipeline_of(tmp_path, f"input_dir: in\ncohort_dir: {tmp_path}/{cohort}\nstages: {stages}")
        return plan(pipeline, StageRunners(), tmp_path, surroundings=EVERYTHING).checked()[0]

    assert not first("[a, b]").done.is_set()
    first("[a]").done.set()  # the last stage: it wrote to data/
    assert first("[a]").done.is_set()
    assert not first("[a]", "elsewhere").done.is_set()
    assert not first("[a, b]").done.is_set()
    first("[a, b]").done.set()
    assert first("[a, b, c]").done.is_set()
    (tmp_path / "a.done").write_text("")  # as by hand, or by release 0.1: the stage itself is to look
    assert not first("[a, b]").done.is_set()


@pytest.mark.parametrize("stages", ["[b, c]", "[b, a, c]", "[a, c]", "[a, new, b, c]"])
def test_a_stage_that_reads_from_another_one_than_before_is_not_done(tmp_path, stages):
    def runs(stages: str) -> dict[str, StageRun]:
        pipeline = pipeline_of(tmp_path, f"input_dir: in\ncohort_dir: {tmp_path}/out\nstages: {stages}")
        return {run.name: run for run in plan(pipeline, StageRunners(), tmp_path, surroundings=EVERYTHING).checked()}

    for run in runs("[a, b, c]").values():
        run.done.set()
    assert all(run.done.is_set() for run in runs("[a, b, c]").values())
    before = dict(zip("abc", ["in", "a", "b"], strict=True))
    names = stages[1:-1].split(", ")
    for (name, run), reads in zip(runs(stages).items(), ["in", *names], strict=False):
        assert run.done.is_set() == (before.get(name) == reads)


def test_a_cohort_below_the_input_is_no_input(tmp_path):
    text = f"input_dir: {tmp_path}\ncohort_dir: {tmp_path}/out\nstages: [a, b]"
    pipeline = pipeline_of(tmp_path, f"{text}\nstage_configs: {{a: {{data_input_dir: '${{input_dir}}'}}}}")
    mark = done_mark(pipeline, "a", tmp_path / "out/.logs")
    for name, is_input in (("table.csv", True), ("out/a/0.parquet", False), ("out/data/0.parquet", False)):
        mark.set()
        assert mark.is_set()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
        assert mark.is_set() != is_input


def test_neither_limits_nor_what_stages_account_for_make_a_stage_be_done_again(tmp_path):
    def mark(limit: str) -> DoneMark:
        text = f"input_dir: {tmp_path}/in\ncohort_dir: {tmp_path}/out\nstages: [m, a, b]\nlimits: {{one_code: {limit}}}"
        text += "\nstage_configs: {m: {is_metadata: true}}"  # writes to the metadata that the others read
        return done_mark(pipeline_of(tmp_path, text), "a", tmp_path / "out/.logs")

    mark("null").set()
    assert mark("0").is_set()
    for name, is_input in (("accounting/b.json", False), ("codes.parquet", True)):
        (tmp_path / "out/metadata" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out/metadata" / name).write_text("{}")
        assert mark("null").is_set() != is_input


@pytest.mark.parametrize(
    "key",
    [
        "event_conversion_config_fp: ${oc.env:A_SETTING}",
        "seed: ${oc.decode:${oc.env:A_SETTING}}",
        "etl_metadata: {dataset_name: 'the ${oc.env:A_SETTING}'}",
        "stage_configs: {a: {x: '${oc.env:A_SETTING}'}}",
    ],
)
def test_another_value_of_an_environment_variable_is_another_setting(tmp_path, monkeypatch, key):
    def mark(value: str) -> DoneMark:
        monkeypatch.setenv("A_SETTING", value)
        pipeline = pipeline_of(tmp_path, f"input_dir: in\ncohort_dir: {tmp_path}/out\nstages: [a]\n{key}")
        return plan(pipeline, StageRunners(), tmp_path, surroundings=EVERYTHING).checked()[0].done

    mark("7301").set()
    assert mark("7301").is_set()
    assert not mark("7302").is_set()
    assert "7301" not in (tmp_path / "a.done").read_text()


def test_a_tree_that_was_moved_as_a_whole_has_the_same_settings(tmp_path):
    def mark(root: Path) -> DoneMark:
        text = f"input_dir: {root}/in\ncohort_dir: {root}/out\nfile: '${{cohort_dir}}/x'\nstages: [a]"
        return done_mark(pipeline_of(root, text), "a", root / "out/.logs")

    assert mark(tmp_path / "here").settings == mark(tmp_path / "else where").settings


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (3, "exit status 3"),
        (-signal.SIGKILL, "killed by SIGKILL (perhaps"),
        (-signal.SIGSEGV, "killed by SIGSEGV."),
    ],
)
def test_the_message_about_a_failed_stage(status, said):
    message = failure_message("a", Failure(status, 0, Work()), "/out/a/.logs", Path("/out/.logs/runner.log"))
    for part in ("stage a", said, "/out/a/.logs", "/out/.logs/runner.log", "run the same command:"):
        assert part in message


def test_the_message_about_lost_work_says_what_is_missing_and_why():
    work = Work(
        {"/out/a", "/out/b", "/out/c", "/out/d"},
        {"/out/d"},
        {"/out/b": "process 7 on n1"},
        {"/out/c": ["worse", "bad\nx"]},
    )
    message = failure_message("a", Failure(1, 2, work), None, Path("/out/.logs/runner.log"))
    assert "also after 2 retries. 3 of 4 outputs are missing; no worker started 1 of them:" in message
    lines = [line for line in message.splitlines() if line.startswith("  - ")]
    assert lines == [
        "  - /out/c: bad …",
        "  - /out/b: its worker was lost (process 7 on n1)",
    ]


def test_outputs_that_were_not_started_are_counted_but_not_listed():
    work = Work({f"/out/{n}" for n in range(5)}, set(), {}, {"/out/3": ["3 is bad"]})
    assert Failure(1, 0, work).account() == (
        "5 of 5 outputs are missing; no worker started 4 of them:\n  - /out/3: 3 is bad"
    )
    assert Failure(1, 0, work).account({"3 is bad"}) == "5 of 5 outputs are missing; no worker started 4 of them."
    assert Failure(1, 0, Work({"/out/1", "/out/2"})).account() == "2 of 2 outputs are missing; no worker started them."


def test_an_error_in_the_output_of_the_stage_is_not_said_again():
    work = Work(
        {"/out/a", "/out/b", "/out/c"},
        set(),
        {"/out/c": "process 7 on n1"},
        {"/out/a": ["a is bad\nThis happened in a."], "/out/b": ["b is bad"]},
    )
    log_fp = Path("/out/.logs/runner.log")
    message = failure_message("s", Failure(1, 0, work), None, log_fp, {"a is bad"})
    assert "3 of 3 outputs are missing:" in message
    assert [line for line in message.splitlines() if line.startswith("  - ")] == [
        "  - /out/b: b is bad",
        "  - /out/c: its worker was lost (process 7 on n1)",
    ]
    work.done |= {"/out/c"}
    message = failure_message("s", Failure(1, 0, work), None, log_fp, {"a is bad", "b is bad"})
    assert "2 of 3 outputs are missing.\n" in message
    assert "  - " not in message


def retries(tmp_path, **block) -> StageRun:
    pipeline = pipeline_of(tmp_path, "stages: [a]\nstage_configs: {a: {_script: x}}")
    [run] = planned(pipeline, {"parallelize": block})
    return run


@pytest.mark.parametrize(
    ("block", "n_workers", "max_retries"),
    [
        ({}, 0, 0),
        ({"max_retries": 3}, 0, 3),
        ({"n_workers": 4}, 4, 0),
        ({"launcher": "joblib"}, 1, 2),
        ({"n_workers": "4", "launcher": "joblib", "max_retries": "5"}, 4, 5),
        ({"launcher": "joblib", "max_retries": 0}, 1, 0),
    ],
)
def test_under_a_launcher_a_stage_is_run_again_unless_the_stage_runner_file_says_otherwise(
    tmp_path, block, n_workers, max_retries
):
    run = retries(tmp_path, **block)
    assert (run.parallel.n_workers, run.parallel.max_retries) == (n_workers, max_retries)


def test_the_command_line_for_fewer_workers(tmp_path):
    run = retries(tmp_path, n_workers=4, launcher="joblib")
    assert run.commands(4) == run.commands(9)
    [[four], [three]] = run.commands(4), run.commands(3)
    assert [pair for pair in zip(four, three, strict=True) if len({*pair}) > 1] == [
        ("worker=range(0,4)", "worker=range(0,3)")
    ]
    assert retries(tmp_path).commands(0) == retries(tmp_path).commands(1)


def test_as_processes_a_stage_has_a_command_for_each_worker(tmp_path):
    run = retries(tmp_path, n_workers=3, launcher="processes")
    [one] = retries(tmp_path).commands(1)
    assert run.parallel.max_retries == 2
    assert run.commands(9) == [[*one, f"worker={worker}"] for worker in range(3)], (
        "no --multirun: Hydra launches nothing"
    )
    assert run.commands(1) == [[*one, "worker=0"]]
    assert retries(tmp_path, launcher="processes").commands(2) == [[*one, "worker=0"]]


def test_where_one_program_cannot_be_started_the_others_are_killed(tmp_path):
    children = Children()
    waits = [sys.executable, "-c", "import time; time.sleep(120)"]
    with pytest.raises(FileNotFoundError):
        children.run([waits, [str(tmp_path / "nothing")]], dict(os.environ), [])
    assert [process.returncode for process in children.processes] == [-signal.SIGKILL]


def test_a_sink_that_fails_does_not_stop_the_others():
    lines: list[str] = []

    def broken(_line: str) -> None:
        raise BrokenPipeError

    copy_lines(["a\n", "b\n"], [broken, lines.append])
    assert lines == ["a", "b"]


def test_the_command_that_is_logged_has_no_secrets(monkeypatch):
    monkeypatch.setenv("TOKEN", "xyzzy")
    cfg = OmegaConf.create({"token": "${oc.env:TOKEN}", "blocks": {"a": {"_script": "run --key=${token}"}}})
    assert without_secrets(f"{cfg.blocks.a._script} b", cfg.blocks, None) == "run --key=${oc.env:TOKEN} b"
