"""A pipeline file, composed and checked: which script runs which stage, with which arguments.

Nothing here starts a process or writes a file. `load_pipeline` composes the file with Hydra, as the stages'
own scripts will; `plan` turns it into one command line per stage, or raises with all that is wrong at once.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from .config import (
    RESERVED_CONFIG_NAMES,
    flag,
    populate_stage,
    unknown_stage_blocks,
    unknown_stage_keys,
)
from .errors import Problems, explain, listed, nearest
from .files import publish
from .overrides import hydra_value, nested_value, override_key
from .stage_runners import PROCESSES, Parallel, StageRunners

PACKAGED_CONFIGS = "pkg://MEDS_transforms.configs"
SCRIPT_PREFIXES = ("MEDS_extract-", "MEDS_transform-")
KEYS_PER_STAGE = ("stage", "worker")  # what the runner itself overrides
PROFILER = "hydra_profiler.profiler.ProfilerCallback"
LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "local-parallelism"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm-parallelism"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm-parallelism"),
}
"""Launchers that come with an extra of this package: the plugin's module, and the extra."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline file and what it amounts to, with its defaults and the overrides for its stages."""

    config_fp: Path
    searchpath: list[str]
    overrides: list[str]
    cfg: DictConfig

    def value(self, key: str) -> Any:
        """The resolved value at a key path; None where it is absent, or mandatory and not set."""
        value = OmegaConf.select(self.cfg, key)
        return OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value

    @property
    def stages(self) -> Any:
        """The entry `stages`, unchecked."""
        stages = OmegaConf.select(self.cfg, "stages")
        return OmegaConf.to_container(stages, resolve=True) if OmegaConf.is_config(stages) else stages

    @property
    def stage_names(self) -> list[str]:
        """The names in `stages`, each once: all of it, where `pipeline_problems` finds nothing wrong."""
        names = self.stages if isinstance(self.stages, list) else []
        return [name for name in dict.fromkeys(map(str, names)) if isinstance(self.block(name), dict)]

    @property
    def blocks(self) -> Mapping[str, Any]:
        """The entry `stage_configs`, unresolved; empty where it is no mapping."""
        blocks = self.value("stage_configs")
        return blocks if isinstance(blocks, dict) else {}

    def block(self, stage: str) -> Any:
        """The block of a stage in `stage_configs`, unchecked and unresolved."""
        block = self.blocks.get(stage)
        return {} if block is None else block

    def flag(self, key: str) -> bool:
        """The value of a key that is true or false; see `config.flag`."""
        return flag({key: self.value(key)}, key)

    def output_dir(self, stage: str) -> str | None:
        """Where a stage writes, from the cohort's folder; None where that cannot be told."""
        with suppress(Exception):  # of a key that is not set, or of another stage, which is not for us to say
            cohort_dir = self.value("cohort_dir")
            blocks = self.cfg.get("stage_configs") or {}
            filled = populate_stage(stage, self.value("input_dir"), cohort_dir, self.stages, blocks)
            return str(os.path.relpath(filled["reducer_output_dir"] or filled["output_dir"], cohort_dir))
        return None

    def script(self, stage: str) -> Any:
        """The entry `_script` of a stage's block, resolved; None where there is none."""
        return self.cfg.stage_configs[stage]["_script"] if self.block(stage).get("_script") else None


