"""A pipeline file, composed and checked: which script runs which stage, with which arguments.

Nothing here starts a process or writes a file. `load_pipeline` composes the file with Hydra, as the stages'
own scripts will; `plan` turns it into one command line per stage, or raises with all that is wrong at once.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from .config import RESERVED_CONFIG_NAMES, packaged_stage_keys, unknown_stage_keys
from .errors import Problems, explain, listed, nearest
from .overrides import hydra_value, nested_value, override_key

PACKAGED_CONFIGS = "pkg://MEDS_transforms.configs"
SCRIPT_PREFIXES = ("MEDS_extract-", "MEDS_transform-")
KEYS_PER_STAGE = ("stage", "worker")  # what the runner itself overrides
PARALLELIZE_KEYS = ("n_workers", "launcher", "launcher_params", "max_retries")
DEFAULT_RETRIES = 2
"""How often a stage under a launcher is run again for what lost workers left undone."""
PROFILER = "hydra_profiler.profiler.ProfilerCallback"
LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "local-parallelism"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm-parallelism"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm-parallelism"),
}
"""Launchers that come with an extra of this package: the plugin's module, and the extra."""
PROCESSES = "processes"
"""In the place of one of Hydra's launchers: the runner itself starts a process per worker."""

Block = Mapping[str, Any]


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

    def block(self, stage: str) -> Any:
        """The block of a stage in `stage_configs`, unchecked and unresolved."""
        return _block_at(self.value("stage_configs"), stage)

    def script(self, stage: str) -> Any:
        """The entry `_script` of a stage's block, resolved; None where there is none."""
        return self.cfg.stage_configs[stage]["_script"] if self.block(stage).get("_script") else None


@dataclass(frozen=True)
class StageRun:
    """One stage that is to run: its command line, and the file that says that it is done."""

    name: str
    argv: list[str]
    done_fp: Path
    n_workers: int = 0
    """How many workers the stage is to have; 0 where nobody says."""
    max_retries: int = 0
    in_processes: bool = False
    """Whether the command line is one worker's, to be started once for each; else it starts all of them."""

    def commands(self, n_workers: int) -> list[list[str]]:
        """What to start at the same time, for fewer workers than the stage is to have, where that is said."""
        n = min(self.n_workers, n_workers)
        if self.in_processes:
            return [[*self.argv, f"worker={worker}"] for worker in range(n)]
        return [[_workers(n) if arg == _workers(self.n_workers) else arg for arg in self.argv]]


@dataclass(frozen=True)
class Surroundings:
    """What a plan must know of the computer: where a program is (or None), and which modules it has."""

    find_program: Callable[[str], str | None]
    is_installed: Callable[[str], bool]


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
    stage_runners: Block,
    log_dir: Path,
    do_profile: bool = False,
    surroundings: Surroundings | None = None,
) -> list[StageRun]:
    """The command line of every stage, in order.

    Args:
        pipeline: the pipeline file, composed.
        stage_runners: the stage-runner file; its `parallelize` is the default of all stages.
        log_dir: where the `.done` files are.
        do_profile: whether every stage is profiled.
        surroundings: default: this computer.

    Raises:
        ValueError: with all that is wrong, each with its key path.
    """
    here = surroundings or Surroundings(program_path, module_exists)
    problems = Problems(f"The pipeline {pipeline.config_fp} cannot be run")
    problems.found += pipeline_problems(pipeline)
    problems.found += unknown_keys(pipeline) if pipeline.value("strict") else []
    profiling = [f"++hydra.callbacks.profiler._target_={PROFILER}"] if do_profile else []
    if do_profile and not here.is_installed("hydra_profiler"):
        problems.add("do_profile: the package hydra-profiler is not installed: pip install hydra-profiler")
    runs = []
    for stage in pipeline.stage_names:
        words = _script_words(pipeline, stage_runners, stage, here, problems)
        block = parallelize_block(stage_runners, stage, problems)
        workers = _worker_args(block, stage, here, problems)
        argv = [*words, *_stage_args(pipeline, stage, workers), *profiling, *pipeline.overrides]
        in_processes = block.get("launcher") == PROCESSES
        n_workers = _whole_number("n_workers", block, 1, 1 if workers or in_processes else 0, stage, problems)
        retries = _whole_number(
            "max_retries", block, 0, DEFAULT_RETRIES if block.get("launcher") else 0, stage, problems
        )
        runs.append(StageRun(stage, argv, log_dir / f"{stage}.done", n_workers, retries, in_processes))
    problems.raise_if_any()
    return runs


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
    """A message for every key in the blocks of the pipeline's stages that the stage does not know."""
    return [text for stage in pipeline.stage_names for text in unknown_stage_keys(stage, pipeline.block(stage))]


