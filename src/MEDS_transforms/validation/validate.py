"""Validates a dataset: looks over its folder, reads each shard once, then compares shards, codes and splits."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.schema import SUBJECT_ID
from ..remarks import Severity
from ..settings.layout import CODES_FILE, DATASET_FILE, METADATA_DIR, SPLITS_FILE
from .codes import check_codes
from .columns import check_columns, is_readable, is_text, type_name
from .dataset_file import check_dataset_file, declared
from .findings import Finding, Findings
from .folder import check_is_root, shards_of
from .shard import CODE_COUNTS, ShardFacts, check_shard, fewer, sum_codes
from .standards import CODE_MODIFIERS, MEDS_VERSION, Standard, standard_for
from .subjects import SHARD, SUBJECTS, check_one_shard_each, check_splits
from .tables import read_schema, readable
from .versions import MedsVersion
from .what import what_else

Advance = Callable[[float], object]
"""Called with the bytes that were read so far."""


@dataclass
class Counts:
    """What is in a dataset: totals, times in microseconds since 1970, bytes on disk of shards."""

    shards: int = 0
    subjects: int = 0
    measurements: int = 0
    static: int = 0
    events: int = 0
    codes: int = 0
    described_codes: int | None = None
    first: int | None = None
    last: int | None = None
    bytes: int = 0
    splits: pl.DataFrame | None = None


@dataclass(frozen=True)
class Report:
    """What validation found.

    Args:
        root: the folder.
        standard: the version of MEDS, and why this one.
        what: what the folder is, if it is certainly no MEDS dataset.
        counts: what is in it.
        findings: errors first.
    """

    root: Path
    standard: Standard
    why: str
    what: str | None
    counts: Counts
    findings: list[Finding]

    @property
    def is_valid(self) -> bool:
        """Whether nothing must be corrected."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)


@dataclass
class _Shards:
    """What is known of the shards that were read so far."""

    findings: Findings
    counts: Counts = field(default_factory=Counts)
    names: list[str] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    subjects: list[pl.DataFrame] = field(default_factory=lambda: [pl.DataFrame(schema=SUBJECTS)])
    codes: list[pl.DataFrame] = field(default_factory=lambda: [pl.DataFrame(schema=CODE_COUNTS)])
    is_all: bool = True


def validate(path: Path, asked: MedsVersion | None = None, progress: Callable[[int], Advance] | None = None) -> Report:
    """Whether a folder is a valid MEDS dataset.

    Args:
        path: the folder that has data/ and metadata/.
        asked: the version of MEDS; None: that of the dataset, or the installed one.
        progress: called with the bytes to read; what it gives is called with those read so far.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is a file, or a folder within a dataset.
    """
    check_is_root(path)
    about = declared(path / METADATA_DIR / DATASET_FILE)
    standard, why = standard_for(asked, about.get(MEDS_VERSION))
    findings = Findings(path)
    shards = shards_of(path, findings)
    if what := what_else(path, shards):
        only = Findings(path)  # what else is wrong does not matter then
        only.add("not_meds", str(path), f"This is no MEDS dataset, but {what}")
        return Report(path, standard, why, what, Counts(), only.all())
    if not shards:
        findings.add("no_data", str(path), "There are no parquet files below data/")
    read = _read_shards(shards, standard, findings, progress)
    _check_whole(path, about.get(CODE_MODIFIERS), standard, read)
    return Report(path, standard, why, None, read.counts, findings.all())


def _read_shards(
    shards: list[Path], standard: Standard, findings: Findings, progress: Callable[[int], Advance] | None
) -> _Shards:
    read = _Shards(findings)
    sizes = [path.stat().st_size if path.exists() else 0 for path in shards]
    advance: Advance = progress(sum(sizes)) if progress else lambda _: None
    read.counts.bytes, read.counts.shards = sum(sizes), len(shards)
    for path, size, before in zip(shards, sizes, accumulate(sizes, initial=0), strict=False):
        where = findings.name(path)
        read.names.append(where)
        facts = None
        with readable(path, where, findings):
            facts = _read_shard(path, where, standard, read, lambda part: advance(before + part * size))  # noqa: B023
        read.is_all &= facts is not None
        _add(read, facts or ShardFacts())
        advance(before + size)
    return read


def _read_shard(
    path: Path, where: str, standard: Standard, read: _Shards, advance: Callable[[float], object]
) -> ShardFacts | None:
    """The facts of a shard; None if its columns are such that its rows cannot be checked.

    `advance` is called with the part of the shard that was read so far.
    """
    schema, n_rows = read_schema(path)
    check_columns(schema, standard.data, where, read.findings)
    for name, found in zip(schema.names, schema.types, strict=True):
        read.columns.setdefault(name, {}).setdefault("text" if is_text(found) else type_name(found), where)
    if not n_rows:
        read.findings.add("empty_shard", where, "It has no rows")
        return ShardFacts()
    if not is_readable(schema):
        read.counts.measurements += n_rows
        return None
    return check_shard(path, schema, where, read.findings, lambda rows: advance(rows / n_rows))


def _add(read: _Shards, facts: ShardFacts) -> None:
    """Adds the facts of the shard that was named last."""
    counts = read.counts
    counts.measurements += facts.rows
    counts.static += facts.static
    counts.events += facts.events
    counts.first = min((time for time in (counts.first, facts.first) if time is not None), default=None)
    counts.last = max((time for time in (counts.last, facts.last) if time is not None), default=None)
    if facts.rows:
        shard = pl.lit(len(read.names) - 1, dtype=pl.UInt32).alias(SHARD)
        read.subjects.append(facts.subjects.with_columns(shard))
        read.codes = fewer([*read.codes, facts.codes], sum_codes)


def _check_whole(root: Path, modifiers: Any, standard: Standard, read: _Shards) -> None:
    """Adds what no shard shows by itself."""
    findings, counts, metadata = read.findings, read.counts, root / METADATA_DIR
    subjects, codes = pl.concat(read.subjects), sum_codes(read.codes)
    counts.subjects, counts.codes = subjects[SUBJECT_ID].n_unique(), codes.height
    if read.names and not counts.measurements and read.is_all:
        findings.add("no_measurements", "data", "All shards are empty")
    _check_columns_agree(read)
    check_one_shard_each(subjects, read.names, findings)
    if os.path.lexists(metadata / DATASET_FILE):
        check_dataset_file(metadata / DATASET_FILE, standard, read.columns, findings)
    if os.path.lexists(metadata / CODES_FILE):
        names = [name for name in modifiers if isinstance(name, str)] if isinstance(modifiers, list) else []
        in_data = codes if read.is_all else None
        counts.described_codes = check_codes(metadata / CODES_FILE, standard.codes, names, in_data, findings)
    if os.path.lexists(metadata / SPLITS_FILE):
        splits = metadata / SPLITS_FILE
        counts.splits = check_splits(splits, standard.splits, subjects, read.names, read.is_all, findings)


def _check_columns_agree(read: _Shards) -> None:
    for name, types in read.columns.items():
        if len(types) > 1:
            found = " and ".join(f"{type_} in {where}" for type_, where in types.items())
            read.findings.add("columns_differ", [*types.values()][1], f"The column {name!r} is {found}")
