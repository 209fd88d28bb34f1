"""The command line as users type it: what can be understood is, and mistakes are explained in our words.

Hydra reads overrides by a grammar of its own, in which `=`, `(`, `,` and others in a path are errors, and says so in
its own words.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir

from ..errors import listed, nearest
from .overrides import FLAGS_WITH_VALUE, override_key, quoted

_FLAGS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info"),
    *("--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun"),
)
_PATH = re.compile(r"(/|\./|\.\./|~/)")
_SPECIAL = re.compile(r"[=,()\[\]{}:\s$'\"\\]")
_WORKERS = (
    " For several workers name a stage-runner file (stage_runner_fp=FILE.yaml) with "
    "`parallelize: {n_workers: 4, launcher: processes}`, or start the script several times, with worker=0, worker=1, …"
)


def understood(argv: Sequence[str]) -> list[str]:
    """The command line with paths written so that Hydra takes them as they are, and `~/` as the home folder.

    A comma stays what it is under --multirun, where it separates values.

    >>> understood(["input_dir=/data/a=b (new)", "seed=2"])
    ["input_dir='/data/a=b (new)'", 'seed=2']
    """
    sweeps = bool({"--multirun", "-m"} & {*argv})
    return [_path_quoted(arg, sweeps) for arg in argv]


def _path_quoted(arg: str, sweeps: bool) -> str:
    key, equals, value = arg.partition("=")
    if not equals or arg.startswith("-") or not _PATH.match(value):
        return arg
    value = str(Path(value).expanduser()) if value.startswith("~/") else value
    if not _SPECIAL.search(value) or "${" in value or (sweeps and "," in value):
        return f"{key}={value}"
    return f"{key}={quoted(value)}"


def mistake(argv: Sequence[str]) -> str | None:
    """What is wrong with words of a command line that no configuration is needed to see; None if nothing is."""
    for number, arg in enumerate(argv):
        name = arg.partition("=")[0]
        if arg.startswith("--") and not any(flag.startswith(name) for flag in _FLAGS):
            return _no_option(name, argv[number + 1 :])
        if not arg.startswith("-") and "=" in arg and (whole := _torn(argv[number:])):
            return f"{arg}: the shell has cut a list or a block into several words. Put it in quotes: {quoted(whole)}"
    return None


def _no_option(name: str, after: Sequence[str]) -> str:
    key = name.strip("-").replace("-", "_")
    value = f"{after[0]}" if after and not after[0].startswith("-") else "VALUE"
    hint = _WORKERS if "worker" in key else f" Did you mean {key}={value}?"
    return (
        f"{name}: there is no such option{nearest(name, _FLAGS)}. Settings are written key=value, without dashes.{hint}"
    )


def _torn(words: Sequence[str]) -> str | None:
    """The words that belong together since brackets open in the first and close in a later one; None if it is whole."""
    whole = ""
    for number, word in enumerate(words):
        whole = f"{whole} {word}".strip()
        depth = sum(whole.count(c) for c in "[{(") - sum(whole.count(c) for c in "]})")
        if "'" in whole or '"' in whole or depth <= 0:
            return whole if number and depth == 0 else None
    return whole if len(words) > 1 else None


def unknown_key(argv: Sequence[str], config: Path, also: Iterable[str] = ()) -> str | None:
    """A message about the first override that sets a key which the configuration does not have; None if there is none.

    Args:
        argv: the command line.
        config: the default configuration of the script.
        also: other keys that are known.
    """
    with initialize_config_dir(str(config.parent), version_base=None):
        known = {str(key) for key in compose(config.stem)} | {*also}
    for before, arg in zip(["", *argv], argv, strict=False):
        if arg.startswith(("-", "+", "~")) or "=" not in arg or before in FLAGS_WITH_VALUE:
            continue
        top = re.split(r"[./@]", override_key(arg), maxsplit=1)[0]
        if top in known or top == "hydra":
            continue
        hint = _WORKERS if "worker" in top and top != "worker" else ""
        return (
            f"{arg}: there is no setting {top!r}{nearest(top, known)}. Settings are: {listed(known, 40)}. "
            f"To add one of your own, write +{arg}.{hint}"
        )
    return None