def unknown_runner_keys(stage_runners: Block, stages: Sequence[str]) -> list[str]:
    """A message for every entry of the stage-runner file that is no known stage, or no known key.

    Known are the stages of the pipeline and the packaged ones, so that one file can serve several pipelines. Entries
    at the top whose names begin with `_` are passed over.
    """

    def unknown(where: str, block: Iterable[Any], known: Sequence[str], what: str = "key") -> list[str]:
        return [
            f"stage-runner file: {where}{key}: no such {what}{nearest(str(key), known)}; it has no effect"
            for key in block
            if key not in known
        ]

    entries = [name for name in stage_runners if not str(name).startswith("_")]
    known = ["parallelize", *stages, *(name for name in entries if packaged_stage_keys(str(name)) is not None)]
    messages = unknown("", entries, known, "stage in the pipeline")
    messages += unknown("parallelize.", _mapping(stage_runners.get("parallelize")), PARALLELIZE_KEYS)
    for stage in stages:
        block = _mapping(stage_runners.get(stage))
        messages += unknown(f"{stage}.", block, ("script", "parallelize"))
        messages += unknown(f"{stage}.parallelize.", _mapping(block.get("parallelize")), PARALLELIZE_KEYS)
    return messages


def parallelize_block(stage_runners: Block, stage: str, problems: Problems) -> Block:
    """How a stage is parallelized: the default block, overridden key by key by the stage's own one.

    Empty for one process: where there is no block at all, or the stage's own one is null.
    """
    default = stage_runners.get("parallelize")
    own = _mapping(stage_runners.get(stage)).get("parallelize", {})
    for path, value in (("parallelize", default), (f"{stage}.parallelize", own)):
        if value is not None and not isinstance(value, Mapping):
            problems.add(f"stage-runner file: {path}: must be a block ({listed(PARALLELIZE_KEYS)}), not {value!r}")
            return {}
    if own is None:
        return {}
    merged = {**(default or {}), **own}
    if "launcher" in own and own["launcher"] in (None, PROCESSES) and "launcher_params" not in own:
        merged.pop("launcher_params", None)  # they belong to the default's launcher; these have none
    return merged


def _worker_args(block: Block, stage: str, here: Surroundings, problems: Problems) -> list[str]:
    """The arguments that make a stage run with several workers, or under one of Hydra's launchers."""
    n_workers, launcher = block.get("n_workers"), block.get("launcher")
    params = block.get("launcher_params") or {}
    if params and not launcher:
        problems.add(f"{stage}: launcher_params without a launcher; add `launcher: joblib` (or another)")
    if not isinstance(params, Mapping):
        problems.add(f"{stage}: launcher_params must be a block of keys, not {params!r}")
        return []
    module, extra = LAUNCHERS.get(str(launcher), ("", ""))
    if module and not here.is_installed(module):
        install = f"pip install 'MEDS_transforms[{extra}]'"
        problems.add(f"{stage}: the launcher {launcher} is not installed: {install}")
    if launcher == PROCESSES and params:
        problems.add(f"{stage}: the launcher {PROCESSES} takes no launcher_params; leave them out")
    if launcher == PROCESSES or (n_workers is None and not launcher):
        return []
    launched = [f"hydra/launcher={launcher}"] if launcher else []
    launched += [f"hydra.launcher.{key}={hydra_value(value)}" for key, value in params.items()]
    return [_workers(n_workers or 1), *launched]


def _workers(n_workers: int | str) -> str:
    return f"worker=range(0,{n_workers})"


def _whole_number(key: str, block: Block, least: int, default: int, stage: str, problems: Problems) -> int:
    """A number of the `parallelize` block; a problem is noted where it is none, or too small."""
    value = block.get(key)
    if value is None:
        return default
    if not re.fullmatch("[0-9]+", str(value)) or int(value) < least:
        problems.add(f"{stage}: {key} must be a whole number from {least} on, not {value!r}")
        return default
    return int(value)


def _stage_args(pipeline: Pipeline, stage: str, worker_args: Sequence[str]) -> list[str]:
    return [
        f"--config-dir={pipeline.config_fp.parent}",
        f"--config-name={pipeline.config_fp.stem}",
        *(["--multirun"] if worker_args else []),
        _searchpath_override(pipeline.searchpath),
        f"stage={hydra_value(stage)}",
        *worker_args,
    ]


def _script_words(
    pipeline: Pipeline, stage_runners: Block, stage: str, here: Surroundings, problems: Problems
) -> list[str]:
    """The program of a stage and its first arguments; a problem is noted where there is none."""
    try:
        script = _mapping(stage_runners.get(stage)).get("script") or pipeline.script(stage)
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


def _compose(config_fp: Path, overrides: list[str]) -> DictConfig:
    """The composed config. NOTE: a running Hydra application holds the one global slot; it stands aside."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_fp.parent), version_base=None):
            return compose(config_fp.stem, overrides)
    finally:
        GlobalHydra.instance().clear()
        if running is not None:
            GlobalHydra.instance().initialize(running)


def _block_at(blocks: Any, name: str) -> Any:
    block = blocks.get(name) if isinstance(blocks, dict) else None
    return {} if block is None else block


def _mapping(value: Any) -> Block:
    return value if isinstance(value, Mapping) else {}
