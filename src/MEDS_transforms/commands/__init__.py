"""The one command `MEDS_transforms`, which lists and leads to everything else."""
