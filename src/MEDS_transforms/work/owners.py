"""Which stages made the files of a folder, by the records of finished stages and the notes of unfinished ones."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import OutputsExistError, listed
from .provenance import begun_stages, read_record, record_path, recorded_stages
from .runs import Run

Folders = Mapping[str, Sequence[Path]]
"""The folders that the stages of a pipeline write to, by the present configuration."""


class Owner(NamedTuple):
    """A stage that has made files, and the folder where its record or its notes are."""

    folder: Path
    stage: str
    files: set[str]

    def writes_elsewhere(self, folders: Folders) -> bool:
        """Whether the stage belongs to the pipeline, and writes elsewhere by now."""
        return self.stage in folders and self.folder.resolve() not in {path.resolve() for path in folders[self.stage]}

    def refuses(self, other: str, found: set[str], folders: Folders) -> OutputsExistError:
        """Why another stage, which found some files, does not write there."""
        there = f"{self.folder} has what the stage {self.stage} made ({listed(self.files & found, 3)})"
        if self.writes_elsewhere(folders):
            return OutputsExistError(
                f"{there} before the pipeline was changed; now {other} writes there",
                remedy="Either rerun with do_overwrite=True, which replaces it, or set another cohort_dir, or "
                f"stage_configs.{other}.output_dir, which leaves it as it is.",
            )
        return OutputsExistError(
            f"{there}, and {other} would write there too. Is {other} the last of its kind in `stages`?",
            remedy=f"List all stages of the pipeline, or set stage_configs.{other}.output_dir to a folder of its own.",
        )

    def forget(self) -> None:
        """Removes the record and the notes."""
        record_path(self.folder, self.stage).unlink(missing_ok=True)
        Run(self.folder, self.stage).end()


def owners_in(folder: Path, seen_from: Path) -> Iterator[Owner]:
    """The stages that have made files of a folder; names of files are paths from another one."""
    for stage in sorted({*recorded_stages(folder), *begun_stages(folder)}):
        record = read_record(folder, stage)
        files = Run(folder, stage).all_files() | set(record.files if record else ())
        yield Owner(folder, stage, {os.path.relpath(folder / name, seen_from) for name in files})