@dataclass(frozen=True)
class StageRun:
    """One stage that is to run: its command line, its workers, and the file that says that it is done."""

    name: str
    program: list[str]
    """The script with its own arguments, and the flags that give it the pipeline."""
    overrides: list[str]
    done_fp: Path
    parallel: Parallel = field(default_factory=Parallel)
    output_dir: str | None = None
    """Where it writes, from the cohort's folder; None where that cannot be told."""

    def commands(self, n_workers: int) -> list[list[str]]:
        """What to start at the same time, for as many workers, but no more than the stage is to have."""
        n = min(self.parallel.n_workers, n_workers)
        if self.parallel.in_processes:
            return [[*self.program, *self.overrides, f"worker={worker}"] for worker in range(n)]
        if multirun := self.parallel.multirun_overrides(n):
            return [[*self.program, "--multirun", *self.overrides, *multirun]]
        return [[*self.program, *self.overrides]]

    def is_done(self) -> bool:
        """Whether the stage is marked done, and wrote where it is to write: in another list of stages it may not."""
        try:
            wrote = self.done_fp.read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        return not wrote or self.output_dir in (None, wrote)

    def mark_done(self) -> None:
        """Marks the stage done."""
        publish(self.done_fp, lambda scratch: scratch.write_text(self.output_dir or "", encoding="utf-8"))


@dataclass(frozen=True)
class Surroundings:
    """What a plan must know of the computer.

    Where a program is (or None), which modules it has, and what is wrong with the overrides that set up a launcher (or
    None).
    """

    find_program: Callable[[str], str | None]
    is_installed: Callable[[str], bool]
    launcher_error: Callable[[Pipeline, Sequence[str]], str | None]


def load_pipeline(pipeline_config_fp: str | None, overrides: Sequence[str] = ()) -> Pipeline:
    """Composes a pipeline file with the packaged configs, its own search path and its stages' overrides.

    Raises:
        ValueError: no file is given, it has a reserved name, or it cannot be composed.
        FileNotFoundError: there is no such file.
    """
    if not pipeline_config_fp:
        raise ValueError("No pipeline is given. Name its file: pipeline_config_fp=FILE.yaml")
    config_fp = Path(pipeline_config_fp).absolute()
    _check_file(config_fp)
    try:
        searchpath = _searchpath(config_fp)
        cfg = _compose(config_fp, [_searchpath_override(searchpath), *overrides])
    except Exception as error:  # YAML, Hydra, OmegaConf, and whatever a resolver of the user's raises
        given = f" with the overrides {' '.join(overrides)}" if overrides else ""
        message = f"The pipeline {config_fp}{given} cannot be composed: {explain(error)}"
        raise ValueError(message) from error
    return Pipeline(config_fp, searchpath, [*overrides], cfg)


def plan(
    pipeline: Pipeline,
    stage_runners: StageRunners,
    log_dir: Path,
    do_profile: bool = False,
    surroundings: Surroundings | None = None,
) -> list[StageRun]:
    """How every stage is run, in order.

    Args:
        pipeline: the pipeline file, composed.
        stage_runners: the stage-runner file.
        log_dir: where the `.done` files are.
        do_profile: whether every stage is profiled.
        surroundings: default: this computer.

    Raises:
        ValueError: with all that is wrong, each with its key path.
    """
    here = surroundings or Surroundings(program_path, module_exists, launcher_error)
    stages = pipeline.stage_names
    problems = Problems(f"The pipeline {pipeline.config_fp} cannot be run")
    problems.found += pipeline_problems(pipeline)
    problems.found += stage_runners.problems(stages)
    flags = {key: _flag(pipeline, key, problems) for key in ("strict", "do_overwrite")}
    if flags["strict"]:
        problems.found += unknown_keys(pipeline) + stage_runners.unknown_keys(stages)
    profiling = [f"++hydra.callbacks.profiler._target_={PROFILER}"] if do_profile else []
    if do_profile and not here.is_installed("hydra_profiler"):
        problems.add("do_profile: the package hydra-profiler is not installed: pip install hydra-profiler")
    runs = []
    for stage in stages:
        script = _script_words(pipeline, stage_runners, stage, here, problems)
        program = [*script, f"--config-dir={pipeline.config_fp.parent}", f"--config-name={pipeline.config_fp.stem}"]
        own = [_searchpath_override(pipeline.searchpath), f"stage={hydra_value(stage)}"]
        parallel = stage_runners.parallel(stage, problems)
        overrides = [*own, *profiling, *pipeline.overrides]
        runs.append(
            StageRun(stage, program, overrides, log_dir / f"{stage}.done", parallel, pipeline.output_dir(stage))
        )
    problems.found += _launcher_problems(pipeline, runs, stage_runners.name, here)
    problems.raise_if_any()
    return runs


