"""The command line as users type it: what can be understood is, and mistakes are explained in our words.

Hydra reads overrides by a grammar of its own, in which `=`, `(`, `,` and others in a path are errors, and says so in
its own words.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ..errors import listed, nearest
from ..settings.declarations import common_keys, pipeline_keys
from ..settings.keys import keys_of_stages
from ..stages import block_fp
from .overrides import FLAGS_WITH_VALUE, override_key, quoted

_FLAGS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info"),
    *("--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun"),
)
_SHORT_FLAGS = ("-h", "-c", "-p", "-r", "-m", "-i", "-sc", "-cp", "-cn", "-cd")
_PATH = re.compile(r"(/|\./|\.\./|~/)")
_KEY = re.compile(r"[+~]*[\w.@:/$-]+")
_SPECIAL = re.compile(r"[=,()\[\]{}:\s$'\"\\]")
_WORKER_WORDS = re.compile(r"(n|num|max)?_?(workers?|jobs?|cpus|procs|processes)|j|n|parallel\w*|launcher\w*")
WORKERS_HINT = (
    " For several workers name a stage-runner file (stage_runner_fp=FILE.yaml) with "
    "`parallelize: {n_workers: 4, launcher: processes}`, or start the script several times, with worker=0, worker=1, …"
)


def understood(argv: Sequence[str]) -> list[str]:
    """The command line with paths written so that Hydra takes them as they are, and `~/` as the home folder.

    A comma stays what it is under --multirun, where it separates values. Keys that every stage has need no `++`.

    >>> understood(["input_dir=/data/a=b (new)", "seed=2"])
    ["input_dir='/data/a=b (new)'", 'seed=2']
    """
    sweeps = is_multirun(argv)
    return [_with_common_key(_path_quoted(arg, sweeps)) for arg in argv]


def _with_common_key(arg: str) -> str:
    """NOTE: the blocks of stages do not list the keys that every stage has, and Hydra sets just what is listed."""
    match override_key(arg).split("."):
        case ["stage_configs", stage, key] if arg.startswith("stage_") and key in common_keys() and block_fp(stage):
            return f"++{arg}"
    return arg


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
        if number and argv[number - 1] in FLAGS_WITH_VALUE:
            continue
        if "=" in arg and not override_key(arg):
            return f"{arg}: before the = the name of a setting is missing. Write KEY{arg.lstrip('+~')}"
        if override_key(arg).startswith("stage_cfg."):
            own = arg.lstrip("+~").replace("stage_cfg.", "stage_configs.STAGE.", 1)
            return f"{arg}: stage_cfg is filled in when the stage runs. Write {own}, with the name of the stage"
        if arg.startswith("--") and not any(flag.startswith(name) for flag in _FLAGS):
            return _no_option(name, argv[number + 1 :])
        if arg.startswith("-") and not arg.startswith(("--", *_SHORT_FLAGS)):
            return _no_option(name, argv[number + 1 :])
        if not arg.startswith("-") and "=" in arg and (whole := _torn(argv[number:])):
            return f"{arg}: the shell split this list or block into several words. Quote it: {shell_word(whole)}"
    return None


def _no_option(name: str, after: Sequence[str]) -> str:
    key = name.strip("-").replace("-", "_")
    value = f"{after[0]}" if after and not after[0].startswith("-") else "VALUE"
    hint = _about_workers(key) or f" Did you mean {key}={value}?"
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


def unreadable(argv: Sequence[str]) -> str | None:
    """What is wrong with the first word that Hydra's grammar refuses, and how it is written; None if nothing is."""
    parser = OverridesParser.create()
    sweeps = is_multirun(argv)
    for before, arg in zip(["", *argv], argv, strict=False):
        if arg.startswith("-") or before in FLAGS_WITH_VALUE:
            continue
        key, _, value = arg.partition("=")
        try:
            override = parser.parse_override(arg)
        except HydraException:
            return _not_read(before, arg)
        if arg.startswith("stage_configs=") and not isinstance(override.value(), str):
            return f"{arg}: the blocks of stages are set key by key. Write stage_configs.STAGE.KEY=VALUE"
        if override.is_sweep_override() and not sweeps:
            if key == "worker":
                return f"{arg} stands for several workers: add --multirun.{WORKERS_HINT}"
            as_list, as_text = shell_word(f"{key}=[{value}]"), shell_word(f"{key}={quoted(value)}")
            return f"{arg} stands for several values. Write a list as {as_list}, one text as {as_text}."
    return None


