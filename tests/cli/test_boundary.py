"""What becomes of mistakes, bugs and faults of the machine: one message, and the traceback where it is wanted."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from helpers import SCRIPTS, Extraction, Preprocessing, measurements

OWN = """
import hydra, polars as pl
from MEDS_transforms import PREPROCESS_CONFIG_YAML, map_over

def compute(df):
    {body}

@hydra.main(version_base=None, config_path=str(PREPROCESS_CONFIG_YAML.parent), config_name=PREPROCESS_CONFIG_YAML.stem)
def main(cfg):
    map_over(cfg, compute_fn=compute)

if __name__ == "__main__":
    main()
"""
OVERFLOW = 'pl.Series([2**62]).cast(pl.Datetime("ms")).cast(pl.Datetime("us"))'
FAULTS = {
    "a bug": ("raise RuntimeError('a bug')", ["RuntimeError: a bug"]),
    "a file that is there": ("open(__file__, 'x')", ["FileExistsError"]),
    "a panic": (OVERFLOW, ["PanicException", "correct or remove them"]),
    "no memory": ("raise MemoryError", ["MemoryError", "n_subjects_per_shard"]),
}


@pytest.fixture
def data(tmp_path) -> Preprocessing:
    data = Preprocessing(tmp_path)
    data.write({"train/0": measurements((1, None, "A"))})
    return data


def run(data: Preprocessing, body: str, *, by_runner: bool) -> tuple[subprocess.CompletedProcess[str], str]:
    (data.folder / "mine.py").write_text(OWN.format(body=body))
    folders = f"input_dir: {data.dataset}\ncohort_dir: {data.cohort}\n"
    block = f"stage_configs: {{mine: {{_script: {sys.executable} {data.folder}/mine.py}}}}\n"
    (data.folder / "pipe.yaml").write_text(f"defaults: [_preprocess, _self_]\n{folders}stages: [mine]\n{block}")
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe.yaml"]
    if not by_runner:
        search = "hydra.searchpath=[pkg://MEDS_transforms.configs]"
        command = [sys.executable, "mine.py", f"--config-dir={data.folder}", "--config-name=pipe", search]
    ran = subprocess.run(command, cwd=data.folder, capture_output=True, text=True, timeout=120, check=False)
    logs = "".join(path.read_text() for path in (data.cohort / "data/.logs").glob("mine_*.log"))
    return ran, logs


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("by_runner", [True, False])
def test_a_fault_in_an_own_stage_leaves_its_traceback_in_the_log(data, fault, by_runner):
    body, said = FAULTS[fault]
    ran, logs = run(data, body, by_runner=by_runner)
    assert ran.returncode != 0
    assert "Traceback" in logs
    assert f"{data.folder}/mine.py" in logs
    assert "train/0.parquet" in logs
    assert logs.count("Traceback (most recent call last)") == 1
    if by_runner:
        for part in said:
            assert part in ran.stdout + ran.stderr


def test_a_mistake_leaves_none(data):
    ran, logs = run(data, "raise __import__('MEDS_transforms.errors').errors.InputError('fix it')", by_runner=False)
    assert ran.returncode != 0
    assert "Traceback" not in logs


BUG = """
import sys
from MEDS_transforms.filters import filter_subjects
def broken(*_):
    raise ZeroDivisionError("a bug of ours")
