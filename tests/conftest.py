"""Settings for all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# NOTE: by default an example that takes more than 200 ms fails, as any may on a machine that is busy.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

ANY_VERSIONS = (
    "cli",
    "commands",
    "containers",
    "draft/test_init.py",
    "faults",
    "integration/test_checks.py",
    "integration/test_done.py",
    "integration/test_launchers.py",
    "integration/test_lost_workers.py",
    "integration/test_overwrite.py",
    "integration/test_progress.py",
    "integration/test_random_pipelines.py",
    "integration/test_runner.py",
    "integration/test_usage.py",
    "runner",
    "settings",
    "slurm",
    "work",
    "precheck/test_commands.py",
    "report/test_browser.py",
    "test_add_a_stage.py",
    "test_benchmarks.py",
    "test_docs.py",
    "test_interrupts.py",
    "test_layers.py",
    "test_notebook.py",
    "test_own_package.py",
    "test_packaging.py",
    "test_site.py",
    "test_stage_examples.py",
    "test_stages.py",
    "test_troubleshooting.py",
)
"""Tests of processes, files, settings, pages and examples, which give the same with any versions of polars and meds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests above, so that the whole check runs them once, with the newest versions."""
    here = Path(__file__).parent
    for item in items:
        name = item.path.relative_to(here).as_posix()
        if name.startswith(ANY_VERSIONS):
            item.add_marker("any_versions")
