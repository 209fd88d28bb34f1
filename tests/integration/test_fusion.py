"""Stages that share a process and a pass leave what they leave one by one, however many workers there are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from faults.cohorts import CONFIGS, SELECTIVE, SMALL, contents, make_raw, strays
from helpers import SCRIPTS, Extraction, files_below
from MEDS_transforms.runner.segments import STAGES_KEY, WORKER
from MEDS_transforms.work.environment import JOURNAL, RESUMING

pytestmark = pytest.mark.xdist_group("fusion")  # one worker makes what the tests copy

PROCESSES = "parallelize: {n_workers: 2, launcher: processes}\n"
JOBLIB = "parallelize: {n_workers: 2, launcher: joblib}\n"
INTERMEDIATE = ("filter_subjects", "add_time_derived_measurements", "filter_measurements", "occlude_outliers")
INTERMEDIATE += ("normalization", "tokenization")


class Runs:
    """Runs of both pipelines by the runner, on the same raw tables."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.raw = folder, Extraction(folder / "raw")
        self.raw.folder.mkdir()
        make_raw(self.raw)

    def run(self, name: str, *arguments: str, runner: str = "") -> subprocess.CompletedProcess[str]:
        """Runs both pipelines; gives what the last one printed."""
        (self.folder / "runner.yaml").write_text(runner)
        own = [*arguments, *([f"stage_runner_fp={self.folder / 'runner.yaml'}"] if runner else [])]
        folders = [f"cohort_dir={self.folder / name / 'cohort'}", *self.raw_overrides()]
        ran = self.runner("extraction", *folders, *SMALL, *own)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return self.preprocess(name, *own)

    def copied(self, name: str, *arguments: str) -> Path:
        """Both cohorts as a run with these arguments leaves them, moved elsewhere; gives the one with the tensors."""
        like = "like_" + "_".join(arguments)
        if not (self.folder / like).exists():
            ran = self.run(like, *arguments)
            assert ran.returncode == 0, ran.stdout + ran.stderr
        shutil.copytree(self.folder / like, self.folder / name)
        return self.tensors(name)

    def raw_overrides(self) -> list[str]:
        return [o for o in self.raw.overrides() if not o.startswith("cohort_dir=")]

    def preprocess(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the pre-processing of what was extracted."""
        folders = [f"input_dir={self.folder / name / 'cohort'}", f"cohort_dir={self.tensors(name)}"]
        return self.runner("preprocessing", *folders, *SELECTIVE, *arguments)

    def runner(self, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a pipeline: one of the project's, by its name, or one by its path without suffix."""
        command = [SCRIPTS / "MEDS_transform-runner", f"pipeline_config_fp={CONFIGS / config}.yaml", *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False)

    def own(self, folder: Path, pipeline: str) -> Callable[..., str]:
        """What runs a pipeline on the dataset that was made stage by stage, must succeed, and gives what was printed.

        `pipeline` is what follows its defaults and its input.
        """
        head = f"defaults: [_preprocess, _self_]\ninput_dir: {self.folder / 'by_stage' / 'cohort'}\n"
        (folder / "own.yaml").write_text(head + pipeline)

        def run(*arguments: str) -> str:
            ran = self.runner(str(folder / "own"), *arguments)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            return ran.stdout

        return run

    def tensors(self, name: str) -> Path:
        return self.folder / name / "tensors"

    def contents(self, name: str) -> dict[str, bytes]:
        """The bytes of all files of both cohorts, their records as well."""
        found: dict[str, bytes] = {}
        for cohort in ("cohort", "tensors"):
            root = self.folder / name / cohort
            records = [p.relative_to(root).as_posix() for p in root.rglob("*.record")]
            of_cohort = contents(root) | {path: (root / path).read_bytes() for path in records}
            found |= {f"{cohort}/{path}": data for path, data in of_cohort.items()}
        return {path: data for path, data in found.items() if not path.endswith("finalize_MEDS_metadata.record")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    """Runs with one that went stage by stage, each by its own script."""
    runs = Runs(tmp_path_factory.mktemp("fusion"))
    ran = runs.run("by_stage", "fuse=false")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "in the same process" not in ran.stdout
    return runs


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runner"), [("one", ""), ("processes", PROCESSES), ("joblib", JOBLIB)])
def test_every_file_and_record_is_the_same(runs, name, runner):
    ran = runs.run(name, runner=runner)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Stage 2 of 11, add_time_derived_measurements, in the same process" in ran.stdout
    want, got = runs.contents("by_stage"), runs.contents(name)
    assert sorted(got) == sorted(want)
    assert [path for path in want if got[path] != want[path]] == []
    assert strays(runs.tensors(name)) == []
    for stage in INTERMEDIATE:
        assert list((runs.tensors(name) / stage / ".logs").rglob(f"{stage}_0_*.log")), f"{stage} has no log"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runner"), [("lean", ""), ("lean_joblib", JOBLIB)])
def test_without_intermediates_the_results_are_the_same_and_nothing_else_stays(runs, name, runner):
    ran = runs.run(name, "keep_intermediates=false", runner=runner)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    got, want = (runs.contents(of) for of in (name, "by_stage"))
    results = [path for path in want if "/data/" in path or path.split("/")[1:3:2] == ["metadata"]]
    results = [path for path in results if "accounting" not in path and not path.endswith(".record")]
    assert len(results) > 20
    assert [path for path in results if got[path] != want[path]] == []
    assert [stage for stage in INTERMEDIATE if files_below(runs.tensors(name) / stage)] == []
    assert strays(runs.tensors(name)) == []
    again = runs.preprocess(name, "keep_intermediates=false")
    assert again.stdout.count("is already done: skipped") == 11, again.stdout


@pytest.mark.slow
def test_what_was_not_kept_is_made_again_where_it_is_needed(runs):
    results = runs.copied("again", "keep_intermediates=false") / "data"
    before = contents(results)
    lost = next(results.rglob("*.nrt"))
    lost.unlink()
    ran = runs.preprocess("again", "keep_intermediates=false")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert contents(results) == before
    assert [stage for stage in INTERMEDIATE if files_below(runs.tensors("again") / stage)] == []


@pytest.mark.slow
def test_clean_frees_what_a_finished_pipeline_no_longer_needs(runs):
    tensors = runs.copied("clean")
    results = contents(tensors / "data") | contents(tensors / "metadata")
    assert [stage for stage in INTERMEDIATE if not files_below(tensors / stage)] == []
    some = next((tensors / "data").rglob("*.nrt"))
    some.rename(runs.folder / "aside")
    refused = runs.preprocess("clean", "clean=True")
    assert refused.returncode == 1
    assert "not all stages are done (tensorization)" in refused.stderr
    (runs.folder / "aside").rename(some)
    ran = runs.preprocess("clean", "clean=True")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Intermediate data removed: " in ran.stdout
    assert [stage for stage in INTERMEDIATE if files_below(tensors / stage)] == []
    assert contents(tensors / "data") | contents(tensors / "metadata") == results
    again = runs.preprocess("clean")
    assert again.stdout.count("is already done: skipped") == 11, again.stdout
    # Accounts of data that are not kept do not outlive other settings.
    other = ["keep_intermediates=false", "do_overwrite=True", "stage_configs.occlude_outliers.stddev_cutoff=2"]
    assert "occlude_outliers" in accounts(tensors)
    assert runs.preprocess("clean", *other).returncode == 0
    assert accounts(tensors) & {"occlude_outliers", "normalization", "tensorization"} == {"tensorization"}


def accounts(cohort: Path) -> set[str]:
    """The stages that have left an account."""
    return {path.stem for path in (cohort / "metadata/accounting").glob("*.json")}


@pytest.mark.slow
def test_a_block_or_last_keeps_some(runs):
    assert runs.run("some", "keep_intermediates=last", "fuse=true").returncode == 0
    there = [stage for stage in INTERMEDIATE if files_below(runs.tensors("some") / stage)]
    assert there == ["tokenization"]
    own = ["keep_intermediates=false", "++stage_configs.occlude_outliers.keep_intermediates=true"]
    runs.copied("own", "keep_intermediates=false")
    assert runs.preprocess("own", *own, "do_overwrite=True").returncode == 0
    assert [stage for stage in INTERMEDIATE if files_below(runs.tensors("own") / stage)] == ["occlude_outliers"]


@pytest.mark.slow
def test_a_script_that_needs_what_was_not_kept_says_so(runs):
    runs.copied("script", "keep_intermediates=false")
    next((runs.tensors("script") / "data").rglob("*.nrt")).unlink()
    flags = [f"--config-path={CONFIGS}", "--config-name=preprocessing"]
    folders = [f"input_dir={runs.folder / 'script' / 'cohort'}", f"cohort_dir={runs.tensors('script')}"]
    command = [SCRIPTS / "MEDS_transform-tensorization", *flags, *folders, *SELECTIVE]
    ran = subprocess.run(command, cwd=runs.folder, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 1
    assert "error: The outputs of the stage tokenization in " in ran.stderr
    assert "are not kept (keep_intermediates)" in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("noted", [True, False])
def test_a_worker_that_comes_late_to_what_was_freed_meanwhile_goes_on(runs, tmp_path, noted):
    runs.copied(f"late_{noted}", "keep_intermediates=false")
    late = "convert_to_sharded_events"
    if noted:
        (tmp_path / late).mkdir()
        (tmp_path / late / "ended").touch()
    lock = runs.folder / f"late_{noted}" / "cohort" / late / ".provenance" / f".{late}.record.lock"
    lock.touch()  # of a worker that was killed as it came to write the record
    flags = [f"--config-path={CONFIGS}", "--config-name=extraction"]
    overrides = [f"cohort_dir={runs.folder / f'late_{noted}' / 'cohort'}", *runs.raw_overrides(), *SMALL]
    command = [sys.executable, "-m", WORKER, *flags, *overrides, f"stage={late}", f"++{STAGES_KEY}={{{late}:{late}}}"]
    environment = {**os.environ, JOURNAL: str(tmp_path), RESUMING: "1"}
    ran = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    if noted:
        assert ran.returncode == 0, ran.stderr
        assert f"Stage {late}: ended by other workers" in ran.stdout
        assert not lock.exists()
    else:
        assert ran.returncode == 1
        assert "There are no chunks of the table" in ran.stderr


@pytest.mark.slow
def test_a_stage_that_fails_in_a_pass_is_named_and_what_was_made_counts(runs):
    tensors = runs.copied("failing")
    for stage in (*INTERMEDIATE, "data"):
        for path in files_below(tensors / stage):
            (tensors / stage / path).unlink()
    shard = next((runs.folder / "failing" / "cohort" / "data").rglob("*.parquet"))
    whole = shard.read_bytes()
    pl.read_parquet(shard, glob=False).with_columns(code=pl.lit(7)).write_parquet(shard)
    ran = runs.preprocess("failing", "check=False")
    assert ran.returncode == 1
    assert "damaged or replaced" in ran.stdout
    shard.write_bytes(whole)
    assert runs.preprocess("failing").returncode == 0
    want, got = runs.contents("by_stage"), runs.contents("failing")
    assert [path for path in want if got[path] != want[path]] == []


@pytest.mark.slow
def test_what_all_splits_are_counted_from_need_not_be_kept(runs):
    codes = {}
    for name, kept in [("all_kept", "true"), ("all_lean", "false")]:
        tensors = runs.copied(name, f"keep_intermediates={kept}")
        shutil.rmtree(tensors)
        counting = ("count_code_occurrences", "fit_outlier_detection", "fit_normalization")
        splits = [f"++stage_configs.{stage}.train_only=false" for stage in counting]
        ran = runs.preprocess(name, f"keep_intermediates={kept}", *splits)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        codes[name] = (tensors / "metadata/codes.parquet").read_bytes()
    assert codes["all_lean"] == codes["all_kept"] != (runs.tensors("by_stage") / "metadata/codes.parquet").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("then", ["keep_intermediates=false", "keep_intermediates=true"])
def test_an_interrupted_run_leaves_only_columns_that_are_needed_and_the_next_removes_them(runs, then):
    name = f"left_{then}"
    tensors = runs.copied(name, "keep_intermediates=false")
    want = contents(tensors / "data")
    shutil.rmtree(tensors)
    tensors.mkdir()
    (tensors / "data").write_text("no folder, so that the last stage fails")
    assert runs.preprocess(name, "keep_intermediates=false").returncode == 1
    interim = [path for path in tensors.rglob("*.parquet") if ".interim." in path.as_posix()]
    assert {(*pl.read_parquet_schema(path),) for path in interim} == {("subject_id", "time", "code", "numeric_value")}
    (tensors / "data").unlink()
    ran = runs.preprocess(name, then)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert contents(tensors / "data") == want
    assert strays(tensors) == []


@pytest.mark.slow
def test_a_column_that_is_missing_is_told_with_all_that_are_there(runs):
    tensors = runs.copied("missing", "keep_intermediates=false")
    shutil.rmtree(tensors)
    ran = runs.preprocess("missing", "keep_intermediates=false", "code_modifiers=[text_valeu]")
    assert ran.returncode == 1
    assert "no column text_valeu (did you mean 'text_value'?). It has: code, numeric_value, subject_id" in ran.stdout


@pytest.mark.slow
def test_files_that_are_overwritten_have_all_columns_though_they_are_not_kept(runs):
    tensors = runs.copied("narrow", "keep_intermediates=false")
    between = tensors / "filter_measurements"
    keeping = "++stage_configs.filter_measurements.keep_intermediates=true"
    assert runs.preprocess("narrow", "keep_intermediates=false", keeping, "do_overwrite=True").returncode == 0
    want = contents(between)
    assert {column for path in between.rglob("*.parquet") for column in pl.read_parquet_schema(path)} > {"text_value"}
    shutil.rmtree(tensors / "data")
    (tensors / "data").write_text("no folder, so that the last stage fails")
    ran = runs.preprocess("narrow", "keep_intermediates=false", "do_overwrite=True")
    assert ran.returncode == 1
    assert "The stage tensorization ended" in ran.stderr
    assert contents(between) == want


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["true", "false"])
def test_results_that_a_metadata_stage_reads_at_the_end_are_kept(runs, tmp_path, fuse):
    pipeline = """
stages: [filter_subjects, reorder_measurements, aggregate_code_metadata]
stage_configs:
  filter_subjects: {min_events_per_subject: 14}
  reorder_measurements: {ordered_code_patterns: [BIRTH]}
  aggregate_code_metadata: {aggregations: [code/n_occurrences]}
"""
    run = partial(runs.own(tmp_path, pipeline), f"cohort_dir={tmp_path / 'out'}", "keep_intermediates=false")
    found = []
    for more in ([], ["clean=True"]):
        run(f"fuse={fuse}", *more)
        found.append(contents(tmp_path / "out" / "data"))
    assert found[0] == found[1] != {}
    assert files_below(tmp_path / "out" / "filter_subjects") == []
    next((tmp_path / "out" / "data").rglob("*.parquet")).unlink()
    run(f"fuse={fuse}")  # the metadata stage is done, and shares the pass
    assert contents(tmp_path / "out" / "data") == found[0]


@pytest.mark.slow
def test_a_dataset_is_cut_anew_from_data_that_are_not_kept(runs, tmp_path):
    pipeline = """
stages: [filter_subjects, reshard_to_split, filter_measurements]
stage_configs:
  filter_subjects: {min_events_per_subject: 14}
  reshard_to_split: {n_subjects_per_shard: 5}
"""
    run = runs.own(tmp_path, pipeline)
    for kept in ("true", "false"):
        run(f"cohort_dir={tmp_path / kept}", f"keep_intermediates={kept}")
    assert contents(tmp_path / "false" / "data") == contents(tmp_path / "true" / "data") != {}
    assert files_below(tmp_path / "false" / "filter_subjects") == []


OWN = """
import hydra
import polars as pl

from MEDS_transforms.mapreduce import map_over


def halve(df: pl.LazyFrame) -> pl.LazyFrame:
    return df.with_columns(pl.col("numeric_value") / 2)


def read(path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False)


@hydra.main(version_base=None)
def main(cfg):
    CALL


if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "shares"),
    [
        ("map_over(cfg, compute_fn=halve)", True),
        ("map_over(cfg, compute_fn=halve, read_fn=read)", True),
        ("map_over(cfg, compute_fn=halve)\n    print('and more')", False),
    ],
    ids=["just map_over", "with a reader of its own", "more than that"],
)
def test_a_script_of_the_users_own_shares_the_process_if_it_just_maps(runs, tmp_path, call, shares):
    (tmp_path / "halve.py").write_text(OWN.replace("CALL", call))
    pipeline = f"""
stages: [filter_subjects, filter_measurements, halve, occlude_outliers]
stage_configs:
  filter_subjects: {{min_events_per_subject: 14}}
  filter_measurements: {{min_subjects_per_code: null}}
  halve: {{_script: "{sys.executable} {tmp_path / "halve.py"}"}}
  occlude_outliers: {{stddev_cutoff: null}}
"""
    run = runs.own(tmp_path, pipeline)
    for way in ("fuse=true", "fuse=false", "keep_intermediates=false"):
        shared = "Stage 3 of 4, halve, in the same process" in run(f"cohort_dir={tmp_path / way}", way)
        assert shared == (way != "fuse=false" and shares)
    assert contents(tmp_path / "fuse=true") == contents(tmp_path / "fuse=false")
    results = contents(tmp_path / "keep_intermediates=false" / "data")
    assert results == contents(tmp_path / "fuse=true" / "data")
