"""`python -m MEDS_transforms.cli STAGE …` runs a stage by its name, also one of another package."""

import sys

from .boundary import give_up
from .script import run_by_name

if len(sys.argv) < 2:
    give_up("Name a stage: python -m MEDS_transforms.cli STAGE [key=value ...]")
run_by_name(sys.argv.pop(1))
