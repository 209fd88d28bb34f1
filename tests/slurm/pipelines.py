"""The pipelines that the tests run through the runner: the demo's two, and one of a stage of the tests' own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from faults.cohorts import contents, strays
from helpers import SCRIPTS, Preprocessing, measurements

from .cluster import Cluster, Job
from .configuration import PARTITION
from .processes import kill_all

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SLURM_RUNNER = f"stage_runner_fp={CONFIGS / 'stage_runner_slurm.yaml'}"
"""The stage-runner file that is for users to copy."""

PATIENCE = 240
"""Seconds after which a pipeline that has not ended counts as hanging."""

LAUNCHER = {"partition": PARTITION, "timeout_min": 5, "cpus_per_task": 4, "mem_gb": 1}
"""Settings of the launcher for stages that the tests start themselves."""


class Command:
    """A program that is running, with all that it prints in a file."""

    def __init__(self, folder: Path, argv: list[str], environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.printed = folder / "printed.txt"
        with self.printed.open("ab") as out:
            self.process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)

    def succeeds(self) -> None:
        """Fails unless the program ends with status 0."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"hangs for {PATIENCE} s:\n{self.text()}") from None
        assert status == 0, self.text()

    def text(self) -> str:
        """What it has printed."""
        return self.printed.read_text(errors="replace")


@contextmanager
def command(folder: Path, argv: list[str], environment: Mapping[str, str] = os.environ):
    """Starts a program; neither it nor what it started, jobs included, outlives the block."""
    mark = f"MEDS_TEST_COMMAND={folder}"
    running = Command(folder, argv, {**environment, "MEDS_TEST_COMMAND": str(folder)})
    try:
        yield running
    finally:
        kill_all(mark)
        running.process.wait(PATIENCE)


@dataclass
class Demo:
    """The demo's tables, and below `folder` what the two pipelines make of them."""

    raw: Path
    folder: Path

    @property
    def cohort(self) -> Path:
        return self.folder / "cohort"

    @property
    def tensors(self) -> Path:
        return self.folder / "tensors"

    def extraction(self) -> list[str]:
        """The overrides of the extraction: as in the demo's script, but with smaller chunks and shards, thus more."""
        return [
            f"input_dir={self.raw}",
            f"cohort_dir={self.cohort}",
            f"event_conversion_config_fp={ROOT / 'examples/demo/event_cfgs.yaml'}",
            "etl_metadata.dataset_name=demo",
            "etl_metadata.dataset_version=1.0",
            "stage_configs.shard_events.row_chunksize=500",
            "stage_configs.split_and_shard_subjects.n_subjects_per_shard=30",
        ]

    def preprocessing(self) -> list[str]:
        """The overrides of the pre-processing."""
        return [
            f"input_dir={self.cohort}",
            f"cohort_dir={self.tensors}",
            "stage_configs.filter_measurements.min_subjects_per_code=5",
        ]

    def extract(self, *arguments: str, environment: Mapping[str, str] = os.environ):
        """Starts the extraction through the runner; see `command`."""
        argv = [*runner(CONFIGS / "extraction.yaml"), *arguments, *self.extraction()]
        return command(self.folder / "extraction", argv, environment)

    def preprocess(self, *arguments: str, environment: Mapping[str, str] = os.environ):
        """Starts the pre-processing through the runner."""
        argv = [*runner(CONFIGS / "preprocessing.yaml"), *arguments, *self.preprocessing()]
        return command(self.folder / "preprocessing", argv, environment)


def runner(pipeline_config_fp: Path) -> list[str]:
    """The beginning of a command line of the runner."""
    return [str(SCRIPTS / "MEDS_transform-runner"), f"pipeline_config_fp={pipeline_config_fp}"]


def assert_same_files(got: Path, want: Path) -> None:
    """Fails unless two cohorts are the same byte for byte, with nothing left lying about in the first."""
    found, expected = contents(got), contents(want)
    assert expected
    assert strays(got) == []
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


class NotedCopy:
    """A pipeline of one stage, `noted_copy`, that copies six shards and notes who did what."""

    shards = tuple("abcdef")
    script = Path(__file__).with_name("noted_copy.py")

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.data, self.notes = Preprocessing(folder), folder / "notes"
        self.notes.mkdir()
        # The stage is imported by its name where it runs.
        self.environment = {**cluster.environment, "PYTHONPATH": str(self.script.parent)}
        self.data.write({f"train/{name}": measurements((n, None, name, n)) for n, name in enumerate(self.shards)})
        block = {"_script": f"'{sys.executable}' '{self.script}'", "notes": str(self.notes)}
        pipeline = {
            "defaults": ["_preprocess", "_self_"],
            "hydra": {"searchpath": ["pkg://MEDS_transforms.configs"]},
            "input_dir": str(self.data.dataset),
            "stages": ["noted_copy"],
            "stage_configs": {"noted_copy": block},
        }
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
        runners = {"parallelize": {"n_workers": 2, "launcher": "submitit_slurm", "launcher_params": LAUNCHER}}
        (folder / "slurm.yaml").write_text(yaml.safe_dump(runners))

    def run(self, cohort: Path, *arguments: str, within: Sequence[str] = ()):
        """Starts the pipeline through the runner, which another command may start; see `command`."""
        argv = [*within, *runner(self.data.folder / "pipeline.yaml"), f"cohort_dir={cohort}", *arguments]
        return command(self.data.folder, argv, self.environment)

    def run_on_cluster(self, cohort: Path, within: Sequence[str] = ()):
        """The same, with two workers, one on each node."""
        return self.run(cohort, f"stage_runner_fp={self.data.folder / 'slurm.yaml'}", within=within)

    def hold(self, *shards: str) -> None:
        """Workers that take one of these shards wait."""
        for shard in shards:
            (self.notes / f"hold.{shard}").touch()

    def let_go(self) -> None:
        """They need not wait any longer."""
        for path in self.notes.glob("hold.*"):
            path.unlink()

    def takings(self) -> list[dict]:
        """Who took which shard so far."""
        paths = [path for path in self.notes.glob("*.json") if not path.name.startswith(".")]
        return [json.loads(path.read_text()) for path in paths]

    def forget(self) -> None:
        """Removes the notes."""
        for path in self.notes.iterdir():
            path.unlink()


def new_jobs(cluster: Cluster, before: list[Job]) -> list[Job]:
    """The jobs that were not there before."""
    known = {job.id for job in before}
    return [job for job in cluster.jobs() if job.id not in known]
