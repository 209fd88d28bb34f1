"""Which script runs which stage of a pipeline, with which arguments; or all that is wrong with it at once.

Nothing here starts a process or writes a file.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from ..cli.launchers import LAUNCHERS, not_installed
from ..cli.overrides import hydra_value, override_key
from ..errors import Problem, Problems, explain, listed, nearest, problems_in
from ..settings.checks import check_block, check_pipeline
from ..settings.declarations import script_stage
from ..settings.folders import folder_problems
from ..settings.keys import unknown_additions, unknown_stage_blocks, unknown_stage_keys, unknown_top_keys
from ..settings.names import wrong_names
from ..stages import EXTRACT, PACKAGE, TRANSFORM, find_stage, packaged_blocks, registered_stages
from .done import DoneMark, done_mark
from .pipeline import Pipeline, check_launcher, searchpath_override
from .stage_problems import StageProblems, messages
from .stage_runners import PROCESSES, Parallel, StageRunners

SCRIPT_PREFIXES = (f"{EXTRACT}-", f"{TRANSFORM}-")
KEYS_PER_STAGE = ("stage", "worker")  # what the runner itself overrides
PROFILER = "hydra_profiler.profiler.ProfilerCallback"


@dataclass(frozen=True)
class StageRun:
    """One stage that is to run: its command line, its workers, and the mark that says that it is done."""

    name: str
    program: list[str]
    """The script with its own arguments, and the flags that give it the pipeline."""
    overrides: list[str]
    done: DoneMark
    parallel: Parallel = field(default_factory=Parallel)

    def commands(self, n_workers: int) -> list[list[str]]:
        """What to start at the same time, for as many workers, but no more than the stage is to have."""
        n = min(self.parallel.n_workers, n_workers)
        if self.parallel.in_processes:
            return [[*self.program, *self.overrides, f"worker={worker}"] for worker in range(n)]
        if multirun := self.parallel.multirun_overrides(n):
            return [[*self.program, "--multirun", *self.overrides, *multirun]]
        return [[*self.program, *self.overrides]]


@dataclass(frozen=True)
class Surroundings:
    """What a plan must know of the computer.

    Where a program is (or None), which modules it has, and what is wrong with the overrides that set up a launcher (or
    None).
    """

    find_program: Callable[[str], str | None]
    is_installed: Callable[[str], bool]
    launcher_error: Callable[[Pipeline, Sequence[str]], str | None]


@dataclass(frozen=True)
class RunPlan:
    """How every stage of a pipeline is run, in order, and all that is wrong with it, each problem with its key path."""

    config_fp: Path
    runs: Sequence[StageRun]
    problems: Sequence[str]

    def checked(self) -> Sequence[StageRun]:
        """The stages, if nothing is wrong.

        Raises:
            ValueError: with all that is wrong.
        """
        problems = Problems(f"The pipeline {self.config_fp} cannot be run")
        problems.found += self.problems
        problems.raise_if_any()
        return self.runs


def plan(
    pipeline: Pipeline,
    stage_runners: StageRunners,
    log_dir: Path,
    do_profile: bool = False,
    surroundings: Surroundings | None = None,
    look: Callable[[Pipeline, Sequence[StageRun]], Sequence[StageProblems]] | None = None,
) -> RunPlan:
    """How every stage is run, in order, and all that is wrong with it.

    Args:
        pipeline: the pipeline file, composed.
        stage_runners: the stage-runner file.
        log_dir: where the `.done` files are.
        do_profile: whether every stage is profiled.
        surroundings: default: this computer.
        look: gives what is wrong with the stages beyond their form; see `checks.stage_problems`.
    """
    here = surroundings or Surroundings(program_path, module_exists, launcher_error)
    stages = pipeline.stage_names
    problems = Problems("")
    problems.found += pipeline_problems(pipeline)
    problems.found += stage_runners.problems(stages)
    problems.found += value_problems(pipeline, stage_runners)
    flags = {key: _flag(pipeline, key, problems) for key in ("strict", "do_overwrite")}
    if flags["strict"]:
        problems.found += unknown_keys(pipeline, strict=True) + stage_runners.unknown_keys(stages)
    added = [*([f"++hydra.callbacks.profiler._target_={PROFILER}"] if do_profile else []), *pipeline.overrides]
    if do_profile and not here.is_installed("hydra_profiler"):
        what, remedy = "the package hydra-profiler is not installed", "Install it: pip install hydra-profiler"
        problems.add(what, "do_profile", remedy)
    runs = [_stage_run(pipeline, stage_runners, stage, log_dir, added, here, problems) for stage in stages]
    problems.found += _launcher_problems(pipeline, runs, stage_runners.name, here)
    if look is not None:
        problems.found += messages(one.without(problems.found) for one in look(pipeline, runs))
    return RunPlan(pipeline.config_fp, runs, problems.found)


def _stage_run(
    pipeline: Pipeline,
    stage_runners: StageRunners,
    stage: str,
    log_dir: Path,
    overrides: Sequence[str],
    here: Surroundings,
    problems: Problems,
) -> StageRun:
    """How a stage is run, with overrides that every stage gets; problems are noted."""
    script = _script_words(pipeline, stage_runners, stage, here, problems)
    program = [*script, f"--config-dir={pipeline.config_fp.parent}", f"--config-name={pipeline.config_fp.stem}"]
    own = [searchpath_override(pipeline.searchpath), f"stage={hydra_value(stage)}"]
    parallel = stage_runners.parallel(stage, problems)
    return StageRun(stage, program, [*own, *overrides], done_mark(pipeline, stage, log_dir), parallel)


def _flag(pipeline: Pipeline, key: str, problems: Problems) -> bool:
    """A key that is true or false; a problem is noted where it is neither."""
    try:
        return pipeline.flag(key)
    except ValueError as error:
        [problem] = problems_in(error)
        if problem.removesuffix(".") not in problems.found:
            problems.add(problem)
        return False


def serial_workers(pipeline: Pipeline, runs: Sequence[StageRun]) -> list[Problem]:
    """A problem with stages with several workers and nothing to start them side by side, where there are any."""
    serial = [run.name for run in runs if run.parallel.n_workers > 1 and not run.parallel.launcher]
    if not serial or pipeline.launcher != "basic":
        return []
    return [
        Problem(
            f"n_workers without a launcher: the workers of {listed(serial)} run one after the other",
            "stage-runner file",
            f"Add `launcher: {PROCESSES}` (or another)",
        )
    ]


def pipeline_problems(pipeline: Pipeline) -> list[Problem]:
    """What is wrong with the list of stages, their blocks and the overrides."""
    stages = pipeline.stages
    if not isinstance(stages, list) or not stages:
        what = f"must be a list of at least one stage, such as [filter_subjects], not {stages!r}"
        return [Problem(what, "stages")]
    problems = [wrong.below("stages") for wrong in wrong_names(stages, "stage")]
    if repeated := {str(stage) for stage in stages if stages.count(stage) > 1}:
        problems.append(Problem(f"names must be unique; repeated: {listed(repeated)}", "stages", "Remove one of each"))
    with suppress(Exception):  # of a folder that is not set, which is said elsewhere
        problems += folder_problems(pipeline.cfg)
    for name in dict.fromkeys(map(str, stages)):
        if not isinstance(block := pipeline.block(name), dict):
            problems.append(Problem(f"must be a block of keys, not {block!r}", f"stage_configs.{name}"))
    for override in pipeline.overrides:
        if (key := override_key(override)) in KEYS_PER_STAGE:
            problems.append(Problem(f"the runner itself sets `{key}` for every stage", override, "Leave it out"))
    return problems


def unknown_keys(pipeline: Pipeline, strict: bool = False) -> list[Problem]:
    """A problem for every block of no stage, and every key that is not known, in a stage's block or at the top.

    `strict`: also for those at the top that resemble no known key, unless stages of the user's own may read them.
    """
    messages = unknown_stage_blocks(pipeline.stage_names, pipeline.blocks)
    for stage in pipeline.stage_names:
        block = pipeline.block(stage)
        messages += unknown_stage_keys(stage, block, script_stage(block.get("_script")))
    all_known = all(_is_known(pipeline, stage) for stage in pipeline.stage_names)
    file_text = pipeline.config_fp.read_text(encoding="utf-8")
    messages += unknown_top_keys(pipeline.cfg, pipeline.overrides, file_text, all_unknown=strict and all_known)
    if all_known:
        messages += unknown_additions(pipeline.overrides, pipeline.cfg)
    return messages


def _is_known(pipeline: Pipeline, stage: str) -> bool:
    return stage in packaged_blocks() or script_stage(pipeline.block(stage).get("_script")) in packaged_blocks()


def value_problems(pipeline: Pipeline, stage_runners: StageRunners) -> list[Problem]:
    """A problem for every value that its key does not allow, but for stages that a script of the user's own runs."""
    messages = check_pipeline(pipeline.cfg)
    for stage in pipeline.stage_names:
        block = pipeline.block(stage)
        script = stage_runners.script(stage) or block.get("_script")
        runs_by = script_stage(script) if script else stage
        if runs_by:
            resolving = pipeline.cfg.stage_configs[stage] if block else {}
            messages += check_block(stage, resolving, runs_by, pipeline.cfg)
    return messages


