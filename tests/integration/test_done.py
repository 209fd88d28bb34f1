"""What counts as done, by the real scripts and the runner: whatever was made otherwise stops with one message."""

import json
import os
import shutil
import subprocess
from datetime import datetime

import polars as pl
import pytest
import yaml

from helpers import EXTRACTION_STAGES, SCRIPTS, Extraction, Preprocessing, files_below, measurements, write_table

LABS = pl.DataFrame({"subject_id": [i % 10 for i in range(100)], "code": ["A", "B"] * 50, "value": range(100)})
EVENTS = {"labs": {"lab": {"code": ["LAB", "col(code)"], "time": None, "numeric_value": "value"}}}


@pytest.fixture
def x(tmp_path) -> Extraction:
    x = Extraction(tmp_path)
    x.table("labs.parquet", LABS)
    x.events(EVENTS)
    return x


def extract(x: Extraction, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Runs the whole extraction by the runner."""
    blocks = {"shard_events": {"row_chunksize": 30}, "split_and_shard_subjects": {"n_subjects_per_shard": 4}}
    (x.folder / "extract.yaml").write_text(x.pipeline(**blocks))
    return run(x.folder, "pipeline_config_fp=extract.yaml", *overrides)


def run(folder, *arguments: str, script: str = "MEDS_transform-runner") -> subprocess.CompletedProcess[str]:
    command = [SCRIPTS / script, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def contents(cohort) -> dict[str, tuple[bytes, int]]:
    """The bytes of every file of a cohort, and its inode: another one where it was rebuilt."""
    return {name: ((cohort / name).read_bytes(), (cohort / name).stat().st_ino) for name in files_below(cohort)}


def made(before, after) -> set[str]:
    return {name for name in after if after[name] != before.get(name)} - {"metadata/dataset.json"}


def values(x: Extraction) -> list[float]:
    return sorted(pl.concat(map(pl.read_parquet, (x.cohort / "data").rglob("*.parquet")))["numeric_value"])


@pytest.mark.slow
def test_the_runner_makes_again_just_what_is_missing_damaged_or_replaced(x):
    assert extract(x).returncode == 0
    before = contents(x.cohort)
    shards = sorted(name for name in before if name.startswith("data/"))
    (x.cohort / shards[0]).unlink()
    write_table(x.cohort / shards[1], pl.DataFrame({"other": [1]}))
    (x.cohort / "shard_events/labs/[90-100).parquet").unlink()
    piece = next(name for name in before if name.startswith("merge_to_MEDS_cohort/"))
    os.truncate(x.cohort / piece, 100)
    ran = extract(x)
    assert ran.returncode == 0, ran.stderr
    after = contents(x.cohort)
    assert {name: data for name, (data, _) in after.items() if "dataset.json" not in name} == {
        name: data for name, (data, _) in before.items() if "dataset.json" not in name
    }
    # A final shard is the merged one under another name, so that whoever writes to it damages both.
    merged = shards[1].replace("data/", "merge_to_MEDS_cohort/")
    made_again = {n for n in made(before, after) if n.startswith(("data/", "merge"))}
    assert made_again == {shards[0], piece, shards[1], merged}
    assert ran.stdout.count("is already done") == 4
    assert values(x) == [*map(float, range(100))]


@pytest.mark.slow
def test_an_edited_event_file_or_another_input_stops_the_runner_with_what_changed(x):
    assert extract(x).returncode == 0
    before = contents(x.cohort)
    x.events({"labs": {"lab": {**EVENTS["labs"]["lab"], "code": ["TEST", "col(code)"]}}})
    ran = extract(x)
    assert ran.returncode == 1
    assert 'settings.events.labs.lab.code: ["LAB", "col(code)"] -> ["TEST", "col(code)"]' in ran.stdout + ran.stderr
    assert "do_overwrite=True" in ran.stdout + ran.stderr
    assert made(before, contents(x.cohort)) == set()
    ran = extract(x, "do_overwrite=True")
    assert ran.returncode == 0, ran.stderr
    assert set(x.shard("data", "train/0")["code"]) == {"TEST//A", "TEST//B"}
    shutil.copytree(x.raw, x.folder / "elsewhere")
    ran = extract(x, f"input_dir={x.folder}/elsewhere")
    assert ran.returncode == 1
    assert "../../raw" in ran.stdout + ran.stderr
    assert "../../elsewhere" in ran.stdout + ran.stderr


@pytest.mark.slow
def test_an_overwriting_run_of_the_runner_that_was_interrupted_goes_on(x):
    assert extract(x).returncode == 0
    x.table("labs.parquet", LABS.with_columns(pl.col("value") + 1000))
    x.table("broken.csv", "subject_id,code\n1,2\n")
    (x.cohort / ".logs/merge_to_MEDS_cohort.done").unlink()
    (x.cohort / "merge_to_MEDS_cohort/.provenance/merge_to_MEDS_cohort.record").chmod(0o644)
    blocked = x.cohort / "merge_to_MEDS_cohort"
    blocked.rename(x.folder / "aside")
    blocked.write_text("a file in the way")
    ran = extract(x, "do_overwrite=True")
    assert ran.returncode == 1
    blocked.unlink()
    (x.folder / "aside").rename(blocked)
    ran = extract(x, "do_overwrite=True")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("is already done") == 3  # what the interrupted run had made
    assert values(x) == [*map(float, range(1000, 1100))]


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", ["False", "True"])
def test_part_of_a_pipeline_does_not_write_into_the_data_of_a_finished_cohort(x, overwrite):
    assert extract(x).returncode == 0
    before = contents(x.cohort)
    stages = f"stages=[{EXTRACTION_STAGES[0]}]"
    result = x.script("shard_events", stages, f"do_overwrite={overwrite}")
    assert result.returncode == 1
    assert "finalize_MEDS_data" in result.stderr
    assert "stage_configs.shard_events.output_dir" in result.stderr
    assert made(before, contents(x.cohort)) == set()


def test_a_raw_chunk_that_is_missing_is_noticed_by_the_next_stage_and_made_again(x):
    x.run("shard_events", ".row_chunksize=30")
    (x.cohort / "shard_events/labs/[90-100).parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"\[90-100\)\.parquet.*Run shard_events again"):
        x.run("split_and_shard_subjects")
    x.run("shard_events", ".row_chunksize=30")
    assert x.chunk("labs", 90, 100).height == 10


@pytest.mark.parametrize("stage", ["split_and_shard_subjects", "convert_to_sharded_events"])
def test_two_workers_with_different_event_files(x, stage):
    """The second refuses, whatever it is told, while the first runs; here by a mark that this process holds."""
    x.run_until("split_and_shard_subjects" if stage.startswith("convert") else "shard_events")
    other = {"labs": {**EVENTS["labs"], "again": {"code": "X", "time": None}, "subject_id_col": "subject_id"}}
    x.run(stage)
    folder = x.cohort / ("metadata" if stage.startswith("split") else stage)
    record = json.loads((folder / f".provenance/{stage}.record").read_text())
    x.events(other)
    if stage.startswith("split"):
        x.run(stage)  # it does not look at events
    else:
        with pytest.raises(FileExistsError, match=r"settings\.events\.labs\.again: \(none\) -> "):
            x.run(stage)
    assert json.loads((folder / f".provenance/{stage}.record").read_text()) == record


def test_outputs_with_a_date_in_the_future_are_overwritten(x):
    x.run("shard_events")
    path = x.cohort / "shard_events/labs/[0-100).parquet"
    os.utime(path, (4_000_000_000, 4_000_000_000))
    x.table("labs.parquet", LABS.with_columns(pl.col("value") + 1))
    x.run("shard_events", "do_overwrite=True")
    assert x.chunk("labs", 0, 100)["value"][0] == 1


@pytest.fixture
def data(tmp_path) -> Preprocessing:
    data = Preprocessing(tmp_path)
    rows = [measurements(*[(s, None, "A", float(s))] * 3) for s in range(4)]
    data.write({f"train/{i}": pl.concat(rows[2 * i : 2 * i + 2]) for i in range(2)}, splits={"train": [0, 1, 2, 3]})
    return data


def test_an_input_with_fewer_shards_leaves_no_old_shard(data):
    data.run("filter_subjects", min_measurements_per_subject=0)
    both = pl.concat(map(pl.read_parquet, sorted((data.dataset / "data").rglob("*.parquet"))))
    (data.dataset / "data/train/1.parquet").unlink()
    data.write({"train/0": both})
    with pytest.raises(FileExistsError, match=r"(?s)train/1\.parquet: .* -> \(none\)"):
        data.run("filter_subjects", min_measurements_per_subject=0)
    shards = data.run("filter_subjects", min_measurements_per_subject=0, cfg_do_overwrite=True)
    assert list(shards) == ["train/0"]
    assert shards["train/0"].equals(both)


def test_a_setting_changed_between_two_workers(data):
    codes = pl.DataFrame({"code": ["A"], "values/mean": [1.0], "values/std": [1.0]})
    data.write({}, codes)
    data.run("occlude_outliers", stddev_cutoff=1)
    with pytest.raises(FileExistsError, match=r"settings\.stddev_cutoff: 1 -> 2\n"):
        data.run("occlude_outliers", stddev_cutoff=2, cfg_worker=1)


def test_a_stage_that_is_added_at_the_end_of_a_finished_pipeline(data):
    data.write({}, pl.DataFrame({"code": ["A"]}))
    stages = ("filter_subjects", "filter_measurements")
    longer = (*stages, "add_time_derived_measurements")
    for pipeline in (stages, longer):
        for stage in stages:
            data.run(stage, *pipeline)
    with pytest.raises(
        FileExistsError, match=r"what the stage filter_measurements made .* do_overwrite=True, which replaces"
    ):
        data.run(longer[-1], *longer)
    for stage in longer:
        made = data.run(stage, *longer, cfg_do_overwrite=True)
    assert made.keys() == data.shards(data.dataset / "data").keys()
    assert [path.name for path in (data.cohort / "data/.provenance").iterdir()] == [f"{longer[-1]}.record"]
    data.run(longer[-1], *longer)


def test_a_surplus_file_is_not_read(data):
    data.run("filter_subjects", "filter_subjects", "occlude_outliers")
    write_table(data.cohort / "filter_subjects/train/9.parquet", measurements((9, None, "A", 1.0)))
    data.write({}, pl.DataFrame({"code": ["A"], "values/mean": [1.0], "values/std": [1.0]}))
    with pytest.raises(ValueError, match=r"the stage filter_subjects did not make: train/9\.parquet"):
        data.run("occlude_outliers", "filter_subjects", "occlude_outliers")
    with pytest.raises(FileExistsError, match=r"does not make: train/9\.parquet"):
        data.run("filter_subjects", "filter_subjects", "occlude_outliers")


def test_a_file_of_the_users_own_is_not_replaced(data):
    own = write_table(data.cohort / "data/train/0.parquet", measurements((9, None, "A", 1.0)))
    before = own.read_bytes()
    with pytest.raises(FileExistsError, match=r"no record of what made them: train/0\.parquet"):
        data.run("filter_subjects")
    assert own.read_bytes() == before
    data.run("filter_subjects", cfg_keep_existing=True)
    assert own.read_bytes() == before


@pytest.mark.parametrize("written", ["${oc.env:SECRET}", "${token}"])
def test_a_secret_of_the_environment_is_in_no_file(data, monkeypatch, written):
    """Neither in the record nor in logs; another value of it counts all the same."""
    pipeline = {
        "token": "${oc.env:SECRET}",
        "defaults": ["_preprocess", "_self_"],
        "input_dir": str(data.dataset),
        "cohort_dir": str(data.cohort),
        "stages": ["extract_values"],
        "stage_configs": {"extract_values": {"secret": {"literal": written}}},
    }
    (data.folder / "pipe.yaml").write_text(yaml.safe_dump(pipeline))
    for secret, status in (("xyzzy-1", 0), ("xyzzy-1", 0), ("xyzzy-2", 1)):
        monkeypatch.setenv("SECRET", secret)
        ran = run(data.folder, "pipeline_config_fp=pipe.yaml")
        assert ran.returncode == status, ran.stderr
        assert "xyzzy" not in ran.stdout + ran.stderr
    for name in files_below(data.cohort, logs=True):
        assert name.startswith("data/train") or b"xyzzy" not in (data.cohort / name).read_bytes(), name


def test_a_secret_in_a_stage_runner_file_is_in_no_file(data, monkeypatch):
    monkeypatch.setenv("SECRET", str(data.folder / "xyzzy"))
    monkeypatch.setenv("TOKEN", "plugh-1")
    folders = f"input_dir: {data.dataset}\ncohort_dir: {data.cohort}\n"
    (data.folder / "pipe.yaml").write_text(f"defaults: [_preprocess, _self_]\n{folders}stages: [filter_subjects]\n")
    script = f"env USED=${{oc.env:TOKEN}} {SCRIPTS}/MEDS_transform-filter_subjects"
    parallel = {
        "n_workers": 1,
        "launcher": "submitit_local",
        "launcher_params": {"submitit_folder": "${oc.env:SECRET}"},
    }
    (data.folder / "run.yaml").write_text(
        yaml.safe_dump({"parallelize": parallel, "filter_subjects": {"script": script}})
    )
    ran = run(data.folder, "pipeline_config_fp=pipe.yaml", "stage_runner_fp=run.yaml")
    assert ran.returncode == 0, ran.stderr
    assert (data.folder / "xyzzy").is_dir()  # it was used
    assert "plugh" not in ran.stdout + ran.stderr
    assert "${oc.env:TOKEN}" in ran.stdout
    for name in files_below(data.cohort, logs=True):
        content = (data.cohort / name).read_bytes()
        assert b"plugh" not in content, name
        assert b"xyzzy" not in content, name


def preprocess(data: Preprocessing, *stages: str, **settings) -> subprocess.CompletedProcess[str]:
    """Runs a pre-processing pipeline by the runner."""
    pipeline = {
        "defaults": ["_preprocess", "_self_"],
        "input_dir": str(data.dataset),
        "cohort_dir": str(data.cohort),
        "stages": list(stages),
        "stage_configs": {"filter_subjects": {"min_events_per_subject": 2}},
    }
    (data.folder / "pipe.yaml").write_text(yaml.safe_dump(pipeline))
    return run(data.folder, "pipeline_config_fp=pipe.yaml", *(f"{key}={value}" for key, value in settings.items()))


def test_the_runner_notices_that_a_stage_was_taken_out(data):
    codes = pl.DataFrame({"code": ["A"], "code/n_subjects": [3], "code/n_occurrences": [11]})
    data.write({"train/1": measurements(*[(9, datetime(2020, 1, day), "A", 1.0) for day in (1, 2)])}, codes)
    assert preprocess(data, "filter_subjects", "filter_measurements").returncode == 0
    assert set(pl.read_parquet(data.cohort / "data/train/*.parquet")["subject_id"]) == {9}
    ran = preprocess(data, "filter_measurements")
    assert ran.returncode == 1
    assert 'inputs.data.folder: "../filter_subjects" -> "../../dataset/data"' in ran.stdout
    assert preprocess(data, "filter_measurements", do_overwrite=True).returncode == 0
    assert set(pl.read_parquet(data.cohort / "data/train/*.parquet")["subject_id"]) == {0, 1, 9}


def test_the_runner_notices_that_a_stage_was_run_by_hand_with_other_settings(data):
    data.write({"train/1": measurements(*[(9, datetime(2020, 1, day), "A", 1.0) for day in (1, 2)])})
    assert preprocess(data, "filter_subjects").returncode == 0
    before = contents(data.cohort)
    by_hand = ["--config-dir=.", "--config-name=pipe", "do_overwrite=True"]
    stricter = "stage_configs.filter_subjects.min_events_per_subject=3"
    assert run(data.folder, *by_hand, stricter, script="MEDS_transform-filter_subjects").returncode == 0
    ran = preprocess(data, "filter_subjects")
    assert ran.returncode == 1
    assert "settings.min_events_per_subject: 3 -> 2" in ran.stdout
    assert run(data.folder, *by_hand, script="MEDS_transform-filter_subjects").returncode == 0
    ran = preprocess(data, "filter_subjects")
    assert ran.returncode == 0
    assert "is already done: skipped" in ran.stdout
    assert {n: d for n, (d, _) in contents(data.cohort).items()} == {n: d for n, (d, _) in before.items()}


def test_the_code_of_ones_own_stage_counts(tmp_path, data):
    script = tmp_path / "double.py"
    text = """
import sys, polars as pl
from MEDS_transforms import map_over
def double(df):
    return df.with_columns(pl.col("numeric_value") * 2)
cfg = {"worker": 0, "stage_cfg": {"data_input_dir": sys.argv[1], "output_dir": sys.argv[2]}}
map_over(cfg, compute_fn=double)
"""
    arguments = [str(data.dataset / "data"), str(tmp_path / "out")]
    for factor, status in (("2", 0), ("2", 0), ("3", 1)):
        script.write_text(text.replace("* 2", f"* {factor}"))
        ran = subprocess.run(
            [os.sys.executable, script, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == status, ran.stderr
    assert 'settings.code: "double.py' in ran.stderr
