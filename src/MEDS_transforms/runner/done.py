"""Which stages of a pipeline are done, as the runner sees it: without a look at any data."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import OutputsExistError
from ..settings.folders import INFERRED_STAGE_KEYS, populate_stage
from ..work.files import publish
from ..work.provenance import is_as_recorded, record_path
from .pipeline import Pipeline

ALL_DONE = "_all_stages.done"
OVERWRITING = ".overwriting"

_NO_SETTINGS = {"stage_configs", "log_dir", "worker", "stage", "stage_cfg", "polling_time", "do_overwrite", "strict"}
_NO_SETTINGS |= {"keep_existing", "description", "hydra", "stages"}


@dataclass(frozen=True)
class DoneMark:
    """The file `<stage>.done` that says that a stage is done, with which settings, and where its record is.

    A stage that is not done for sure is run: its script looks closely, and does only what is missing, or says what has
    changed.
    """

    path: Path
    stage: str
    settings: str = ""
    folders: tuple[Path, ...] = ()
    """Where the stage may have left its record; none where that cannot be told."""

    def is_set(self) -> bool:
        """Whether the stage was done with these settings, and all it read and wrote is as it was then."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if not isinstance(content, dict) or content.get("settings") != self.settings:
            return False
        if content.get("folders") != self._names(self.folders):
            return False
        return all(is_as_recorded(self.path.parent / name, self.stage) for name in content.get("records", []))

    def set(self) -> None:
        """Marks the stage done."""
        records = [folder for folder in self.folders if record_path(folder, self.stage).is_file()]
        content = {"settings": self.settings, "folders": self._names(self.folders), "records": self._names(records)}
        publish(self.path, lambda scratch: scratch.write_text(json.dumps(content), encoding="utf-8"))

    def _names(self, folders: Sequence[Path]) -> list[str]:
        return [os.path.relpath(folder, self.path.parent) for folder in folders]


def done_mark(pipeline: Pipeline, stage: str, log_dir: Path) -> DoneMark:
    """The mark of a stage of a pipeline."""
    settings = settings_digest(pipeline, log_dir, stage)
    writes_to = _folders(pipeline, stage, "reducer_output_dir", "output_dir")
    return DoneMark(log_dir / f"{stage}.done", stage, settings, writes_to)


def settings_digest(pipeline: Pipeline, log_dir: Path, stage: str | None = None) -> str:
    """A text that differs where settings differ that a stage may look at, or any stage, or where it reads and writes.

    NOTE: of values, not of what stands for them: an environment variable may have another value now. It is one digest
    of all settings, so that it gives away none of them.
    """
    settings = {str(key): _resolved(pipeline.cfg, key) for key in pipeline.cfg if key not in _NO_SETTINGS}
    for name in [stage] if stage else pipeline.stage_names:
        block = _resolved(pipeline.cfg.stage_configs, name) if pipeline.block(name) else {}
        settings[f"stage_configs.{name}"] = {"block": block, "inferred": _inferred(pipeline, name)}
    text = json.dumps(settings, sort_keys=True, default=str)
    folders = {str(folder) for key in ("input_dir", "cohort_dir") if (folder := pipeline.value(key))}
    for folder in sorted(folders, key=len, reverse=True):  # a tree that was moved as a whole is the same
        text = text.replace(json.dumps(folder)[1:-1], os.path.relpath(folder, log_dir))
    return hashlib.sha256(text.encode()).hexdigest()


def _resolved(cfg: DictConfig, key: Any) -> Any:
    """What a key holds; as it is written, where it cannot be resolved, which is for the stage to say that needs it."""
    with suppress(Exception):
        value = cfg[key]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    written = OmegaConf.to_container(cfg, resolve=False)
    return written[key] if isinstance(written, dict) else None


def _inferred(pipeline: Pipeline, stage: str) -> dict[str, Any]:
    """Where a stage reads and writes, by its place in the list of stages; empty where that cannot be told."""
    with suppress(Exception):  # of a key that is not set, or of another stage, which is not for us to say
        blocks = pipeline.cfg.get("stage_configs") or {}
        folders = pipeline.value("input_dir"), pipeline.value("cohort_dir")
        filled = populate_stage(stage, *folders, pipeline.stages, blocks)
        return {key: filled[key] for key in sorted(INFERRED_STAGE_KEYS) if key in filled}
    return {}


def _folders(pipeline: Pipeline, stage: str, *keys: str) -> tuple[Path, ...]:
    inferred = _inferred(pipeline, stage)
    return tuple(dict.fromkeys(Path(folder) for key in keys if (folder := inferred.get(key))))


@dataclass(frozen=True)
class Overwriting:
    """The note that a run with `do_overwrite` is under way, so that the next run resumes it."""

    log_dir: Path

    @property
    def path(self) -> Path:
        """The file of the note; it holds the settings."""
        return self.log_dir / OVERWRITING

    def resumed(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline, with `do_overwrite` where a run with it was interrupted and neither way on is chosen.

        Raises:
            FileExistsError: the settings have changed since.
        """
        if (settings := self._noted()) is None or pipeline.flag("do_overwrite") or pipeline.flag("keep_existing"):
            return pipeline
        if settings != settings_digest(pipeline, self.log_dir):
            raise OutputsExistError(
                f"{self.log_dir}: A run with do_overwrite=True was interrupted, and the settings have changed since. "
                "Two ways on: do_overwrite=True makes all outputs again; keep_existing=True keeps what is there and "
                "makes only what is missing."
            )
        return pipeline.overwriting()

    def begin(self, pipeline: Pipeline, marks: Sequence[DoneMark]) -> bool:
        """Begins to overwrite: no stage is done any more. False where an interrupted run resumes."""
        settings = settings_digest(pipeline, self.log_dir)
        if self._noted() == settings:
            return False
        for path in (*(mark.path for mark in marks), self.log_dir / ALL_DONE):
            path.unlink(missing_ok=True)
        publish(self.path, lambda scratch: scratch.write_text(settings, encoding="utf-8"))
        return True

    def end(self) -> None:
        """All stages are done."""
        self.path.unlink(missing_ok=True)

    def _noted(self) -> str | None:
        with suppress(OSError):
            return self.path.read_text(encoding="utf-8")
        return None
