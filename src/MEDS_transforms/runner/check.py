"""Finds what is wrong with a pipeline and its input, without running it: the commands that check."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir

from ..cli.command_line import mistake, understood, unreadable
from ..cli.overrides import FLAGS_WITH_VALUE, override_key, quoted, split_overrides
from ..errors import InputError, is_explained, logged_problem
from ..precheck.folders import inspect_folders, inspect_space
from ..precheck.report import CONFIGURATION, Inspection, Report, StagePlan
from ..precheck.shown import print_report
from ..remarks import Remark, Severity
from ..settings.intermediates import intermediates
from ..settings.keys import names_taken
from ..settings.packaged import CONFIG_DIR, EXTRACT_CONFIG_YAML
from ..work.files import try_lock
from .checks import Look, stages_to_do
from .done import Overwriting
from .freed import needed_again
from .outlooks import Outlook, outlooks
from .pipeline import Pipeline, load_pipeline
from .plan import KEYS_PER_STAGE, StageRun, plan, serial_workers, unknown_keys
from .run import RUNNER_LOCK, forget_pipelines, pipeline_of
from .segments import segment_from
from .stage_runners import StageRunners, read_stage_runners

LOGGED, LOCK, STALE = "logged", "runner_lock", "stale_outputs"
PIPELINE = "pipeline"
"""The place of what concerns all of a pipeline, or no part of it alone."""
RUN, SKIP, REFUSE = "run", "skip", "refuse"


@dataclass(frozen=True)
class Checked:
    """What is checked: a pipeline, how its stages are run, where the runner logs, and the runner's other keys."""

    pipeline: Pipeline
    stage_runners: StageRunners
    log_dir: Path
    do_profile: bool = False


def check_runner(args: Sequence[str], as_json: bool = False) -> None:
    """Checks the pipeline that arguments of the runner name; ends the program: status 1 if something is wrong."""
    _tell(runner_report(args), as_json)


def check_extraction(args: Sequence[str], as_json: bool = False) -> None:
    """The same for arguments of a stage of the extraction."""
    _tell(extraction_report(args), as_json)


def runner_report(args: Sequence[str]) -> Report:
    """What is found of the pipeline that arguments of the runner name."""
    return look_over(lambda: _of_runner(args))


def extraction_report(args: Sequence[str]) -> Report:
    """What is found of an extraction by arguments of one of its stages."""
    return look_over(lambda: _of_extraction(args))


def _tell(report: Report, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(), indent=1) + "\n")
    else:
        print_report(report)
    sys.exit(0 if report.is_ok else 1)


def _of_runner(args: Sequence[str]) -> Checked:
    runner_args, stage_overrides = split_overrides(_read(args))
    if stage_overrides:
        runner_args.append(f"++_stage_overrides=[{','.join(map(quoted, stage_overrides))}]")
    if flags := [arg for arg in runner_args if arg.startswith("-")]:
        raise InputError(f"{flags[0]}: the check takes settings alone. Leave it out.")
    forget_pipelines()
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        cfg = compose("_runner", runner_args)
    log_dir = Path(cfg.log_dir)
    pipeline = Overwriting(log_dir).resumed(pipeline_of(cfg))
    return Checked(pipeline, read_stage_runners(cfg), log_dir, bool(cfg.do_profile))


def _of_extraction(args: Sequence[str]) -> Checked:
    config_fp, overrides = _config_file(_read(args))
    overrides = [override for override in overrides if override_key(override) not in KEYS_PER_STAGE]
    pipeline = load_pipeline(str(config_fp), overrides, is_packaged=config_fp == EXTRACT_CONFIG_YAML)
    cohort_dir = pipeline.value("cohort_dir")
    return Checked(pipeline, StageRunners({}), Path(cohort_dir or ".") / ".logs")


def _read(args: Sequence[str]) -> list[str]:
    args = understood(args)
    if wrong := mistake(args) or unreadable(args):
        raise InputError(wrong)
    return args


def _config_file(args: Sequence[str]) -> tuple[Path, list[str]]:
    """The configuration file that flags of a stage's script name, by default the packaged one, and the overrides."""
    folder, name, overrides = EXTRACT_CONFIG_YAML.parent, EXTRACT_CONFIG_YAML.stem, list[str]()
    left = iter(args)
    for arg in left:
        flag, _, value = arg.partition("=")
        if flag in FLAGS_WITH_VALUE and not value:
            value = next(left, "")
        if flag in ("--config-dir", "-cd", "--config-path", "-cp"):
            folder = Path(value)
        elif flag in ("--config-name", "-cn"):
            name = value
        elif not arg.startswith("-"):
            overrides.append(arg)
    return folder.absolute() / f"{name.removesuffix('.yaml')}.yaml", overrides


def look_over(compose_all: Callable[[], Checked]) -> Report:
    """All that can be found of a run before it begins; nothing is written."""
    found = Inspection()
    try:
        checked = compose_all()
    except Exception as error:
        if not is_explained(error):
            raise
        found.add_error(error, PIPELINE, CONFIGURATION)
        return Report(found.remarks)
    with _logged(found):
        return _look_over(checked, found)


