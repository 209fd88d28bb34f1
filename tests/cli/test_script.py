"""Scripts, the package's and users' own, run as programs: names, help, key checks, errors, many workers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from omegaconf import OmegaConf

from helpers import EXTRACTION_STAGES, SCRIPTS, Extraction, files_below, write_shards
from MEDS_transforms.cli.threads import share_cores
from MEDS_transforms.settings.folders import INFERRED_STAGE_KEYS
from MEDS_transforms.settings.packaged import CONFIG_DIR
from MEDS_transforms.settings.resolvers import stage_help
from MEDS_transforms.work.environment import JOURNAL
from MEDS_transforms.work.journal import read_journal

EVENTS = {"subject_id_col": "id", "labs": {"lab": {"code": ["LAB", "col(test)"], "time": None, "numeric_value": "x"}}}
LABS = pl.DataFrame({"id": [1, 2, 3, 4], "test": ["a", "b", "a", "b"], "x": [1, 2, 3, 4]})

MY_STAGE = '''
"""Multiplies the numbers. Keys: `factor` (number): by what."""

import hydra
import polars as pl
from MEDS_transforms import PREPROCESS_CONFIG_YAML
from MEDS_transforms.mapreduce.mapper import map_over


def multiply(df, stage_cfg):
    return df.with_columns(pl.col("numeric_value") * stage_cfg.factor)


@hydra.main(version_base=None, config_path=str(PREPROCESS_CONFIG_YAML.parent), config_name=PREPROCESS_CONFIG_YAML.stem)
def main(cfg):
    print(f"{cfg.stage} of worker {cfg.worker}", flush=True)
    map_over(cfg, compute_fn=multiply)


if __name__ == "__main__":
    main()
'''
CONSOLE_SCRIPT = "import sys\nfrom my_stage import main\nif __name__ == '__main__':\n    sys.exit(main())\n"

SHARDS = {name: pl.DataFrame({"subject_id": [1], "numeric_value": [n]}) for n, name in enumerate(["train/0", "1", "2"])}


SET_BY_STAGES = ("HYDRA_FULL_ERROR", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS")


def call(*command, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a folder, whatever tests have set in this process."""
    before = {k: v for k, v in os.environ.items() if k not in SET_BY_STAGES}
    return subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**before, "PYTHONPATH": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def x(tmp_path) -> Extraction:
    """One table and its event conversion file."""
    x = Extraction(tmp_path)
    x.table("labs.parquet", LABS)
    x.events(EVENTS)
    return x


@pytest.fixture
def mine(tmp_path) -> Path:
    """A folder with a dataset of three shards and a user's own stage, as a file and as a console script."""
    write_shards(tmp_path / "in" / "data", SHARDS)
    (tmp_path / "my_stage.py").write_text(MY_STAGE)
    (tmp_path / "run-it").write_text(CONSOLE_SCRIPT)
    return tmp_path


def run_mine(folder: Path, *arguments: str, program: str = "my_stage.py", **env: str):
    paths = [f"input_dir={folder}/in", f"cohort_dir={folder}/out"]
    return call(sys.executable, program, *arguments, *paths, folder=folder, **env)


MY_PIPELINE = ["stages=[my_stage]", "+stage_configs.my_stage.factor=3"]


def results(folder: Path) -> dict[str, list[int]]:
    """The numbers in every output; there must be no other file."""
    return {
        name.removesuffix(".parquet"): pl.read_parquet(folder / name)["numeric_value"].to_list()
        for name in files_below(folder)
    }


# Names


@pytest.mark.parametrize("program", ["my_stage.py", "run-it"])
def test_an_own_script_is_named_after_its_file_or_the_module_of_its_main(mine, program):
    ran = run_mine(mine, *MY_PIPELINE, program=program)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == "my_stage of worker 0"
    assert results(mine / "out" / "data") == {"train/0": [0], "1": [3], "2": [6]}
    assert [path.name.startswith("my_stage_0_") for path in (mine / "out/data/.logs").glob("*.log")] == [True]


