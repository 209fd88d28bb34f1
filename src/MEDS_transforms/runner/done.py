"""Which stages of a pipeline are done, as the runner sees it: without a look at any data."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputsExistError
from ..settings.folders import INFERRED_STAGE_KEYS, populate_stage
from ..settings.intermediates import KEEP_INTERMEDIATES
from ..settings.layout import ACCOUNTING_DIR
from ..settings.plain import item_where_known
from ..work.files import files_below, publish
from ..work.fingerprints import Fingerprint, fingerprint_or_none
from ..work.provenance import read_record, recorded_stages
from ..work.sources import is_as_recorded
from .metadata_files import absolute, copies_noted
from .pipeline import Pipeline

ALL_DONE = "_all_stages.done"
OVERWRITING = ".overwriting"

_NO_SETTINGS = {"stage_configs", "log_dir", "worker", "stage", "stage_cfg", "polling_time", "do_overwrite", "strict"}
_NO_SETTINGS |= {"keep_existing", "description", "hydra", "stages", "limits", "fuse", KEEP_INTERMEDIATES}


@dataclass(frozen=True)
class DoneMark:
    """The file `<stage>.done` that says that a stage is done, with which settings, and whose record is where.

    Of a stage that leaves no record, a script of the user's say, the mark itself says which files were in the folders
    that the stage reads, and which it has left in those it writes to.

    A stage that is not done for sure is run: its script looks closely, and does only what is missing, or says what has
    changed.
    """

    path: Path
    stage: str
    settings: str = ""
    folders: tuple[Path, ...] = ()
    """Where the stage writes, and may have left its record; none where that cannot be told."""
    reads: tuple[Path, ...] = ()
    cohort_dir: Path = Path()
    """What is below it is no input, where the stage reads a folder in which the whole cohort is."""

    def is_set(self) -> bool:
        """Whether the stage was done with these settings, and all it read and wrote is as it was then."""
        content = self._content()
        if content.get("settings") != self.settings or content.get("folders") != [*map(self._name, self.folders)]:
            return False
        if makers := content.get("made_by"):
            return all(is_as_recorded(self.path.parent / name, self.stage, by) for name, by in makers.items())
        made = content.get("made", {}).items()
        return content.get("read") == self._files(self.reads) and all(
            fingerprint_or_none(self.path.parent / name) == Fingerprint(*file) for name, file in made
        )

    def is_freed(self) -> bool:
        """Whether outputs of the stage have been removed, or were never written, since they are not kept."""
        records = (read_record(folder, self.stage) for folder in self.folders)
        return any(record.freed for record in records if record)

    def set(self) -> None:
        """Marks the stage done."""
        found = {self._name(folder): read_record(folder, self.stage) for folder in self.folders}
        makers = {name: record.made_by.digest for name, record in found.items() if record}
        content: dict[str, Any] = {"settings": self.settings, "folders": self.folders, "made_by": makers}
        if not makers:
            content |= {"read": self._files(self.reads), "made": self._files(self.folders, recorded=False)}
        text = json.dumps(content, default=self._name)
        publish(self.path, lambda scratch: scratch.write_text(text, encoding="utf-8"))

    def made(self) -> list[Path]:
        """The files that a stage without a record has made."""
        return [absolute(self.path.parent / name) for name in self._content().get("made", ())]

    def _content(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        return {}

    def _files(self, folders: Sequence[Path], recorded: bool = True) -> dict[str, list[Any]]:
        """The files in folders with size and checksum, but for what the runner copied there after all stages.

        Args:
            folders: the folders, without the cohort, or others that the stage writes to, where these lie in them.
            recorded: whether files count that a stage has recorded, another one then.
        """
        accounts = (folder / ACCOUNTING_DIR for folder in folders)  # which other stages add to
        apart = {*map(absolute, [*self.folders, self.cohort_dir, *accounts])}
        copies = copies_noted(self.path.parent)
        left_out = set() if recorded else {path for folder in folders for path in recorded_files(folder)}
        files = {}
        for folder in map(absolute, folders):
            for path in files_below(folder, apart):
                found = fingerprint_or_none(path)
                if found and path not in left_out and copies.get(path) != found:
                    files[self._name(path)] = [*found]
        return files

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.path.parent)


def recorded_files(folder: Path) -> set[Path]:
    """The files that stages have recorded as theirs in a folder."""
    records = (read_record(folder, stage) for stage in recorded_stages(folder))
    return {absolute(folder / name) for record in records if record for name in record.files}


def done_mark(pipeline: Pipeline, stage: str, log_dir: Path) -> DoneMark:
    """The mark of a stage of a pipeline."""
    settings, inferred = settings_digest(pipeline, log_dir, stage), _inferred(pipeline, stage)
    writes_to = _folders(inferred, "reducer_output_dir", "output_dir")
    reads = _folders(inferred, "data_input_dir", "metadata_input_dir")
    return DoneMark(
        log_dir / f"{stage}.done", stage, settings, writes_to, reads, Path(pipeline.value("cohort_dir") or "")
    )


def settings_digest(pipeline: Pipeline, log_dir: Path, stage: str | None = None) -> str:
    """A text that differs where settings differ that a stage may look at, or any stage, or where it reads and writes.

    NOTE: of values, not of what stands for them: an environment variable may have another value now. It is one digest
    of all settings, so that it gives away none of them.
    """
    settings = {str(key): item_where_known(pipeline.cfg, key) for key in pipeline.cfg if key not in _NO_SETTINGS}
    for name in [stage] if stage else pipeline.stage_names:
        block = item_where_known(pipeline.cfg.stage_configs, name) if pipeline.block(name) else {}
        block = {key: value for key, value in (block or {}).items() if key != KEEP_INTERMEDIATES}
        settings[f"stage_configs.{name}"] = {"block": block, "inferred": _inferred(pipeline, name)}
    text = json.dumps(settings, sort_keys=True, default=str)
    folders = {str(folder) for key in ("input_dir", "cohort_dir") if (folder := pipeline.value(key))}
    for folder in sorted(folders, key=len, reverse=True):  # a tree that was moved as a whole is the same
        text = text.replace(json.dumps(folder)[1:-1], os.path.relpath(folder, log_dir))
    return hashlib.sha256(text.encode()).hexdigest()


def _inferred(pipeline: Pipeline, stage: str) -> dict[str, Any]:
    """Where a stage reads and writes, by its place in the list of stages; empty where that cannot be told."""
    with suppress(Exception):  # of a key that is not set, or of another stage, which is not for us to say
        blocks = pipeline.cfg.get("stage_configs") or {}
        folders = pipeline.value("input_dir"), pipeline.value("cohort_dir")
        filled = populate_stage(stage, *folders, pipeline.stages, blocks)
        return {key: filled[key] for key in sorted(INFERRED_STAGE_KEYS) if key in filled}
    return {}


def _folders(inferred: Mapping[str, Any], *keys: str) -> tuple[Path, ...]:
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
                "A run with do_overwrite=True was interrupted, and the settings have changed since",
                str(self.log_dir),
                "Use do_overwrite=True to rebuild all outputs, or keep_existing=True to keep what is there and build "
                "only what is missing.",
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
