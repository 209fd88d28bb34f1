"""Who takes part in a benchmark: an installation, and the way in which it does the work.

A contender is a name and a list of commands, which are measured one after the other: one for a pipeline or a script, as
many as there are stages for a run stage by stage. Each benchmark has a table of such ways, its `KINDS`.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PIPELINES = HERE / "pipelines"
STAGE_RUNNER = HERE.parent / "configs/stage_runner_local.yaml"
RUNNER = "MEDS_transform-runner"
DEFAULT_KIND = "stages"

Commands = Callable[[argparse.Namespace, Path, Path], Mapping[str, list[str]]]
"""Makes the commands, by name, from the arguments, the folder of a contender's scripts and a cohort's folder."""

MODES = {
    "runner": [],
    "no-fusion": ["fuse=false"],
    "no-intermediates": ["keep_intermediates=false"],
}
"""The ways to run a pipeline with the runner, and the overrides of each."""


@dataclass(frozen=True)
class Kind:
    """A way to do a benchmark's work, the scripts that it needs, and what it is, in words."""

    commands: Commands
    scripts: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class Contender:
    """An installation, by the folder of its scripts, and how it does the work."""

    name: str
    folder: Path
    commands: Commands
    kind: str = DEFAULT_KIND

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "python"


Contenders = dict[str, Contender]


def runner_command(folder: Path, pipeline: Path, told: list[str], n_workers: int | None = None) -> list[str]:
    """The runner's command; the stage-runner file takes the number of workers from the environment."""
    runner = [str(folder / RUNNER), f"pipeline_config_fp={pipeline}"]
    if n_workers is None:
        return [*runner, *told]
    return ["/usr/bin/env", f"N_WORKERS={n_workers}", *runner, f"stage_runner_fp={STAGE_RUNNER}", *told]


def runner_kinds(pipeline: Path, overrides: Callable[[argparse.Namespace, Path], list[str]]) -> dict[str, Kind]:
    """A kind for each of the `MODES` of the runner; `overrides` makes those of the benchmark."""

    def kind(more: list[str]) -> Kind:
        def commands(args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
            n_workers = None if args.workers == 1 else args.workers
            return {"pipeline": runner_command(folder, pipeline, [*overrides(args, cohort), *more], n_workers)}

        return Kind(commands, (RUNNER,), f"one command, {RUNNER}" + "".join(f" {override}" for override in more))

    return {mode: kind(more) for mode, more in MODES.items()}


def script_kind(script: Path, arguments: Callable[[argparse.Namespace, Path], list[str]], meaning: str) -> Kind:
    """A script of this folder, run by a contender's Python."""

    def commands(args: argparse.Namespace, folder: Path, cohort: Path) -> dict[str, list[str]]:
        return {"script": [str(folder / "python"), str(script), *arguments(args, cohort)]}

    return Kind(commands, (), meaning)


def contender_of(kinds: Mapping[str, Kind]) -> Callable[[str], Contender]:
    """A parser of `NAME=DIR` and `NAME:KIND=DIR`, which checks that the Python and the scripts exist."""

    def contender(text: str) -> Contender:
        named, _, folder = text.partition("=")
        name, _, kind = named.partition(":")
        if not re.fullmatch(r"[\w.+-]+", name) or not folder:
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR with a NAME of letters, digits and . + -")
        kind = kind or DEFAULT_KIND
        if kind not in kinds:
            raise argparse.ArgumentTypeError(f"{kind!r} is not a kind; there are {', '.join(kinds)}")
        # Not resolved: the link `python` of a virtual environment must stay what it is.
        bin_folder = Path(folder).absolute()
        if missing := [s for s in ("python", *kinds[kind].scripts) if not (bin_folder / s).is_file()]:
            raise argparse.ArgumentTypeError(f"{bin_folder} has no {', '.join(missing)}")
        return Contender(name, bin_folder, kinds[kind].commands, kind)

    return contender


def add_contenders(parser: argparse.ArgumentParser, kinds: Mapping[str, Kind]) -> None:
    """Adds the arguments of a benchmark that compares contenders."""
    add = parser.add_argument
    lines = "\n".join(f"  {name:<18}{kind.meaning}" for name, kind in kinds.items())
    parser.epilog = f"KINDs:\n{lines}"
    described = "an installation by the folder of its scripts, and how it does the work [stages]"
    add("--peer", type=contender_of(kinds), action="append", required=True, metavar="NAME[:KIND]=DIR", help=described)
    add("--workers", type=int, default=1, help="above 1: with the joblib launcher, or the runner's processes [1]")