def test_one_script_serves_several_stages(mine):
    pipeline = ["stages=[a,b]", "+stage_configs.a.factor=2", "+stage_configs.b.factor=5"]
    for stage in "ab":
        ran = run_mine(mine, *pipeline, f"stage={stage}")
        assert ran.returncode == 0, ran.stderr
    assert results(mine / "out" / "a") == {"train/0": [0], "1": [2], "2": [4]}
    assert results(mine / "out" / "data") == {"train/0": [0], "1": [10], "2": [20]}


@pytest.mark.parametrize("flags", [[], ["stage=chunks"], ["++stage=chunks"]])
def test_a_packaged_script_is_its_stage_unless_it_is_told_another(x, flags):
    stages = "stages=[shard_events,chunks]"
    settings = ["+stage_configs.chunks={row_chunksize:2,infer_schema_length:1,data_input_dir:${input_dir}}"]
    ran = x.script("shard_events", stages, *settings, *flags)
    assert ran.returncode == 0, ran.stderr
    chunks = ["[0-2).parquet", "[2-4).parquet"] if flags else ["[0-4).parquet"]
    assert files_below(x.cohort / ("data" if flags else "shard_events")) == [f"labs/{chunk}" for chunk in chunks]


# Configurations


def test_an_own_pipeline_file_based_on_the_packaged_one(mine):
    (mine / "my pipeline.yaml").write_text(
        f"defaults: [_preprocess, _self_]\ninput_dir: {mine}/in\ncohort_dir: {mine}/out\n"
        "stages: [my_stage]\nstage_configs:\n  my_stage:\n    factor: 7\n"
    )
    ran = call(
        *(sys.executable, "my_stage.py", f"--config-path={mine}", "--config-name=my pipeline"),
        "hydra.searchpath=[pkg://MEDS_transforms.configs]",
        folder=mine,
    )
    assert ran.returncode == 0, ran.stderr
    assert results(mine / "out" / "data") == {"train/0": [0], "1": [7], "2": [14]}


@pytest.mark.parametrize("flag", ["--config-path", "--config-dir"])
def test_a_packaged_script_with_an_own_pipeline_file(x, flag):
    (x.folder / "mine.yaml").write_text(
        f"defaults: [_extract, _self_]\ninput_dir: {x.raw}\ncohort_dir: {x.cohort}\n"
        f"event_conversion_config_fp: {x.event_file}\nstage_configs:\n  shard_events:\n    row_chunksize: 3\n"
    )
    ran = call(
        *(SCRIPTS / "MEDS_extract-shard_events", f"{flag}={x.folder}", "--config-name=mine"),
        "hydra.searchpath=[pkg://MEDS_transforms.configs]",
        folder=x.folder,
    )
    assert ran.returncode == 0, ran.stderr
    assert files_below(x.cohort / "shard_events") == ["labs/[0-3).parquet", "labs/[3-4).parquet"]


