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
        InputError: nothing is named, a folder, or what is neither a pipeline file nor a setting; `command` is for the
            message.

    >>> as_runner(["pipeline.yaml", "seed=2"])
    ['MEDS_transform-runner', 'pipeline_config_fp=pipeline.yaml', 'seed=2']
    """
    args = [*settings]
    if not args:
        raise InputError(f"No pipeline is given. Name its file: MEDS_transforms {command} PIPELINE.yaml")
    if "=" not in args[0] and not args[0].startswith(("-", "~")):
        args[0] = f"{PIPELINE_KEY}={hydra_value(_pipeline_file(args[0], command))}"
    return [RUNNER, *args]


def _pipeline_file(name: str, command: str) -> str:
    """The name of a file, as far as it may be that of a pipeline."""
    if Path(name).is_dir():
        raise InputError(_folder_given(Path(name)))
    if not name.endswith((".yaml", ".yml")):
        usage = f"MEDS_transforms {command} PIPELINE.yaml [KEY=VALUE]"
        raise InputError(f"{name} is neither a pipeline file, which ends with .yaml, nor a setting: {usage}")
    return name


def _folder_given(folder: Path) -> str:
    """What to say of a folder where a pipeline file should be."""
    pipeline = folder / "pipeline.yaml"
    named = f", {pipeline}" if pipeline.is_file() else f". There is no {pipeline.name} in it"
    return f"{folder} is a folder: name the pipeline file{named}"
