"""The runner as a program, with small scripts for stages that write down how they were called."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUNNER = [sys.executable, "-c", "from MEDS_transforms.runner import main; main()"]

SCRIPT = """
import json, os, sys
from pathlib import Path

stage = next(arg for arg in sys.argv if arg.startswith("stage=")).removeprefix("stage=")
with Path("calls.jsonl").open("a") as calls:
    calls.write(json.dumps([stage, sys.argv[1:]]) + chr(10))
print("output of", stage)
print("complaint of", stage, file=sys.stderr)
if Path(f"{stage}.fails").exists():
    sys.exit(3)
if Path(f"{stage}.is_stubborn").exists():
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if Path(f"{stage}.waits").exists():
    import subprocess, time
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    with Path("pids").open("a") as pids:
        pids.write(f"{os.getpid()} {grandchild.pid} ")
    time.sleep(120)
"""

HYDRA_SCRIPT = """
import hydra
from pathlib import Path

@hydra.main(version_base=None)
def main(cfg):
    Path(f"worker{cfg.worker} {cfg.x}").touch()

main()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a space in its name, a pipeline of two stages, and the script of both."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "show.py").write_text(SCRIPT)
    pipeline = {
        "input_dir": str(folder / "in"),
        "cohort_dir": str(folder / "out"),
        "do_overwrite": False,
        "n": 1,
        "stages": ["a", "b"],
        "stage_configs": {name: {"_script": f"'{sys.executable}' '{folder / 'show.py'}'"} for name in "ab"},
    }
    (folder / "pipe.yaml").write_text(json.dumps(pipeline))
    monkeypatch.chdir(folder)
    return folder


def run(*args: str, **settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUNNER, *args], capture_output=True, text=True, timeout=120, check=False, **settings)


def succeeds(*args: str) -> subprocess.CompletedProcess[str]:
    done = run(*args)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def calls() -> dict[str, list[str]]:
    path = Path("calls.jsonl")
    return dict(map(json.loads, path.read_text().splitlines())) if path.exists() else {}


def called() -> list[str]:
    path = Path("calls.jsonl")
    return [json.loads(line)[0] for line in path.read_text().splitlines()] if path.exists() else []


def log_text(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted((folder / "out/.logs").glob("MEDS-transforms_runner_*.log")))


def done_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out/.logs").glob("*.done"))


def test_stages_run_in_order_with_their_output_on_the_screen_and_in_the_log(folder):
    done = succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == ["a", "b"]
    assert calls()["a"] == [
        *(f"--config-dir={folder}", "--config-name=pipe"),
        *("hydra.searchpath=[pkg://MEDS_transforms.configs]", "stage=a"),
    ]
    for text in (done.stdout, log_text(folder)):
        for line in ("output of a", "complaint of a", "output of b", "complaint of b"):
            assert line in text.splitlines()
    assert done_files(folder) == ["_all_stages.done", "a.done", "b.done"]
    assert not list((folder / "out").rglob(".tmp*"))


def test_what_is_done_is_skipped_and_do_overwrite_runs_it_again(folder):
    succeeds("pipeline_config_fp=pipe.yaml")
    succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == ["a", "b"]
    assert "a, is already done: skipped" in log_text(folder)
    (folder / "out/.logs/b.done").unlink()
    succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == ["a", "b", "b"]
    succeeds("pipeline_config_fp=pipe.yaml", "++do_overwrite=True")
    assert called() == ["a", "b", "b", "a", "b"]
    assert calls()["b"][-1] == "++do_overwrite=True"


@pytest.mark.usefixtures("folder")
def test_do_overwrite_is_what_the_word_means():
    succeeds("pipeline_config_fp=pipe.yaml")
    succeeds("pipeline_config_fp=pipe.yaml", "do_overwrite=no")
    assert called() == ["a", "b"]
    succeeds("pipeline_config_fp=pipe.yaml", "do_overwrite=yes")
    assert called() == ["a", "b", "a", "b"]


