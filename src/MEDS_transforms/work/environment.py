"""What the processes of one run tell each other by environment variables."""

RUN = "MEDS_TRANSFORMS_RUN"
"""Environment variable with a name for all that one launcher, or the runner for a stage, starts: one run."""

RESUMING = "MEDS_TRANSFORMS_RESUMING"
"""Environment variable that the runner sets: existing outputs come from an interrupted run that is being completed."""
JOURNAL = "MEDS_TRANSFORMS_JOURNAL"
"""Environment variable by which the runner names the folder where a stage's workers note their work."""
WARNED = "MEDS_TRANSFORMS_WARNED"
"""Environment variable with digests of the warnings that the runner has logged, and that a stage need not repeat."""
