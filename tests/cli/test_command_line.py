"""Words that users type, and what is said of those that cannot be understood."""

import subprocess

import pytest
from omegaconf import OmegaConf

from helpers import SCRIPTS, Extraction, Preprocessing, measurements
from MEDS_transforms.cli.command_line import mistake, shell_word, understood, unknown_key, unreadable


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("input_dir=/a/b", "input_dir=/a/b"),
        ("input_dir=/data/a=b", "input_dir='/data/a=b'"),
        ("input_dir=/data/My Data (1), new", "input_dir='/data/My Data (1), new'"),
        ("input_dir=./it's", r"input_dir='./it\'s'"),
        ("input_dir=/a/${oc.env:X}", "input_dir=/a/${oc.env:X}"),
        ("input_dir='/a=b'", "input_dir='/a=b'"),
        ("seed=2", "seed=2"),
        ("--config-dir=/a b", "--config-dir=/a b"),
        ("stage_configs.filter_subjects.output_dir=x", "++stage_configs.filter_subjects.output_dir=x"),
        ("+stage_configs.filter_subjects.output_dir=x", "+stage_configs.filter_subjects.output_dir=x"),
        ("stage_configs.mine.output_dir=x", "stage_configs.mine.output_dir=x"),
    ],
)
def test_paths_are_taken_as_they_are(typed, read):
    assert understood([typed]) == [read]


def test_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert understood(["cohort_dir=~/x"]) == ["cohort_dir=/home/me/x"]


@pytest.mark.parametrize("flag", ["--multirun", "-m", "--multi", "hydra.mode=MULTIRUN"])
def test_values_of_a_sweep_stay_apart(flag):
    argv = [flag, "input_dir=/a,/b"]
    assert understood(argv) == argv


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--workers", "2"], ["--workers", "key=value", "stage_runner_fp", "n_workers", "worker=0"]),
        (["--seed", "2"], ["--seed", "seed=2"]),
        (["=True"], ["Write KEY=True"]),
        (["+stage_cfg.least=3"], ["Write stage_configs.STAGE.least=3"]),
        (["--config-nme=x"], ["--config-nme", "did you mean '--config-name'"]),
        (["stages=[a,", "b]", "seed=1"], ["stages=[a,", "'stages=[a, b]'"]),
    ],
)
def test_what_is_wrong_is_said(argv, said):
    message = mistake(argv)
    assert message is not None
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    "argv", [["--help"], ["--cfg", "job"], ["-m", "worker=range(0,2)"], ["a=[1,2]"], ["a={b: 1}"], ["a=')'"], ["a=b)"]]
)
def test_what_is_not_wrong(argv):
    assert mistake(argv) is None


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("MEDS_extract-shard_events", ["cohort_dri=x"], ["cohort_dri", "did you mean 'cohort_dir'"]),
        ("MEDS_extract-shard_events", ["n_workers=2"], ["n_workers", "stage_runner_fp"]),
        ("MEDS_extract-shard_events", ["--workers", "2"], ["--workers", "stage_runner_fp"]),
        ("MEDS_transform-runner", ["--workers", "2"], ["--workers", "stage_runner_fp"]),
        ("MEDS_transform-runner", ["stages=[a,", "b]"], ["'stages=[a, b]'"]),
        (
            "MEDS_extract-shard_events",
            ["stage_configs.shard_events.row_chunksze=3"],
            ["did you mean 'stage_configs.shard_events.row_chunksize'", "+stage_configs.shard_events.row_chunksze=3"],
        ),
        ("MEDS_extract-shard_events", ["worker=range(0,2)"], ["--multirun"]),
        ("MEDS_extract-shard_events", ["-j", "4"], ["-j: there is no such option", "stage_runner_fp"]),
        ("MEDS_transform-runner", ["input_dir=/my", "folder"], ["folder: this is not a key=value argument"]),
        ("MEDS_transform-runner", ["pipline_config_fp=p.yaml"], ["(did you mean 'pipeline_config_fp'?)"]),
        ("MEDS_transform-runner", ["pipeline_config_fp=p.yaml", "-m", "worker=0,1"], ["stage_runner_fp"]),
        ("MEDS_transform-filter_subjects", ["stage_configs=3"], ["Write stage_configs.STAGE.KEY=VALUE"]),
        ("MEDS_transform-filter_subjects", ["input_dir=in", "cohort_dir=null"], ["cohort_dir is not set"]),
    ],
)
def test_scripts_say_so(tmp_path, script, arguments, said):
    ran = subprocess.run([SCRIPTS / script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.stderr
    for part in said:
        assert part in ran.stderr
    assert not (tmp_path / "None").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("n_workers=2", ["there is no setting 'n_workers'.", "stage_runner_fp"]),
        ("sed=2", ["did you mean 'seed'"]),
        (
            "stage_configs.filter_subjects.min_event=1",
            ["did you mean 'stage_configs.filter_subjects.min_ev"],
        ),
        ("seed=1,2", ["seed=1,2 stands for several values"]),
        ("stage_configs.filter_subjects=3", ["stage_configs.filter_subjects: must be a block of keys, not 3"]),
        ("input_dir=", ["input_dir is not set"]),
    ],
)
def test_the_runner_says_so_of_overrides_for_the_stages(tmp_path, override, said):
    (tmp_path / "pipe.yaml").write_text("defaults: [_preprocess, _self_]\ninput_dir: a\ncohort_dir: b\n")
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe.yaml", override]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    for part in (*(said if "cannot be run" in ran.stderr else [override]), *said):
        assert part in ran.stderr
    assert ran.stderr.count(said[0]) == 1
    assert "not in struct" not in ran.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["stages=a,b"], ["stands for several values", "'stages=[a,b]'"]),
        (["input_dir=my,data"], ["\"input_dir='my,data'\""]),
        (["worker=range(0,2)"], ["worker=range(0,2) stands for several workers", "--multirun"]),
        (["x=a=b"], ["x=a=b: this value cannot be read", "\"x='a=b'\""]),
        (["input_dir=/my", "folder"], ["folder: this is not a key=value argument", "\"input_dir='/my folder'\""]),
        (["~/x"], ["~/x: this is not a key=value argument"]),
        (["a b=c"], ["'a b' cannot be the name of a setting"]),
        (["cohort_dir=/my", "do_overwrite"], ["Write do_overwrite=True"]),
        (["seed"], ["Write seed=VALUE"]),
        (["workers"], ["workers: this is not a key=value argument", "stage_runner_fp"]),
    ],
)
def test_what_hydra_cannot_read_is_explained(argv, said):
    message = unreadable(argv)
    assert message is not None
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    "argv",
    [
        ["-m", "worker=range(0,2)", "seed=1,2"],
        ["--multi", "seed=1,2"],
        ["hydra.mode=MULTIRUN", "seed=1,2"],
        ["--cfg", "job", "-p", "stage", "--config-name", "my pipeline"],
        ["~hydra.callbacks", "++a.b={c:1}", "x='a=b'", "hydra/launcher=joblib", "y="],
    ],
)
def test_what_hydra_reads_is_left_to_it(argv):
    assert unreadable(argv) is None