def _flag(pipeline: Pipeline, key: str, problems: Problems) -> bool:
    """A key that is true or false; a problem is noted where it is neither."""
    try:
        return pipeline.flag(key)
    except ValueError as error:
        problems.add(str(error))
        return False


def serial_workers(pipeline: Pipeline, runs: Sequence[StageRun]) -> list[str]:
    """A message about stages with several workers and nothing to start them side by side, where there are any."""
    serial = [run.name for run in runs if run.parallel.n_workers > 1 and not run.parallel.launcher]
    if not serial or _composed(pipeline).hydra.runtime.choices["hydra/launcher"] != "basic":
        return []
    return [
        f"stage-runner file: n_workers without a launcher: the workers of {listed(serial)} run one after the other; "
        f"add `launcher: {PROCESSES}` (or another)"
    ]


def pipeline_problems(pipeline: Pipeline) -> list[str]:
    """What is wrong with the list of stages, their blocks and the overrides."""
    stages = pipeline.stages
    if not isinstance(stages, list) or not stages:
        return [f"stages: the pipeline has no stages (found {stages!r}); list at least one"]
    problems = [f"stages: {stage!r} is not a name" for stage in stages if not isinstance(stage, str)]
    if repeated := {str(stage) for stage in stages if stages.count(stage) > 1}:
        problems.append(f"stages: names must be unique; repeated: {listed(repeated)}")
    for name in dict.fromkeys(map(str, stages)):
        if not isinstance(block := pipeline.block(name), dict):
            problems.append(f"stage_configs.{name}: must be a block of keys, not {block!r}")
    for override in pipeline.overrides:
        if (key := override_key(override)) in KEYS_PER_STAGE:
            problems.append(f"{override}: the runner itself sets `{key}` for every stage; leave it out")
    return problems


def unknown_keys(pipeline: Pipeline) -> list[str]:
    """A message for every block of no stage, and every key in a stage's block that the stage does not know."""
    messages = unknown_stage_blocks(pipeline.stage_names, pipeline.blocks)
    for stage in pipeline.stage_names:
        block = pipeline.block(stage)
        script = _PACKAGED_SCRIPT.search(str(block.get("_script")))
        messages += unknown_stage_keys(stage, block, script and script[1])
    return messages


_PACKAGED_SCRIPT = re.compile(rf"\b(?:{'|'.join(SCRIPT_PREFIXES)})(\w+)")


def _launcher_problems(
    pipeline: Pipeline, runs: Sequence[StageRun], stage_runners: str, here: Surroundings
) -> list[str]:
    """A message for each launcher that is not installed or not set up as it can be, with its stages."""
    by_overrides: dict[tuple[str, ...], list[StageRun]] = {}
    for run in runs:
        if run.parallel.launcher_overrides:
            by_overrides.setdefault(tuple(run.parallel.launcher_overrides), []).append(run)
    problems = []
    for overrides, using in by_overrides.items():
        launcher = str(using[0].parallel.launcher)
        module, extra = LAUNCHERS.get(launcher, ("", ""))
        where = f"{stage_runners}: {listed(run.name for run in using)}"
        if module and not here.is_installed(module):
            install = f"pip install 'MEDS_transforms[{extra}]'"
            problems.append(f"{where}: the launcher {launcher} is not installed: {install}")
        elif error := here.launcher_error(pipeline, overrides):
            problems.append(f"{where}: the launcher {launcher} cannot be set up: {error}")
    return problems