def test_a_setting_without_a_meaning_takes_no_done_file_away(folder):
    succeeds("pipeline_config_fp=pipe.yaml")
    assert run("pipeline_config_fp=pipe.yaml", "do_overwrite=flase").returncode == 1
    assert done_files(folder) == ["_all_stages.done", "a.done", "b.done"]


def test_another_runner_in_the_same_cohort_is_an_error_while_the_first_one_lives(folder):
    (folder / "b.waits").touch()
    first = subprocess.Popen([*RUNNER, "pipeline_config_fp=pipe.yaml"], stdout=subprocess.PIPE, text=True)
    pids = wait_for_pids(first)
    second = run("pipeline_config_fp=pipe.yaml")
    assert second.returncode == 1
    assert f"Another runner is already using {folder}/out/.logs. Wait for it to finish" in second.stderr
    assert called() == ["a", "b"]
    for pid in (first.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    first.communicate(timeout=60)
    (folder / "b.waits").unlink()
    succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == ["a", "b", "b"]


@pytest.mark.usefixtures("folder")
def test_part_of_a_pipeline_does_not_count_for_the_whole():
    succeeds("pipeline_config_fp=pipe.yaml", "stages=[a]")
    succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == ["a", "a", "b"]


def test_a_failure_under_do_overwrite_leaves_no_old_done_file(folder):
    succeeds("pipeline_config_fp=pipe.yaml")
    (folder / "a.fails").touch()
    assert run("pipeline_config_fp=pipe.yaml", "do_overwrite=True").returncode == 1
    assert done_files(folder) == []


@pytest.mark.usefixtures("folder")
def test_an_interrupted_overwriting_run_goes_on_as_one_also_without_the_flag():
    succeeds("pipeline_config_fp=pipe.yaml")
    Path("a.fails").touch()
    assert run("pipeline_config_fp=pipe.yaml", "do_overwrite=True").returncode == 1
    Path("a.fails").unlink()
    Path("calls.jsonl").unlink()
    refused = run("pipeline_config_fp=pipe.yaml", "n=2")
    assert refused.returncode == 1
    assert "A run with do_overwrite=True was interrupted, and the settings have changed since." in refused.stderr
    Path("b.fails").touch()
    assert run("pipeline_config_fp=pipe.yaml").returncode == 1
    Path("b.fails").unlink()
    done = succeeds("pipeline_config_fp=pipe.yaml")
    assert "Resuming an interrupted run with do_overwrite." in done.stdout
    assert called() == ["a", "b", "b"]
    assert all("++do_overwrite=True" in arguments for arguments in calls().values())
    succeeds("pipeline_config_fp=pipe.yaml", "n=2")
    assert "++do_overwrite=True" not in calls()["a"]


def test_outputs_of_an_interrupted_overwriting_run_can_be_kept(folder):
    Path("a.fails").touch()
    assert run("pipeline_config_fp=pipe.yaml", "do_overwrite=True").returncode == 1
    Path("a.fails").unlink()
    succeeds("pipeline_config_fp=pipe.yaml", "++keep_existing=True")
    assert "++do_overwrite=True" not in calls()["b"]
    assert not (folder / "out/.logs/.overwriting").exists()


def test_other_overrides_reach_the_composition_and_every_stage_as_they_were_typed(folder):
    given = ["n=3", "+stage_configs.a.x='it\\'s ${n}, b'", f"cohort_dir='{folder}/other'", "~input_dir"]
    succeeds("pipeline_config_fp=pipe.yaml", *given)
    assert calls()["a"][-4:] == calls()["b"][-4:] == given
    assert (folder / "other/.logs/_all_stages.done").exists()
    assert not (folder / "out").exists()


def test_a_stage_that_fails_ends_the_run_with_one_message_and_the_next_run_goes_on_there(folder):
    (folder / "b.fails").touch()
    done = run("pipeline_config_fp=pipe.yaml")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "stage b ended with exit status 3" in done.stderr
    assert done.stderr.removeprefix("error: ") in log_text(folder)
    assert done_files(folder) == ["a.done"]
    (folder / "b.fails").unlink()
    succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == ["a", "b", "b"]


def test_the_stage_runner_file_and_the_environment(folder, monkeypatch):
    monkeypatch.setenv("WORKERS", "4")
    text = "parallelize: {n_workers: '${oc.env:WORKERS}'}\nb: {parallelize: null}\nc: {script: x}"
    (folder / "stage runner.yaml").write_text(text)
    done = succeeds("pipeline_config_fp=pipe.yaml", "stage_runner_fp='stage runner.yaml'")
    assert calls()["a"][-1] == "worker=range(0,4)"
    assert "--multirun" not in calls()["b"]
    warnings = [
        "stage-runner file stage runner.yaml: c: no such stage in the pipeline",
        "the workers of a run one after",
    ]
    for warning, line in zip(warnings, done.stdout.splitlines()[-2:], strict=True):
        assert done.stdout.count(warning) == 2
        assert warning in line


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parallelize: {n_workers: '${oc.env:NOT_SET_X}'}", "NOT_SET_X"),
        ("parallelize: {n_workers: 2", "workers.yaml"),
        ("- a", "must map stages to blocks"),
        ("a: python", "a: must be a block"),
    ],
)
def test_a_stage_runner_file_that_cannot_be_used_is_named(text, said):
    Path("workers.yaml").write_text(text)
    done = run("pipeline_config_fp=pipe.yaml", "stage_runner_fp=workers.yaml")
    assert done.returncode == 1
    assert "stage-runner file workers.yaml" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert called() == []


