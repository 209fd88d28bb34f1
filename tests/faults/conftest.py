"""The undisturbed extraction that every other one is compared with."""

import pytest

from .harness import Reference


@pytest.fixture(scope="session")
def reference(tmp_path_factory) -> Reference:
    """Made once, with one worker."""
    return Reference.make(tmp_path_factory.mktemp("reference"))
