"""The table of stages: how its modules are run, and stages that other packages register."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

from helpers import SCRIPTS, Preprocessing, measurements
from MEDS_transforms.stages import packaged_stages

MODULES = [stage.module for stage in packaged_stages().values()]
FORMER_MODULES = {
    "MEDS_transforms.aggregate_code_metadata": "MEDS_transforms.metadata.aggregate_code_metadata",
    "MEDS_transforms.fit_vocabulary_indices": "MEDS_transforms.metadata.fit_vocabulary_indices",
    "MEDS_transforms.reshard_to_split": "MEDS_transforms.transforms.reshard_to_split",
}


def python(*args, folder=None, path=None):
    """Runs Python, with a folder of further modules."""
    more = [str(path)] if path else []
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*more, *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("module", [*MODULES, *FORMER_MODULES, "MEDS_transforms.runner", "MEDS_transforms.runner.run"])
def test_every_module_of_a_stage_is_a_program(module, tmp_path):
    ran = python("-m", module, "--help", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "RuntimeWarning" not in ran.stderr
    stage = module.rpartition(".")[2]
    expected = "MEDS-Transforms Pipeline Runner" if ".runner" in module else f"MEDS/{stage}"
    assert ran.stdout.startswith(f"== {expected} ==\n")


SHARD = measurements((1, None, "A"), (2, None, "B"), (2, None, "A"))


@pytest.mark.parametrize("launcher", [[], ["--multirun", "worker=range(0,2)", "hydra/launcher=joblib"]])
def test_a_module_run_as_a_program_does_the_work(tmp_path, launcher):
    x = Preprocessing(tmp_path)
    x.write({"train/0": SHARD})
    _, *arguments = x.arguments("filter_subjects")
    ran = python("-m", "MEDS_transforms.filters.filter_subjects", *launcher, *arguments, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert x.shards(x.cohort / "data")["train/0"].equals(SHARD)


@pytest.mark.parametrize(("former", "module"), FORMER_MODULES.items())
def test_former_modules_are_the_ones_of_today(former, module):
    names = import_module(former).__all__
    assert "main" in names
    assert all(getattr(import_module(former), name) is getattr(import_module(module), name) for name in names)


def test_a_link_to_a_script_may_have_any_name(tmp_path):
    link = tmp_path / "mine"
    link.symlink_to(SCRIPTS / "MEDS_transform-filter_subjects")
    ran = subprocess.run([link, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("== MEDS/filter_subjects ==\n")


def test_the_table_can_be_printed():
    ran = python("-m", "MEDS_transforms.stages")
    assert ran.returncode == 0, ran.stderr
    assert [line.split() for line in ran.stdout.splitlines()][: len(MODULES)] == [
        [stage.name, stage.module] for stage in packaged_stages().values()
    ]


# Stages of other packages

MODULE = '''"""Drops measurements by their code."""

import polars as pl

from MEDS_transforms.cli.script import stage_script
from MEDS_transforms.mapreduce.mapper import map_stage


def drop_codes(df: pl.LazyFrame, stage_cfg) -> pl.LazyFrame:
    """The rows whose code is not among `stage_cfg.codes`."""
    return df.filter(~pl.col("code").is_in(list(stage_cfg["codes"])))


run = map_stage(drop_codes)
main = stage_script(MAIN_MODULE)

if __name__ == "__main__":
    main()
'''
BLOCK = """
drop_codes:
  # The codes to drop.
  # @schema {type: array, items: {type: string}}
  codes: [B]
"""


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder with an installed package that registers a stage under a name that its module does not have."""
    site = tmp_path / "site"
    (site / "their_package" / "stages").mkdir(parents=True)
    (site / "their_package" / "__init__.py").write_text("import polars  # what --help need not wait for\n")
    module = MODULE.replace("MAIN_MODULE", '"their_package.stages.dropping"')
    (site / "their_package" / "stages" / "dropping.py").write_text(module)
    (site / "their_package" / "stages" / "dropping.yaml").write_text(BLOCK)
    info = site / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[MEDS_transforms.stages]\ndrop_codes = their_package.stages.dropping\nfilter_subjects = nothing\n"
    )
    return site


