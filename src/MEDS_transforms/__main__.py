"""`python -m MEDS_transforms` is the command `MEDS_transforms`."""

from .commands.app import main

main()