def test_the_resolved_configuration_as_in_the_readme(tmp_path):
    """The stages of a pipeline are overridden, and shown instead of run."""
    ran = call(
        *(SCRIPTS / "MEDS_extract-merge_to_MEDS_cohort", "input_dir=foo", "cohort_dir=bar"),
        *('stages=["merge_to_MEDS_cohort", "finalize_MEDS_data"]', "--cfg", "job", "--resolve"),
        folder=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert "\nstage: merge_to_MEDS_cohort\n" in ran.stdout
    assert "\n  data_input_dir: foo/data\n" in ran.stdout
    assert "\n  output_dir: bar/merge_to_MEDS_cohort\n" in ran.stdout
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "flags",
    [
        ["--cfg", "job", "input_dir=foo", "cohort_dir=bar"],
        ["input_dir=foo", "cohort_dir=bar", "--cfg=job"],
        ["input_dir=foo", "cohort_dir=bar", "-c", "job", "-p", "stage"],
        ["--cfg", "job"],
    ],
)
def test_flags_may_stand_before_or_after_the_overrides(tmp_path, flags):
    ran = call(SCRIPTS / "MEDS_extract-shard_events", *flags, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "shard_events" in ran.stdout


# Help


@pytest.mark.parametrize("flags", [["--help"], ["input_dir=foo", "cohort_dir=bar", "--help"], ["-h"]])
def test_help_of_a_packaged_script(tmp_path, flags):
    ran = call(SCRIPTS / "MEDS_extract-shard_events", *flags, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[:5] == [
        "== MEDS/shard_events ==",
        "MEDS/shard_events is a command line tool that provides an interface for running MEDS pipelines.",
        "",
        "**Pipeline description:**",
        "Extracts raw tables to a MEDS dataset, as a whole or stage by stage. Arguments:",
    ]
    stage = lines[lines.index("**Stage description:**") + 1 :]
    assert stage
    for key in ("row_chunksize (whole number of at least 1; rows; default 200000000)", "infer_schema_length ("):
        assert any(key in line for line in stage)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("stage", EXTRACTION_STAGES)
def test_every_stage_tells_all_its_keys(stage):
    own = stage_help(stage, f"MEDS_transforms.extract.{stage}")
    keys = set(OmegaConf.load(CONFIG_DIR / "stage_configs" / f"{stage}.yaml")[stage] or {}) - INFERRED_STAGE_KEYS
    assert [key for key in keys if f"  - {key} (" not in own] == []
    assert "TODO" not in own


@pytest.mark.parametrize("program", ["my_stage.py", "run-it"])
def test_help_of_an_own_script(mine, program):
    ran = call(sys.executable, program, "--help", "stages=[my_stage]", folder=mine)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("== MEDS/my_stage ==\n")
    _, _, own = ran.stdout.partition("**Stage description:**\n")
    assert own.strip() == "Multiplies the numbers. Keys: `factor` (number): by what."


def test_descriptions_of_the_pipeline_file_win(tmp_path):
    ran = call(
        *(SCRIPTS / "MEDS_extract-shard_events", "--help", "description=Of the pipeline."),
        "+stage_configs.shard_events.description=Of the stage.",
        folder=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert "**Pipeline description:**\nOf the pipeline.\n\n**Stage description:**\nOf the stage.\n" in ran.stdout


# Keys


def test_an_unknown_key_is_warned_of_at_the_beginning_and_at_the_end(x):
    ran = x.script("shard_events", "+stage_configs.shard_events.row_chunksiz=2")
    assert ran.returncode == 0, ran.stderr
    lines = (ran.stdout + ran.stderr).splitlines()
    warned = [i for i, line in enumerate(lines) if "WARNING" in line]
    for i in warned:
        assert "stage_configs.shard_events.row_chunksiz: shard_events has no such key" in lines[i]
        assert "did you mean 'row_chunksize'?" in lines[i]
    assert len(warned) == 2
    assert warned[-1] == len(lines) - 1


def test_with_strict_an_unknown_key_is_an_error_before_anything_is_done(x):
    ran = x.script("shard_events", "strict=true", "+stage_configs.shard_events.row_chunksiz=2")
    assert ran.returncode == 1
    assert "row_chunksiz: shard_events has no such key (did you mean 'row_chunksize'?)" in ran.stderr
    assert files_below(x.cohort / "shard_events") == []


def test_keys_that_are_not_checked(x):
    ran = x.script("shard_events", "strict=true", "++stage_configs.shard_events={_note:1}")
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stdout + ran.stderr


def test_a_block_of_no_stage_is_warned_of_or_an_error(x):
    block = "+stage_configs.shard_event.row_chunksize=2"
    message = "stage_configs.shard_event: there is no such stage in `stages` (did you mean 'shard_events'?)"
    ran = x.script("shard_events", block, "strict=on")
    assert ran.returncode == 1
    assert message in ran.stderr
    ran = x.script("shard_events", block)
    assert ran.returncode == 0, ran.stderr
    assert (ran.stdout + ran.stderr).count(message) == 2


@pytest.mark.parametrize("word", ["no", "off", "false"])
def test_do_overwrite_is_what_the_word_means(x, word):
    x.script("shard_events")
    ran = x.script("shard_events", f"do_overwrite={word}")
    assert ran.returncode == 0, ran.stderr
    assert "labs: 4 rows" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("wrong", ["do_overwrite=flase", "strict=maybe", "worker=abc", "worker=null", "worker=-1"])
def test_a_setting_without_a_meaning_is_an_error_before_anything_is_done(x, wrong):
    ran = x.script("shard_events", wrong)
    assert ran.returncode == 1
    key = wrong.partition("=")[0]
    assert f"error: {key} must be " in ran.stderr
    assert files_below(x.cohort) == []


def test_keys_of_a_packaged_script_under_another_name_are_checked(x):
    ran = x.script(
        "shard_events", "stage=chunks", "stages=[chunks]", "+stage_configs.chunks={row_chunksiz: 2}", "strict=true"
    )
    assert ran.returncode == 1
    assert (
        "stage_configs.chunks.row_chunksiz: shard_events has no such key (did you mean 'row_chunksize'?)" in ran.stderr
    )


def test_keys_of_an_own_stage_are_not_checked(mine):
    ran = run_mine(mine, *MY_PIPELINE, "strict=true")
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stdout + ran.stderr


# Errors

MESSAGE = "{key} is not set. Give it in the pipeline file, or as {key}=… on the command line."


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (["input_dir", "event_conversion_config_fp"], "cohort_dir"),
        (["cohort_dir", "event_conversion_config_fp"], "input_dir"),
        (["input_dir", "cohort_dir"], "event_conversion_config_fp"),
    ],
)
def test_a_missing_key_is_one_message(x, given, key):
    ran = call(
        SCRIPTS / "MEDS_extract-shard_events",
        *(override for override in x.overrides() if override.partition("=")[0] in given),
        folder=x.folder,
    )
    assert ran.returncode == 1
    assert ran.stderr.count(MESSAGE.format(key=key)) == 1
    assert "Traceback" not in ran.stdout + ran.stderr
    assert ran.stderr.strip().splitlines()[-1].endswith(MESSAGE.format(key=key))


FAILURES = {
    "the configuration": (["stage=shard_event"], "'shard_event' is not a valid stage name", "Traceback"),
    "an override": (["no_such_key=1"], "no_such_key", "Traceback"),
    "the grammar": (["worker=range(0,"], "range(0,", "Traceback"),
    "the stage": (["input_dir=/no/such/folder"], "/no/such/folder", "Traceback"),
}


@pytest.mark.parametrize("flags", [[], ["--multirun", "hydra/launcher=joblib", "worker=range(0,2)"]])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_one_message_and_a_status(x, failure, flags):
    overrides, message, trace = FAILURES[failure]
    ran = call(SCRIPTS / "MEDS_extract-shard_events", *flags, *x.overrides(*overrides), folder=x.folder)
    assert ran.returncode == 1
    assert sum(line.startswith("error: ") for line in ran.stderr.splitlines()) == 1
    assert message in ran.stderr.partition("error: ")[2]
    assert trace not in ran.stdout + ran.stderr


@pytest.mark.parametrize("failure", FAILURES)
def test_the_trace_is_shown_to_whom_asks_for_it(x, failure):
    overrides, message, trace = FAILURES[failure]
    ran = x.script("shard_events", *overrides, env={"HYDRA_FULL_ERROR": "1"})
    assert ran.returncode == 1
    assert trace in ran.stderr
    assert message in ran.stderr


def test_a_damaged_shard_is_named(x):
    x.run_until("convert_to_sharded_events")
    damaged = next(p for p in (x.cohort / "convert_to_sharded_events").rglob("*.parquet") if "train" in p.parts)
    damaged.write_bytes(b"PAR1 this is no parquet")
    ran = x.script("merge_to_MEDS_cohort")
    assert ran.returncode == 1
    assert "convert_to_sharded_events: train/0/labs/[0-4).parquet" in ran.stderr
    assert "Run convert_to_sharded_events again" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("failure", ["the configuration", "an override"])
def test_an_error_of_the_configuration_is_noted_for_the_runner(x, failure):
    x.script("shard_events", *FAILURES[failure][0], env={JOURNAL: str(x.folder / "journal")})
    assert read_journal(x.folder / "journal").would_fail_again


def test_an_error_is_in_the_log_too(x):
    x.script("shard_events", f"input_dir={x.folder}/nowhere")
    logs = [path.read_text() for path in (x.cohort / "shard_events" / ".logs").glob("*.log")]
    assert len(logs) == 1
    assert "nowhere" in logs[0]


def test_the_log_of_a_small_run_is_short(x):
    ran = x.script("shard_events")
    assert ran.returncode == 0, ran.stderr
    assert 2 <= len((ran.stdout + ran.stderr).splitlines()) <= 10
    log = next((x.cohort / "shard_events" / ".logs").glob("shard_events_0_*.log"))
    assert 2 <= len(log.read_text().splitlines()) <= 10


# Many workers


@pytest.mark.parametrize("flags", [[], ["stage=shard_events"]])
def test_workers_of_a_packaged_script(x, flags):
    for name in ("a", "b"):
        x.table(f"{name}.parquet", LABS)
    x.events(EVENTS | dict.fromkeys("ab", EVENTS["labs"]))
    ran = call(
        *(SCRIPTS / "MEDS_extract-shard_events", "--multirun", "worker=range(0,3)", "hydra/launcher=joblib"),
        *x.overrides(*flags),
        folder=x.folder,
    )
    assert ran.returncode == 0, ran.stderr
    assert files_below(x.cohort / "shard_events") == [f"{n}/[0-4).parquet" for n in ("a", "b", "labs")]
    logs = sorted(path.name[: len("shard_events_0")] for path in (x.cohort / "shard_events/.logs").rglob("*.log"))
    assert logs == ["shard_events_0", "shard_events_1", "shard_events_2"]


@pytest.mark.parametrize(("program", "flags"), [("my_stage.py", []), ("run-it", []), ("run-it", ["stage=my_stage"])])
def test_workers_of_an_own_script(mine, program, flags):
    launched = ["--multirun", "worker=range(0,3)", "hydra/launcher=joblib"]
    ran = run_mine(mine, *launched, *MY_PIPELINE, *flags, program=program)
    assert ran.returncode == 0, ran.stderr
    # Not line by line: workers write to the same output, and their lines may run into each other.
    said = sorted(re.findall(r"\w+ of worker \d", ran.stdout))
    assert said == [f"my_stage of worker {i}" for i in range(3)]
    assert results(mine / "out" / "data") == {"train/0": [0], "1": [3], "2": [6]}


PACKAGED_LIKE = """
import json, os, time
from pathlib import Path


def run(cfg):
    import polars as pl

    launched = "MEDS_TRANSFORMS_RUN" in os.environ
    said = {"worker": cfg.worker, "threads": pl.thread_pool_size(), "launched": launched}
    Path(cfg.cohort_dir, f"said.{cfg.worker}.json").write_text(json.dumps(said))
"""
LIKE = """
from MEDS_transforms import PREPROCESS_CONFIG_YAML
from MEDS_transforms.cli.script import stage_script

stage_script("like", PREPROCESS_CONFIG_YAML)()
"""


@pytest.mark.parametrize(
    ("env", "threads"), [({}, max(1, len(os.sched_getaffinity(0)) // 3)), ({"POLARS_MAX_THREADS": "5"}, 5)]
)
def test_local_workers_share_the_cores_and_know_of_their_run(tmp_path, env, threads):
    (tmp_path / "like.py").write_text(PACKAGED_LIKE)
    (tmp_path / "cohort").mkdir()
    ran = call(
        *(sys.executable, "-c", LIKE, "--multirun", "worker=range(0,3)", "hydra/launcher=joblib"),
        *("input_dir=in", f"cohort_dir={tmp_path}/cohort", "stages=[like]"),
        folder=tmp_path,
        **env,
    )
    assert ran.returncode == 0, ran.stderr
    said = [json.loads(path.read_text()) for path in sorted((tmp_path / "cohort").glob("said.*"))]
    assert said == [{"worker": i, "threads": threads, "launched": True} for i in range(3)]


SAYS_BLAS_THREADS = """
import os
from pathlib import Path


def run(cfg):
    Path(cfg.cohort_dir, "said").write_text(os.environ.get("OPENBLAS_NUM_THREADS", "all"))
"""


@pytest.mark.parametrize(
    ("module", "env", "threads"),
    [
        ("like", {}, "all"),
        ("MEDS_transforms.like", {}, "1"),
        ("MEDS_transforms.like", {"OPENBLAS_NUM_THREADS": "3"}, "3"),
    ],
)
def test_packaged_stages_alone_do_without_threads_for_matrices(tmp_path, module, env, threads):
    """The module of the stage is found below the package as one in another folder, on the package's path."""
    (tmp_path / "like.py").write_text(SAYS_BLAS_THREADS)
    below = f"import MEDS_transforms\nMEDS_transforms.__path__.append({str(tmp_path)!r})\n"
    script = below + LIKE.replace('stage_script("like"', f'stage_script("{module}"')
    ran = call(
        *(sys.executable, "-c", script, "input_dir=in", f"cohort_dir={tmp_path}", "stages=[like]"),
        folder=tmp_path,
        **env,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "said").read_text() == threads


SAYS_ALL = """
from omegaconf import OmegaConf


def run(cfg):
    print(OmegaConf.to_yaml(cfg))
    print(len(cfg.stage_cfg.password))
"""


def test_a_configuration_that_a_stage_prints_has_no_secrets(tmp_path):
    """What comes from the environment is there as a reference, and is known where it is asked for."""
    (tmp_path / "like.py").write_text(SAYS_ALL)
    ran = call(
        *(sys.executable, "-c", LIKE, "input_dir=in", "cohort_dir=out", "stages=[like]", "hydra.verbose=true"),
        "+stage_configs.like.password=${oc.env:SECRET}",
        folder=tmp_path,
        SECRET="xyzzy-1",
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("password: ${oc.env:SECRET}") >= 2  # the stage's own words, and those of the debug log
    assert "\n7\n" in ran.stdout
    assert "xyzzy" not in ran.stdout + ran.stderr


CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("argv", "before", "threads"),
    [
        (["hydra/launcher=joblib", "worker=range(0,2)"], None, max(1, CORES // 2)),
        (["hydra/launcher=submitit_local", "worker=0,1,2"], None, max(1, CORES // 3)),
        (["hydra/launcher=joblib", "worker=range(0,1000)"], None, 1),
        (["hydra/launcher=joblib", "worker=range(0,1000)", "hydra.launcher.n_jobs=1"], None, CORES),
        (["hydra/launcher=joblib", "worker=3"], None, CORES),
        (["hydra/launcher=joblib"], None, CORES),
        (["hydra/launcher=joblib", "worker=range(0,0)"], None, CORES),
        (["hydra/launcher=joblib", "worker=range(0,2)"], "7", 7),
        (["hydra/launcher=submitit_slurm", "worker=range(0,2)"], None, None),
        (["worker=range(0,2)"], None, None),
        (["--help"], None, None),
    ],
)
def test_the_share_of_the_cores(argv, before, threads):
    environ = {} if before is None else {"POLARS_MAX_THREADS": before}
    share_cores(argv, environ)
    assert environ.get("POLARS_MAX_THREADS") == (None if threads is None else str(threads))


@pytest.mark.parametrize("flags", [[], ["--multirun", "worker=range(0,2)", "hydra/launcher=joblib"]])
def test_do_overwrite_replaces_what_was_there_before_the_run(x, flags):
    x.script("shard_events")
    x.table("labs.parquet", LABS.with_columns(x=pl.col("x") * 2))
    script = SCRIPTS / "MEDS_extract-shard_events"
    for overwrite, status, expected in ((False, 1, [1, 2, 3, 4]), (True, 0, [2, 4, 6, 8])):
        ran = call(script, *flags, *x.overrides(f"do_overwrite={overwrite}"), folder=x.folder)
        assert ran.returncode == status, ran.stderr
        assert x.chunk("labs", 0, 4)["x"].to_list() == expected
    assert (ran.stdout + ran.stderr).count("labs: 4 rows") == 1  # once, by one of the workers
    assert files_below(x.cohort) == ["shard_events/labs/[0-4).parquet"]
