"""The keys of an event conversion file that say how tables are read, at its top or in the block of a table."""

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

import polars as pl

from ...dataset.schema import CODE, SUBJECT_ID, TIME
from ...errors import Problems
from ...parser import is_col_field
from ...settings.checks import wrong_values
from ...settings.declarations import Key, read_keys
from ...settings.keys import flag
from ...stages import ROOT
from .model import SUBJECT_ID_KEY, TableOptions

_NO_TIMES = pl.Series([], dtype=pl.Datetime("us")).dt
OPTIONS = tuple(field.name for field in fields(TableOptions))


@cache
def declared_options() -> dict[str, Key]:
    """The declarations of the options."""
    declared = read_keys(ROOT / "configs" / "_event.yaml")
    return {name: declared[name] for name in OPTIONS}


def is_subject_key(key: Any, value: Any) -> bool:
    """Whether a key names the column of subject ids; `subject_id` is the older spelling."""
    return key == SUBJECT_ID_KEY or (key == SUBJECT_ID and isinstance(value, str))


def is_option(key: Any, value: Any) -> bool:
    """Whether a key says how tables are read: it has the name of an option, and is no table or event of that name."""
    return key in OPTIONS and not is_event(value) and not _is_table(value)


def is_event(value: Any) -> bool:
    """Whether a block is that of an event, under whatever name."""
    if not isinstance(value, Mapping) or not {CODE, TIME} <= value.keys():
        return False
    time = value[TIME]
    return time is None or isinstance(time, Mapping | list) or (isinstance(time, str) and is_col_field(time))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and any(map(is_event, value.values()))


def read_options(block: Mapping[Any, Any], where: str, default: TableOptions, problems: Problems) -> TableOptions:
    """The options of a block, those that it does not set as in `default`; what is wrong with them is noted."""
    given = {key: value for key, value in block.items() if is_option(key, value)}
    if not given:
        return default
    wrong = wrong_values(declared_options(), given, where)
    if "subject_ids" in given and where:
        problems.add("must be the same for all tables", f"{where}.subject_ids", "Write it at the top of the file")
    problems.found += wrong
    if wrong:
        return default
    flags = {key: flag(given, key) for key in ("infer_code_dtypes", "optional") if key in given}
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()} | flags
    options = replace(default, **given)
    for key, what, remedy in _contradictions(options, given):
        problems.add(what, f"{where}.{key}".removeprefix("."), remedy)
    return options


def _contradictions(options: TableOptions, given: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Keys, what is wrong with their values, and what to do."""
    if "encoding" in given and not _is_known(codecs.lookup, options.encoding):
        yield "encoding", f"there is no encoding {options.encoding!r}; known are utf-8, cp1252, utf-16, …", ""
    if "time_zone" in given and options.time_zone and not _is_known(_NO_TIMES.replace_time_zone, options.time_zone):
        yield "time_zone", f"there is no time zone {options.time_zone!r}", "Write it as in America/New_York"
    if "dataset_times" in given and options.dataset_times == "local" and not options.time_zone:
        yield "dataset_times", "local times are those of a time_zone, which is not set", "Set time_zone, too"
    if options.separator and options.separator == options.quote:
        yield "separator", f"must not be the quote, {options.quote}", ""
    if options.separator == options.decimal:
        yield "separator", f"must not be the decimal, {options.decimal}", ""


def _is_known(look_up: Any, name: str) -> bool:
    try:
        look_up(name)
    except (LookupError, pl.exceptions.PolarsError):
        return False
    return True
