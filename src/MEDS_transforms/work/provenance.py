"""What made the outputs of a stage: its settings, its inputs and the version; written down beside the outputs.

A finished stage has a record, `<folder>/.provenance/<stage>.record` (JSON):

- `made_by`: `version` of the package, `settings` of the stage, and `inputs`, by what they are to the stage: their
  files with sizes and checksums, and the `made_by` of the stage that made them, as a digest, where that is known;
- `outputs`: the files of every unit of work, with size, checksum and, for parquet, rows; paths are from the folder;
- `watched`: files whose content is among the settings, with their checksums;
- `own_folder`: the folder that holds nothing but these outputs, if there is one;
- `kept`, only where outputs were kept that something else had made: these files, with the `made_by` of what made them,
  or null where nothing is known.

Values that come from environment variables are there as checksums, with the salt in `.provenance/.salt`.

While a stage runs it has a folder `<stage>.run` beside that file (see `outputs`).
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError, MissingInputError, counted, is_or_are, listed
from .files import files_below, publish, relative_name
from .fingerprints import Fingerprint, fingerprint_or_none

PROVENANCE_DIR = ".provenance"
RECORD_SUFFIX = ".record"
"""NOTE: JSON by content; not named .json, so that nobody who searches for outputs by suffix finds it."""
RUN_SUFFIX = ".run"
SALT = ".salt"

Settings = dict[str, Any]


class OutputFile(NamedTuple):
    """A file that a stage made: size in bytes, checksum, and rows (None where it is not a parquet file)."""

    size: int
    check: str
    rows: int | None = None

    def is_at(self, folder: Path, name: str) -> bool:
        """Whether the file that was made is still there, as it was made."""
        return fingerprint_or_none(f"{folder}/{name}") == Fingerprint(self.size, self.check)


Units = dict[str, dict[str, OutputFile]]
"""The files of every unit of work; units and files are called by their paths from the record's folder."""


@dataclass(frozen=True)
class Maker:
    """All that decides what a stage's outputs are."""

    version: str
    settings: Settings
    inputs: dict[str, Settings] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A short text that differs where anything of the maker does."""
        return hashlib.sha256(json.dumps(self.as_json()).encode()).hexdigest()[:16]

    def as_json(self) -> Settings:
        """What the record holds of it."""
        return {"version": self.version, "settings": self.settings, "inputs": self.inputs}

    @classmethod
    def from_json(cls, content: Settings) -> "Maker":
        """The maker that a record holds."""
        return cls(content["version"], content["settings"], content["inputs"])


@dataclass(frozen=True)
class Kept:
    """Files that count as the outputs of one maker though another made them; None where nothing is known of that."""

    files: tuple[str, ...]
    made_by: Maker | None

    def as_json(self) -> Settings:
        """What the record holds of it."""
        return {"made_by": self.made_by.as_json() if self.made_by else None, "files": list(self.files)}

    @classmethod
    def from_json(cls, content: Settings) -> "Kept":
        """What a record holds."""
        made_by = content["made_by"]
        return cls(tuple(content["files"]), Maker.from_json(made_by) if made_by else None)


def still_kept(kept: Iterable[Kept], were: Units, are: Units) -> tuple[Kept, ...]:
    """What is left of files that were kept, once some of them have been made again or are outputs no more."""
    old, new = _files_of(were), _files_of(are)
    left = [
        Kept(tuple(name for name in k.files if name in new and new[name] == old.get(name)), k.made_by) for k in kept
    ]
    return tuple(k for k in left if k.files)


def _files_of(units: Units) -> dict[str, OutputFile]:
    return {name: file for files in units.values() for name, file in files.items()}


@dataclass(frozen=True)
class Record:
    """What a finished stage made, and what made it."""

    made_by: Maker
    outputs: Units
    watched: dict[str, str] = field(default_factory=dict)
    own_folder: str | None = None
    kept: tuple[Kept, ...] = ()

    @property
    def files(self) -> dict[str, OutputFile]:
        """The files of all units."""
        return _files_of(self.outputs)


def record_path(folder: Path, stage: str) -> Path:
    """Where the record of a stage is that writes to a folder."""
    return folder / PROVENANCE_DIR / f"{stage}{RECORD_SUFFIX}"


def run_path(folder: Path, stage: str) -> Path:
    """Where a stage keeps its notes while it runs in a folder."""
    return folder / PROVENANCE_DIR / f"{stage}{RUN_SUFFIX}"


def has_begun(run_fp: Path) -> bool:
    """Whether the run at a `run_path` has begun and not ended.

    NOTE: the folder alone is what a worker left that was killed as it came. Others may remove it meanwhile.
    """
    with suppress(FileNotFoundError):
        return any(path.suffix == ".json" for path in run_fp.iterdir())
    return False


def salt_of(folder: Path) -> bytes:
    """What is added to secrets before a checksum stands for them in the records of a folder; drawn at random, once."""
    path = folder / PROVENANCE_DIR / SALT
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = secrets.token_hex(16)
        scratch = path.with_name(f".tmp.{SALT}.{drawn}")
        scratch.write_text(drawn, encoding="utf-8")
        with suppress(FileExistsError):  # another worker was faster
            os.link(scratch, path)
        scratch.unlink()
    return path.read_bytes()


def read_record(folder: Path, stage: str) -> Record | None:
    """The record of a stage; None where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(record_path(folder, stage).read_text(encoding="utf-8"))
        made_by, outputs = Maker.from_json(content["made_by"]), units_from_json(content["outputs"])
        kept = tuple(map(Kept.from_json, content.get("kept", ())))
        return Record(made_by, outputs, content["watched"], content["own_folder"], kept)
    return None


