"""Describes the machine, what a peer has installed, and makes a peer ready to run.

Only the standard library is imported, as in measure.py; what needs more is asked from a peer's Python.
"""

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from measure import CommandError, environment

PACKAGES = ("MEDS_transforms", "MEDS_extract", "meds_etl", "polars", "pyarrow", "meds", "numpy", "hydra-core")

VERSIONS_SCRIPT = """
import importlib.metadata, json, platform, sys
versions = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        versions[name] = None
print(json.dumps(versions))
"""
COMPILE_SCRIPT = """
import compileall, importlib.util
found = importlib.util.find_spec("MEDS_transforms")
for folder in found.submodule_search_locations if found else ():
    compileall.compile_dir(folder, quiet=2)
"""


def machine() -> dict[str, object]:
    """Processor, cores, memory and operating system."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "os": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def asked(python: Path, script: str, *arguments: str) -> str:
    """The output of a short script, run by a peer's Python."""
    command = [str(python), "-c", script, *arguments]
    return subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout.strip()


def versions(python: Path) -> dict[str, str | None]:
    """The versions of Python and of relevant packages that a peer has."""
    return json.loads(asked(python, VERSIONS_SCRIPT, *PACKAGES))


def compile_modules(python: Path) -> None:
    """Makes the files of byte code that pip makes where it installs, and that a working tree may lack."""
    asked(python, COMPILE_SCRIPT)


def asked_script(python: Path, script: Path, *arguments: str) -> Any:
    """What a script prints as JSON, run by some Python."""
    command = [str(python), str(script), *arguments]
    ran = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True)
    if ran.returncode:
        raise CommandError(f"{' '.join(command)}\nended with status {ran.returncode}:\n{ran.stderr}")
    return json.loads(ran.stdout)
