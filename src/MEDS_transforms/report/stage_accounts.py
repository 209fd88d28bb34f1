"""Reads what the stages noted of rows (`metadata/accounting/`) and of themselves (`.provenance/`), beside a dataset."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..settings.layout import ACCOUNTING_DIR, METADATA_DIR
from ..settings.packaged import EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML
from ..work.accounts import Account
from ..work.provenance import Record, read_record, recorded_stages

Records = Mapping[str, Record]


@dataclass(frozen=True)
class Flow:
    """What a stage did to the number of rows; None where it is not known."""

    stage: str
    read: int | None
    written: int | None
    subjects: int | None = None
    codes: int | None = None

    @property
    def kept(self) -> int:
        """How many rows there are both before and after."""
        return min(n for n in (self.read, self.written) if n is not None)

    @property
    def removed(self) -> int:
        """How many rows less are written than read."""
        return max(0, (self.read or 0) - self.written) if self.written is not None else 0

    @property
    def added(self) -> int:
        """How many rows more are written than read."""
        return max(0, (self.written or 0) - self.read) if self.read is not None else 0


@dataclass(frozen=True)
class EventAccount:
    """What became of the rows of an event; causes and columns as the accounting has them."""

    table: str
    event: str
    rows: int
    measurements: int
    dropped: Mapping[str, int]
    lost: Mapping[str, int]
    kept_as_text: Mapping[str, int]


@dataclass(frozen=True)
class StageNotes:
    """What all stages of a cohort noted: accounts and records, by stage, in the order in which the stages ran."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    records: Records = field(default_factory=dict)

    @property
    def flows(self) -> list[Flow]:
        """The stages that read or write measurements."""
        return [flow for stage, account in self.accounts.items() if (flow := _flow(stage, account))]

    @property
    def events(self) -> list[EventAccount]:
        """The events of the extraction."""
        found = (account.get("events", {}) for account in self.accounts.values())
        return [
            EventAccount(
                table,
                event,
                of["rows"],
                of["measurements"],
                *(of.get(key, {}) for key in ("dropped", "lost", "kept_as_text")),
            )
            for tables in found
            for table, events in tables.items()
            for event, of in events.items()
        ]

    @property
    def warnings(self) -> list[tuple[str, Mapping[str, Any]]]:
        """What the stages warned of, with their names. NOTE: the messages have values of the data in them."""
        return [(stage, one) for stage, account in self.accounts.items() for one in account.get("warnings", ())]

    @property
    def versions(self) -> list[str]:
        """The versions of the package that made the outputs."""
        noted = [account.get("version") for account in self.accounts.values()]
        return sorted({*filter(None, noted), *(record.made_by.version for record in self.records.values())})


def read_stage_notes(root: Path | None) -> StageNotes:
    """What the stages noted below the folder of a cohort; files that cannot be read are left out."""
    if root is None:
        return StageNotes()
    records = {stage: record for folder in _folders(root) for stage, record in _records_in(folder).items()}
    accounts: dict[str, Account] = {}
    for path in sorted((root / METADATA_DIR / ACCOUNTING_DIR).glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            accounts[path.stem] = dict(json.loads(path.read_text(encoding="utf-8")))
    in_order = _in_order([*accounts.keys() | records.keys()], records)
    return StageNotes(
        {stage: accounts[stage] for stage in in_order if stage in accounts},
        {stage: records[stage] for stage in in_order if stage in records},
    )


def _folders(root: Path) -> list[Path]:
    return [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))]


def _records_in(folder: Path) -> dict[str, Record]:
    return {stage: record for stage in recorded_stages(folder) if (record := read_record(folder, stage))}


def _in_order(stages: Sequence[str], records: Records) -> list[str]:
    """Stages after those whose outputs they read, otherwise as the packaged pipelines have them."""
    files = (EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML)
    packaged = [stage for path in files for stage in yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]]
    by_rank = sorted(stages, key=lambda stage: (packaged.index(stage) if stage in packaged else len(packaged), stage))
    makers = {stage: _makers(records[stage]) & {*stages} - {stage} if stage in records else set() for stage in by_rank}
    found: list[str] = []
    while left := [stage for stage in by_rank if stage not in found]:
        # Of stages that read each other's outputs, from several runs, none is first.
        found.append(next((stage for stage in left if makers[stage] <= {*found}), left[0]))
    return found


def _makers(record: Record) -> set[str]:
    """The stages whose outputs a stage has read."""
    return {maker for described in record.made_by.inputs.values() for maker in described.get("made_by", ())}


def _flow(stage: str, account: Account) -> Flow | None:
    events = [event for of_table in account.get("events", {}).values() for event in of_table.values()]
    read, written = account.get("in", {}), account.get("out", {})
    if events:
        return Flow(stage, *(sum(event[key] for event in events) for key in ("rows", "measurements")))
    if "files" not in written or read.get("rows") is None or written.get("rows") is None:
        return None
    return Flow(stage, read["rows"], written["rows"], written.get("subjects"), written.get("codes"))
