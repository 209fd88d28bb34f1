"""Arguments of the one command, as the Hydra applications behind it take them."""

from collections.abc import Sequence

from ..cli.overrides import hydra_value

RUNNER = "MEDS_transform-runner"
PIPELINE_KEY = "pipeline_config_fp"


def as_runner(settings: Sequence[str]) -> list[str]:
    """The runner's command line: the name of a file, without a key, is that of the pipeline.

    >>> as_runner(["pipeline.yaml", "seed=2"])
    ['MEDS_transform-runner', 'pipeline_config_fp=pipeline.yaml', 'seed=2']
    """
    args = [*settings]
    if args and "=" not in args[0] and args[0].endswith((".yaml", ".yml")):
        args[0] = f"{PIPELINE_KEY}={hydra_value(args[0])}"
    return [RUNNER, *args]
