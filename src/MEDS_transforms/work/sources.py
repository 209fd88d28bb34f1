"""What a stage reads: which files, whether they are as the stage that made them left them, and whether they change."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, MissingInputError, counted, is_or_are, listed
from .expected import expected_in
from .files import files_below, relative_name
from .fingerprints import Fingerprint, fingerprint_or_none
from .provenance import (
    FILES,
    PROVENANCE_DIR,
    RECORD_SUFFIX,
    RUN_SUFFIX,
    Record,
    Settings,
    has_begun,
    read_record,
    run_path,
)


@dataclass(frozen=True)
class Source:
    """Files that a stage reads: all files of a suffix below a folder, or files by name.

    Files below a folder are known as a whole: one more or one less is a change. `whole`: all of their content counts,
    whatever their size, as that of settings does; else see `fingerprint`.
    """

    folder: Path
    suffix: str | None = None
    names: tuple[str, ...] = ()
    whole: bool = False

    @classmethod
    def of_files(cls, *paths: Path, whole: bool = False) -> "Source":
        """Files by their paths."""
        folder = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
        return cls(folder, None, tuple(path.relative_to(folder).as_posix() for path in paths), whole)

    def files(self) -> list[str]:
        """The files that are there, or were before they were freed, from the folder, sorted."""
        if self.suffix is None:
            return sorted(name for name in self.names if (self.folder / name).is_file())
        expected = expected_in(self.folder)
        there = expected.below(self.folder) if expected else files_below(self.folder)
        below = (relative_name(path, self.folder) for path in there)
        found = sorted(name for name in below if name.endswith(self.suffix))
        return found or sorted(name for _, record in _makers_of(self) if record.freed for name in record.files)

    def fingerprints(self, whole: bool = False) -> dict[str, Fingerprint | None]:
        """What tells the files that are there from other versions of them."""
        return {name: fingerprint_or_none(f"{self.folder}/{name}", whole) for name in self.files()}


def describe_source(source: Source, seen_from: Path) -> Settings:
    """What a maker holds of a source, after a look at whether its files are as the stage that made them left them.

    Of files that are expected (see `expected`) it holds what makes them alone.

    Raises:
        FileNotFoundError: files are missing, or the stage that makes them has not finished.
        ValueError: files are damaged, or are there that the stage did not make.
    """
    described: Settings = {"folder": os.path.relpath(source.folder.resolve(), seen_from.resolve())}
    if source.suffix is not None:
        described["suffix"] = source.suffix
        if expected := expected_in(source.folder):
            return described | {"made_by": {expected.stage: expected.digest}}
    makers = list(_makers_of(source))
    made_by = {"made_by": {stage: record.made_by.digest for stage, record in makers}} if makers else {}
    if any(record.freed and not record.files for _, record in makers):
        return described | made_by
    files = source.fingerprints()
    for stage, record in makers:
        if record.freed:
            files |= {name: Fingerprint(file.size, file.check) for name, file in record.files.items()}
        else:
            _check_against(source, files, stage, record)
    if source.whole:
        described["whole"], files = True, source.fingerprints(whole=True)
    described["files"] = _described(files)
    return described | made_by


@dataclass(frozen=True)
class Inputs:
    """What a stage reads, by what that is to it; folders are described as seen from where its record is."""

    sources: Mapping[str, Source]
    seen_from: Path

    def described(self) -> dict[str, Settings]:
        """What a maker holds of them; see `describe_source`."""
        return {role: describe_source(source, self.seen_from) for role, source in self.sources.items()}

    def check_there(self, described: Mapping[str, Settings]) -> None:
        """Raises a FileNotFoundError where one was freed; not of those that come from the memory of a pass."""
        for role, source in self.sources.items():
            if FILES in described[role]:
                check_not_freed(source)


def check_not_freed(source: Source) -> None:
    """Raises a FileNotFoundError where a source was freed."""
    for stage, record in _makers_of(source):
        if record.freed:
            raise MissingInputError(
                f"The outputs of the stage {stage} in {source.folder} are not kept (keep_intermediates). Run the "
                f"pipeline with the runner, which makes them again where they are needed, or {stage} by its own script."
            )


def is_as_recorded(folder: Path, stage: str, maker: str | None = None) -> bool:
    """Whether a stage has finished in a folder, and its outputs, inputs and watched files are as they were then.

    `maker` is the digest of what must have made the outputs; default: whatever the record says.
    """
    record = read_record(folder, stage)
    if record is None or run_path(folder, stage).is_dir() or maker not in (None, record.made_by.digest):
        return False
    if not record.freed and not all(file.is_at(folder, name) for name, file in record.files.items()):
        return False
    if record.own_folder and (folder / record.own_folder).is_dir():
        own = folder / record.own_folder
        if {os.path.relpath(path, folder) for path in files_below(own)} - record.files.keys():
            return False
    for name, check in record.watched.items():
        found = fingerprint_or_none(folder / name, whole=True)
        if found is None or found.check != check:
            return False
    return not any(has_changed(described, folder) for described in record.made_by.inputs.values())


def has_changed(described: Settings, seen_from: Path) -> bool:
    """Whether the files that a maker describes are others now, or what makes them, where they are not kept."""
    folder = Path(os.path.normpath(seen_from / described["folder"]))
    source = Source(folder, described.get("suffix"), tuple(described.get(FILES, ())))
    makers = [*_makers_of(source)]
    if FILES not in described or any(record.freed and not record.files for _, record in makers):
        return bool({stage: record.made_by.digest for stage, record in makers} != described.get("made_by"))
    if any(record.freed for _, record in makers):
        freed = {name: list(file[:2]) for _, record in makers for name, file in record.files.items()}
        return bool(freed != described[FILES])
    return bool(_described(source.fingerprints(described.get("whole", False))) != described["files"])


def _described(files: Mapping[str, Fingerprint | None]) -> Settings:
    return {name: list(found) if found else None for name, found in files.items()}


def _makers_of(source: Source) -> Iterator[tuple[str, Record]]:
    """The stages that made files of a source, by the records in its folder or in those above it."""
    for folder in [source.folder, *list(source.folder.parents)[:3]]:
        found = [*(folder / PROVENANCE_DIR).glob("*")] if (folder / PROVENANCE_DIR).is_dir() else []
        below = os.path.relpath(source.folder, folder)
        for stage in sorted({path.name.removesuffix(RECORD_SUFFIX).removesuffix(RUN_SUFFIX) for path in found}):
            record = read_record(folder, stage)
            mine = record and _seen_from(record, below, source)
            if record and record.freed and not record.files and _is_own(record, below):
                mine = record
            if mine:
                _check_at_end(folder, stage)
                yield stage, mine
            elif below == "." and source.suffix:
                _check_at_end(folder, stage)


def _seen_from(record: Record, below: str, source: Source) -> Record | None:
    """The part of a record that is about a source's files, with their names from its folder."""
    files = {os.path.relpath(name, below): file for name, file in record.files.items()}
    wanted = set(source.names)
    mine = {
        name: file
        for name, file in files.items()
        if not name.startswith("..") and (name in wanted or (source.suffix and name.endswith(source.suffix)))
    }
    return Record(record.made_by, {"": mine}, freed=record.freed) if mine else None


