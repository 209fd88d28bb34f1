"""Every stage of every pipeline under random faults, one after the other. Many seeds: `many_runs.py`."""

import pytest

from .harness import SEEDS, Reference
from .random_faults import Tally, run_all

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("way", ["by stage", "fused", "lean"])
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
def test_whole_pipeline_under_random_faults(reference: Reference, tmp_path, seed, way):
    tally = Tally()
    run_all(reference, tmp_path, seed, tally, fused=way != "by stage", lean=way == "lean")
    assert tally.killed, f"seed {seed}: no kill came before the workers had ended"
