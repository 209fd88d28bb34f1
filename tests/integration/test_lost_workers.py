"""The runner, when workers of a stage are lost: real workers, mostly under joblib, which kill themselves."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import yaml

from helpers import SCRIPTS, files_below, write_shards

SHARDS = ["train/0", "train/1", "train/2", "tuning/0", "held_out/0"]

STAGE = """
import json, os, signal, sys, time
from pathlib import Path

import hydra

from MEDS_transforms import PREPROCESS_CONFIG_YAML
from MEDS_transforms.dataset.io import scan_parquet
from MEDS_transforms.mapreduce.mapper import map_over


def die_while_another_reads(here):
    try:
        (here / "dying").mkdir()
    except FileExistsError:
        (here / "reading").touch()
        time.sleep(60)
        raise TimeoutError("joblib did not end this worker with the lost one")
    for _ in range(6000):
        if (here / "reading").exists():
            (here / "one_dies").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
    raise TimeoutError("the other worker does not come")


def read(path):
    here = Path(os.environ["NOTES"])
    shard = "/".join(path.with_suffix("").parts[-2:])
    with (here / "read").open("a") as file:
        file.write(shard + chr(10))
    if (here / "one_dies").exists():
        die_while_another_reads(here)
    deadly = here / f"deadly.{path.stem}.{path.parent.name}"
    if deadly.exists():
        lives = int(deadly.read_text())
        if lives == 0:
            raise ValueError(f"{shard} is bad")
        if lives == 1:
            deadly.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return scan_parquet(path)


@hydra.main(version_base=None, config_path=str(PREPROCESS_CONFIG_YAML.parent), config_name=PREPROCESS_CONFIG_YAML.stem)
def main(cfg):
    (Path(os.environ["NOTES"]) / f"worker.{os.getpid()}.{cfg.worker}").touch()
    map_over(cfg, read_fn=read)


if __name__ == "__main__":
    main()
