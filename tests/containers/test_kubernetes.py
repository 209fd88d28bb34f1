"""The manifests and the script of docs/guides/kubernetes.md: valid, and the dataset is that of one process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from helpers import EXTRACTION_STAGES, files_below
from test_docs import blocks

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
FILES = {block.title: block.text for block in blocks(ROOT / "docs" / "guides" / "kubernetes.md") if block.title}
JOB = yaml.safe_load(FILES["job.yaml"])
CLAIM = yaml.safe_load(FILES["volume.yaml"])
POD = JOB["spec"]["template"]["spec"]


def test_the_job_mounts_the_volume_that_is_claimed():
    [volume] = POD["volumes"]
    [mount] = POD["containers"][0]["volumeMounts"]
    assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert mount["name"] == volume["name"]
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    paths = [yaml.safe_load(FILES["pipeline.yaml"])[f"{key}_dir"] for key in ("input", "cohort")]
    assert [path for path in paths if not path.startswith(f"{mount['mountPath']}/")] == []


def test_the_user_is_that_of_the_image(tmp_path):
    copy = shutil.copy(ROOT / "Dockerfile", tmp_path / "Dockerfile")
    [user] = [s["value"] for s in DockerfileParser(path=str(copy)).structure if s["instruction"] == "USER"]
    context = POD["securityContext"]
    assert context["runAsNonRoot"] is True
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_there_are_as_many_workers_as_run_at_once():
    assert JOB["spec"]["completions"] == JOB["spec"]["parallelism"] > 1
    assert POD["restartPolicy"] == "Never"


def run_script(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the script of the page, with `kubectl.py` for kubectl; the volume is `folder/volume`."""
    volume, tools = folder / "volume", folder / "tools"
    for made in (volume, tools):
        made.mkdir(exist_ok=True)
    kubectl = tools / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("kubectl.py")} "$@"\n')
    kubectl.chmod(0o755)
    for name, text in FILES.items():
        to = volume if name == "pipeline.yaml" else folder
        (to / name).write_text(text.replace("/data/", f"{volume}/") if to == volume else text, encoding="utf-8")
    path = os.pathsep.join(map(str, (tools, SCRIPTS, os.environ["PATH"])))
    env = {**os.environ, "PATH": path, "VOLUME": str(volume)}
    return subprocess.run(
        ["bash", "run.sh"], cwd=folder, env=env, capture_output=True, text=True, timeout=500, check=False
    )


@pytest.mark.slow
def test_the_script_makes_the_dataset_of_one_process(tmp_path):
    volume = tmp_path / "volume"
    subprocess.run([sys.executable, ROOT / "examples/demo/make_tables.py", volume / "raw"], check=True)
    shutil.copy(ROOT / "examples/demo/event_cfgs.yaml", volume)
    ran = run_script(tmp_path)
    assert ran.returncode == 0, ran.stderr
    workers = [f"Stage {stage}, worker {n}: done" for stage in EXTRACTION_STAGES for n in range(4)]
    assert [worker for worker in workers if worker not in ran.stdout] == []

    settings = [f"cohort_dir={tmp_path / 'one'}", "fuse=false"]
    subprocess.run([SCRIPTS / "MEDS_transforms", "run", volume / "pipeline.yaml", *settings], check=True)
    made = [name for name in files_below(tmp_path / "one") if name.endswith(".parquet")]
    assert len([name for name in made if name.startswith("data/")]) > 5
    assert [name for name in files_below(volume / "cohort") if name.endswith(".parquet")] == made
    for name in made:
        assert (volume / "cohort" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


def test_the_script_ends_with_the_stage_that_failed(tmp_path):
    ran = run_script(tmp_path)  # there are no tables
    assert ran.returncode == 1
    assert "shard_events failed: kubectl logs --selector job-name=meds-1\n" in ran.stderr
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["meds-1"]
