"""What a private cluster is made of: its key, its slurm.conf and a stand-in for sacct."""

import secrets
import socket
from contextlib import suppress
from pathlib import Path
from random import Random

PARTITION = "main"
NODES = ("node1", "node2")
CPUS = 8
"""What each node says it has: room for two workers by configs/stage_runner_slurm.yaml, should the other be lost."""
MEMORY_MB = 64 * 1024

CONFIGURATION = """\
ClusterName=private
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A job of a lost node starts again only after its credential has expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
# Nodes have what is written here, whatever the machine has.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
# Jobs go to the node that has least to do: two workers are on two nodes.
SelectTypeParameters=CR_CPU,CR_LLN
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
PropagateResourceLimits=NONE
# A node that was lost is used again as soon as it is back.
ReturnToService=2
SlurmdTimeout=5
MessageTimeout=5
KillWait=2
# Jobs that have ended stay known, since there is no data base of them.
MinJobAge=3600
PartitionName={partition} Nodes={all_nodes} Default=YES MaxTime=UNLIMITED State=UP
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory}\n"

# NOTE: without a data base of jobs the real sacct only says so, and submitit waits for ever for a job that died without
# a result. This one knows the one form that submitit uses: sacct -o JobID,State,NodeList --parsable2 -j ID -j ID ...
SACCT = """\
#!/bin/sh
ids=
while [ $# -gt 0 ]; do
    if [ "$1" = -j ]; then ids="$ids,$2"; fi
    shift
done
echo 'JobID|State|NodeList'
exec squeue --noheader --array --states=all --format='%i|%T|%N' --jobs="${ids#,}"
"""


def configure(folder: Path) -> None:
    """Writes the key, slurm.conf and the stand-in for sacct."""
    ports = free_ports(1 + len(NODES))
    nodes = zip(NODES, ports[1:], strict=True)
    lines = [NODE.format(name=name, port=port, cpus=CPUS, memory=MEMORY_MB) for name, port in nodes]
    general = CONFIGURATION.format(folder=folder, ports=ports, partition=PARTITION, all_nodes=",".join(NODES))
    (folder / "slurm.conf").write_text("".join(lines) + general)
    (folder / "munge.key").touch(mode=0o600)
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    for name in ("bin", "state", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir()
    (folder / "bin" / "sacct").write_text(SACCT)
    (folder / "bin" / "sacct").chmod(0o755)


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on, below those that the system hands out to whoever connects."""
    chosen: list[int] = []
    # NOTE: from the operating system's randomness, since the plain generator may be seeded alike in parallel processes.
    candidates = Random(secrets.randbits(64)).sample(range(16_000, 32_000), 500)
    for port in candidates:
        with suppress(OSError), socket.socket() as trial:
            trial.bind(("127.0.0.1", port))
            chosen.append(port)
        if len(chosen) == n:
            return chosen
    raise RuntimeError("no free ports")
