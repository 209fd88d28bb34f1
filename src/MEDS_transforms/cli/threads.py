"""How many threads polars may use in each worker of a stage."""

import os
from typing import Any

from ..errors import InputError

_LOCAL_LAUNCHERS = ("joblib", "submitit_local")
THREADS = "POLARS_MAX_THREADS"
"""NOTE: polars reads it once, when it is imported; workers inherit the environment of the process that starts them."""
_MOST_THREADS = 4096
_ALLOTTED_CPUS = "SLURM_CPUS_PER_TASK"
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def share_cores(argv: list[str], environ: Any = os.environ) -> None:
    """Gives each of several local workers its share of the cores, unless the user set the number of threads."""
    overrides = dict(arg.lstrip("+").split("=", 1) for arg in argv if "=" in arg)
    if THREADS in environ or overrides.get("hydra/launcher") not in _LOCAL_LAUNCHERS:
        return
    workers = len(_values(overrides.get("worker", "0")))
    n_jobs = str(_values(overrides.get("hydra.launcher.n_jobs", "-1"))[0])
    if n_jobs.isdecimal() and int(n_jobs) > 0:
        workers = min(workers, int(n_jobs))
    limit_threads(workers, environ)


def check_threads(environ: Any = os.environ) -> None:
    """Raises an InputError if the user set an invalid number of threads.

    NOTE: polars panics with 0 and ignores what is not a number. It starts as many threads as it is told; many thousands
    bring a machine to a halt.
    """
    threads = environ.get(THREADS)
    if threads is not None and not (threads.isdecimal() and 1 <= int(threads) <= _MOST_THREADS):
        raise InputError(
            f"The environment variable {THREADS} must be a number of threads from 1 to {_MOST_THREADS}, "
            f"not {threads!r}."
        )


def limit_threads(workers: int, environ: Any) -> None:
    """Gives each of several workers an equal share of the cores, unless the user set the number of threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = int(environ.get(_ALLOTTED_CPUS, cores))
    environ.setdefault(THREADS, str(max(1, cores // max(1, workers))))


def use_allotted_cpus() -> None:
    """Gives the worker as many threads as Slurm gave its job CPUs, unless the user set the number.

    NOTE: just before the stage runs, since Slurm jobs inherit the environment of the process that submits them, which
    may be in a smaller job. Where Slurm does not bind a job to its CPUs, polars would use all that the node has.
    """
    if _ALLOTTED_CPUS in os.environ:
        os.environ.setdefault(THREADS, os.environ[_ALLOTTED_CPUS])


def spare_blas_threads() -> None:
    """Keeps numpy from starting threads of its own as it is imported, unless the user set their number.

    NOTE: they are for products of matrices. A packaged stage has none; a stage of the user's own may.
    """
    os.environ.setdefault(_BLAS_THREADS, "1")


def _values(text: str) -> list[Any]:
    """The values that the right-hand side of an override stands for: several, if it is a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(f"key={text}")
    return list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
