"""Stages and pipelines run from Python, in scripts and notebooks.

    run_stage("filter_subjects", input_dir="meds", output_dir="adults", min_measurements_per_subject=10)
    run_pipeline("pipeline.yaml", seed=2)

Checks, locks, records and accounting are those of the command line, and so are the files. What is wrong is raised, as a
`MEDS_transforms.errors.UserError` where the user can correct it; nothing ends the process. Hydra and logging are left
as they were found, so that both may be called in a notebook, a thread, or an application of Hydra's.
"""

import hashlib
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .cli.command_line import understood
from .cli.overrides import RUNNER_KEYS, hydra_value
from .cli.process import raise_file_limit
from .cli.script import run_stage as run_as_script
from .errors import InputError, StageError, explain, listed, nearest, not_set
from .runner.ending import account_of
from .settings.composing import composed
from .settings.declarations import common_keys, is_free_form, known_keys, script_stage, stage_block, top_keys
from .settings.packaged import EXTRACT_CONFIG_YAML, RUNNER_CONFIG_YAML, default_config
from .settings.plain import plain
from .stages import Stage, find_stage, packaged_blocks, registered_stages
from .work.files import make_folder, publish

Accounting = Mapping[str, Any]
"""What became of every row in a stage: the content of its file in `metadata/accounting`."""

_FILLED_IN = {"cohort_dir", "hydra", "stage", "stage_cfg"}
"""Keys of a configuration that are not for the caller of `run_stage` to set."""

_AT_WORK: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""The stages that threads of this process run, by folder and name.

NOTE: workers know each other by their processes, so that two of one process must not be at the same stage.
"""


@dataclass(frozen=True, repr=False)
class StageResult:
    """What a stage has made.

    `output_dir` is the folder that it wrote to; `accounting` has the figures of its accounting (empty for a stage that
    has none); `seconds` is the time that the call took.
    """

    stage: str
    output_dir: Path
    accounting: Accounting = field(default_factory=dict)
    seconds: float = 0.0

    def __repr__(self) -> str:
        from .mapreduce.accounting import tables_of  # not above: with it comes polars

        return "\n\n".join([f"{self.stage}: {self.output_dir}, {self.seconds:.1f} s", *tables_of(self.accounting)])


@dataclass(frozen=True, repr=False)
class PipelineResult:
    """What a pipeline has made: its folder, the figures of the accounting of each stage, and the time that it took."""

    cohort_dir: Path
    accounting: Mapping[str, Accounting]
    seconds: float

    def __repr__(self) -> str:
        rows = [f"  {stage}{_rows_in_and_out(figures)}" for stage, figures in self.accounting.items()]
        return "\n".join([f"{self.cohort_dir}: {len(rows)} stages, {self.seconds:.1f} s", *rows])


def _rows_in_and_out(figures: Accounting) -> str:
    numbers = [figures.get(side, {}).get("rows") for side in ("in", "out")]
    return f": {numbers[0]:,} rows in, {numbers[1]:,} out" if None not in numbers else ""


def run_stage(name: str, input_dir: str | Path, output_dir: str | Path, **settings: Any) -> StageResult:
    """Runs one stage in this process, as its script would.

    Args:
        name: the stage: one of this package, or one that another package registers.
        input_dir: the folder of the MEDS dataset, or of the raw tables, that it reads: `input_dir` of the command line.
        output_dir: the folder for what it makes: `cohort_dir` of the command line. Shards go to `data` in it and code
            metadata to `metadata`; those of an extraction stage but the last to a folder of the stage's name, where the
            next one looks for them.
        settings: keys of the stage's block, or general ones, such as `seed`, `do_overwrite`, `worker`, `stages`.

    Raises:
        UserError: a setting is unknown or has a value that is not allowed, or the stage cannot use its input.

    Examples:
        >>> run_stage("filter_subject", input_dir="meds", output_dir="out")
        Traceback (most recent call last):
            ...
        MEDS_transforms.errors.InputError: There is no stage 'filter_subject' (did you mean 'filter_subjects'?).
    """
    started = time.monotonic()
    stage = _stage_by(name)
    reads, writes = _folder("input_dir", input_dir), _folder("output_dir", output_dir)
    raise_file_limit()  # as the scripts do: many shards are many files
    with _explained(), _AT_WORK[f"{writes.resolve()} {name}"]:
        cfg = _stage_config(name, stage, {"input_dir": reads, "cohort_dir": writes}, settings)
        cfg = run_as_script(stage.module, cfg, stage.name, in_own_process=False)
        folder = cfg.stage_cfg.reducer_output_dir or cfg.stage_cfg.output_dir
    return StageResult(name, Path(folder), account_of(writes, name), time.monotonic() - started)


def _folder(name: str, value: Any) -> Path:
    """The folder that an argument names, where `~` is the home folder."""
    if not isinstance(value, str | Path) or not str(value):
        raise InputError(f"{name} must be the path of a folder, not {value!r}.")
    return Path(value).expanduser()


def _stage_by(name: str) -> Stage:
    """The stage whose script runs a stage of this name."""
    if not isinstance(name, str):
        raise InputError(f"name must be the name of a stage, not {name!r}.")
    block = stage_block(name) if name in packaged_blocks() else None
    script = script_stage(block.default.get("_script")) if block and isinstance(block.default, dict) else None
    if stage := find_stage(script or name):
        return stage
    raise InputError(f"There is no stage {name!r}{nearest(name, [*packaged_blocks(), *registered_stages()])}.")


def _stage_config(name: str, stage: Stage, folders: Mapping[str, Any], settings: Mapping[str, Any]) -> DictConfig:
    """The configuration that the script of a stage would have, alone in a pipeline or in that of the extraction."""
    settings = _as_yaml_has_it(settings)
    base, own = default_config(stage.name), _own_settings(name, settings)
    general = {key: value for key, value in settings.items() if key not in own}
    stages = {} if base == EXTRACT_CONFIG_YAML else {"stages": [name]}
    block = {"stage_configs": {name: own}} if own else {}
    cfg: Any = composed(base, [f"stage={hydra_value(name)}"])
    OmegaConf.set_struct(cfg, False)
    _check_blocks(general)
    merged = OmegaConf.merge(cfg, {**stages, **_as_yaml_has_it(folders), **general}, block)
    assert isinstance(merged, DictConfig)
    return merged


def _own_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that are of the block of a stage, not general ones.

    Raises:
        InputError: some are neither.
    """
    known, general = known_keys(name), top_keys().keys() - _FILLED_IN
    own = {key: value for key, value in settings.items() if key in (known or ()) or key not in general}
    takes_all = known is None or is_free_form(name)
    unknown = [key for key in own if key in _FILLED_IN or not (takes_all or key in (known or ()))]
    if unknown:
        hints = ", ".join(f"{key!r}{nearest(key, {*(known or ()), *general})}" for key in unknown)
        listed_ones = listed({*(known or ())} - {*common_keys()})
        raise InputError(f"The stage {name} has no setting {hints}. Its own settings are: {listed_ones}.")
    return own


