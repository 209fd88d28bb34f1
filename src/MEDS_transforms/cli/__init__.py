"""A stage or the runner as a command-line script: help, overrides, errors, threads."""
