"""An empty extraction for tests of single stages."""

import polars as pl
import pytest

from helpers import ONE_SPLIT, Extraction


@pytest.fixture
def x(tmp_path) -> Extraction:
    """Folders without tables, event conversion file or cohort."""
    (tmp_path / "raw").mkdir()
    return Extraction(tmp_path)


@pytest.fixture
def measured(x):
    """The measurements of some tables, merged, with all subjects in one split."""

    def run(tables, events, *overrides):
        for name, content in tables.items():
            x.table(name, content)
        x.events(events)
        x.run_until("merge_to_MEDS_cohort", ONE_SPLIT, *overrides)
        paths = sorted((x.cohort / "merge_to_MEDS_cohort").rglob("*.parquet"))
        return pl.concat([pl.read_parquet(path) for path in paths], how="diagonal_relaxed")

    return run
