"""Tables of what is set for codes: files with a row per code, or per pattern."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import Problem, Problems, counted, listed, nearest, warn_of
from .code_rules import PLACE, REGEX, Rules, Settable, found_wrong, in_words, is_of
from .columns import columns, internal
from .patterns import first_paragraph, why_no_pattern
from .schema import CODE

logger = logging.getLogger(__name__)

_COUNT = internal("count")
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read_table(settable: Settable, path: Any, where: str, problems: Problems) -> list[Rules]:
    """The rows of a table on disk, with a column `code`, `regex` or both, further columns, and settings.

    Args:
        settable: what can be set.
        path: the file.
        where: the key that names it, for messages.
        problems: where mistakes are noted.
    """
    table = _read(path, where, problems)
    if table is None:
        return []
    known = (CODE, REGEX, *settable.further, *settable.settings)
    there, own = table.columns, [*settable.settings]
    n_wrong = len(problems.found)
    if CODE not in there and REGEX not in there:
        problems.add(f"there is no column {CODE}{nearest(CODE, there)}; it has {listed(there)}", str(path))
    for name in settable.required or ([] if {*own} & {*there} else own[:1]):
        if name not in there:
            problems.add(f"there is no column {name}{nearest(name, there)}; it has {listed(there)}", str(path))
    if len(problems.found) > n_wrong:
        return []
    if others := [name for name in there if name not in known]:
        warn_of(logger, f"the columns {listed(others)} are of no use here; known are {listed(known)}", str(path))
    entries = _typed(settable, table, str(path), problems)
    by = tuple(name for name in settable.further if name in there)
    problems.found += _wrong_rows(settable, entries, by)
    return [Rules(pl.Series(range(table.height), dtype=pl.UInt32), entries.drop(PLACE), by, str(path))]


def _read(path: Any, where: str, problems: Problems) -> pl.DataFrame | None:
    """The table, with text alone if it is CSV; None after a note of what is wrong with the file."""
    name = str(path)
    if not name.endswith(_SUFFIXES):
        problems.add(f"must be a file {', '.join(_SUFFIXES)}, not {name}", where)
    elif not Path(name).is_file():
        problems.add(f"there is no file {name}", where, "Check the path")
    else:
        try:
            if name.endswith(".parquet"):
                return pl.read_parquet(name, glob=False)
            # NOTE: by its content, since polars takes names such as `[0-10).csv` for globs.
            return pl.read_csv(Path(name).read_bytes(), infer_schema=False)
        except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
            problems.add(f"{name} cannot be read: {first_paragraph(error)}", where, "Correct the file")
    return None


def _typed(settable: Settable, table: pl.DataFrame, path: str, problems: Problems) -> pl.DataFrame:
    """The columns that count, settings in their dtypes; a column that is not there is null."""
    text = dict.fromkeys((CODE, REGEX, *settable.further), pl.String())
    lacking = {n: dtype for n, dtype in {**text, **settable.settings}.items() if n not in table.columns}
    whole = table.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in lacking.items())
    whole = whole.cast({CODE: pl.String, REGEX: pl.String})
    settings = []
    for name, dtype in settable.settings.items():
        settings.append(_cast(whole[name], dtype))
        bad = (settings[-1].is_null() & whole[name].is_not_null()).arg_true()
        if bad.len():
            found = whole[name][bad[0]]
            what = f"{counted(bad.len(), 'row')} of the column {name} must be {in_words(dtype)}; the first is {found!r}"
            problems.add(what, f"{path}, row {bad[0] + 1}", "Correct them")
    places = pl.Series(PLACE, [f"{path}, row {n + 1}" for n in range(table.height)], pl.String)
    return whole.select(columns([CODE, REGEX, *settable.further])).with_columns(*settings, places)


def _cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The values in another dtype, null where they have none there; lists and truth values may be text."""
    if values.dtype == pl.String and (isinstance(dtype, pl.List) or dtype == pl.Boolean):
        return pl.Series(values.name, [_parsed(dtype, text) for text in values], dtype, strict=False)
    try:
        return values.cast(dtype, strict=False)
    except pl.exceptions.PolarsError:
        return pl.Series(values.name, [None] * values.len(), dtype)


def _parsed(dtype: pl.DataType, text: str | None) -> Any:
    """What text in JSON says, if it is of a dtype."""
    try:
        value = json.loads(text.lower() if dtype == pl.Boolean else text) if text else None
    except ValueError:
        return None
    return value if value is not None and is_of(dtype, value) else None


def _wrong_rows(settable: Settable, entries: pl.DataFrame, by: Sequence[str]) -> Iterator[Problem]:
    both = entries[CODE].is_null() == entries[REGEX].is_null()
    for place in entries.filter(both)[PLACE].head(3):
        yield Problem(f"a row must have either a {CODE} or a {REGEX}", place)
    for place, pattern in entries.filter(entries[REGEX].is_not_null()).select(PLACE, REGEX).iter_rows():
        if wanted := why_no_pattern(pattern):
            yield Problem(f"{REGEX} must be {wanted}; not {pattern!r}", place)
    for name in settable.required:
        if name in entries.columns and (missing := entries.filter(entries[name].is_null())).height:
            yield Problem(f"there is no {name} in {counted(missing.height, 'row')}", missing[PLACE][0])
    key = [CODE, REGEX, *by]
    repeated = entries.group_by(columns(key), maintain_order=True).agg(pl.col(PLACE).first(), pl.len().alias(_COUNT))
    for *values, place, n in repeated.filter(pl.col(_COUNT) > 1).head(3).iter_rows():
        shown = ", ".join(f"{name} {value!r}" for name, value in zip(key, values, strict=True) if value is not None)
        yield Problem(f"{counted(n, 'row')} with {shown}", place, "Keep one of them")
    yield from found_wrong(settable, entries)