filter_subjects.run = broken
sys.argv[0] = "MEDS_transform-filter_subjects"
filter_subjects.main()
"""


@pytest.mark.parametrize("flags", [[], ["--multirun", "worker=range(0,1)", "hydra/launcher=submitit_local"]])
def test_a_bug_in_a_packaged_stage_says_where_its_traceback_is(data, flags):
    folders = [f"input_dir={data.dataset}", f"cohort_dir={data.cohort}", "stages=[filter_subjects]"]
    if flags:  # a launched worker imports the stage itself
        folders.append("stage_configs.filter_subjects.min_events_per_subject=1")
        (data.dataset / "data/train/0.parquet").unlink()
        (data.dataset / "data/train/0.parquet").mkdir(parents=True)
        command = [SCRIPTS / "MEDS_transform-filter_subjects", *flags, *folders]
        ran = subprocess.run(command, cwd=data.folder, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 1
        assert "no parquet files" in ran.stderr
        return
    ran = subprocess.run(
        [sys.executable, "-c", BUG, *folders], cwd=data.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1
    assert "ZeroDivisionError: a bug of ours" in ran.stderr
    assert "Traceback" not in ran.stderr
    [log] = re.findall(r"The traceback is in (\S+\.log)", ran.stderr)
    assert "broken" in Path(log).read_text()


def test_under_the_runner_a_mistake_is_said_once(data):
    (data.folder / "pipe.yaml").write_text(
        f"defaults: [_preprocess, _self_]\ninput_dir: {data.dataset}\ncohort_dir: {data.cohort}\n"
        "stages: [add_time_derived_measurements]\n"
    )
    data.write({"train/0": measurements((None, None, "A"))})
    command = [SCRIPTS / "MEDS_transform-runner", "pipeline_config_fp=pipe.yaml", "check=False"]
    ran = subprocess.run(command, cwd=data.folder, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert (ran.stdout + ran.stderr).count("row without subject_id") == 1
    assert "1 of 1 output is missing." in ran.stderr


LAUNCHED = """
from MEDS_transforms import PREPROCESS_CONFIG_YAML, map_over
from MEDS_transforms.cli.boundary import hydra_script

def compute(df):
    import polars as pl
    {body}

def run(cfg):
    map_over(cfg, compute_fn=compute)

if __name__ == "__main__":
    hydra_script(run, PREPROCESS_CONFIG_YAML)
