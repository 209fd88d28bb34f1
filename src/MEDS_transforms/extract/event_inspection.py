"""What samples of the raw tables will yield, event by event: computed as all rows will be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from ..dataset.schema import CODE, TIME
from ..errors import InputError
from ..mapreduce import limits
from ..mapreduce.limits import Finding, is_beyond, limits_of, percent, shown_limit, warnings_of
from ..precheck.memory import once
from ..precheck.report import EventYield, Inspection, Values
from ..remarks import Remark, Severity
from ..settings.intermediates import MAKES_EVENTS
from ..settings.keys import flag
from ..work.accounts import Account
from .conversion import SHARD, ChunkConverter, Events
from .event_counts import (
    CODE_NULL,
    DROPPED,
    EXAMPLES,
    KEPT,
    LOST,
    MEASUREMENTS,
    NOT_CHOSEN,
    READ,
    ROWS,
    SEEN,
    TIME_NOT_PARSED,
    TableCounts,
)
from .event_findings import find_in_events
from .inspection import RawSamples, raw_samples
from .sampling import Sample, sampled_chunk

FUTURE, LONG_AGO, NO_CODES, CANNOT_CONVERT = "time_future", "time_long_ago", "code_null", "events"
_EARLIEST = datetime(1850, 1, 1)
_A_DAY = timedelta(days=1)
_SHIFTED, _MANY = 0.05, 0.5
"""From which share of all times in the future on they are taken for dates that were shifted; which share of the rows
without a code is worth a warning."""
_MANY_TIMES = 100
_BYTES = 10
"""Of a measurement in a file, as a rule."""
_VALUES_REMEDY = (
    "Write numbers: lenient for texts such as '<5', decimal: ',' for commas, or add text_value, which keeps the texts"
)


@dataclass(frozen=True)
class Converted:
    """What became of a sample: the counts, the measurements of each event, and why the rows cannot be converted."""

    sample: Sample
    account: Account
    made: Mapping[str, pl.DataFrame]
    unread_times: InputError | None = None

    def counts(self, finding: Finding) -> Account:
        """The counts of the event that a finding is about."""
        counts: Account = self.account["events"][self.sample.name][finding.where.removeprefix(f"{self.sample.name}.")]
        return counts

    def times(self, event: str) -> pl.Series:
        """The times of the measurements of an event."""
        return self.made[event][TIME].drop_nulls()


def inspect_events(cfg: Mapping[str, Any]) -> Inspection:
    """What the events of all tables will yield, and what is likely a mistake in them."""
    found, converted = Inspection(), converted_samples(cfg)
    for table, error in converted.problems.items():
        found.add_error(error, table, CANNOT_CONVERT)
    shifted = _are_shifted(converted.tables)
    for one in converted.tables:
        for event, counts in one.account["events"][one.sample.name].items():
            found.events.append(_yield(one, event, counts))
            _inspect_times(one, event, shifted, found)
            _inspect_codes(one, event, counts, found)
        _inspect_findings(one, limits_of(cfg), found)
    found.bytes_made = _BYTES * sum(one.estimated_measurements for one in found.events)
    return found


class ConvertedSamples(NamedTuple):
    """The samples that can be converted, and why others cannot; of wrong subject ids is told elsewhere."""

    tables: list[Converted]
    problems: dict[str, InputError]


def converted_samples(cfg: Mapping[str, Any]) -> ConvertedSamples:
    """What becomes of the samples of all tables."""
    samples = raw_samples(cfg)
    block = (cfg.get("stage_configs") or {}).get(MAKES_EVENTS) or {}
    dedup_text = flag(block, "do_dedup_text_and_numeric", default=True)
    return once((id(samples), dedup_text), lambda: _convert_all(samples, dedup_text))


def codes_in_samples(cfg: Mapping[str, Any]) -> dict[str, pl.Series]:
    """The distinct codes of every event in the samples, by its path."""
    tables = converted_samples(cfg).tables
    return {f"{one.sample.name}.{event}": made[CODE].unique() for one in tables for event, made in one.made.items()}


def _convert_all(samples: RawSamples, dedup_text: bool) -> ConvertedSamples:
    found = ConvertedSamples([], {})
    for name, sample in samples.tables.items():
        if not sample.frame.height or _has_wrong_ids(samples, sample):
            continue
        try:
            found.tables.append(_convert(samples, sample, dedup_text))
        except InputError as error:
            found.problems[name] = error
    return found


def _convert(samples: RawSamples, sample: Sample, dedup_text: bool) -> Converted:
    table = sample.rows.table
    converter = ChunkConverter({"all": samples.subjects(sample.name).to_list()}, dedup_text, samples.number_ids)
    counts, batches, unread = TableCounts(table), list[Events](), None
    try:
        batches.extend(converter.batches(table, sampled_chunk(sample), counts))
    except InputError as error:
        if not batches:
            raise
        unread = error  # at the end: there are times, and none of them parses
    made = dict(zip(counts.events, batches[0], strict=True))
    in_shard = pl.col(SHARD).is_not_null()
    return Converted(sample, counts.account(), {name: part.filter(in_shard) for name, part in made.items()}, unread)


def _has_wrong_ids(samples: RawSamples, sample: Sample) -> bool:
    try:
        samples.number_ids(sample.frame[sample.rows.table.subject_id_col], sample.name)
    except InputError:
        return True
    return False


def _yield(one: Converted, event: str, counts: Account) -> EventYield:
    made, sample = one.made[event], one.sample
    measured, times = counts[MEASUREMENTS], one.times(event)
    estimated = measured if sample.is_whole else round(measured / max(sample.n_read, 1) * sample.n_rows)
    return EventYield(
        *(sample.name, event, counts[ROWS], sample.is_whole, measured, estimated),
        dropped={cause: n for cause, n in counts[DROPPED].items() if n},
        code=made[CODE][0] if made.height else None,
        time=times[0].isoformat() if times.len() else None,
        values={column: _values(counts, column) for column in counts.get(LOST, {})},
    )


def _values(counts: Account, column: str) -> Values:
    lost, kept = (counts.get(what, {}).get(column, 0) for what in (LOST, KEPT))
    return Values(counts.get(SEEN, {}).get(READ, {}).get(column, 0) + lost + kept, lost, kept)


def _are_shifted(converted: list[Converted]) -> bool:
    """Whether so many times are in the future that all dates were shifted, to hide who the subjects are."""
    times = [one.times(event) for one in converted for event in one.made]
    future = sum(int((some > datetime.now() + _A_DAY).sum()) for some in times)
    return future > _SHIFTED * sum(some.len() for some in times)


def _inspect_times(one: Converted, event: str, shifted: bool, found: Inspection) -> None:
    times, where = one.times(event), f"{one.sample.name}.{event}.time"
    long_ago, future = times.filter(times < _EARLIEST), times.filter(times > datetime.now() + _A_DAY)
    if long_ago.len():
        what = f"times before 1850: {percent(long_ago.len(), times.len())}, such as {long_ago[0]}"
        found.warning(LONG_AGO, where, what, "Check time_format; leave out times that stand for unknown ones (where)")
    if future.len() and not shifted:
        what = f"times in the future: {percent(future.len(), times.len())}, such as {future[0]}"
        found.warning(FUTURE, where, what, "Check time_format; leave out times that stand for unknown ones (where)")


def _inspect_codes(one: Converted, event: str, counts: Account, found: Inspection) -> None:
    nulls, rows = counts[DROPPED][CODE_NULL], counts[ROWS] - counts[DROPPED][NOT_CHOSEN]
    if nulls > _MANY * rows:
        what = f"rows without a code, which give no measurement: {percent(nulls, rows)}"
        found.note(NO_CODES, f"{one.sample.name}.{event}.code", what, "Check the first column of the code")


def _inspect_findings(one: Converted, limits_set: Mapping[str, float], found: Inspection) -> None:
    """What the stage itself will find; an error where that is beyond a limit of the pipeline for sure."""
    findings = find_in_events({"events": one.account["events"]})
    if one.unread_times:
        severity = Severity.ERROR if _is_certain(one) else Severity.WARNING
        found.add_error(one.unread_times, one.sample.name, limits.TIMES_NOT_PARSED, severity)
        said = {problem.where.removesuffix(".time") for problem in one.unread_times.problems}
        findings = [finding for finding in findings if finding.where not in said]
    told = [finding for finding in findings if _is_sure(finding, one)]
    without_numbers = {finding.where for finding in told if finding.kind == limits.NO_NUMBERS}
    for finding in told:
        grade = _severity(finding, told, one, limits_set)
        is_said = finding.kind == limits.VALUES_LOST and finding.where in without_numbers
        if grade is Severity.ERROR or (grade and not is_said):
            found.remarks.append(_remark(finding, grade, limits_set))


def _severity(
    finding: Finding, among: list[Finding], one: Converted, limits_set: Mapping[str, float]
) -> Severity | None:
    """How much a finding matters; None if the counts tell enough."""
    beyond = is_beyond(finding, among, limits_set.get(finding.kind))
    if beyond and one.sample.is_whole:
        return Severity.ERROR
    if beyond or finding in warnings_of(among) or _loses_numbers(finding, one.counts(finding)):
        return Severity.WARNING
    return Severity.NOTE if finding.kind == limits.VALUES_LOST else None


def _remark(finding: Finding, severity: Severity, limits_set: Mapping[str, float]) -> Remark:
    remark = Remark.of(severity, finding.kind, finding.message, finding.place)
    if finding.kind == limits.VALUES_LOST:
        remark = replace(remark, remedy=_VALUES_REMEDY)
    if severity is Severity.ERROR:
        remedy = f"{remark.remedy or 'Correct the table'}, or raise the limit"
        remark = replace(remark, what=f"{remark.what} {shown_limit(finding, limits_set)}", remedy=remedy)
    return remark


def _is_certain(one: Converted) -> bool:
    """Whether times that no format reads are all that there are: by all rows, or by many from several places."""
    counts = one.account["events"][one.sample.name].values()
    unread = [event[DROPPED][TIME_NOT_PARSED] for event in counts if not event[MEASUREMENTS]]
    return one.sample.is_whole or (one.sample.is_spread and min(filter(None, unread), default=0) >= _MANY_TIMES)


def _is_sure(finding: Finding, one: Converted) -> bool:
    """Whether what is found in a sample says something of the whole table.

    Rows that an event chooses, or other codes, may all be in rows that were not looked at.
    """
    if one.sample.is_whole or finding.kind not in (limits.NO_MEASUREMENTS, limits.ONE_CODE):
        return True
    if finding.kind == limits.NO_MEASUREMENTS:
        return not one.counts(finding)[DROPPED][NOT_CHOSEN]
    return one.sample.is_spread


def _loses_numbers(finding: Finding, counts: Account) -> bool:
    """Whether values that are lost have digits, such as `<5` and `7,9`, and so are no words."""
    column = finding.words.partition(" ")[0]
    examples = counts.get(EXAMPLES, {}).get(column, [])
    return finding.kind == limits.VALUES_LOST and any(any(map(str.isdigit, text)) for text in examples)
