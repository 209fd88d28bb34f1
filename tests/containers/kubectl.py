"""A cluster of one machine: what `kubectl apply -f FILE` and `kubectl wait` do, with a process for each pod.

Manifests are checked against the schemas of Kubernetes. The volume is the folder VOLUME, in place of the path at which
the pods mount it. A job is carried out when it is applied; `wait` says what became of it, by a file beside the volume.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

VOLUME = Path(os.environ["VOLUME"])
CONDITIONS = VOLUME.with_name("jobs")


def apply(path: str) -> None:
    """Checks the manifests of a file, and carries out those that are jobs."""
    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    for manifest in yaml.safe_load_all(text):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        if manifest["kind"] == "Job":
            carry_out(manifest)


def carry_out(job: dict[str, Any]) -> None:
    """Starts the pods of a job, all at once, and notes whether all of them succeeded."""
    assert job["spec"]["completionMode"] == "Indexed"
    [container] = job["spec"]["template"]["spec"]["containers"]
    [mount] = container["volumeMounts"]
    command = [text.replace(mount["mountPath"], str(VOLUME)) for text in [*container["command"], *container["args"]]]
    limit = {"limits.cpu": container["resources"]["limits"]["cpu"]}
    given = {env["name"]: limit[env["valueFrom"]["resourceFieldRef"]["resource"]] for env in container["env"]}
    pods = [
        subprocess.Popen(command, env={**os.environ, **given, "JOB_COMPLETION_INDEX": str(index)})
        for index in range(job["spec"]["completions"])
    ]
    failed = [pod for pod in pods if pod.wait()]
    CONDITIONS.mkdir(exist_ok=True)
    (CONDITIONS / job["metadata"]["name"]).write_text("failed" if failed else "complete")


def wait(condition: str, name: str) -> bool:
    """Whether a job ended so."""
    return (CONDITIONS / name.removeprefix("job/")).read_text() == condition.removeprefix("--for=condition=")


match sys.argv[1:]:
    case ["apply", "-f", file]:
        apply(file)
    case ["wait", condition, _timeout, name]:
        sys.exit(not wait(condition, name))
    case unknown:
        sys.exit(f"kubectl: unknown arguments {unknown}")