"""


class Pipeline:
    """A pipeline of one stage with two workers, each shard of which may be deadly to who reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_shards(folder / "in/data", {name: pl.DataFrame({"subject_id": [n]}) for n, name in enumerate(SHARDS)})
        (folder / "stage.py").write_text(STAGE)
        stage = {"_script": f"'{sys.executable}' '{folder}/stage.py'"}
        pipeline = {
            "defaults": ["_preprocess", "_self_"],
            "input_dir": f"{folder}/in",
            "cohort_dir": f"{folder}/out",
            "stages": ["copy"],
            "stage_configs": {"copy": stage},
        }
        (folder / "pipe.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))

    def make_deadly(self, shard: str, lives: int) -> None:
        """1: whoever reads the shard first is killed; 2: whoever reads it; 0: it is bad."""
        split, number = shard.split("/")
        (self.folder / f"deadly.{number}.{split}").write_text(str(lives))

    def make_one_die(self) -> None:
        """One of two workers is killed at its first shard, while the other is at its own."""
        (self.folder / "one_dies").touch()

    def run(self, *overrides: str, **parallelize) -> subprocess.CompletedProcess[str]:
        block = {"n_workers": 2, "launcher": "joblib", **parallelize}
        (self.folder / "runner.yaml").write_text(yaml.safe_dump({"parallelize": block}))
        files = ["pipeline_config_fp=pipe.yaml", "stage_runner_fp=runner.yaml"]
        return subprocess.run(
            [SCRIPTS / "MEDS_transform-runner", *files, *overrides],
            cwd=self.folder,
            env={**os.environ, "NOTES": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    @property
    def reads(self) -> Counter[str]:
        """How often each shard was read."""
        return Counter((self.folder / "read").read_text().split())

    def outputs(self) -> list[str]:
        return files_below(self.folder / "out/data")

    def done(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "out/.logs").glob("*.done"))


@pytest.fixture
def pipeline(tmp_path) -> Pipeline:
    return Pipeline(tmp_path)


ALL = sorted(f"{shard}.parquet" for shard in SHARDS)


def test_a_worker_that_is_lost_on_the_way_does_not_lose_the_stage(pipeline):
    """Joblib ends the other worker with the lost one, so that its shard is begun twice as well."""
    pipeline.make_one_die()
    ran = pipeline.run()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert pipeline.outputs() == ALL
    assert pipeline.done() == ["_all_stages.done", "copy.done"]
    assert "(retry 1 of 2)" in ran.stdout
    assert sorted(pipeline.reads.values()) == [1, 1, 1, 2, 2]
    assert not list((pipeline.folder / "out/.logs").glob("*.journal"))


def test_of_workers_that_the_runner_starts_a_lost_one_leaves_the_others_alone(pipeline):
    pipeline.make_deadly("train/1", lives=1)
    ran = pipeline.run(launcher="processes")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert pipeline.outputs() == ALL
    assert pipeline.done() == ["_all_stages.done", "copy.done"]
    assert pipeline.reads == Counter({shard: 1 + (shard == "train/1") for shard in SHARDS})
    assert {path.name.rpartition(".")[2] for path in pipeline.folder.glob("worker.*")} == {"0", "1"}


def test_a_bad_shard_fails_a_stage_of_workers_that_the_runner_starts(pipeline):
    pipeline.make_deadly("train/1", lives=0)
    ran = pipeline.run(launcher="processes", max_retries=0)
    assert ran.returncode == 1
    assert "train/1 is bad" in ran.stdout
    assert pipeline.done() == []
    assert "train/1.parquet" not in pipeline.outputs()


def test_a_lost_worker_of_an_overwriting_run(pipeline):
    assert pipeline.run().returncode == 0
    (pipeline.folder / "read").unlink()
    pipeline.make_deadly("train/1", lives=1)
    ran = pipeline.run("do_overwrite=True")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert pipeline.outputs() == ALL
    assert set(pipeline.reads) == set(SHARDS)
    assert sum(pipeline.reads.values()) <= len(SHARDS) + 2  # what the first attempt replaced was not made again


def test_a_shard_that_kills_its_workers_ends_the_stage_with_what_is_missing_and_why(pipeline):
    pipeline.make_deadly("train/1", lives=2)
    ran = pipeline.run(max_retries=1)
    assert ran.returncode == 1
    assert 2 <= pipeline.reads["train/1"] <= 4  # in each attempt one worker, and the other before it is ended
    assert "also after 1 retry" in ran.stderr
    assert "out/data/train/1.parquet: its worker was lost (process " in ran.stderr
    assert pipeline.done() == []
    (pipeline.folder / "deadly.1.train").unlink()
    assert pipeline.run().returncode == 0
    assert pipeline.outputs() == ALL


def test_a_bad_shard_is_named_with_its_error(pipeline):
    pipeline.make_deadly("train/1", lives=0)
    ran = pipeline.run(max_retries=1)
    assert ran.returncode == 1
    assert "out/data/train/1.parquet: ValueError: train/1 is bad" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_retries_the_first_loss_ends_the_stage(pipeline):
    pipeline.make_deadly("train/1", lives=1)
    ran = pipeline.run(max_retries=0)
    assert ran.returncode == 1
    assert "Running it again" not in ran.stdout + ran.stderr
    assert len(list(pipeline.folder.glob("worker.*"))) <= 2


REPORT = """
import json, os, sys
print(json.dumps({key: os.environ.get(key) for key in ("MEDS_TRANSFORMS_JOURNAL", "MEDS_TRANSFORMS_RUN")}))
sys.exit(0 if os.path.exists("again") else (open("again", "w").close() or 1))
"""


def test_all_attempts_are_one_run(tmp_path):
    (tmp_path / "report.py").write_text(REPORT)
    stage = {"_script": f"'{sys.executable}' report.py"}
    pipeline = {"cohort_dir": f"{tmp_path}/out", "stages": ["a"], "stage_configs": {"a": stage}}
    (tmp_path / "pipe.yaml").write_text(json.dumps(pipeline))
    (tmp_path / "runner.yaml").write_text("parallelize: {max_retries: 1}")
    files = ["pipeline_config_fp=pipe.yaml", "stage_runner_fp=runner.yaml"]
    runner = [SCRIPTS / "MEDS_transform-runner", *files]
    ran = subprocess.run(runner, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(said) == 2
    assert said[0] == said[1]
    assert said[0]["MEDS_TRANSFORMS_JOURNAL"] == f"{tmp_path}/out/.logs/a.journal"
