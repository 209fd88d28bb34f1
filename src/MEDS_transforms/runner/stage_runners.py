"""The stage-runner file: which script runs a stage, and how workers share it.

At the top of the file and in the block of a stage, `parallelize` has the keys `n_workers`, `launcher`,
`launcher_params` and `max_retries`; a stage's own block overrides the one at the top, key by key.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from ..cli.overrides import hydra_value
from ..errors import InputError, Problem, Problems, explain, listed, nearest
from ..settings.declarations import known_keys
from ..settings.plain import plain
from .secrets import with_params_as_written

PARALLELIZE = "parallelize"
PARALLELIZE_KEYS = ("n_workers", "launcher", "launcher_params", "max_retries")
STAGE_KEYS = ("script", PARALLELIZE)
DEFAULT_RETRIES = 2
"""How often a stage with a launcher is run again to make what lost workers left unfinished."""
PROCESSES = "processes"
"""Instead of one of Hydra's launchers: the runner itself starts one process per worker."""

Block = Mapping[str, Any]


@dataclass(frozen=True)
class Parallel:
    """How workers share a stage; by default it runs as one process."""

    n_workers: int = 0
    """The number of workers; 0 if it is not set."""
    launcher: str | None = None
    launcher_params: Block = field(default_factory=dict)
    max_retries: int = 0

    @property
    def in_processes(self) -> bool:
        """Whether the runner itself starts the workers; otherwise one command starts them all."""
        return self.launcher == PROCESSES

    @property
    def on_slurm(self) -> bool:
        """Whether the workers are Slurm jobs, which outlive the process that submitted them."""
        return self.launcher == "submitit_slurm"

    @property
    def launcher_overrides(self) -> list[str]:
        """The overrides that choose and set up one of Hydra's launchers."""
        if self.launcher is None or self.in_processes:
            return []
        params = [f"hydra.launcher.{key}={hydra_value(value)}" for key, value in self.launcher_params.items()]
        return [f"hydra/launcher={self.launcher}", *params]

    def multirun_overrides(self, n_workers: int) -> list[str]:
        """The overrides that make Hydra run this number of workers; none for a single process."""
        if not self.n_workers or self.in_processes:
            return []
        return [f"worker=range(0,{n_workers})", *self.launcher_overrides]


@dataclass(frozen=True)
class StageRunners:
    """The entries of a stage-runner file by stage, and `parallelize` for all stages; `name` is used in messages."""

    entries: Block = field(default_factory=dict)
    name: str = "stage-runner file"

    def script(self, stage: str) -> Any:
        """The script of a stage, unchecked; None if the file does not name one."""
        return self._block(stage).get("script")

    def parallel(self, stage: str, problems: Problems) -> Parallel:
        """How workers share a stage; invalid settings are added to the problems and replaced by defaults."""
        block = self.parallelize_block(stage, problems)
        launcher, params = block.get("launcher"), block.get("launcher_params") or {}
        if launcher is not None and not isinstance(launcher, str):
            problems.add(f"{stage}: launcher must be a name, not {launcher!r}", self.name)
            return Parallel()
        if not isinstance(params, Mapping):
            problems.add(f"{stage}: launcher_params must be a block of keys, not {params!r}", self.name)
            return Parallel()
        if params and not launcher:
            what = f"{stage}: launcher_params without a launcher"
            problems.add(what, self.name, "Add `launcher: joblib`, for example")
        if params and launcher == PROCESSES:
            problems.add(f"{stage}: the launcher {PROCESSES} takes no launcher_params", self.name, "Leave them out")

        def whole_number(key: str, least: int, default: int) -> int:
            value = block.get(key)
            if value is None:
                return default
            if not re.fullmatch("[0-9]+", str(value)) or int(value) < least:
                problems.add(f"{stage}: {key} must be a whole number, at least {least}, not {value!r}", self.name)
                return default
            return int(value)

        n_workers = whole_number("n_workers", 1, 1 if launcher else 0)
        max_retries = whole_number("max_retries", 0, DEFAULT_RETRIES if launcher else 0)
        return Parallel(n_workers, launcher or None, params, max_retries)

    def parallelize_block(self, stage: str, problems: Problems) -> Block:
        """The default block, overridden key by key by the stage's own one.

        Empty, for one process, if there is no block at all or the stage's own block is null.
        """
        default = self.entries.get(PARALLELIZE)
        own = self._block(stage).get(PARALLELIZE, {})
        for path, value in ((PARALLELIZE, default), (f"{stage}.{PARALLELIZE}", own)):
            if value is not None and not isinstance(value, Mapping):
                problems.add(f"{path}: must be a block ({listed(PARALLELIZE_KEYS)}), not {value!r}", self.name)
                return {}
        if own is None:
            return {}
        default = dict(default or {})
        if own.get("launcher", default.get("launcher")) != default.get("launcher"):
            default.pop("launcher_params", None)  # they belong to the default's launcher
        return {**default, **own}

    def problems(self, stages: Iterable[str]) -> list[Problem]:
        """Problems with entries of these stages that are not blocks of keys."""
        return [
            Problem(f"{stage}: must be a block ({listed(STAGE_KEYS)}), not {entry!r}", self.name)
            for stage in stages
            if not isinstance(entry := self.entries.get(stage) or {}, Mapping)
        ]

    def unknown_keys(self, stages: Sequence[str]) -> list[Problem]:
        """Problems with entries of unknown stages, and for unknown keys.

        The stages of the pipeline and the packaged ones are known, so that one file can serve several pipelines.
        Top-level entries whose names begin with `_` are ignored.
        """

        def unknown(where: str, block: Iterable[Any], known: Sequence[str], what: str = "key") -> list[Problem]:
            return [
                Problem(f"{where}{key}: no such {what}{nearest(str(key), known)}; it has no effect", self.name)
                for key in block
                if key not in known
            ]

        entries = [name for name in self.entries if not str(name).startswith("_")]
        known = [PARALLELIZE, *stages, *(name for name in entries if known_keys(str(name)) is not None)]
        messages = unknown("", entries, known, "stage in the pipeline")
        messages += unknown(f"{PARALLELIZE}.", _mapping(self.entries.get(PARALLELIZE)), PARALLELIZE_KEYS)
        for stage in stages:
            block = self._block(stage)
            messages += unknown(f"{stage}.", block, STAGE_KEYS)
            messages += unknown(f"{stage}.{PARALLELIZE}.", _mapping(block.get(PARALLELIZE)), PARALLELIZE_KEYS)
        return messages

    def _block(self, stage: str) -> Block:
        return _mapping(self.entries.get(stage))


def _mapping(value: Any) -> Block:
    return value if isinstance(value, Mapping) else {}


def read_stage_runners(cfg: DictConfig) -> StageRunners:
    """The stage-runner file; where it has no `parallelize`, with the one of the runner's own configuration.

    Raises:
        ValueError: the file is not a mapping, or cannot be read.
    """
    name = f"stage-runner file {cfg.get('stage_runner_fp')}" if cfg.get("stage_runner_fp") else "stage-runner file"
    try:
        entries = plain(cfg.get("_stage_runners")) or {}
    except Exception as error:  # YAML, OmegaConf: an environment variable that is not set, say
        raise InputError(f"The {name} cannot be used: {explain(error)}") from error
    if not isinstance(entries, dict):
        raise InputError(f"The {name} must map stages to blocks, not be a list.")
    entries = with_params_as_written(entries, plain(cfg.get("_stage_runners"), resolve=False))
    return StageRunners({PARALLELIZE: plain(cfg.get(PARALLELIZE)), **entries}, name)
