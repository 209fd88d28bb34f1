"""A disk that is full or read-only: one message, nothing half-written, and the same command resumes once that is fixed.

Needs the right to mount a file system (`mount -t tmpfs`); skipped elsewhere.
"""

import os
import subprocess
from pathlib import Path

import pytest

from .cohorts import EXTRACTION, PIPELINES, Elsewhere, command, contents
from .harness import Reference, Workers, run_stage

# One worker makes the reference.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]

ROOM_FOR_LOGS = 24 * 1024


@pytest.fixture
def disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system here: {error}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fails(x: Elsewhere, folder: Path, stage: str) -> str | None:
    """Runs a stage; gives the one message with which it fails, None if it succeeds."""
    group = Workers(folder)
    group.start(command(x, stage))
    if group.wait() == [0]:
        return None
    assert group.wait() == [1]
    assert "Traceback" not in group.text()
    said, message = f"\n{group.text()}".split("\nerror: ")
    assert said.count("[ERROR]") == 0
    return message


def only_whole_files(reference: Reference, x: Elsewhere, stage: str) -> bool:
    """Whether every file that is not hidden is as it is after the stage."""
    got, want = contents(x.cohort), reference.after[stage]
    whole = contents(want)
    return all(data == whole[name] for name, data in got.items() if not Path(name).name.startswith("."))


SMALL_OUTPUTS = {"split_and_shard_subjects"}
"""Stages whose outputs take as much room as a line in a log."""


@pytest.mark.parametrize(
    ("pipeline", "room"),
    [(EXTRACTION, 0), *((pipeline, ROOM_FOR_LOGS) for pipeline in PIPELINES)],
    ids=lambda case: str(case) if isinstance(case, int) else case.stages[0],
)
def test_every_stage_fails_on_a_full_disk_and_goes_on_when_there_is_room(
    reference: Reference, disk, tmp_path, pipeline, room
):
    x = reference.elsewhere(disk / "cohort")
    failed = []
    for stage in pipeline.stages:
        ballast = disk / "ballast"
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        ballast.write_bytes(bytes(max(0, free - room)))
        if message := fails(x, tmp_path, stage):
            failed.append(stage)
            assert "No space left on device" in message
            assert "free some space and run the same command again" in message
        assert only_whole_files(reference, x, stage)
        ballast.unlink()
        run_stage(x, stage)
        reference.check(x.cohort, stage)
    assert {*pipeline.stages} - {*failed} <= (SMALL_OUTPUTS if room else set())


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=True)


FIRST_OUTPUTS = {
    "shard_events": "shard_events/hosp/labs/[0-50).parquet",
    "merge_to_MEDS_cohort": "merge_to_MEDS_cohort/train/0.parquet",
    "finalize_MEDS_metadata": "metadata/codes.parquet",
    "filter_subjects": "filter_subjects/train/0.parquet",
    "fit_normalization": "fit_normalization/codes.parquet",
    "tokenization": "tokenization/event_seqs/train/0.parquet",
    "tensorization": "data/train/0.nrt",
    "reshard_to_split": "data/train/0.parquet",
}


@pytest.mark.parametrize("has_run_before", [False, True])
@pytest.mark.parametrize("stage", FIRST_OUTPUTS)
def test_a_stage_fails_in_a_read_only_folder_and_goes_on_when_it_is_writable(
    reference: Reference, disk, tmp_path, stage, has_run_before
):
    x = reference.before(stage, disk / "cohort")
    if has_run_before:  # then it fails at another place: its folder of logs is there
        run_stage(x, stage)
        (x.cohort / FIRST_OUTPUTS[stage]).unlink()
    before = contents(x.cohort)
    remount(disk, "ro")
    message = fails(x, tmp_path, stage)
    assert message
    assert "Read-only file system" in message
    assert str(disk) in message
    remount(disk, "rw")
    assert contents(x.cohort) == before
    run_stage(x, stage)
    reference.check(x.cohort, stage)


def test_final_shards_are_copied_where_they_cannot_be_links(reference: Reference, disk, tmp_path):
    x = reference.before("finalize_MEDS_data", tmp_path / "cohort")
    elsewhere = f"stage_configs.finalize_MEDS_data.output_dir={disk}/data"
    group = Workers(tmp_path)
    group.start(command(x, "finalize_MEDS_data", elsewhere))
    assert group.wait() == [0], group.text()
    merged, final = contents(x.cohort / "merge_to_MEDS_cohort"), contents(disk / "data")
    assert {name: data for name, data in final.items() if not name.startswith(".")} == {
        name: data for name, data in merged.items() if not name.startswith(".")
    }
    assert {path.stat().st_dev for path in (disk / "data").glob("*/*.parquet")} == {disk.stat().st_dev}
