"""Stages of other packages, registered under the entry-point group, run by name like our own."""

import os
import subprocess
import sys

import polars as pl
import pytest

from helpers import SCRIPTS, Preprocessing, measurements

MODULE = '''"""Keeps the rows whose value is at least `least`."""

import polars as pl

from MEDS_transforms.mapreduce.mapper import map_stage


def keep_large(df, stage_cfg):
    return df.filter(pl.col("numeric_value") >= stage_cfg["least"])


run = map_stage(keep_large)
'''


@pytest.fixture
def data(tmp_path, monkeypatch) -> Preprocessing:
    """A dataset, and an installed package with one stage."""
    package = tmp_path / "site" / "my_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "keep_large.py").write_text(MODULE)
    (package / "keep_large.yaml").write_text("keep_large:\n  # Least value of a row.\n  least: 2\n")
    info = tmp_path / "site" / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[MEDS_transforms.stages]\nkeep_large = my_package.keep_large\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    data = Preprocessing(tmp_path)
    data.write({"train/0": measurements((1, None, "A", 1.0), (1, None, "A", 2.0), (2, None, "A", 3.0))})
    return data


def run(data, *arguments, script=("MEDS_transform-runner",)):
    command = [SCRIPTS / script[0], *script[1:], *arguments]
    return subprocess.run(command, cwd=data.folder, capture_output=True, text=True, timeout=120, check=False)


def pipeline(data, block=""):
    folders = f"input_dir: {data.dataset}\ncohort_dir: {data.cohort}\n"
    (data.folder / "pipe.yaml").write_text(f"defaults: [_preprocess, _self_]\n{folders}stages: [keep_large]\n{block}")


@pytest.mark.parametrize(("block", "values"), [("", [2.0, 3.0]), ("stage_configs: {keep_large: {least: 3}}\n", [3.0])])
def test_the_runner_finds_it_by_its_name_with_its_defaults(data, block, values):
    pipeline(data, block)
    ran = run(data, "pipeline_config_fp=pipe.yaml")
    assert ran.returncode == 0, ran.stderr
    assert pl.read_parquet(data.cohort / "data/train/0.parquet")["numeric_value"].to_list() == values


def test_its_keys_are_checked(data):
    pipeline(data, "strict: true\nstage_configs: {keep_large: {leats: 3}}\n")
    ran = run(data, "pipeline_config_fp=pipe.yaml")
    assert ran.returncode == 1
    assert "keep_large has no such key (did you mean 'least'?)" in ran.stderr


def test_its_help(data):
    script = (sys.executable, "-m", "MEDS_transforms.cli", "keep_large")
    ran = run(data, "--help", "stages=[keep_large]", script=script)
    assert ran.returncode == 0, ran.stderr
    assert "== MEDS/keep_large ==" in ran.stdout
    assert "Keeps the rows whose value is at least" in ran.stdout


def test_a_stage_that_nobody_has(data):
    ran = run(data, script=(sys.executable, "-m", "MEDS_transforms.cli", "keep_lrge"))
    assert ran.returncode == 1
    assert "There is no stage 'keep_lrge' (did you mean 'keep_large'?)" in ran.stderr


def test_its_module_may_check_the_configuration_before_the_first_stage(data):
    module = data.folder / "site/my_package/keep_large.py"
    check = """
def check(cfg):
    if cfg.stage_cfg.least > 5:
        raise ValueError("bug")
    if cfg.stage_cfg.least > 2:
        raise InputError("no value is so large")
"""
    module.write_text(f"from MEDS_transforms.errors import InputError\n{MODULE}{check}")
    folders = f"input_dir: {data.dataset}\ncohort_dir: {data.cohort}\nstages: [filter_subjects, keep_large]\n"
    (data.folder / "pipe.yaml").write_text(f"defaults: [_preprocess, _self_]\n{folders}")
    ran = run(data, "pipeline_config_fp=pipe.yaml", "stage_configs.keep_large.least=3")
    assert ran.returncode == 1
    assert "keep_large: no value is so large" in ran.stderr
    assert not (data.cohort / "filter_subjects").exists()


COLLECTS = """import gc

import polars as pl

from MEDS_transforms.mapreduce.mapper import map_stage

print("while it begins:", gc.isenabled())


def collects(df):
    return df.with_columns(pl.lit(gc.isenabled()).alias("at work"))


run = map_stage(collects)
"""


def test_garbage_is_collected_at_its_work_but_not_while_it_begins(data):
    (data.folder / "site/my_package/keep_large.py").write_text(COLLECTS)
    script = (sys.executable, "-m", "MEDS_transforms.cli", "keep_large")
    ran = run(data, f"input_dir={data.dataset}", f"cohort_dir={data.cohort}", "stages=[keep_large]", script=script)
    assert ran.returncode == 0, ran.stderr
    assert "while it begins: False" in ran.stdout
    assert data.shards(data.cohort / "data")["train/0"]["at work"].all()
