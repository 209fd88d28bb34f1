"""Which stages of a pipeline are done, as the runner sees it: without a look at any data."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..settings.folders import populate_stage
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
    return DoneMark(log_dir / f"{stage}.done", stage, settings, _folders(pipeline, stage))


def settings_digest(pipeline: Pipeline, log_dir: Path, stage: str | None = None) -> str:
    """A short text that differs where settings differ that a stage may look at, or any stage."""
    content = OmegaConf.to_container(pipeline.cfg, resolve=False)
    assert isinstance(content, dict)
    settings: dict[Any, Any] = {key: value for key, value in content.items() if key not in _NO_SETTINGS}
    for key in ("input_dir", "cohort_dir"):  # a tree that was moved as a whole is the same
        settings[key] = os.path.relpath(pipeline.value(key), log_dir) if pipeline.value(key) else None
    blocks = pipeline.cfg.get("stage_configs") or {}
    for name in [stage] if stage else pipeline.stage_names:
        settings[f"stage_configs.{name}"] = pipeline.block(name)
        with suppress(Exception):  # of a key that is not set, which is for the stage to say
            settings[f"stage_configs.{name}"] = OmegaConf.to_container(blocks[name], resolve=True)
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _folders(pipeline: Pipeline, stage: str) -> tuple[Path, ...]:
    with suppress(Exception):  # of a key that is not set, or of another stage, which is not for us to say
        blocks = pipeline.cfg.get("stage_configs") or {}
        filled = populate_stage(
            stage, pipeline.value("input_dir"), pipeline.value("cohort_dir"), pipeline.stages, blocks
        )
        found = [filled["reducer_output_dir"], filled["output_dir"]]
        return tuple(dict.fromkeys(Path(folder) for folder in found if folder))
    return ()


@dataclass(frozen=True)
class Overwriting:
    """The note that a run with `do_overwrite` is under way, so that the same command resumes it."""

    log_dir: Path
    settings: str

    @property
    def path(self) -> Path:
        """The file of the note; it holds the settings."""
        return self.log_dir / OVERWRITING

    def begin(self, marks: Sequence[DoneMark]) -> bool:
        """Begins to overwrite: no stage is done any more. False where an interrupted run resumes."""
        with suppress(OSError):
            if self.path.read_text(encoding="utf-8") == self.settings:
                return False
        for path in (*(mark.path for mark in marks), self.log_dir / ALL_DONE):
            path.unlink(missing_ok=True)
        publish(self.path, lambda scratch: scratch.write_text(self.settings, encoding="utf-8"))
        return True

    def end(self) -> None:
        """All stages are done."""
        self.path.unlink(missing_ok=True)
