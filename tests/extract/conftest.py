"""An empty extraction for tests of single stages."""

import pytest

from helpers import Extraction


@pytest.fixture
def x(tmp_path) -> Extraction:
    """Folders without tables, event conversion file or cohort."""
    (tmp_path / "raw").mkdir()
    return Extraction(tmp_path)
