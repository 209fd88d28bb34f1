"""Stages and pipelines run from Python leave what the command line leaves, and nothing else changed."""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from helpers import ONE_SPLIT, Extraction, Preprocessing, files_below, measurements
from MEDS_transforms import run_pipeline, run_stage
from MEDS_transforms.errors import InputError, OutputsExistError, StageError, UserError
from MEDS_transforms.settings.packaged import CONFIG_DIR
from MEDS_transforms.work.usage import USAGE_DIR

STAGES = ["filter_subjects", "count_code_occurrences"]


@pytest.fixture
def x(tmp_path, monkeypatch) -> Preprocessing:
    """A dataset of two shards; the second subject of each has one measurement."""
    monkeypatch.chdir(tmp_path)
    x = Preprocessing(tmp_path)
    day = datetime(2020, 1, 1)
    shard = [(0, "A"), (0, "B"), (1, "A")]
    x.write({f"train/{n}": measurements(*((10 * n + i, day, code) for i, code in shard)) for n in range(2)})
    return x


@pytest.fixture
def raw(tmp_path) -> Extraction:
    raw = Extraction(tmp_path)
    raw.table("labs.csv", "id,test,when\n1,K,2020-01-01\n2,Na,2020-01-02\n")
    event = {"code": ["LAB", "col(test)"], "time": "col(when)", "time_format": "%Y-%m-%d"}
    raw.events({"subject_id_col": "id", "labs": {"lab": event}})
    return raw


def everything(cohort: Path) -> dict[str, bytes]:
    """The files of a cohort with its records and accounting, but for logs."""
    names = [name for name in files_below(cohort, logs=True) if ".logs/" not in name and ".salt" not in name]
    return {name: (cohort / name).read_bytes() for name in names}


def test_a_stage_leaves_what_its_script_leaves_and_says_where_and_what(x):
    done = x.script("filter_subjects", ".min_measurements_per_subject=2")
    assert done.returncode == 0, done.stderr
    got = run_stage("filter_subjects", input_dir=x.dataset, output_dir="here", min_measurements_per_subject=2)
    assert everything(Path("here")) == everything(x.cohort)
    assert (got.stage, got.output_dir) == ("filter_subjects", Path("here/data"))
    assert (got.accounting["in"]["rows"], got.accounting["out"]["rows"]) == (6, 4)
    assert len([*Path("here", USAGE_DIR).iterdir()]) == 1
    lines = repr(got).splitlines()
    assert lines[0].startswith(f"filter_subjects: {Path('here/data')}, ")
    assert [line.split() for line in lines[3:5]] == [["in", "2", "6", "4", "2"], ["out", "2", "4", "2", "2"]]
    assert [line.split() for line in lines[-2:]] == [["subjects", "kept", "dropped"], ["subjects", "2", "2"]]
    assert pl.scan_parquet(got.output_dir / "**/*.parquet").select(pl.len()).collect().item() == 4


def test_what_is_done_is_not_done_again_but_with_do_overwrite_at_every_call(x):
    shard = Path("here/data/train/0.parquet")

    def made(**settings) -> int:
        run_stage("filter_subjects", input_dir=x.dataset, output_dir="here", **settings)
        return shard.stat().st_ino

    first = made()
    assert made() == first
    held = shard.open("rb")  # so that its number is not given to another file
    second = made(do_overwrite=True)
    held_too = shard.open("rb")
    third = made(do_overwrite=True)
    held.close()
    held_too.close()
    assert len({first, second, third}) == 3
    with pytest.raises(OutputsExistError, match=r"min_measurements_per_subject: null -> 2"):
        made(min_measurements_per_subject=2)


def test_the_extraction_stage_by_stage(raw, tmp_path):
    settings = {"event_conversion_config_fp": raw.event_file}
    own = {"split_and_shard_subjects": {"split_fracs": {"train": 1, "tuning": None, "held_out": None}}}
    stages = ("shard_events", "split_and_shard_subjects", "convert_to_sharded_events", "merge_to_MEDS_cohort")
    for stage in stages:
        got = run_stage(stage, input_dir=raw.raw, output_dir=raw.cohort, **settings, **own.get(stage, {}))
    assert got.output_dir == raw.cohort / "merge_to_MEDS_cohort"
    assert sorted(raw.shard("merge_to_MEDS_cohort", "train/0")["code"]) == ["LAB//K", "LAB//Na"]
    by_script = Extraction(tmp_path / "by_script")
    by_script.table("labs.csv", (raw.raw / "labs.csv").read_text())
    by_script.events(raw.event_file.read_text())
    by_script.run_until("merge_to_MEDS_cohort", ONE_SPLIT)
    assert by_script.shard("merge_to_MEDS_cohort", "train/0").equals(raw.shard("merge_to_MEDS_cohort", "train/0"))