def test_a_runner_configuration_of_ones_own_with_a_default_to_take_away(folder):
    text = "defaults: [_runner, _self_]\npipeline_config_fp: pipe.yaml\nparallelize: {n_workers: 2}"
    (folder / "runner.yaml").write_text(text)
    own = [
        f"--config-path={folder}",
        "--config-name=runner",
        "hydra.searchpath=[pkg://MEDS_transforms.configs]",
    ]
    succeeds(*own)
    assert calls()["a"][-1] == "worker=range(0,2)"
    succeeds(*own, "~parallelize", "do_overwrite=True")
    assert "--multirun" not in calls()["a"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Name its file: pipeline_config_fp=FILE"),
        (["pipeline_config_fp=pipes.yaml"], "There is no pipeline file"),
        (["pipeline_config_fp=pipe.yaml", "stage_runner_fp=absent.yaml"], "absent.yaml"),
        (["pipeline_config_fp=pipe.yaml", "stages=[a,no_such]"], "no_such: no script"),
        (["pipeline_config_fp=pipe.yaml", "m=2"], "cannot be composed"),
        (["pipeline_config_fp=pipe.yaml", "~cohort_dir"], "sets no cohort_dir"),
        (["pipeline_config_fp=pipe.yaml", "parallelise.n_workers=2"], "cannot be composed"),
        (["pipeline_config_fp=pipe.yaml", "hydra.no_such=2"], "no_such"),
        (["pipeline_config_fp=pipe.yaml", "hydra/launcher=joblib"], "hydra/launcher=joblib: name the launcher of"),
        (["pipeline_config_fp=pipe.yaml", "hydra.launcher.n_jobs=2"], "hydra.launcher.n_jobs=2: name the launcher of"),
        (["pipeline_config_fp=pipe.yaml", "do_overwrite=flase"], "do_overwrite must be true or false, not 'flase'"),
        (["pipeline_config_fp=pipe.yaml", "do_profile=maybe"], "do_profile must be true or false, not 'maybe'"),
    ],
)
def test_an_error_before_the_run_is_a_message_without_a_trace(args, message):
    done = run(*args)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert called() == []


