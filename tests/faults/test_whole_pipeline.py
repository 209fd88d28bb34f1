"""Whole pipelines under random faults; stage by stage see `test_kill.py`. Many seeds: `many_runs.py`."""

import pytest

from .harness import SEEDS, Reference
from .random_faults import Tally, run_all

# One worker makes the reference.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]


@pytest.mark.parametrize("way", ["fused", "lean"])
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
def test_whole_pipeline_under_random_faults(reference: Reference, tmp_path, seed, way):
    tally = Tally()
    run_all(reference, tmp_path, seed, tally, fused=True, lean=way == "lean")
    assert tally.killed, f"seed {seed}: no kill came before the workers had ended"
