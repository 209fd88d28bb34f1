"""The folder that a stage writes to: what is there, who made it, and what does not belong there."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import OutputsExistError, counted, listed
from .claims import Unit
from .files import files_below, relative_name, remove_empty_folders
from .fingerprints import fingerprint
from .owners import Folders, Owner, owners_in
from .provenance import OutputFile, Units

logger = logging.getLogger(__name__)


class OutputFolder:
    """The folder of a stage's outputs, whose names are paths from there.

    Args:
        path: where the stage's record is.
        stage: the name of the stage.
        own: a folder in which no files but the stage's outputs may be; None where there is none.
        others: the folders that the other stages of the pipeline write to.
        count_rows: the rows of each of some parquet files.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        own: Path | None = None,
        others: Folders | None = None,
        count_rows: Callable[[Sequence[Path]], Sequence[int]] | None = None,
    ) -> None:
        self.path, self.stage, self.own, self.others, self.count_rows = path, stage, own, others or {}, count_rows

    def name(self, path: Path) -> str:
        """The name of an output."""
        return relative_name(path, self.path)

    def has_all(self, files: Mapping[str, OutputFile]) -> bool:
        """Whether files are there as they were noted."""
        return all(file.is_at(self.path, name) for name, file in files.items())

    def described(self, files: Mapping[str, Path]) -> dict[str, OutputFile]:
        """What there is to note of files, by name. NOTE: to count rows file by file takes twice as long."""
        tables = [path for path in files.values() if path.suffix == ".parquet"]
        rows = dict(zip(tables, self.count_rows(tables), strict=True)) if self.count_rows else {}
        return {name: OutputFile(*fingerprint(path), rows.get(path)) for name, path in files.items()}

    def there(self, units: Iterable[Unit] = ()) -> set[str]:
        """The files in the stage's own folder, and those of units that are elsewhere."""
        own = self.own
        elsewhere = [unit for unit in units if own is None or own not in unit.claim_fp.parents]
        found = {self.name(path) for path in files_below(own)} if own else set()
        return found | {self.name(path) for unit in elsewhere for path in unit.existing()}

    def unknown(self, unlisted: set[str], units: Sequence[Unit], overwrites: bool) -> Units:
        """The outputs of units that are there though nobody has noted them (`unlisted`).

        Raises:
            FileExistsError: there are files of another stage, or which the stage does not make.
        """
        superseded = self._superseded(unlisted, overwrites)
        found: Units = {}
        for unit in units:
            names = {self.name(path): path for path in unit.existing()}
            if names.keys() & unlisted:
                found[self.name(unit.claim_fp)] = self.described(names)
        self.refuse(unlisted - superseded - {name for files in found.values() for name in files})
        return found

    def _superseded(self, unlisted: set[str], overwrites: bool) -> set[str]:
        """The files of stages that write elsewhere by now, which this one is to overwrite.

        Raises:
            FileExistsError: there are files of a stage that writes there still, or which are not to be overwritten.
        """
        superseded: set[str] = set()
        for owner in self._owners(unlisted):
            if not owner.writes_elsewhere(self.others) or not overwrites:
                raise owner.refuses(self.stage, unlisted, self.others)
            superseded |= owner.files
        return superseded

    def _owners(self, names: set[str]) -> list[Owner]:
        """The other stages that made some of these files."""
        folders = {self.path, self.own or self.path}
        owners = [owner for folder in folders for owner in owners_in(folder, self.path) if owner.stage != self.stage]
        return [owner for owner in owners if owner.files & names]

    def remove_superseded(self, ours: set[str]) -> None:
        """Removes what stages left that write elsewhere by now: their records, and the files that are not ours."""
        for owner in self._owners(self.there() | ours):
            if owner.writes_elsewhere(self.others):
                self.remove(owner.files - ours)
                owner.forget()

    def refuse(self, surplus: set[str]) -> None:
        """Raises a FileExistsError that names files which the stage does not make, if there are any."""
        if surplus:
            raise OutputsExistError(
                f"{self.own} holds {counted(len(surplus), 'file')} that the stage {self.stage} does not make: "
                f"{listed(surplus, 5)}. Later stages would read them too",
                remedy="Move them to another folder.",
            )

    def remove(self, names: Iterable[str]) -> None:
        """Removes outputs of a former run that this one does not make, and the folders that are empty then."""
        removed = [name for name in names if (self.path / name).exists()]
        for path in (self.path / name for name in removed):
            path.unlink()
            if not path.name.startswith("."):
                logger.warning("%s: removed: an earlier run made it, this one does not", path)
        remove_empty_folders(self.path, removed)
