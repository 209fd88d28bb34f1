"""`python -m MEDS_transforms.runner`."""

from .run import main

main()