def _launcher_problems(
    pipeline: Pipeline, runs: Sequence[StageRun], stage_runners: str, here: Surroundings
) -> list[Problem]:
    """A problem for each launcher that is not installed or not set up as it can be, with its stages."""
    by_overrides: dict[tuple[str, ...], list[StageRun]] = {}
    for run in runs:
        if run.parallel.launcher_overrides:
            by_overrides.setdefault(tuple(run.parallel.launcher_overrides), []).append(run)
    problems = list[Problem]()
    for overrides, using in by_overrides.items():
        launcher = str(using[0].parallel.launcher)
        module, _ = LAUNCHERS.get(launcher, ("", ""))
        stages = listed(run.name for run in using)
        if module and not here.is_installed(module):
            problems.append(not_installed(launcher).below(stages).below(stage_runners))
        elif error := here.launcher_error(pipeline, overrides):
            problems.append(Problem(f"{stages}: the launcher {launcher} cannot be set up: {error}", stage_runners))
    return problems


def _script_words(
    pipeline: Pipeline, stage_runners: StageRunners, stage: str, here: Surroundings, problems: Problems
) -> list[str]:
    """The program of a stage and its first arguments; a problem is noted where there is none."""
    try:
        script = stage_runners.script(stage) or pipeline.script(stage)
        words = [os.path.expandvars(word) for word in shlex.split(script or "")]
    except Exception as error:  # quotes that do not match, no text, an environment variable that is not set
        problems.add(f"its script cannot be read as a command: {explain(error)}", stage)
        return []
    if not words:
        candidates = [f"{prefix}{stage}" for prefix in SCRIPT_PREFIXES]
        found = [path for name in candidates if (path := here.find_program(name))]
        if not found and find_stage(stage):  # of another package, which need not make a console script of it
            return [sys.executable, "-m", f"{PACKAGE}.cli", stage]
        if not found:
            problems.add(
                f"no script: there is no {' or '.join(candidates)}{nearest(stage, console_stages())}",
                stage,
                f"Name one in stage_configs.{stage}._script, or as `script` in the stage-runner file",
            )
        return found[:1]
    program = here.find_program(words[0])
    if not program:
        problems.add(f"{words[0]!r} of its script {script!r} is not found, or not executable", stage)
    return [program or words[0], *words[1:]]


def program_path(name: str) -> str | None:
    """Where a program is: for our own scripts the environment of the running Python comes before the PATH."""
    beside = str(Path(sys.executable).parent)
    if name.startswith(SCRIPT_PREFIXES):
        return shutil.which(name, path=beside) or shutil.which(name)
    return shutil.which(name) or shutil.which(name, path=beside)


def console_stages() -> set[str]:
    """The stages that have a console script beside the running Python, or are registered."""
    names = (path.name for prefix in SCRIPT_PREFIXES for path in Path(sys.executable).parent.glob(f"{prefix}*"))
    return {name.partition("-")[2] for name in names} | {*registered_stages()}


def module_exists(name: str) -> bool:
    """Whether a module can be imported; it is not imported."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def launcher_error(pipeline: Pipeline, overrides: Sequence[str]) -> str | None:
    """What Hydra says against the overrides that choose and set up a launcher for a pipeline; None if nothing."""
    try:
        check_launcher(pipeline, overrides)
    except Exception as error:  # an unknown launcher or setting, a value of another type, or the plugin's own
        return explain(error)
    return None
