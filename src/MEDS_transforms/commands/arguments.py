"""Arguments of the one command, as the Hydra applications behind it take them."""

from collections.abc import Sequence
from pathlib import Path

from ..cli.overrides import hydra_value
from ..errors import InputError

RUNNER = "MEDS_transform-runner"
PIPELINE_KEY = "pipeline_config_fp"


def as_runner(settings: Sequence[str], command: str = "run") -> list[str]:
    """The runner's command line: the name of a file, without a key, is that of the pipeline.

    Raises:
        InputError: nothing is named, or a folder; `command` is for the message.

    >>> as_runner(["pipeline.yaml", "seed=2"])
    ['MEDS_transform-runner', 'pipeline_config_fp=pipeline.yaml', 'seed=2']
    """
    args = [*settings]
    if not args:
        raise InputError(f"No pipeline is given. Name its file: MEDS_transforms {command} PIPELINE.yaml")
    if "=" not in args[0] and not args[0].startswith("-") and Path(args[0]).is_dir():
        raise InputError(_folder_given(Path(args[0])))
    if "=" not in args[0] and args[0].endswith((".yaml", ".yml")):
        args[0] = f"{PIPELINE_KEY}={hydra_value(args[0])}"
    return [RUNNER, *args]


def _folder_given(folder: Path) -> str:
    """What to say of a folder where a pipeline file should be."""
    pipeline = folder / "pipeline.yaml"
    named = f", {pipeline}" if pipeline.is_file() else f". There is no {pipeline.name} in it"
    return f"{folder} is a folder: name the pipeline file{named}"
