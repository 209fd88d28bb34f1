"""A folder with small shards, and workers that are processes of their own."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from helpers import files_below, wait_until, write_shards


@dataclass
class Workers:
    """Shards below one folder and the workers on them; led by files (`shard_worker_program.py`)."""

    folder: Path
    running: list[subprocess.Popen] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def make_shards(self, n: int) -> list[str]:
        """Writes shards of two rows; returns their names."""
        names = [str(i) for i in range(n)]
        shards = {name: pl.DataFrame({"subject_id": [i, i], "code": ["A", name]}) for i, name in enumerate(names)}
        write_shards(self.folder / "in", shards)
        return names

    def start(self, worker: int, *arguments: str) -> subprocess.Popen:
        """Starts a worker; `arguments` are those of the program after its number."""
        command = [
            sys.executable,
            Path(__file__).parent / "shard_worker_program.py",
            self.folder,
            str(worker),
            *arguments,
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.running.append(process)
        return process

    def finish(self, *processes: subprocess.Popen) -> None:
        """Waits until the workers end, and asserts that they do so with success."""
        for process in processes:
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors

    def hold(self, step: str, shard: str) -> Path:
        """Makes a worker wait in that step of that shard, until the file that is returned is removed."""
        path = self.folder / f"hold.{step}.{shard}"
        path.touch()
        return path

    def wait_until_held(self, step: str, shard: str) -> None:
        wait_until((self.folder / f"held.{step}.{shard}").exists)

    def kill(self, process: subprocess.Popen) -> None:
        """Ends a worker by kill -9."""
        process.kill()
        process.wait()

    @property
    def computed(self) -> list[str]:
        """The shards that were computed, sorted, as often as they were."""
        path = self.folder / "computed"
        return sorted(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else []

    @property
    def published(self) -> set[str]:
        """The names of the shards that are written, also while workers are at others."""
        return {path.stem for path in self.out.iterdir() if path.name[0] != "."} if self.out.exists() else set()

    def results(self) -> dict[str, bytes]:
        """The bytes of every output, by name, and of what was left lying about. Not while workers write there."""
        return {name: (self.out / name).read_bytes() for name in files_below(self.out)}


@pytest.fixture
def workers(tmp_path):
    """Workers, of which none is left when the test ends."""
    workers = Workers(tmp_path)
    yield workers
    for process in workers.running:
        with process:
            process.kill()