def _is_own(record: Record, below: str) -> bool:
    """Whether a folder, by its path from the record's, is the stage's own, or lies in it."""
    own = record.own_folder
    return own is not None and not os.path.relpath(below, own).startswith(os.pardir)


def _check_at_end(folder: Path, stage: str) -> None:
    if has_begun(run_path(folder, stage)):
        raise MissingInputError(
            f"{folder}: the stage {stage} has not finished there, so files may be missing or out of date. Finish it "
            "first, with the command that was interrupted."
        )


def _check_against(source: Source, found: Mapping[str, Fingerprint | None], stage: str, record: Record) -> None:
    made = record.files
    if missing := [name for name in made if name not in found]:
        raise MissingInputError(
            f"{len(missing)} of {counted(len(made), 'file')} that the stage {stage} made {is_or_are(len(missing))} "
            f"missing in {source.folder}: {listed(missing, 5)}. Run {stage} again: it makes what is missing."
        )
    if damaged := [name for name, file in made.items() if found[name] != Fingerprint(file.size, file.check)]:
        raise InputError(
            f"{len(damaged)} of {counted(len(made), 'file')} that the stage {stage} made {is_or_are(len(damaged))} "
            f"damaged or replaced in {source.folder}: {listed(damaged, 5)}. Run {stage} again: it rebuilds these."
        )
    if source.suffix and (surplus := sorted(found.keys() - made.keys())):
        raise InputError(
            f"{source.folder} holds {counted(len(surplus), 'file')} that the stage {stage} did not make: "
            f"{listed(surplus, 5)}. They would be read too. Move them to another folder."
        )