def _look_over(checked: Checked, found: Inspection) -> Report:
    pipeline, look = checked.pipeline, Look(inspects=True, reports=False)
    planned = plan(pipeline, checked.stage_runners, checked.log_dir, checked.do_profile)
    runs = planned.runs
    found.add_problems(planned.problems, PIPELINE, CONFIGURATION)
    for one in look(pipeline, runs):
        found.add_problems(one.without(planned.problems).found, one.stage, one.kind)
    _warn_of_settings(checked, runs, found)
    inspect_folders(pipeline.value("input_dir"), pipeline.value("cohort_dir"), found)
    _look_for_other_runner(checked.log_dir, found)
    said = {_words(remark) for remark in found.remarks}
    found.remarks += [remark for remark in look.inspection.remarks if _words(remark) not in said]
    states = outlooks(pipeline, runs)
    for name, state in states.items():
        if state.refusal:
            found.add_problems([state.refusal], name, STALE)
    _look_for_space(pipeline, runs, look.inspection, found)
    return Report(found.remarks, look.inspection.events, [*_stages(pipeline, runs, states)])


def _words(remark: Remark) -> str:
    return f"{remark.what} {remark.remedy}".rstrip(". ")


def _warn_of_settings(checked: Checked, runs: Sequence[StageRun], found: Inspection) -> None:
    pipeline = checked.pipeline
    said = {remark.what for remark in found.remarks}
    messages = unknown_keys(pipeline) + checked.stage_runners.unknown_keys(pipeline.stage_names)
    messages += serial_workers(pipeline, runs) + names_taken(pipeline.stage_names)
    remarks = [Remark.of(Severity.WARNING, CONFIGURATION, message, PIPELINE) for message in messages]
    found.remarks += [remark for remark in remarks if remark.what not in said]


def _look_for_other_runner(log_dir: Path, found: Inspection) -> None:
    lock = log_dir / RUNNER_LOCK
    if not lock.is_file():
        return
    with suppress(OSError), try_lock(lock) as alone:
        if not alone:
            what = "another runner is already using this folder"
            found.error(LOCK, str(log_dir), what, "Wait for it to finish, or stop it")


def _look_for_space(pipeline: Pipeline, runs: Sequence[StageRun], inspection: Inspection, found: Inspection) -> None:
    cohort_dir, to_do = pipeline.value("cohort_dir"), stages_to_do(pipeline, runs)
    if not cohort_dir or not to_do or not inspection.bytes_made:
        return
    kept = {name: one.is_kept for name, one in intermediates(pipeline.cfg).items()}
    copies = sum(kept.get(run.name, True) for run in to_do if not _makes_metadata(pipeline, run))
    with suppress(OSError):
        inspect_space(Path(cohort_dir), inspection.bytes_made * max(copies, 1), found)


def _makes_metadata(pipeline: Pipeline, run: StageRun) -> bool:
    with suppress(Exception):
        return bool(pipeline.stage_config(run.name)["stage_cfg"]["is_metadata"])
    return False


def _stages(pipeline: Pipeline, runs: Sequence[StageRun], states: dict[str, Outlook]) -> Iterator[StagePlan]:
    """What the runner will do about every stage."""
    again, overwrites = needed_again(pipeline, runs), pipeline.flag("do_overwrite")
    kept = {name: one.is_kept for name, one in intermediates(pipeline.cfg).items()}
    fuse, number, process = pipeline.flag("fuse"), 0, dict[str, int]()
    to_run = [run for run in runs if overwrites or run.name in again or not run.done.is_set()]
    left = [*to_run]
    while left:
        segment, number = segment_from(left, fuse), number + 1
        process |= dict.fromkeys((run.name for run in segment.stages), number)
        del left[: len(segment.stages)]
    for run in runs:
        state, keeps = states.get(run.name, Outlook()), kept.get(run.name)
        workers = max(run.parallel.n_workers, 1)
        if state.refusal:
            why = state.refusal.what.splitlines()[0].rstrip(":")
            yield StagePlan(run.name, REFUSE, why, workers, keeps=keeps)
        elif run.name not in process:
            yield StagePlan(run.name, SKIP, "done before, with the same settings and inputs", workers, keeps=keeps)
        else:
            why = "its outputs are done; it sees that and ends" if state.is_finished else ""
            yield StagePlan(run.name, RUN, why, workers, process[run.name], keeps)


class _Collects(logging.Handler):
    """Makes remarks of warnings that are logged."""

    def __init__(self, found: Inspection) -> None:
        super().__init__(logging.WARNING)
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        self.found.add_problems([logged_problem(record)], PIPELINE, LOGGED, Severity.WARNING)


@contextmanager
def _logged(found: Inspection) -> Iterator[None]:
    """What is logged inside becomes remarks, and is not shown."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, [_Collects(found)]
    try:
        yield
    finally:
        root.handlers = before