def run_pipeline(cfg: str | Path | Mapping[str, Any] | DictConfig, **overrides: Any) -> PipelineResult:
    """Runs the stages of a pipeline in order, as the runner does, each worker in a process of its own.

    Args:
        cfg: a pipeline file, or its content, which is then written to the folder of the logs. Content without
            `defaults` builds on `_extract` if it names an event conversion file, otherwise on `_preprocess`.
        overrides: keys of the pipeline, which override it, and the runner's own: `stage_runner_fp`, `parallelize`,
            `progress` (default: `stages`, on a terminal `auto`), `clean`. Blocks are set key by key:
            `stage_configs={"filter_subjects": {"min_events_per_subject": 5}}`.

    Raises:
        UserError: something is wrong with the settings, or a stage has failed; what it said is printed.
        KeyboardInterrupt: the run was interrupted; the same call continues it.
    """
    from .runner.run import RUNNER_LOG, forget_pipelines, run

    started = time.monotonic()
    with _explained(), _signals_raised_again():
        config_fp = Path(cfg).expanduser() if isinstance(cfg, str | Path) else _written(cfg, overrides)
        runner_cfg = _runner_config(config_fp, overrides)
        forget_pipelines()
        run(runner_cfg, Path(runner_cfg.log_dir) / RUNNER_LOG)  # not to the log of an application of the user's
        return _result(config_fp, runner_cfg, started)


def _runner_config(config_fp: Path, overrides: Mapping[str, Any]) -> DictConfig:
    overrides = _as_yaml_has_it(overrides)
    if "pipeline_config_fp" in overrides:
        raise InputError("pipeline_config_fp: the pipeline is the first argument, and cannot be overridden.")
    _check_blocks(overrides)
    own = {key: value for key, value in overrides.items() if key.partition(".")[0] in RUNNER_KEYS}
    of_stages = {key: value for key, value in overrides.items() if key not in own}
    cfg: Any = composed(RUNNER_CONFIG_YAML)
    OmegaConf.set_struct(cfg, False)
    given = {
        "pipeline_config_fp": str(config_fp),
        "progress": "auto" if sys.stdout.isatty() else "stages",
        "_stage_overrides": understood([*_override_words(of_stages)]),
    }
    merged = OmegaConf.merge(cfg, given, own)
    assert isinstance(merged, DictConfig)
    return merged


