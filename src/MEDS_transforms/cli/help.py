"""`--help` without the wait.

NOTE: Hydra's own help first lists every configuration group it can find, which takes most of its time, also for a
template that does not show them.
"""

import argparse
from pathlib import Path
from string import Template

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig


def print_help(argv: list[str], config: Path) -> bool:
    """Prints the help of a script from its composed configuration's `hydra.help.template`.

    Returns:
        False, with nothing printed, where no help is asked for, or where the command line or the template asks
        for more than this function knows: then Hydra is to do it.
    """
    if not {"--help", "-h"} & {*argv}:
        return False
    if (cfg := composed_config(argv, config)) is None:
        return False
    text = str(cfg.hydra.help.template)
    try:
        text = Template(text).substitute()
    except (KeyError, ValueError):  # it asks for Hydra's placeholders
        return False
    print(text)  # noqa: T201
    return True


def config_file(argv: list[str], config: Path) -> Path:
    """The configuration file that a command line names, or else the default."""
    args, _ = _parsed(argv, config)
    return Path(args.config_dir or args.config_path, f"{args.config_name.removesuffix('.yaml')}.yaml")


def composed_config(argv: list[str], config: Path, with_overrides: bool = True) -> DictConfig | None:
    """The configuration that a command line asks for; None where that is more than this function knows."""
    args, unknown = _parsed(argv, config)
    if unknown or not Path(args.config_path).is_absolute():
        return None
    overrides = [o for o in args.overrides if with_overrides or o.startswith(("hydra.searchpath", "hydra/launcher"))]
    if args.config_dir:
        if any(o.startswith("hydra.searchpath") for o in overrides):
            return None
        overrides.append(f"hydra.searchpath=[{Path(args.config_dir).resolve()}]")
    with initialize_config_dir(config_dir=args.config_path, version_base=None):
        return compose(args.config_name, overrides, return_hydra_config=True)


def _parsed(argv: list[str], config: Path) -> tuple[argparse.Namespace, list[str]]:
    """Those of Hydra's options that are known here, and the arguments that are not."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-path", "-cp", default=str(config.parent))
    parser.add_argument("--config-name", "-cn", default=config.stem)
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("overrides", nargs="*")
    return parser.parse_known_intermixed_args(argv)
