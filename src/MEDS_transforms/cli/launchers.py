"""Hydra's launchers that come with an extra of this package."""

import re

from ..errors import Problem

LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "local-parallelism"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm-parallelism"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm-parallelism"),
}
"""The plugin's module, and the extra."""

_NOT_FOUND = re.compile(r"Could not find 'hydra/launcher/(\w+)'")


def not_installed(launcher: str) -> Problem:
    """What is said of a launcher of an extra that is missing."""
    remedy = f"Install it: pip install 'MEDS_transforms[{LAUNCHERS[launcher][1]}]'"
    return Problem(f"the launcher {launcher} is not installed", remedy=remedy)


def launcher_not_found(words: str) -> str | None:
    """The launcher of an extra that Hydra says it has not found; None where its words are of something else.

    >>> launcher_not_found("In 'hydra/config': Could not find 'hydra/launcher/joblib'")
    'joblib'
    >>> launcher_not_found("Could not find 'hydra/launcher/mine'"), launcher_not_found("")
    (None, None)
    """
    found = _NOT_FOUND.search(words)
    return found[1] if found and found[1] in LAUNCHERS else None
