"""What samples of the raw tables show before a run: tables, subject ids, splits. Shared by the stages of extraction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..dataset.dtypes import is_text
from ..dataset.external_splits import external_splits_file
from ..dataset.splits import RANDOM, shard_subjects
from ..errors import InputError, UserError, counted
from ..precheck.memory import once
from ..precheck.report import Inspection
from ..settings.keys import config_value
from ..settings.plain import plain
from .event_file.model import EventFile, Table
from .event_file.read import read_event_file
from .raw.table import RawTable, empty_table
from .sampling import Sample, sample_of
from .subject_numbers import HASH, INTEGER, Numbering, numbering
from .table_rows import found_table, open_rows

NULL_IDS, NEGATIVE_IDS, MERGED_IDS, FLOAT_IDS, IDS = "ids_null", "ids_negative", "ids_merged", "ids_float", "ids"
UNREADABLE, EMPTY, APART, SPLITS = "unreadable", "empty_table", "subjects_apart", "splits"
_SOME_NULL = 0.01
_EXAMPLES = 3
_HASH = "Write subject_ids: hash at the top of the event conversion file, which numbers the texts"


@dataclass(frozen=True)
class RawSamples:
    """The event conversion file, and the samples of those of its tables that can be opened."""

    event_file: EventFile
    tables: Mapping[str, Sample]

    @property
    def are_whole(self) -> bool:
        """Whether all rows of all tables are there."""
        return {*self.tables} == {*self.event_file.tables} and all(one.is_whole for one in self.tables.values())

    @property
    def number_ids(self) -> Numbering:
        """Gives ids numbers; those of text by a hash, as no table of numbers may be there yet."""
        return numbering(INTEGER if self.event_file.default.subject_ids == INTEGER else HASH, {})

    def subjects(self, name: str) -> pl.Series:
        """The distinct subjects of the sample of a table, without null; none where they are no ids."""
        sample = self.tables[name]
        try:
            return self.number_ids(_ids_of(sample), name).drop_nulls().unique()
        except InputError:
            return pl.Series([], dtype=pl.Int64)


def raw_samples(cfg: Mapping[str, Any]) -> RawSamples:
    """Samples of the raw tables of a pipeline; of tables that cannot be opened none, which `check` reports.

    Raises:
        UserError: the event conversion file cannot be used.
    """
    block = (cfg.get("stage_configs") or {}).get("shard_events") or {}
    folder = Path(block.get("data_input_dir") or cfg["input_dir"])
    event_file_fp, infer_rows = Path(config_value(cfg, "event_conversion_config_fp")), block.get("infer_schema_length")
    return once((event_file_fp, folder, infer_rows), lambda: _raw_samples(event_file_fp, folder, infer_rows))


def _raw_samples(event_file_fp: Path, folder: Path, infer_rows: int | None) -> RawSamples:
    event_file = read_event_file(event_file_fp)
    opened = {name: _sample(table, folder, event_file, infer_rows) for name, table in event_file.tables.items()}
    return RawSamples(event_file, {name: sample for name, sample in opened.items() if sample})


def _sample(table: Table, folder: Path, event_file: EventFile, infer_rows: int | None) -> Sample | None:
    try:
        raw = found_table(table.name, folder, table.options)
        if raw is None:
            return None
        joined = {
            join.table: found_table(join.table, folder, event_file.options_of(join.table)) for join in table.joins
        }
        rights = [joined[join.table] or RawTable(join.table, []) for join in table.joins]
        return sample_of(open_rows(table, raw, rights, infer_rows))
    except (UserError, OSError):
        return None


def inspect_tables(cfg: Mapping[str, Any]) -> Inspection:
    """Whether the rows of tables can be read, and what their subject ids are."""
    found, samples = Inspection(), raw_samples(cfg)
    for sample in samples.tables.values():
        if sample.error:
            found.add_error(sample.error, sample.name, UNREADABLE)
        elif sample.is_whole and not sample.n_rows and not sample.rows.table.options.optional:
            found.add_problems([empty_table(sample.name, sample.rows.raw.path)], sample.name, EMPTY)
        elif sample.frame.height:
            _inspect_ids(sample, samples.number_ids, found)
    _note_zeros(samples, found)
    _inspect_subjects(samples, found)
    return found


def _ids_of(sample: Sample) -> pl.Series:
    return sample.frame[sample.rows.table.subject_id_col]


def _inspect_ids(sample: Sample, number_ids: Numbering, found: Inspection) -> None:
    where = f"{sample.name}.{sample.rows.table.subject_id_col}"
    try:
        numbers = number_ids(_ids_of(sample), where)
    except InputError as error:
        found.add_error(error, where, IDS)
        return
    rows, nulls = numbers.len(), numbers.null_count()
    if nulls > _SOME_NULL * rows:
        what = f"{nulls:,} of {rows:,} {_looked_at(sample)} have no subject id, and give no measurement"
        found.warning(NULL_IDS, where, what, "Check subject_id_col, or remove these rows")
    if sample.rows.table.has_text_ids:
        return
    if (negative := numbers.filter(numbers < 0)).len():
        what = f"it has {counted(negative.len(), 'negative subject id')} in {rows:,} rows, such as {negative[0]}"
        found.warning(NEGATIVE_IDS, where, what, "If they stand for unknown subjects, remove their rows")
    if _ids_of(sample).dtype.is_float():
        what = "the subject ids are written as floats, which hold 53 bits"
        found.note(FLOAT_IDS, where, what, "Write them as integers where they may be larger")
    _inspect_zeros(sample, where, found)


def _inspect_zeros(sample: Sample, where: str, found: Inspection) -> None:
    """Whether ids that are different texts are the same number."""
    texts = _written_ids(sample)
    if not texts.str.contains(r"^[+-]?0\d").any():
        return
    by_number = pl.DataFrame({"text": texts, "number": texts.str.extract(r"^([+-]?\d+)").cast(pl.Int64, strict=False)})
    merged = (
        by_number.drop_nulls()
        .unique()
        .group_by("number")
        .agg(pl.col("text").sort())
        .filter(pl.col("text").list.len() > 1)
    )
    if merged.height:
        shown = ", ".join(map(repr, merged.sort("number")["text"][0].head(_EXAMPLES)))
        what = f"subject ids that differ in leading zeros become one subject, such as {shown}"
        found.warning(MERGED_IDS, where, what, _HASH)


def _written_ids(sample: Sample) -> pl.Series:
    """The subject ids as texts, as far as they are known."""
    ids = _ids_of(sample)
    return (ids.cast(pl.String) if is_text(ids.dtype) else sample.ids).drop_nulls()


def _note_zeros(samples: RawSamples, found: Inspection) -> None:
    """Notes that leading zeros are lost, once for all tables; not where all ids have the same length, as none differ.

    Tables of which more is said, since their ids become equal, are left out.
    """
    said = {remark.where for remark in found.remarks}
    texts = {
        f"{name}.{sample.rows.table.subject_id_col}": _written_ids(sample)
        for name, sample in samples.tables.items()
        if sample.frame.height and not sample.rows.table.has_text_ids
    }
    zeros = {where: ids.filter(ids.str.contains(r"^[+-]?0\d")) for where, ids in texts.items() if where not in said}
    zeros = {where: ids for where, ids in zeros.items() if ids.len()}
    lengths = {length for ids in texts.values() for length in ids.str.len_chars().unique()}
    if zeros and len(lengths) > 1:
        what = f"subject ids have leading zeros, which are lost, such as {next(iter(zeros.values()))[0]!r}"
        found.note("ids_zeros", ", ".join(zeros), what, _HASH)


def _looked_at(sample: Sample) -> str:
    return "rows" if sample.is_whole else "rows that were looked at"


def _inspect_subjects(samples: RawSamples, found: Inspection) -> None:
    """Which tables share no subject with any other.

    Only where all rows of the others are known, since the subjects may be in rows that were not looked at.
    """
    subjects = {name: samples.subjects(name) for name in samples.tables}
    known = {name: ids for name, ids in subjects.items() if ids.len()}
    for name, ids in [*known.items()][1:] if len(known) == 2 else known.items():
        others = {other: there for other, there in known.items() if other != name}
        if not others or ids.len() < 2 or not all(samples.tables[other].is_whole for other in others):
            continue
        if not ids.is_in(pl.concat([*others.values()]).implode()).any():
            column, shown = (
                samples.tables[name].rows.table.subject_id_col,
                ", ".join(map(str, ids.sort().head(_EXAMPLES))),
            )
            what = f"none of its {ids.len():,} subjects, such as {shown}, is in another table"
            found.warning(APART, f"{name}.{column}", what, "Check subject_id_col: it may name another kind of id")


def inspect_splits(cfg: Mapping[str, Any], external: Mapping[str, Sequence[Any]] | None) -> Inspection:
    """Whether the subjects suffice for the splits, and whether external splits are of these subjects."""
    found, samples = Inspection(), raw_samples(cfg)
    ids = pl.concat([pl.Series([], dtype=pl.Int64), *(samples.subjects(name) for name in samples.tables)]).unique()
    where = f"stage_configs.{cfg['stage']}"
    if samples.are_whole and not _have_wrong_ids(samples):
        if ids.is_empty() and any(sample.frame.height for sample in samples.tables.values()):
            what = "every subject id in every table is null"
            found.error(SPLITS, where, what, "Check subject_id_col")
        elif ids.len() and samples.event_file.default.subject_ids == INTEGER:
            _try_to_split(cfg, ids, external, where, found)
    given = external_splits_file(cfg["stage_cfg"])
    if external and given:
        _inspect_external(
            external,
            ids if samples.are_whole and samples.event_file.default.subject_ids == INTEGER else None,
            f"{where}.{given[0]}",
            found,
        )
    return found


def _have_wrong_ids(samples: RawSamples) -> bool:
    def is_wrong(sample: Sample) -> bool:
        try:
            samples.number_ids(_ids_of(sample), sample.name)
        except InputError:
            return True
        return sample.error is not None

    return any(map(is_wrong, samples.tables.values()))


def _try_to_split(
    cfg: Mapping[str, Any], ids: pl.Series, external: Mapping[str, Sequence[int]] | None, where: str, found: Inspection
) -> None:
    stage_cfg = cfg["stage_cfg"]
    per_shard, fracs = stage_cfg["n_subjects_per_shard"], plain(stage_cfg.get("split_fracs"))
    method = stage_cfg.get("split_method") or RANDOM
    try:
        shard_subjects(ids.to_numpy(), per_shard, external, fracs, cfg.get("seed", 1), method)
    except InputError as error:
        found.add_error(error, where, SPLITS)


def _inspect_external(
    external: Mapping[str, Sequence[Any]], ids: pl.Series | None, where: str, found: Inspection
) -> None:
    given = [subject for split in external.values() for subject in split]
    if twice := sorted(subject for subject, n in Counter(given).items() if n > 1):
        what = f"the external splits have {counted(len(twice), 'subject')} twice, such as {twice[0]!r}"
        found.warning("splits_twice", where, what, "Keep each subject in one split: in several, its data are repeated")
    if empty := [split for split, subjects in external.items() if not subjects]:
        found.warning(
            "splits_empty", where, f"the external split {empty[0]!r} has no subjects", "Remove it, or fill it"
        )
    if ids is None:
        return
    unknown = sorted({*given} - {*ids.to_list()})
    if unknown:
        what = f"the external splits have {counted(len(unknown), 'subject')} of no table, such as {unknown[0]!r}"
        found.warning("splits_unknown", where, what, "Check that the splits are of these data")