@pytest.mark.parametrize("text", ["x=[a, b]", "x='a b'", "x='$HOME/`id`'", "x='a\"b\\\\c'", "x=it's"])
def test_the_shell_reads_a_word_as_it_was_meant(text):
    shown = subprocess.run(["sh", "-c", f"printf %s {shell_word(text)}"], capture_output=True, text=True, check=True)
    assert shown.stdout == text


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("min_events=3", "Did you mean stage_configs.a.min_events?"),
        ("output_dir=x", "Did you mean stage_configs.STAGE.output_dir?"),
        ("cohort_dri=x", "there is no setting 'cohort_dri' (did you mean 'cohort_dir'?)"),
        ("stage_configs.a.min_event=1", "(did you mean 'stage_configs.a.min_events'?)"),
        ("stage_configs.b.x=1", "Settings are: stage_configs.a. To add"),
        ("n_workers=2", "stage_runner_fp"),
        ("jobs=2", "stage_runner_fp"),
        ("launcher=joblib", "stage_runner_fp"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(override, said):
    cfg = OmegaConf.create({"cohort_dir": "x", "worker": 0, "stage_configs": {"a": {"min_events": 1, "m": {}}}})
    message = unknown_key(["--cfg", "job", "worker=1", override], cfg)
    assert message is not None
    assert message.startswith(f"{override}: there is no setting")
    assert said in message
    message = unknown_key(["stage_configs.a.output_dir=x"], cfg)
    assert message is not None
    assert message.endswith("Write ++stage_configs.a.output_dir=x")
    for known in (
        "cohort_dir=1",
        f"+{override}",
        "hydra/launcher=x",
        "stage_configs.a.min_events=2",
        "hydra.run.dir=x",
    ):
        assert unknown_key([known], cfg) is None


def test_a_pipeline_file_without_its_ending(tmp_path):
    (tmp_path / "pipe.yaml").touch()
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert f"Write pipeline_config_fp={tmp_path}/pipe.yaml" in ran.stderr


@pytest.mark.parametrize("key", ["limits", "stage_configs"])
@pytest.mark.parametrize("name", ["pipe", "pipe.yaml"])
def test_a_list_for_a_block_is_named(tmp_path, key, name):
    (tmp_path / "pipe.yaml").write_text(f"defaults: [_extract, _self_]\n{key}: [1]\n")
    command = [SCRIPTS / "MEDS_extract-shard_events", f"--config-dir={tmp_path}", f"--config-name={name}"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == f"error: {tmp_path}/pipe.yaml: {key} must be a block of keys, not [1].\n"


def test_flags_between_settings_and_settings_without_effect(tmp_path):
    x = Preprocessing(tmp_path)
    x.write({"0": measurements((1, None, "A"))})
    ran = x.script("filter_subjects", "--multirun", "worker=0,1", "+min_events_per_subject=3", ".output_dir=elsewhere")
    assert ran.returncode == 0, ran.stderr
    assert [*x.shards(tmp_path / "elsewhere")] == ["0"]
    assert "it has no effect. Did you mean stage_configs.filter_subjects.min_events_per_subject?" in ran.stdout
    ran = x.script("filter_subjects", "+min_events_per_subject=3", "strict=True", ".output_dir=elsewhere")
    assert ran.returncode == 1


def test_a_folder_with_all_that_hydra_does_not_like(tmp_path):
    x = Extraction(tmp_path / "a=b, (c) [d] {e} it's $x")
    x.table("labs.csv", "subject_id,code\n1,A\n")
    x.events({"labs": {"lab": {"code": "A", "time": None}}})
    ran = x.script("shard_events")
    assert ran.returncode == 0, ran.stderr
    assert x.chunk("labs", 0, 1).height == 1