"""


@pytest.mark.parametrize("launcher", [None, "joblib", "submitit_local"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_worker_is_one_message_with_the_log_of_the_worker(data, fault, launcher):
    body, said = FAULTS[fault]
    (data.folder / "mine.py").write_text(LAUNCHED.format(body=body))
    flags = ["--multirun", "worker=range(0,1)", f"hydra/launcher={launcher}"] if launcher else []
    folders = [f"input_dir={data.dataset}", f"cohort_dir={data.cohort}", "stages=[mine]", "+stage_configs.mine={}"]
    command = [sys.executable, "mine.py", *flags, *folders]
    ran = subprocess.run(command, cwd=data.folder, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 1
    message = ran.stderr[ran.stderr.index("error: ") :]
    for part in [*said, f"{data.cohort}/data/train/0.parquet from {data.dataset}/data/train/0.parquet"]:
        assert part in message
    assert "Traceback" not in message
    [log] = set(re.findall(r"The traceback is in (\S+\.log)", message))
    assert "in compute" in Path(log).read_text()


@pytest.mark.parametrize("fault", FAULTS)
def test_who_asks_for_the_traceback_gets_it(data, fault):
    body, [name, *_] = FAULTS[fault]
    (data.folder / "mine.py").write_text(LAUNCHED.format(body=body))
    folders = [f"input_dir={data.dataset}", f"cohort_dir={data.cohort}", "stages=[mine]", "+stage_configs.mine={}"]
    ran = subprocess.run(
        [sys.executable, "mine.py", *folders],
        cwd=data.folder,
        env={**os.environ, "HYDRA_FULL_ERROR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 1
    assert "Traceback (most recent call last)" in ran.stderr
    assert name in ran.stderr


def test_times_beyond_the_range_name_table_column_and_value(tmp_path):
    x = Extraction(tmp_path)
    times = pl.Series([0, 2**62, None], dtype=pl.Int64).cast(pl.Datetime("ms"))
    x.table("labs.parquet", pl.DataFrame({"subject_id": [1, 2, 3], "at": times}))
    x.events({"labs": {"lab": {"code": "A", "time": "col(at)"}}})
    x.run_until("split_and_shard_subjects")
    ran = x.script("convert_to_sharded_events")
    assert ran.returncode == 1
    for part in ("labs.lab.time", "'at'", "row 2", str(2**62), "milliseconds"):
        assert part in ran.stderr


@pytest.fixture
def x(tmp_path) -> Extraction:
    x = Extraction(tmp_path)
    x.table("labs.csv", "subject_id,code\n" + "".join(f"{i},A\n" for i in range(50)))
    x.events({"labs": {"lab": {"code": "A", "time": None}}})
    return x


@pytest.mark.parametrize("sink", ["head -n 1", "true", "cat > /dev/full"])
def test_nobody_needs_to_read_the_output(x, sink):
    command = " ".join(f"'{word}'" for word in [str(SCRIPTS / "MEDS_extract-shard_events"), *x.overrides()])
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | {sink}; echo status ${{PIPESTATUS[0]}} >&2"],
        cwd=x.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "status 0" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
    assert x.chunk("labs", 0, 50).height == 50


@pytest.mark.parametrize("name", ["cohort", "cohort/shard_events"])
@pytest.mark.parametrize("kind", ["a link to nothing", "a file"])
def test_something_else_where_a_folder_should_be(x, name, kind):
    place = x.folder / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to("nothing") if kind == "a link to nothing" else place.touch()
    ran = x.script("shard_events")
    assert ran.returncode == 1
    assert re.fullmatch(r"error: .* is where a folder should be\b.*\n", ran.stderr)
    assert f"{x.folder}/cohort" in ran.stderr


@pytest.mark.parametrize("threads", ["0", "-1", "many", "100000"])
def test_a_number_of_threads_that_cannot_be(x, threads):
    ran = x.script("shard_events", env={"POLARS_MAX_THREADS": threads})
    assert ran.returncode == 1
    assert f"POLARS_MAX_THREADS must be a number of threads from 1 to 4096, not '{threads}'" in ran.stderr


@pytest.mark.slow
def test_many_shards_under_the_usual_limit_of_open_files(tmp_path):
    data = Preprocessing(tmp_path)
    rows = measurements(*((i, None, "A") for i in range(1100)))
    data.write({"0": rows}, splits={"train": list(range(1100))})
    command = data.arguments("reshard_to_split", ".n_subjects_per_shard=1")
    ran = subprocess.run(
        ["bash", "-c", 'ulimit -Sn 256; exec "$@"', "bash", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(data.shards(data.cohort / "data")) == 1100


NO_LOCKS = """
#include <errno.h>
int flock(int fd, int operation) { errno = %s; return -1; }
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc makes the library that stands for a file system without locks")
@pytest.mark.parametrize("why", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_file_system_without_locks(x, why):
    (x.folder / "no_locks.c").write_text(NO_LOCKS % why)
    library = x.folder / "no_locks.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, x.folder / "no_locks.c"], check=True)
    ran = x.script("shard_events", env={"LD_PRELOAD": str(library)})
    assert ran.returncode == 1
    assert "cannot lock files" in ran.stderr
    assert str(x.cohort) in ran.stderr
    assert "Traceback" not in ran.stderr
    assert os.environ.get("LD_PRELOAD") != str(library)


@pytest.mark.parametrize(
    ("launcher", "extra"), [("joblib", "local-parallelism"), ("submitit_slurm", "slurm-parallelism")]
)
def test_a_launcher_that_is_not_installed_is_said_with_its_extra(tmp_path, launcher, extra):
    """Hydra's own words only list the launchers that there are."""
    program = (
        "import sys, hydra_plugins\n"
        "hydra_plugins.__path__ = []\n"
        "sys.argv[0] = 'MEDS_extract-shard_events'\n"
        "from MEDS_transforms.cli.script import main\n"
        "main()"
    )
    arguments = ["--multirun", "input_dir=a", "cohort_dir=b", f"hydra/launcher={launcher}"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{launcher} is not installed. Install it: pip install 'MEDS_transforms[{extra}]'" in done.stderr
