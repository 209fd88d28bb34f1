"""Hydra's overrides: which are the runner's and which the stages', and values written so that Hydra reads them back."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

RUNNER_KEYS = {
    "pipeline_config_fp",
    "stage_runner_fp",
    "do_profile",
    "check",
    "clean",
    "log_dir",
    "progress",
    "parallelize",
    "hydra",
    "_local_pipeline_config",
    "_stage_runners",
    "_pipeline_description",
    "_stage_overrides",
}
FLAGS_WITH_VALUE = {
    *("--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd"),
    *("--cfg", "-c", "--info", "-i", "--package", "-p", "--experimental-rerun"),
}


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divides a command line into the arguments of the runner's Hydra application and the stages' overrides.

    The runner's are flags (with their values), `hydra.…`, `hydra/…` and the keys of its own configuration.

    >>> split_overrides(["pipeline_config_fp=p.yaml", "-cn", "mine", "~parallelize", "++seed=2", "x.y=1"])
    (['pipeline_config_fp=p.yaml', '-cn', 'mine', '~parallelize'], ['++seed=2', 'x.y=1'])
    """
    runner_args: list[str] = []
    stage_overrides: list[str] = []
    previous = ""
    for arg in argv:
        top_key = re.split(r"[./@]", override_key(arg), maxsplit=1)[0]
        is_override = not arg.startswith("-") and ("=" in arg or arg.startswith("~"))
        is_stages = is_override and top_key not in RUNNER_KEYS and previous not in FLAGS_WITH_VALUE
        (stage_overrides if is_stages else runner_args).append(arg)
        previous = arg
    return runner_args, stage_overrides


def side_by_side(argv: Sequence[str]) -> list[str]:
    """A command line in which flags stand behind the overrides, if any stood between them.

    NOTE: Hydra takes its overrides only side by side. Behind them no flag, such as `--info`, takes one for its value.

    >>> side_by_side(["seed=2", "--multirun", "worker=0,1"])
    ['seed=2', 'worker=0,1', '--multirun']
    """
    is_override = _are_overrides(argv)
    if is_override == sorted(is_override) or is_override == sorted(is_override, reverse=True):
        return [*argv]
    first = [arg for arg, is_one in zip(argv, is_override, strict=True) if is_one]
    return [*first, *(arg for arg, is_one in zip(argv, is_override, strict=True) if not is_one)]


def _are_overrides(argv: Sequence[str]) -> list[bool]:
    return [
        not arg.startswith("-") and before not in FLAGS_WITH_VALUE
        for before, arg in zip(["", *argv], argv, strict=False)
    ]


def with_override(argv: Sequence[str], override: str) -> list[str]:
    """A command line with one more override.

    NOTE: Hydra takes its overrides only side by side, so that the new one goes before the first. Where there is none it
    goes to the front, since a flag at the end, such as `--info`, might take it for its value.

    >>> with_override(["--cfg", "job", "x=1", "--resolve"], "y=2")
    ['--cfg', 'job', 'y=2', 'x=1', '--resolve']
    """
    is_override = _are_overrides(argv)
    first = is_override.index(True) if True in is_override else 0
    return [*argv[:first], override, *argv[first:]]


def override_key(override: str) -> str:
    """The key that an override sets, without `+` and `~`.

    >>> override_key("++stage_configs.a.x=1"), override_key("~parallelize")
    ('stage_configs.a.x', 'parallelize')
    """
    return override.lstrip("+~").partition("=")[0]


def hydra_value(value: Any) -> str:
    """A value as Hydra's override grammar reads it back; text is quoted where it must be.

    >>> hydra_value({"gres": "gpu:1", "names": ["a", "b c"], "n": None})
    "{gres:'gpu:1',names:[a,'b c'],n:null}"
    """
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{nested_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(nested_value, value)) + "]"
    if value is None:
        return "null"
    if not isinstance(value, str):
        return str(value)
    is_bare = re.fullmatch(r"[a-zA-Z_/%][\w./:%+@-]*", value, re.ASCII) and value.lower() not in _WORDS_WITH_A_MEANING
    return value if is_bare else quoted(value)


_WORDS_WITH_A_MEANING = {"null", "true", "false", "inf", "nan"}


def nested_value(value: Any) -> str:
    """As `hydra_value`, for a value in a mapping or a list, where a colon must be quoted as well."""
    return quoted(value) if isinstance(value, str) and ":" in value else hydra_value(value)


def quoted(text: str) -> str:
    r"""Text in single quotes, as Hydra reads it: backslashes count only before a quote, or at the end.

    >>> print(quoted("it's"))
    'it\'s'
    """
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"