@pytest.mark.usefixtures("folder")
def test_the_trace_is_there_for_those_who_ask():
    done = run("pipeline_config_fp=absent.yaml", env={**os.environ, "HYDRA_FULL_ERROR": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_metadata_comes_along_where_the_cohort_has_none(folder):
    for name in ("dataset.json", "subject_splits.parquet", "codes.parquet"):
        path = folder / "in/metadata" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"input's {name}")
    own = folder / "out/metadata/dataset.json"
    own.parent.mkdir(parents=True)
    own.write_text("the cohort's")
    succeeds("pipeline_config_fp=pipe.yaml")
    assert {path.name: path.read_text() for path in own.parent.iterdir()} == {
        "dataset.json": "the cohort's",
        "subject_splits.parquet": "input's subject_splits.parquet",
        "codes.parquet": "input's codes.parquet",
    }


def test_copied_metadata_follow_their_source_and_are_mended(folder):
    source, copy = folder / "in/metadata/codes.parquet", folder / "out/metadata/codes.parquet"
    source.parent.mkdir(parents=True)
    for content in ("first", "second"):
        source.write_text(content)
        succeeds("pipeline_config_fp=pipe.yaml")
        assert copy.read_text() == content
    copy.write_text("damaged")
    assert "has changed since it was copied" in succeeds("pipeline_config_fp=pipe.yaml").stdout
    assert copy.read_text() == "second"


def test_metadata_that_the_runner_did_not_copy_stay_unless_they_may_be_overwritten(folder):
    source, own = folder / "in/metadata/codes.parquet", folder / "out/metadata/codes.parquet"
    for path in (source, own):
        path.parent.mkdir(parents=True)
        path.write_text(str(path))
    for _ in range(2):
        assert "no copy that the runner made" in succeeds("pipeline_config_fp=pipe.yaml").stdout
        assert own.read_text() == str(own)
    succeeds("pipeline_config_fp=pipe.yaml", "do_overwrite=True")
    assert own.read_text() == str(source)


WRITES = """
import sys
from pathlib import Path
folder = Path("out/{folder}")
folder.mkdir(parents=True, exist_ok=True)
(folder / "{name}").write_text("by {stage}")
"""


@pytest.fixture
def own_stages(folder) -> Path:
    """Three scripts that know nothing of records: data, code metadata (where the runner copies to, too), data."""
    pipeline = json.loads((folder / "pipe.yaml").read_text())
    outputs = {"a": ("a", "0.parquet"), "b": ("metadata", "codes.parquet"), "c": ("data", "0.parquet")}
    for stage, (out, name) in outputs.items():
        script = SCRIPT + WRITES.format(folder=out, name=name, stage=stage)
        (folder / f"{stage}.py").write_text(script)
        pipeline["stage_configs"][stage] = {"_script": f"'{sys.executable}' '{folder / stage}.py'"}
    pipeline["stage_configs"]["b"]["is_metadata"] = True
    (folder / "pipe.yaml").write_text(json.dumps(pipeline | {"stages": ["a", "b", "c"]}))
    for name in ("data/0.parquet", "metadata/codes.parquet", "metadata/dataset.json"):
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_text("input")
    succeeds("pipeline_config_fp=pipe.yaml")
    succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == ["a", "b", "c"]
    Path("calls.jsonl").unlink()
    return folder


@pytest.mark.parametrize(
    ("changed", "content", "again"),
    [
        ("in/data/0.parquet", "another", ["a"]),
        ("in/data/1.parquet", "more", ["a"]),
        ("in/metadata/dataset.json", "another", ["a", "b"]),
        ("out/a/0.parquet", None, ["a"]),
        ("out/a/0.parquet", "damaged", ["a"]),
        ("out/a/1.parquet", "more", ["b", "c"]),
        ("out/metadata/codes.parquet", None, ["b"]),
        ("out/metadata/dataset.json", None, []),
        ("out/data/0.parquet", None, ["c"]),
    ],
)
def test_what_an_own_stage_read_and_made_is_looked_at(own_stages, changed, content, again):
    path = own_stages / changed
    path.unlink(missing_ok=True)
    if content:
        path.write_text(content)
    succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == again
    assert (own_stages / "out/metadata/codes.parquet").read_text() == "by b"
    assert (own_stages / "out/metadata/dataset.json").read_text() == (
        own_stages / "in/metadata/dataset.json"
    ).read_text()
    succeeds("pipeline_config_fp=pipe.yaml")
    assert called() == again


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_stage_and_all_it_started_and_leaves_no_done_file(folder, signum):
    (folder / "b.waits").touch()
    runner = subprocess.Popen([*RUNNER, "pipeline_config_fp=pipe.yaml"], stdout=subprocess.PIPE, text=True)
    pids = wait_for_pids(runner)
    runner.send_signal(signum)
    output, _ = runner.communicate(timeout=60)
    assert runner.returncode == 128 + signum
    assert f"Stopped by {signum.name} in stage b" in output
    assert done_files(folder) == ["a.done"]
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_signal_ends_all_workers_that_the_runner_started(folder):
    (folder / "b.waits").touch()
    (folder / "workers.yaml").write_text("b: {parallelize: {n_workers: 3, launcher: processes}}")
    files = ["pipeline_config_fp=pipe.yaml", "stage_runner_fp=workers.yaml"]
    runner = subprocess.Popen([*RUNNER, *files], stdout=subprocess.PIPE, text=True)
    pids = wait_for_pids(runner, 6)
    runner.send_signal(signal.SIGTERM)
    runner.communicate(timeout=60)
    assert runner.returncode == 128 + signal.SIGTERM
    assert done_files(folder) == ["a.done"]
    assert not [pid for pid in pids if is_alive(pid)]


def test_workers_that_the_runner_starts_share_the_cores(folder, monkeypatch):
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "9")  # cores to share, on any machine
    (folder / "show.py").write_text(
        "import os, sys; open('threads', 'a').write(f'{sys.argv[-1]} {os.environ.get(\"POLARS_MAX_THREADS\")}\\n')"
    )
    (folder / "workers.yaml").write_text("b: {parallelize: {n_workers: 4, launcher: processes}}")
    succeeds("pipeline_config_fp=pipe.yaml", "stage_runner_fp=workers.yaml")
    alone, *workers = (folder / "threads").read_text().splitlines()
    assert alone.endswith(" None")
    assert sorted(workers) == ["worker=0 2", "worker=1 2", "worker=2 2", "worker=3 2"]


