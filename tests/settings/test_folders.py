"""Stages write neither to what their pipeline reads nor to the folder of another stage."""

import re
import subprocess

import polars as pl
import pytest
import yaml

from helpers import SCRIPTS, Extraction, Preprocessing, files_below, measurements, write_table
from MEDS_transforms.extract.tables import READERS
from MEDS_transforms.settings.folders import folder_problems, output_problems, stage_folders
from MEDS_transforms.settings.layout import TABLE_SUFFIXES

STAGES = ["first", "count", "second"]


@pytest.mark.parametrize(
    ("blocks", "wrong"),
    [
        ({}, []),
        ({"second": {"output_dir": "in/other"}}, []),
        ({"second": {"output_dir": "in/data"}}, ["second would write to .*in/data, and the pipeline reads .*in/data"]),
        ({"second": {"output_dir": "in/data/sub"}}, ["second would write to .*in/data/sub"]),
        ({"second": {"output_dir": "in"}}, ["second .* reads .*in/data, .*in/metadata"]),
        ({"second": {"output_dir": "link/data"}}, ["second would write to .*in/data"]),
        ({"count": {"reducer_output_dir": "in/metadata"}}, [r"stage_configs\.count\.reducer_output_dir"]),
        ({"first": {"data_input_dir": "raw"}, "second": {"output_dir": "raw/x"}}, ["second .* reads .*raw"]),
        ({"second": {"output_dir": "out/first"}}, ["first and second would both write to .*out/first"]),
        ({"second": {"output_dir": "out/metadata"}}, []),  # of another kind
    ],
)
def test_stages_that_would_write_to_an_input_or_to_another_stage(tmp_path, monkeypatch, blocks, wrong):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    blocks = {name: {"is_metadata": name == "count"} | blocks.get(name, {}) for name in STAGES}
    found = output_problems(stage_folders("in", "out", STAGES, blocks))
    assert len(found) == len(wrong)
    assert all(re.search(*pair) for pair in zip(wrong, found, strict=True))


@pytest.mark.parametrize(
    ("raw", "cohort", "wrong"),
    [
        ("raw", "cohort", []),
        ("raw", "raw/hosp", ["finalize_MEDS_metadata .* reads .*raw/hosp/metadata/codes.parquet"]),
        ("raw", "raw/cohort", []),
        ("cohort/raw", "cohort", []),
        ("cohort/shard_events", "cohort", ["shard_events .* reads .*hosp/labs.csv"]),
    ],
)
def test_a_cohort_may_lie_beside_the_raw_tables_but_not_over_them(tmp_path, raw, cohort, wrong):
    x = Extraction(tmp_path)
    write_table(tmp_path / raw / "hosp/labs.csv", "subject_id\n1\n")
    write_table(tmp_path / raw / "hosp/metadata/codes.parquet", pl.DataFrame({"code": ["A"]}))
    metadata = {"hosp/metadata/codes": {"description": "code"}}
    x.events({"hosp/labs": {"lab": {"code": "A", "time": None, "_metadata": metadata}}})
    cfg = x.cfg("shard_events", f"input_dir={tmp_path / raw}", f"cohort_dir={tmp_path / cohort}")
    found = folder_problems(cfg)
    found = [problem for problem in found if "split_and_shard" not in problem]  # it writes to `metadata/` as well
    assert len(found) == len(wrong), found
    assert all(re.search(*pair) for pair in zip(wrong, found, strict=True))


def test_every_format_of_tables_has_a_reader():
    assert tuple(READERS) == TABLE_SUFFIXES


@pytest.mark.parametrize("script", ["MEDS_transform-filter_measurements", "MEDS_transform-runner"])
def test_an_input_dataset_is_not_overwritten(tmp_path, script):
    data = Preprocessing(tmp_path)
    data.write({"0": measurements((1, None, "A"), (2, None, "B"))})
    before = {name: (data.dataset / name).read_bytes() for name in files_below(data.dataset)}
    pipeline = {
        "defaults": ["_preprocess", "_self_"],
        "hydra": {"searchpath": ["pkg://MEDS_transforms.configs"]},
        "input_dir": str(data.dataset),
        "cohort_dir": str(data.cohort),
        "stages": ["filter_subjects", "filter_measurements"],
        "stage_configs": {"filter_measurements": {"output_dir": f"{data.dataset}/data"}},
    }
    (tmp_path / "pipe.yaml").write_text(yaml.safe_dump(pipeline))
    is_runner = script.endswith("runner")
    file = ["pipeline_config_fp=pipe.yaml"] if is_runner else [f"--config-dir={tmp_path}", "--config-name=pipe"]
    command = [SCRIPTS / script, *file, "do_overwrite=True"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert f"filter_measurements would write to {data.dataset}/data" in ran.stderr
    assert {name: (data.dataset / name).read_bytes() for name in files_below(data.dataset)} == before
    assert not (data.cohort / "filter_subjects").exists()