@pytest.fixture
def pipeline(tmp_path) -> Preprocessing:
    x = Preprocessing(tmp_path)
    x.write({"train/0": SHARD})
    (tmp_path / "pipeline.yaml").write_text(
        "defaults: [_preprocess, _self_]\nhydra: {searchpath: [pkg://MEDS_transforms.configs]}\n"
        f"input_dir: {x.dataset}\ncohort_dir: {x.cohort}\nstages: [drop_codes]\n"
    )
    return x


def run_pipeline(x: Preprocessing, site: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    runner = SCRIPTS / "MEDS_transform-runner"
    return python(runner, "pipeline_config_fp=pipeline.yaml", *overrides, folder=x.folder, path=site)


@pytest.mark.parametrize(
    ("overrides", "codes"), [([], ["A", "A"]), (["stage_configs.drop_codes.codes=[A]"], ["B"])], ids=["default", "set"]
)
def test_a_registered_stage_runs_by_name(pipeline, site, overrides, codes):
    ran = run_pipeline(pipeline, site, *overrides)
    assert ran.returncode == 0, ran.stderr
    assert pipeline.shards(pipeline.cohort / "data")["train/0"]["code"].to_list() == codes


def test_values_of_a_registered_stage_are_checked_before_it_runs(pipeline, site):
    ran = run_pipeline(pipeline, site, "stage_configs.drop_codes.codes=A", "+stage_configs.drop_codes.code=[A]")
    assert ran.returncode == 1
    assert "stage_configs.drop_codes.codes must be a list of text, not 'A'" in ran.stderr
    assert not (pipeline.cohort / "drop_codes").exists()
    ran = run_pipeline(pipeline, site, "strict=True", "+stage_configs.drop_codes.code=[A]")
    assert ran.returncode == 1
    assert "drop_codes has no such key (did you mean 'codes'?)" in ran.stderr


CHECK = """
from MEDS_transforms.errors import InputError


def check(cfg):
    if "Z" in cfg.stage_cfg.codes:
        raise InputError("no code is called Z")
"""


def test_a_registered_module_may_check_the_configuration_before_the_first_stage(pipeline, site):
    with (site / "their_package" / "stages" / "dropping.py").open("a") as module:
        module.write(CHECK)
    ran = run_pipeline(pipeline, site, "stages=[filter_subjects,drop_codes]", "stage_configs.drop_codes.codes=[Z]")
    assert ran.returncode == 1
    assert "drop_codes: no code is called Z" in ran.stderr
    assert not (pipeline.cohort / "filter_subjects").exists()


CHANGES = """
from MEDS_transforms.precheck.report import Inspection


def check(cfg):
    assert cfg.stage_cfg.pop("data_input_dir")


def inspect(cfg):
    print("inspected:", cfg.stage_cfg.pop("data_input_dir"))
    return Inspection()
"""


def test_what_a_check_changes_in_its_configuration_is_for_itself(pipeline, site):
    """The folder that it takes away is there for its inspection, and for the look at what later stages will get."""
    with (site / "their_package" / "stages" / "dropping.py").open("a") as module:
        module.write(CHANGES)
    ran = run_pipeline(pipeline, site, "stages=[drop_codes,normalization]")
    assert f"inspected: {pipeline.dataset}/data" in ran.stdout
    assert "normalization: there will be no code metadata" in ran.stderr


def test_help_of_a_registered_stage_does_not_import_it(site, tmp_path):
    code = (
        "import json, sys; sys.argv = ['x', '--help']\n"
        "from MEDS_transforms.cli.script import run_by_name\nrun_by_name('drop_codes')\n"
        "print(json.dumps([name for name in ('polars', 'their_package') if name in sys.modules]))"
    )
    ran = python("-c", code, folder=tmp_path, path=site)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("== MEDS/drop_codes ==\n")
    assert "Drops measurements by their code.\n\nKeys of stage_configs.drop_codes:\n" in ran.stdout
    assert '  - codes (list of text; default ["B"]): The codes to drop.\n' in ran.stdout
    assert json.loads(ran.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize(("name", "near"), [("filter_subject", "filter_subjects"), ("drop_code", "drop_codes")])
def test_an_unknown_stage_is_an_error_that_names_the_nearest(site, name, near):
    ran = python("-m", "MEDS_transforms.cli", name, path=site)
    assert ran.returncode == 1
    assert f"There is no stage {name!r} (did you mean {near!r}?)" in ran.stderr


COLLECTS = """import gc

import polars as pl

from MEDS_transforms.mapreduce.mapper import map_stage

print("while it begins:", gc.isenabled())


def collects(df):
    return df.with_columns(pl.lit(gc.isenabled()).alias("collects"))


run = map_stage(collects)
"""


def test_garbage_is_collected_while_a_stage_works_but_not_while_it_begins(pipeline, site):
    """A registered module needs `run` only, no script."""
    (site / "their_package" / "stages" / "dropping.py").write_text(COLLECTS)
    folders = [f"input_dir={pipeline.dataset}", f"cohort_dir={pipeline.cohort}", "stages=[drop_codes]"]
    ran = python("-m", "MEDS_transforms.cli", "drop_codes", *folders, folder=pipeline.folder, path=site)
    assert ran.returncode == 0, ran.stderr
    assert "while it begins: False" in ran.stdout
    assert pipeline.shards(pipeline.cohort / "data")["train/0"]["collects"].all()


def register(site: Path, entry: str) -> None:
    (site / "their_package-1.0.dist-info" / "entry_points.txt").write_text(f"[MEDS_transforms.stages]\n{entry}\n")


DROPPING = "their_package.stages.dropping"


@pytest.mark.parametrize(
    ("entry", "module", "said"),
    [
        (f"{DROPPING}:run", MODULE, f"an entry point names a module alone. Write {DROPPING}."),
        ("their_package.stages.drop", MODULE, "There is no module their_package.stages.drop"),
        (DROPPING, MODULE.replace("run =", "walk =").replace("MAIN_MODULE", "'x'"), "has no function run(cfg)"),
        (DROPPING, "1 / 0", "cannot be used: ZeroDivisionError"),
        (DROPPING, "import surely_not_there", "No module named 'surely_not_there'"),
    ],
)
def test_a_module_that_cannot_be_used_is_noticed_before_the_first_stage(pipeline, site, entry, module, said):
    (site / "their_package" / "stages" / "dropping.py").write_text(module)
    register(site, f"drop_codes = {entry}")
    ran = run_pipeline(pipeline, site, "stages=[filter_subjects,drop_codes]")
    assert ran.returncode == 1
    assert f"  - drop_codes: its module {entry} cannot be used: " in ran.stderr
    assert said in ran.stderr
    assert not (pipeline.cohort / "filter_subjects").exists()


def test_a_registered_stage_under_another_name_is_checked(pipeline, site):
    block = f"_script:'{sys.executable} -m MEDS_transforms.cli drop_codes',coeds:[],codes:A"
    ran = run_pipeline(pipeline, site, "strict=True", "stages=[mine]", f"+stage_configs.mine={{{block}}}")
    assert ran.returncode == 1
    assert "stage_configs.mine.coeds: drop_codes has no such key (did you mean 'codes'?)" in ran.stderr
    assert "stage_configs.mine.codes must be a list of text" in ran.stderr


def test_the_name_of_a_packaged_stage_is_taken(pipeline, site):
    ran = run_pipeline(pipeline, site, "stages=[filter_subjects]")
    assert ran.returncode == 0, ran.stderr
    said = "filter_subjects: the packaged stage of this name runs, not nothing"
    assert ran.stdout.count(said) == 2  # at the beginning and at the end


@pytest.mark.parametrize(
    "text", ["drop_codes: [", "drop_codes: {}\ndrop_codes: {}\n", "drop_code: {codes: [B]}", "[1]", ""]
)
def test_a_block_that_cannot_be_read_hinders_only_its_stage(pipeline, site, text):
    (site / "their_package" / "stages" / "dropping.yaml").write_text(text)
    ran = python("-m", "MEDS_transforms.filters.filter_subjects", "--help", path=site)
    assert ran.returncode == 0, ran.stderr
    ran = run_pipeline(pipeline, site)
    assert ran.returncode == 1
    assert "dropping.yaml" in ran.stderr


def test_results_of_the_registered_stage_are_a_dataset(pipeline, site):
    assert run_pipeline(pipeline, site).returncode == 0
    assert pl.read_parquet(pipeline.cohort / "data" / "train" / "0.parquet").columns == SHARD.columns