def test_a_block_of_another_stage_s_script_and_general_keys(x):
    got = run_stage("count_code_occurrences", input_dir=x.dataset, output_dir="here", polling_time=1, seed=2)
    assert pl.read_parquet(got.output_dir / "codes.parquet")["code/n_occurrences"].to_list() == [6, 4, 2]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("filter_subject", {}, "There is no stage 'filter_subject' (did you mean 'filter_subjects'?)."),
        ("filter_subjects", {"sed": 2}, "no setting 'sed' (did you mean 'seed'?)"),
        ("filter_subjects", {"min_events": 2, "x": 1}, "'min_events' (did you mean 'min_events_per_subject'?), 'x'"),
        ("filter_subjects", {"cohort_dir": "there"}, "no setting 'cohort_dir'"),
        ("filter_subjects", {"min_events_per_subject": "x"}, "min_events_per_subject must be a whole number"),
        (
            "filter_subjects",
            {"min_events_per_subject": "${oc.env:SURELY_NOT_SET}"},
            "SURELY_NOT_SET, which the",
        ),
        ("filter_subjects", {"data_input_dir": "nowhere"}, "nowhere"),
        (None, {}, "name must be the name of a stage, not None"),
        ("filter_subjects", {"output_dir": None}, "output_dir must be the path of a folder, not None"),
        ("filter_subjects", {"input_dir": ""}, "input_dir must be the path of a folder, not ''"),
        ("filter_subjects", {"min_events_per_subject": date(2020, 1, 1)}, "min_events_per_subject: a setting is text,"),
        ("filter_subjects", {"stage_configs": {"filter_subjects": [b"x"]}}, "stage_configs.filter_subjects[0]: a"),
        ("filter_subjects", {"stage_configs": [1]}, "stage_configs must be a dict, not [1]"),
        ("filter_subjects", {"etl_metadata": "x"}, "etl_metadata must be a dict, not 'x'"),
        ("occlude_outliers", {}, "codes.parquet"),
    ],
)
def test_what_is_wrong_is_raised_with_its_message(x, name, settings, words):
    with pytest.raises(UserError) as error:
        run_stage(name, **{"input_dir": x.dataset, "output_dir": "here", **settings})
    assert words in str(error.value)


@pytest.mark.parametrize("at_home", ["~/here", Path("~/here")])
def test_the_home_folder_and_numbers_of_numpy(x, at_home, monkeypatch):
    monkeypatch.setenv("HOME", str(x.folder))
    got = run_stage("filter_subjects", x.dataset, at_home, min_measurements_per_subject=np.int64(2))
    assert got.output_dir == x.folder / "here/data"
    assert got.accounting["out"]["rows"] == 4


def test_a_call_leaves_hydra_logging_environment_and_garbage_collection_as_they_were(x):
    def state() -> list:
        root = logging.getLogger()
        of_logs = [*root.handlers], root.level, [[*handler.filters] for handler in root.handlers]
        of_python = logging.raiseExceptions, gc.isenabled(), gc.get_freeze_count(), [*sys.argv], sys.stdout, Path.cwd()
        return [GlobalHydra.instance().hydra, dict(os.environ), of_logs, of_python]

    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        before = state()
        run_stage("filter_subjects", input_dir=x.dataset, output_dir="here")
        with pytest.raises(InputError):
            run_stage("filter_subjects", input_dir=x.dataset, output_dir="here", sed=2)
        run_pipeline({"input_dir": x.dataset, "cohort_dir": "there", "stages": STAGES[:1]})
        with pytest.raises(InputError):
            run_pipeline({"input_dir": x.dataset, "cohort_dir": "there", "stages": ["nothing"]})
        assert state() == before


def test_calls_in_a_running_event_loop_and_in_threads(x):
    async def notebook() -> Path:
        return run_stage("filter_subjects", input_dir=x.dataset, output_dir="loop").output_dir

    assert asyncio.run(notebook()) == Path("loop/data")
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(run_stage, "filter_subjects", x.dataset, "a", worker=number) for number in range(2)]
        calls.append(pool.submit(run_stage, STAGES[1], x.dataset, "b"))
        pipeline = pool.submit(run_pipeline, {"input_dir": x.dataset, "cohort_dir": "c", "stages": STAGES})
        assert [call.result().accounting["in"]["rows"] for call in calls] == [6, 6, 6]
    assert pipeline.result().accounting["filter_subjects"]["out"]["rows"] == 6
    assert everything(Path("a")) == everything(Path("loop"))