def _override_words(overrides: Mapping[str, Any]) -> Iterator[str]:
    """Overrides as the command line has them; those in blocks, key by key."""
    for key, value in overrides.items():
        inside = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
        if key == "stage_configs":
            inside = {f"{block}.{name}": one for block, keys in inside.items() for name, one in (keys or {}).items()}
        yield from (f"{path}={hydra_value(one)}" for path, one in inside.items())


def _written(cfg: Mapping[str, Any] | DictConfig, overrides: Mapping[str, Any]) -> Path:
    """The file with the content of a pipeline, in the folder of its logs, from which its stages read it.

    Another content has another name, since runs that were begun may still read theirs.
    """
    if not isinstance(cfg, Mapping):
        raise InputError(f"A pipeline is the path of its file, or its content in a dict, not {cfg!r}.")
    content: Any = OmegaConf.create(_as_yaml_has_it(cfg))
    OmegaConf.set_struct(content, False)
    if "defaults" not in content:
        base = EXTRACT_CONFIG_YAML.stem if "event_conversion_config_fp" in content else "_preprocess"
        content = OmegaConf.merge({"defaults": [base, "_self_"]}, content)
    cohort_dir = OmegaConf.select(content, "cohort_dir", throw_on_missing=False)
    if not (overrides.get("cohort_dir") or cohort_dir):
        raise InputError(not_set("cohort_dir"))
    cohort_dir = _folder("cohort_dir", overrides.get("cohort_dir") or cohort_dir)
    log_dir = overrides.get("log_dir")
    text = OmegaConf.to_yaml(content)
    name = f"pipeline_{hashlib.sha256(text.encode()).hexdigest()[:8]}.yaml"
    path = (_folder("log_dir", log_dir) if log_dir else cohort_dir / ".logs") / name
    make_folder(path.parent)
    publish(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
    return path


def _result(config_fp: Path, runner_cfg: DictConfig, started: float) -> PipelineResult:
    from .runner.pipeline import load_pipeline

    pipeline = load_pipeline(str(config_fp), plain(runner_cfg["_stage_overrides"], resolve=False))
    cohort_dir = Path(pipeline.value("cohort_dir"))
    figures = {stage: account_of(cohort_dir, stage) for stage in pipeline.stage_names}
    return PipelineResult(cohort_dir, figures, time.monotonic() - started)


def _as_yaml_has_it(value: Any, key: str = "") -> Any:
    """A value of Python's as a YAML file would have it: paths as text, tuples, sets and numpy's arrays as lists.

    Raises:
        InputError: YAML has no such values; the message names the `key`.
    """
    value = plain(value, resolve=False)
    if isinstance(value, Mapping):
        return {str(name): _as_yaml_has_it(item, f"{key}.{name}".lstrip(".")) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_yaml_has_it(item, f"{key}[{at}]") for at, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value.expanduser())
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return _as_yaml_has_it(value.tolist(), key)
    if value is not None and not isinstance(value, str | int | float):
        raise InputError(f"{key}: a setting is text, a number, True, False, None, a list or a dict, not {value!r}.")
    return value


def _check_blocks(given: Mapping[str, Any]) -> None:
    """Raises an InputError that names the settings which must be blocks of settings, and are not."""
    blocks = {key: given[key] for key, known in top_keys().items() if key in given and isinstance(known.default, dict)}
    of_stages = blocks.get("stage_configs")
    if isinstance(of_stages, dict):
        blocks |= {f"stage_configs.{stage}": block or {} for stage, block in of_stages.items()}
    if wrong := [
        f"{key} must be a dict, not {block!r}." for key, block in blocks.items() if not isinstance(block, dict)
    ]:
        raise InputError("\n".join(wrong))


@contextmanager
def _explained() -> Iterator[None]:
    """What Hydra and OmegaConf have against a configuration becomes an error in our words."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(explain(error)) from error


@contextmanager
def _signals_raised_again() -> Iterator[None]:
    """Passes the signal that has stopped a runner on to this process, whose it is to say what it does then.

    NOTE: the runner ends its process with a status that tells the signal; Ctrl-C becomes a KeyboardInterrupt.
    """
    stopped_by = 0
    try:
        yield
    except SystemExit as end:
        stopped_by = int(end.code or 0) - 128
    if stopped_by:
        signal.raise_signal(stopped_by)
        raise StageError("The run was stopped. The same call continues it.")
