"""A private Slurm cluster of two nodes on this machine, whose nodes can lose power.

munged, slurmctld and one slurmd per node run as children of this process, on loopback, with key, configuration, state
and logs in one folder. A warden, another child, ends them all when this process has ended, however it ended.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from . import processes
from .configuration import NODES, PARTITION, configure
from .processes import PATIENCE, kill_all, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scancel")
SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Where programs are looked for: Debian keeps the daemons out of a user's PATH."""


class Job(NamedTuple):
    """A job, or one of an array."""

    id: str
    name: str
    state: str
    node: str
    restarts: int


@dataclass
class Cluster:
    """A running cluster; `start` makes one, `stop` ends it."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]]
    warden: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path) -> "Cluster":
        """Starts a cluster and waits until its nodes take jobs."""
        configure(folder)
        command = [sys.executable, processes.__file__, f"SLURM_CONF={folder}/slurm.conf"]
        warden = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        cluster = cls(folder, {}, warden)
        try:
            files = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "seed")]
            # NOTE: by force, since munged wants a folder that everybody may enter; pytest's are the user's alone.
            cluster._daemon("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
            wait_until((folder / "munge.socket").exists, "munged has no socket")
            cluster._daemon("slurmctld", "-D", "-f", str(folder / "slurm.conf"))
            for node in NODES:
                cluster.start_node(node, wait=False)
            wait_until(lambda: cluster.idle_nodes() == set(NODES), lambda: f"nodes are not up:\n{cluster.logs()}")
        except BaseException:
            cluster.stop()
            raise
        return cluster

    @property
    def environment(self) -> dict[str, str]:
        """The environment of programs that are to use this cluster, and no other one."""
        foreign = ("SLURM", "SBATCH", "SRUN", "SUBMITIT")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        path = os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent), SEARCHED])
        return {**kept, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf"), "SLURM_PARTITION": PARTITION}

    def jobs(self) -> list[Job]:
        """All jobs that the cluster has seen."""
        fields = ",".join(f"{name}:200|" for name in ("JobArrayID", "Name", "State", "NodeList", "RestartCnt"))
        lines = self._ask("squeue", "--noheader", "--array", "--states=all", f"--Format={fields}").splitlines()
        rows = ([cell.strip() for cell in line.split("|")] for line in lines if line)
        return [Job(*cells[:4], int(cells[4])) for cells in rows]

    def running(self) -> list[Job]:
        """The jobs that are on a node."""
        return [job for job in self.jobs() if job.state == "RUNNING"]

    def idle_nodes(self) -> set[str]:
        """The nodes that wait for jobs."""
        states = self._ask("sinfo", "--noheader", "--Node", "--format=%N %t", check=False).splitlines()
        return {node for node, state in map(str.split, states) if state == "idle"}

    def start_node(self, node: str, wait: bool = True) -> None:
        """Turns a node on; returns when it takes jobs."""
        if self.daemons.get(node) is None or self.daemons[node].poll() is not None:
            # The name is in the environment of a node's every process, so that `kill_node` finds them.
            self._daemon("slurmd", "-D", "-N", node, known_as=node, SLURMD_NODENAME=node)
        if wait:
            wait_until(lambda: node in self.idle_nodes(), lambda: f"{node} does not come up:\n{self.logs()}")

    def kill_node(self, node: str) -> None:
        """Kills -9 all processes of a node and of its jobs, as if it lost power."""
        kill_all(f"SLURM_CONF={self.folder}/slurm.conf", f"SLURMD_NODENAME={node}")
        self.daemons[node].wait(PATIENCE)

    def stop(self) -> None:
        """Ends the cluster and all its jobs; no process is left."""
        with suppress(OSError, subprocess.SubprocessError):
            self._ask("scancel", "--user=root", check=False)
        self.warden.communicate(timeout=PATIENCE)
        for daemon in self.daemons.values():
            daemon.wait(PATIENCE)

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        paths = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{path.name}:\n{path.read_text(errors='replace')[-2000:]}" for path in paths)

    def _daemon(self, program: str, *arguments: str, known_as: str = "", **environment: str) -> None:
        name = known_as or program
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [found(program), *arguments],
                cwd=self.folder,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _ask(self, *command: str, check: bool = True) -> str:
        """What one of Slurm's programs prints."""
        argv = [found(command[0]), *command[1:]]
        asked = subprocess.run(
            argv, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if check and asked.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {asked.stderr}\n{self.logs()}")
        return asked.stdout


def why_not() -> str | None:
    """What keeps a cluster from being started here, in words; None where nothing does."""
    if sys.platform != "linux":
        return "a private Slurm cluster needs Linux"
    if os.getuid() != 0:
        return "a private Slurm cluster is started by root only"
    if missing := [program for program in PROGRAMS if found(program) == program]:
        return f"not installed: {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)"
    if find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        return "hydra-submitit-launcher is not installed: pip install 'MEDS_transforms[slurm-parallelism]'"
    return None


def found(program: str) -> str:
    """Where a program is; its bare name if it is nowhere."""
    return shutil.which(program, path=SEARCHED) or program
