"""Whether tables of codes describe the codes that samples of the raw tables give."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.schema import CODE
from ..errors import UserError, counted
from ..mapreduce.limits import NO_MATCH, is_beyond, limits_of
from ..precheck.report import Inspection
from ..remarks import Remark, Severity
from ..work.accounts import Account
from .code_counts import find_in_metadata
from .event_file.model import METADATA_KEY, Event
from .event_inspection import codes_in_samples
from .inspection import raw_samples
from .raw.table import RawTable
from .sampling import text_size
from .table_rows import found_table

REPEATED_CODES, UNUSABLE_METADATA = "metadata_repeated", "metadata"
_LARGEST = 64 * 2**20
"""Bytes of a table of codes that is looked at."""

ReadFn = Callable[[RawTable, Iterable[Event]], pl.DataFrame]
DescribeFn = Callable[..., pl.DataFrame]


def inspect_metadata(cfg: Mapping[str, Any], read: ReadFn, describe: DescribeFn) -> Inspection:
    """Which tables of codes describe no code, or a code several times.

    Args:
        cfg: the configuration of the stage.
        read: reads a table of codes for some events.
        describe: gives what it says of the codes of these events.
    """
    found, samples = Inspection(), raw_samples(cfg)
    codes, event_file = codes_in_samples(cfg), samples.event_file
    known = pl.concat([pl.Series([], dtype=pl.String), *codes.values()]).unique().sort()
    for name, events in event_file.metadata_tables.items():
        events = [event for event in events if len(codes.get(event.path, ())) and not event.described_by]
        if events and (table := _small_table(name, Path(cfg["input_dir"]), event_file.options_of(name))):
            _inspect(table, events, known, read, describe, cfg, found)
    return found


def _small_table(name: str, folder: Path, options: Any) -> RawTable | None:
    """A table of codes that is there, and not too large."""
    try:
        raw = found_table(name, folder, options)
    except (UserError, OSError):
        return None
    return raw if raw and sum(text_size(part.path) for part in raw.parts) <= _LARGEST else None


def _inspect(
    table: RawTable,
    events: list[Event],
    codes: pl.Series,
    read: ReadFn,
    describe: DescribeFn,
    cfg: Mapping[str, Any],
    found: Inspection,
) -> None:
    counts: Account = {}
    try:
        described = describe(read(table, events), table.name, events, lambda: codes, counts)
    except UserError as error:
        found.add_error(error, table.name, UNUSABLE_METADATA)
        return
    findings, limit = find_in_metadata({"metadata_tables": {table.name: counts}}), limits_of(cfg).get(NO_MATCH)
    samples = raw_samples(cfg)
    for finding in findings:
        where = f"{finding.where}.{METADATA_KEY}.{table.name}"
        beyond = is_beyond(finding, findings, limit) and samples.are_whole
        severity = Severity.ERROR if beyond else Severity.WARNING
        what = finding.words.rstrip(".")
        if not samples.are_whole:
            what = what.replace("no code of the data", "no code of the rows that were looked at")
        remedy = "Map the parts of the code to columns of the table that have the same values"
        found.remarks.append(Remark(severity, NO_MATCH, where, what, remedy))
    several = described.filter(pl.col(CODE).is_duplicated())[CODE].unique().sort()
    if several.len():
        what = f"it has several rows for {counted(several.len(), 'code')}, such as {several[0]!r}"
        remedy = "Descriptions are joined; other columns become lists for all codes. Remove rows if that is not meant"
        found.note(REPEATED_CODES, f"{METADATA_KEY}.{table.name}", what, remedy)
