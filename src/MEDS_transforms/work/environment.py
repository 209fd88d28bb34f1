"""What the processes of one run tell each other by environment variables."""

RUN_STARTED = "MEDS_TRANSFORMS_RUN_STARTED"
"""Environment variable with the time (seconds since 1970) at which a launcher, or the runner, began with a stage."""
RESUMING = "MEDS_TRANSFORMS_RESUMING"
"""Environment variable that the runner sets: what is there comes from a run that was cut off, and is completed."""
JOURNAL = "MEDS_TRANSFORMS_JOURNAL"
"""Environment variable by which the runner names the folder where a stage's workers note their work."""
