"""What made the outputs of a stage: its settings, its inputs and the version; written down beside the outputs.

A finished stage has a record, `<folder>/.provenance/<stage>.record` (JSON):

- `made_by`: `version` of the package, `settings` of the stage, and `inputs`, by what they are to the stage: their
  files with sizes and checksums, and the `made_by` of the stage that made them, as a digest, where that is known;
- `outputs`: the files of every unit of work, with size, checksum and, for parquet, rows; paths are from the folder;
- `accounts`: what became of the rows of every unit of work, where that was counted (see `accounts`);
- `freed`, only where it is true: the outputs have been removed, or were never written, since they are not kept;
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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .accounts import Account
from .files import make_folder, publish
from .fingerprints import Fingerprint, fingerprint_or_none

PROVENANCE_DIR = ".provenance"
RECORD_SUFFIX = ".record"
"""NOTE: JSON by content; not named .json, so that nobody who searches for outputs by suffix finds it."""
RUN_SUFFIX = ".run"
SALT = ".salt"

FILES = "files"
"""The key for the files of an input."""

Settings = dict[str, Any]


class OutputFile(NamedTuple):
    """A file that a stage made: size in bytes, checksum, and rows (None where it is not a parquet file)."""

    size: int
    check: str
    rows: int | None = None

    def is_at(self, folder: Path, name: str) -> bool:
        """Whether the file that was made is still there, as it was made."""
        return fingerprint_or_none(f"{folder}/{name}") == Fingerprint(self.size, self.check)


def rows_in(files: Mapping[str, OutputFile]) -> int | None:
    """The rows in all files that are tables; None where there is none."""
    rows = [file.rows for file in files.values() if file.rows is not None]
    return sum(rows) if rows else None


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
        """A short text that differs where anything of the maker does.

        Files that another stage made, all in a folder, are known by what made them, so that the digest is known before
        they are there.
        """
        inputs = {role: _without_made_files(described) for role, described in self.inputs.items()}
        content = {**self.as_json(), "inputs": inputs}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def is_whole(self) -> bool:
        """Whether all input files are known; not so while the stages that make them are still at work."""
        return all(FILES in described for described in self.inputs.values())

    def is_same_as(self, other: "Maker") -> bool:
        """Whether it makes what another one does: nothing differs, as far as it is known of both."""
        return self.digest == other.digest and all(
            described[FILES] == other.inputs[role][FILES]
            for role, described in self.inputs.items()
            if FILES in described and FILES in other.inputs[role]
        )

    def as_json(self) -> Settings:
        """What the record holds of it."""
        return {"version": self.version, "settings": self.settings, "inputs": self.inputs}

    @classmethod
    def from_json(cls, content: Settings) -> "Maker":
        """The maker that a record holds."""
        return cls(content["version"], content["settings"], content["inputs"])


def _without_made_files(described: Settings) -> Settings:
    if "made_by" not in described or "suffix" not in described:
        return described
    return {key: value for key, value in described.items() if key != FILES}


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
    accounts: dict[str, Account] = field(default_factory=dict)
    freed: bool = False
    """Whether the outputs, as far as they ever were files, are to be there no more."""

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
        make_folder(path.parent)
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
        accounts = content.get("accounts", {})
        return Record(
            made_by, outputs, content["watched"], content["own_folder"], kept, accounts, content.get("freed", False)
        )
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
        **({"freed": True} if record.freed else {}),
        "watched": record.watched,
        "own_folder": record.own_folder,
        **({"kept": [kept.as_json() for kept in record.kept]} if record.kept else {}),
        **({"accounts": dict(sorted(record.accounts.items()))} if record.accounts else {}),
        "outputs": {unit: dict(sorted(files.items())) for unit, files in sorted(record.outputs.items())},
    }
    text = json.dumps(content, indent=1)
    publish(record_path(folder, stage), lambda scratch: scratch.write_text(text, encoding="utf-8"))


def units_from_json(content: Mapping[str, Mapping[str, list[Any]]]) -> Units:
    """Units as a record holds them."""
    return {unit: {name: OutputFile(*file) for name, file in files.items()} for unit, files in content.items()}