def test_a_second_signal_kills_a_stage_that_does_not_end(folder):
    (folder / "a.waits").touch()
    (folder / "a.is_stubborn").touch()
    runner = subprocess.Popen([*RUNNER, "pipeline_config_fp=pipe.yaml"], stdout=subprocess.PIPE, text=True)
    stage, _ = wait_for_pids(runner)
    while is_alive(stage):  # a signal that arrives together with the first one counts once
        runner.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    runner.communicate(timeout=60)
    assert runner.returncode == 128 + signal.SIGTERM
    assert done_files(folder) == []


@pytest.mark.parametrize("signals", [1, 2])
def test_what_takes_no_notice_of_a_polite_signal_is_killed_though_its_parent_has_ended(signals):
    """As submitit's local workers do."""
    wait = "import time; time.sleep(120)"
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {wait}"
    # NOTE: it does not hold the runner's end of the output open either, which would be waited for anyway.
    parent = (
        f"import subprocess as sp, sys; "
        f"child = sp.Popen([sys.executable, '-c', {deaf!r}], stdout=sp.PIPE, stderr=sp.DEVNULL); "
        f"child.stdout.readline(); print(child.pid, flush=True); {wait}"
    )
    code = f"""
import os, sys
from MEDS_transforms.runner import processes
processes.GRACE_SECONDS = {1 if signals == 1 else 60}
children = processes.Children()
with children.ended_by_signals():
    print(children.run([[sys.executable, "-c", {parent!r}]], dict(os.environ), [print]))
"""
    runner = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    deaf_pid = int(runner.stdout.readline())
    for _ in range(signals):
        runner.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    output, _ = runner.communicate(timeout=30)
    assert output == f"{-signal.SIGTERM}\n"
    assert not is_alive(deaf_pid)