def test_an_application_of_the_users_keeps_its_settings_and_its_log_to_itself(x):
    pipeline = {"input_dir": str(x.dataset), "cohort_dir": "there", "stages": STAGES[:1], "strict": True}
    Path("app.py").write_text(f"""
import hydra
from MEDS_transforms import run_pipeline, run_stage

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    run_stage("filter_subjects", {str(x.dataset)!r}, "here", strict=True)
    run_pipeline({pipeline}, progress="plain")

main()
""")
    command = [sys.executable, "app.py", "+sed=1", "hydra.run.dir=logs"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "sed" not in ran.stdout
    printed = "Stage filter_subjects, worker 0: done in"
    assert ran.stdout.count(printed) == 2
    assert Path("logs/app.log").read_text().count(printed) == 1  # that of the stage in this process
    assert printed in Path("there/.logs/MEDS-transforms_runner.log").read_text()


@pytest.fixture
def pipeline(x) -> dict:
    return {
        "defaults": ["_preprocess", "_self_"],
        "input_dir": str(x.dataset),
        "cohort_dir": "from_file",
        "stages": STAGES,
    }


def test_a_pipeline_is_a_file_or_its_content(pipeline, capsys):
    Path("pipe.yaml").write_text(OmegaConf.to_yaml(pipeline))
    block = {"stage_configs": {"filter_subjects": {"min_measurements_per_subject": 2}}}
    got = run_pipeline("pipe.yaml", **block)
    assert capsys.readouterr().out.splitlines()[0].startswith("Stage 1 of 2, filter_subjects: done, 2 of 2 units, ")
    assert (got.cohort_dir, [*got.accounting]) == (Path("from_file"), STAGES)
    assert repr(got).splitlines()[1] == "  filter_subjects: 6 rows in, 4 out"
    as_numpy = {"stage_configs": {"filter_subjects": {"min_measurements_per_subject": np.int64(2)}}}
    run_pipeline({k: v for k, v in pipeline.items() if k != "defaults"} | as_numpy, cohort_dir=Path("from_dict"))
    with initialize_config_dir(str(Path.cwd()), version_base=None):
        cfg = compose("pipe", ["hydra.searchpath=[pkg://MEDS_transforms.configs]", "cohort_dir=from_cfg"])
    run_pipeline(OmegaConf.merge(cfg, block), parallelize={"n_workers": 2, "launcher": "processes"}, progress="plain")
    assert "filter_subjects, worker 1" in capsys.readouterr().out
    assert everything(Path("from_dict")) == everything(Path("from_cfg")) == everything(Path("from_file"))


def test_what_is_wrong_with_a_pipeline_is_raised(pipeline, capsys):
    with pytest.raises(UserError, match="There is no pipeline file"):
        run_pipeline("nowhere.yaml")
    with pytest.raises(InputError, match="cohort_dir is not set"):
        run_pipeline({"stages": STAGES})
    with pytest.raises(InputError, match=r"there is no setting 'sed' \(did you mean 'seed'\?\)"):
        run_pipeline(pipeline, sed=2)
    with pytest.raises(InputError, match="progress must be one of"):
        run_pipeline(pipeline, progress="loud")
    with pytest.raises(InputError, match="A pipeline is the path of its file, or its content in a dict, not None"):
        run_pipeline(None)
    with pytest.raises(InputError, match="cohort_dir must be the path of a folder, not 5"):
        run_pipeline(pipeline | {"cohort_dir": 5})
    with pytest.raises(InputError, match="the pipeline is the first argument"):
        run_pipeline(pipeline, pipeline_config_fp="other.yaml")
    with pytest.raises(InputError, match=r"stage_configs\.filter_subjects must be a dict, not 3"):
        run_pipeline(pipeline, stage_configs={"filter_subjects": 3})
    with pytest.raises(InputError, match=r"stage_configs must be a dict, not \[1\]"):
        run_pipeline(pipeline, stage_configs=[1])
    with pytest.raises(InputError, match="seed: a setting is text, a number"):
        run_pipeline(pipeline, seed=object())
    Path("bad.py").write_text("print('error: it is broken'); print('badly'); raise SystemExit(4)")
    with pytest.raises(StageError, match="The stage filter_subjects ended with exit status 4"):
        run_pipeline(pipeline, stage_configs={"filter_subjects": {"_script": f"{sys.executable} bad.py"}})
    assert capsys.readouterr().out.splitlines()[-3:-1] == ["error: it is broken", "badly"]


def test_ctrl_c_in_a_pipeline_is_a_keyboard_interrupt(pipeline):
    Path("waits.py").write_text("from pathlib import Path; import time; Path('began').touch(); time.sleep(100)")
    pipeline["stage_configs"] = {"filter_subjects": {"_script": f"{sys.executable} waits.py"}}
    program = f"""
from MEDS_transforms import run_pipeline
try:
    run_pipeline({pipeline})
except KeyboardInterrupt:
    print("interrupted")
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    while not Path("began").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "interrupted"