def is_multirun(argv: Sequence[str]) -> bool:
    """Whether values may stand for several. NOTE: options may be abbreviated, to `--multi` say."""
    return any(
        arg in ("-m", "hydra.mode=MULTIRUN") or (len(arg) > len("--") and "--multirun".startswith(arg)) for arg in argv
    )


def _not_read(before: str, arg: str) -> str:
    key, is_set, value = arg.partition("=")
    if is_set and not _KEY.fullmatch(key):
        return f"{arg}: {key!r} cannot be the name of a setting; names have neither spaces nor brackets."
    if is_set:
        return f"{arg}: this value cannot be read. If it is text, write {shell_word(f'{key}={quoted(value)}')}"
    if (known := pipeline_keys().get(arg)) is not None:
        value = "True" if known.schema.get("type") == "boolean" else "VALUE"
        return f"{arg}: this is not a key=value argument. Write {arg}={value}"
    if "=" in before and not before.startswith("-"):
        key, _, value = before.partition("=")
        whole = shell_word(f"{key}={quoted(f'{value} {arg}')}")
        return f"{arg}: this is not a key=value argument. If it belongs to {before}, write {whole}"
    return f"{arg}: this is not a key=value argument.{_about_workers(arg)}"


def shell_word(text: str) -> str:
    """Text as one word of a shell's command line.

    >>> print(shell_word("x=[a, b]"), shell_word("x='a=b'"))
    'x=[a, b]' "x='a=b'"
    """
    if "'" not in text:
        return f"'{text}'"
    return '"' + re.sub(r'(["$`\\])', r"\\\1", text) + '"'


def unknown_key(overrides: Sequence[str], cfg: DictConfig) -> str | None:
    """A message about the first override of a key that a configuration does not have; None if there is none.

    Args:
        overrides: the command line.
        cfg: the configuration, composed without it.
    """
    for before, arg in zip(["", *overrides], overrides, strict=False):
        key = override_key(arg)
        if arg.startswith(("-", "+", "~")) or "=" not in arg or before in FLAGS_WITH_VALUE:
            continue
        if re.search("[/@]", key) or key.startswith("hydra.") or not (found := _unknown_part(key, cfg)):
            continue
        path, known = found
        hint = _about_workers(path) or keys_of_stages(path, cfg) or f" To add one of your own, write +{arg}."
        if path.startswith("stage_configs.") and path.rpartition(".")[2] in common_keys():
            return f"{arg}: the block of the stage does not list this key, which every stage has. Write ++{arg}"
        near = "" if _about_workers(path) else nearest(path, known)
        return f"{arg}: there is no setting {path!r}{near}. Settings are: {listed(known, 40)}.{hint}"
    return None


def _unknown_part(key: str, cfg: DictConfig) -> tuple[str, list[str]] | None:
    """The first part of a key path that a configuration lacks, and what it has there; None where it has all."""
    above, block = "", cfg
    for name in key.split("."):
        if not isinstance(block, DictConfig):
            return None
        path, known = f"{above}{name}", [f"{above}{there}" for there in block if f"{above}{there}" != "hydra"]
        if path not in known:
            return path, known
        block, above = OmegaConf.select(cfg, path), f"{path}."
    return None


def _about_workers(name: str) -> str:
    return WORKERS_HINT if _WORKER_WORDS.fullmatch(name) and name != "worker" else ""