def test_a_program_that_leaves_its_output_to_another_process_does_not_hold_up_the_runner():
    leaves_one_behind = "import subprocess, sys; print(subprocess.Popen([sys.executable, *sys.argv[1:]]).pid)"
    code = f"""
import os, sys
from MEDS_transforms.runner import processes
processes.DRAIN_SECONDS = 0.2
argv = [sys.executable, "-c", {leaves_one_behind!r}, "-c", "import time; time.sleep(120)"]
sys.exit(processes.Children().run([argv], dict(os.environ), [print]))
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    left_behind = int(done.stdout)
    assert is_alive(left_behind)
    os.kill(left_behind, signal.SIGKILL)


def test_workers_under_joblib(folder):
    (folder / "stage.py").write_text(HYDRA_SCRIPT)
    stages = f'stages: [a]\nstage_configs: {{a: {{_script: "{sys.executable} stage.py"}}}}'
    (folder / "pipe.yaml").write_text(f"cohort_dir: out\nworker: 0\nstage: x\nhydra: {{sweep: {{dir: out}}}}\n{stages}")
    params = "launcher: joblib, launcher_params: {n_jobs: '2', verbose: 0}"
    (folder / "workers.yaml").write_text(f"parallelize: {{n_workers: 3, {params}}}")
    succeeds("pipeline_config_fp=pipe.yaml", "stage_runner_fp=workers.yaml", "+x='a b'")
    assert sorted(path.name for path in folder.glob("worker[0-9]*")) == [
        "worker0 a b",
        "worker1 a b",
        "worker2 a b",
    ]


def test_output_is_live(folder):
    (folder / "a.waits").touch()
    runner = subprocess.Popen([*RUNNER, "pipeline_config_fp=pipe.yaml"], stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(runner.stdout.readline, "")
        assert any(line == "output of a\n" for line in lines), "the stage's line did not arrive"
        wait_for_pids(runner)
        assert runner.poll() is None
        assert "output of a" in log_text(folder)
    finally:
        runner.terminate()
        runner.communicate(timeout=60)


@pytest.mark.usefixtures("folder")
def test_main_takes_a_composed_configuration_and_leaves_the_command_line_alone():
    code = """
import sys
from MEDS_transforms.runner import main
sys.argv = ["mine", "pipeline_config_fp=pipe.yaml", "n=2"]
main()
assert sys.argv == ["mine", "pipeline_config_fp=pipe.yaml", "n=2"]
from hydra import compose, initialize_config_module
with initialize_config_module("MEDS_transforms.configs", version_base=None):
    main(compose("_runner", ["pipeline_config_fp=pipe.yaml", "++_stage_overrides=['n=2']"]))
assert "polars" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert called() == ["a", "b"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_pipeline_is_composed_once(folder, fails):
    """Composing takes most of the runner's own time."""
    if fails:
        (folder / "b.fails").touch()
    code = """
import MEDS_transforms.settings.composing as composing
from MEDS_transforms.runner import main
compose, composed = composing.compose, []
composing.compose = lambda *args, **kwargs: composed.append(args) or compose(*args, **kwargs)
try:
    main()
finally:
    print("composed", len(composed))
"""
    command = [sys.executable, "-c", code, "pipeline_config_fp=pipe.yaml", "n=2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) is fails, done.stderr
    assert "composed 1\n" in done.stdout
    assert called() == ["a", "b"]


def test_a_terminal_shows_the_stage_below_its_output(folder):
    ours, theirs = os.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    runner = subprocess.Popen([*RUNNER, "pipeline_config_fp=pipe.yaml"], stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the runner has ended
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert runner.wait(timeout=60) == 0
    for text in (b"Stage 1 of 2: a", b"output of a", b"Stage 2 of 2: b", b"All 2 stages are done."):
        assert text in shown
    assert b"output of a" in log_text(folder).encode()
    assert "\x1b" not in log_text(folder)


def test_help_shows_the_pipelines_description(folder):
    done = succeeds("--help")
    assert done.stdout.startswith("== MEDS-Transforms Pipeline Runner ==\n")
    (folder / "pipe.yaml").write_text("description: all of it\nstages: [a]")
    assert "all of it" in succeeds("pipeline_config_fp=pipe.yaml", "--help").stdout


def wait_for_pids(runner: subprocess.Popen, n: int = 2) -> list[int]:
    """The processes of a stage that waits, once all are running: two for each worker."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and runner.poll() is None:
        path = Path("pids")
        if path.exists() and len(pids := path.read_text().split()) == n:
            return [int(pid) for pid in pids]
        time.sleep(0.05)
    raise AssertionError(f"the stage did not start (runner: {runner.poll()})")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