def _script_words(
    pipeline: Pipeline, stage_runners: StageRunners, stage: str, here: Surroundings, problems: Problems
) -> list[str]:
    """The program of a stage and its first arguments; a problem is noted where there is none."""
    try:
        script = stage_runners.script(stage) or pipeline.script(stage)
        words = [os.path.expandvars(word) for word in shlex.split(script or "")]
    except Exception as error:  # quotes that do not match, no text, an environment variable that is not set
        problems.add(f"{stage}: its script cannot be read as a command: {explain(error)}")
        return []
    if not words:
        candidates = [f"{prefix}{stage}" for prefix in SCRIPT_PREFIXES]
        found = [path for name in candidates if (path := here.find_program(name))]
        if not found:
            problems.add(
                f"{stage}: no script: there is no {' or '.join(candidates)}{nearest(stage, console_stages())}"
                f"; name one in stage_configs.{stage}._script, or as `script` in the stage-runner file"
            )
        return found[:1]
    program = here.find_program(words[0])
    if not program:
        problems.add(f"{stage}: {words[0]!r} of its script {script!r} is not found, or not executable")
    return [program or words[0], *words[1:]]


def program_path(name: str) -> str | None:
    """Where a program is: for our own scripts the environment of the running Python comes before the PATH."""
    beside = str(Path(sys.executable).parent)
    if name.startswith(SCRIPT_PREFIXES):
        return shutil.which(name, path=beside) or shutil.which(name)
    return shutil.which(name) or shutil.which(name, path=beside)


def console_stages() -> set[str]:
    """The stages that have a console script beside the running Python."""
    names = (path.name for prefix in SCRIPT_PREFIXES for path in Path(sys.executable).parent.glob(f"{prefix}*"))
    return {name.partition("-")[2] for name in names}


def module_exists(name: str) -> bool:
    """Whether a module can be imported; it is not imported."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def launcher_error(pipeline: Pipeline, overrides: Sequence[str]) -> str | None:
    """What Hydra says against the overrides that choose and set up a launcher for a pipeline; None if nothing."""
    try:
        _composed(pipeline, overrides)
    except Exception as error:  # an unknown launcher or setting, a value of another type, or the plugin's own
        return explain(error)
    return None


def _composed(pipeline: Pipeline, more_overrides: Sequence[str] = ()) -> DictConfig:
    """A pipeline with Hydra's own configuration, as a stage's script composes it."""
    overrides = [_searchpath_override(pipeline.searchpath), *pipeline.overrides, *more_overrides]
    return _compose(pipeline.config_fp, overrides, return_hydra_config=True)


def _check_file(config_fp: Path) -> None:
    if not config_fp.is_file():
        near = nearest(config_fp.name, (path.name for path in config_fp.parent.glob("*.yaml")))
        raise FileNotFoundError(f"There is no pipeline file {config_fp}{near}. Check pipeline_config_fp.")
    if config_fp.stem in RESERVED_CONFIG_NAMES:
        reserved = listed(RESERVED_CONFIG_NAMES)
        raise ValueError(f"{config_fp}: the names of packaged configs ({reserved}) are reserved. Rename the file.")
    if config_fp.suffix != ".yaml":
        raise ValueError(f"{config_fp}: Hydra reads only files that end in .yaml. Rename the file.")


def _searchpath(config_fp: Path) -> list[str]:
    """The file's own `hydra.searchpath`, and the packaged configs."""
    own = OmegaConf.select(OmegaConf.load(config_fp), "hydra.searchpath") or []
    return [*(entry for entry in own if entry != PACKAGED_CONFIGS), PACKAGED_CONFIGS]


def _searchpath_override(searchpath: Sequence[str]) -> str:
    entries = [entry if entry == PACKAGED_CONFIGS else nested_value(entry) for entry in searchpath]
    return f"hydra.searchpath=[{','.join(entries)}]"


def _compose(config_fp: Path, overrides: Sequence[str], return_hydra_config: bool = False) -> DictConfig:
    """The composed config. NOTE: a running Hydra application holds the one global slot; it stands aside."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_fp.parent), version_base=None):
            return compose(config_fp.stem, [*overrides], return_hydra_config)
    finally:
        GlobalHydra.instance().clear()
        if running is not None:
            GlobalHydra.instance().initialize(running)