def recorded_stages(folder: Path) -> list[str]:
    """The stages that have left a record for a folder, sorted."""
    return sorted(path.stem for path in (folder / PROVENANCE_DIR).glob(f"*{RECORD_SUFFIX}"))


def begun_stages(folder: Path) -> list[str]:
    """The stages that have not come to their end in a folder, sorted."""
    return sorted(path.stem for path in (folder / PROVENANCE_DIR).glob(f"[!.]*{RUN_SUFFIX}"))


def write_record(folder: Path, stage: str, record: Record) -> None:
    """Writes the record of a stage that has finished; the same record has the same bytes."""
    content = {
        "stage": stage,
        "made_by": record.made_by.as_json(),
        "watched": record.watched,
        "own_folder": record.own_folder,
        **({"kept": [kept.as_json() for kept in record.kept]} if record.kept else {}),
        "outputs": {unit: dict(sorted(files.items())) for unit, files in sorted(record.outputs.items())},
    }
    text = json.dumps(content, indent=1)
    publish(record_path(folder, stage), lambda scratch: scratch.write_text(text, encoding="utf-8"))


def units_from_json(content: Mapping[str, Mapping[str, list[Any]]]) -> Units:
    """Units as a record holds them."""
    return {unit: {name: OutputFile(*file) for name, file in files.items()} for unit, files in content.items()}


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
        """The files that are there, from the folder, sorted."""
        if self.suffix is None:
            return sorted(name for name in self.names if (self.folder / name).is_file())
        below = (relative_name(path, self.folder) for path in files_below(self.folder))
        return sorted(name for name in below if name.endswith(self.suffix))

    def fingerprints(self, whole: bool = False) -> dict[str, Fingerprint | None]:
        """What tells the files that are there from other versions of them."""
        return {name: fingerprint_or_none(f"{self.folder}/{name}", whole) for name in self.files()}


def describe_source(source: Source, seen_from: Path) -> Settings:
    """What a maker holds of a source, after a look at whether its files are as the stage that made them left them.

    Raises:
        FileNotFoundError: files are missing, or the stage that makes them has not finished.
        ValueError: files are damaged, or are there that the stage did not make.
    """
    makers = list(_makers_of(source))
    files = source.fingerprints()
    for stage, record in makers:
        _check_against(source, files, stage, record)
    described: Settings = {"folder": os.path.relpath(source.folder.resolve(), seen_from.resolve())}
    if source.suffix is not None:
        described["suffix"] = source.suffix
    if source.whole:
        described["whole"], files = True, source.fingerprints(whole=True)
    described["files"] = _described(files)
    if makers:
        described["made_by"] = {stage: record.made_by.digest for stage, record in makers}
    return described


def is_as_recorded(folder: Path, stage: str) -> bool:
    """Whether a stage has finished in a folder, and its outputs, inputs and watched files are as they were then."""
    record = read_record(folder, stage)
    if record is None or run_path(folder, stage).is_dir():
        return False
    if not all(file.is_at(folder, name) for name, file in record.files.items()):
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
    """Whether the files that a maker describes are others now."""
    folder = seen_from / described["folder"]
    source = Source(folder, described.get("suffix"), tuple(described["files"]))
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
            if record and (mine := _seen_from(record, below, source)):
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
    return Record(record.made_by, {"": mine}) if mine else None


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


def is_same_for(old: Maker, new: Maker, sources: Iterable[str]) -> bool:
    """Whether two makers differ at most in input files that none of the sources is or holds.

    So it is where a stage failed because of one table, and that table was corrected: what was made of others is as it
    would be now. A source that is empty stands for all inputs.
    """
    if (old.version, old.settings) != (new.version, new.settings) or old.inputs.keys() != new.inputs.keys():
        return False
    changed: set[str] = set()
    for role, was in old.inputs.items():
        now = new.inputs[role]
        if {**was, "files": None} != {**now, "files": None}:
            return False
        names = was["files"].keys() | now["files"].keys()
        changed.update(
            os.path.normpath(f"{now['folder']}/{name}")
            for name in names
            if was["files"].get(name) != now["files"].get(name)
        )
    return not any(
        not source or path == source or path.startswith(f"{source}/") for source in sources for path in changed
    )


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """What differs between two makers, a line each: `settings.cutoff: 4.5 -> 3`.

    >>> differences({"a": {"x": 1}, "b": [1]}, {"a": {"x": 2}, "b": [1]})
    ['a.x: 1 -> 2']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*old, *new])
        found = [line for key in keys for line in _of_key(old, new, key, f"{where}.{key}" if where else str(key))]
        return found or (["the order of " + (where or "the keys")] if list(old) != list(new) else [])
    return [] if old == new and type(old) is type(new) else [f"{where}: {_shown(old)} -> {_shown(new)}"]


def _of_key(old: Mapping[Any, Any], new: Mapping[Any, Any], key: Any, where: str) -> Iterable[str]:
    if key in old and key in new:
        return differences(old[key], new[key], where)
    return [f"{where}: {_shown(old[key])} -> (none)" if key in old else f"{where}: (none) -> {_shown(new[key])}"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}…"
