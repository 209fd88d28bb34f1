"""What is set for each code, found for the rows of shards: `CodeSettings`.

It comes from up to three sources, and for each row from the first that has its code:

1. entries in the stage's block, of which the first that matches counts;
2. a table on disk;
3. columns of the code metadata.

A code has all its settings from one source, so that none is combined with another that was not made for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InputError, MissingInputError, Problems, listed
from .code_metadata import check_data, check_metadata, check_unique, code_key
from .code_rules import PLACE, REGEX, Rules, Settable, followed_by, found_wrong, read_entries, rules_of_metadata
from .code_tables import read_table
from .columns import column, columns, internal
from .dtypes import cast_columns, common_dtype, is_text
from .key_tables import Found, KeyTable
from .schema import CODE

__all__ = [
    "REGEX",
    "CodeSettings",
    "Rules",
    "Settable",
    "followed_by",
    "read_entries",
    "read_ranges",
    "read_rules",
    "read_table",
]

_AT = internal("at")
_CODE = internal("key0")
_NONE = 2**32 - 1
"""The number that no rule has."""
Numbers = npt.NDArray[np.uint32]


def read_rules(
    settable: Settable, block: Mapping[str, Any], entries_key: str | None = None, table_key: str | None = None
) -> list[Rules]:
    """What a stage's block sets for codes: the entries of one key, then the table that another one names.

    Raises:
        InputError: entries or the table cannot be used; the message lists all problems.
    """
    problems = Problems("What is set for codes cannot be used")
    given = block.get(entries_key) if entries_key else None
    rules = read_entries(settable, given, str(entries_key), problems)
    path = block.get(table_key) if table_key else None
    if path is not None:
        rules = followed_by(rules, read_table(settable, path, str(table_key), problems))
    problems.raise_if_any()
    return rules


def read_ranges(
    lower: str, upper: str, block: Mapping[str, Any], code_modifiers: Sequence[str] | None
) -> tuple[Settable, list[Rules]]:
    """What a stage's block sets of ranges, in `ranges` and `ranges_fp`, by the names of their bounds: see `read_rules`.

    Raises:
        InputError: entries or the table cannot be used; the message lists all problems.
    """
    least, greatest = pl.col(lower), pl.col(upper)
    wrong = {
        f"{lower} is greater than {upper}": least.gt(greatest) & ~least.is_nan() & ~greatest.is_nan(),
        "a bound is NaN": least.is_nan() | greatest.is_nan(),
    }
    settable = Settable({lower: pl.Float64(), upper: pl.Float64()}, tuple(code_modifiers or ()), wrong=wrong)
    return settable, read_rules(settable, block, "ranges", "ranges_fp")


class CodeSettings:
    """Finds the settings of the code of every row; null where nothing is set.

    Rows keep their order. A null code matches nothing. A code is looked up once, however many rows and shards have it.

    Args:
        settable: what can be set.
        rules: what `read_rules` has read.
        names: the settings to add, and the names of their columns in the result; default: their own.
        code_metadata: a row per code and modifiers, if columns of it are settings.
        code_modifiers: the columns that identify a code there together with `code`, or None.
        metadata_columns: the settings that are columns of the code metadata, with the names of these; None: none.

    Raises:
        InputError: the code metadata lacks columns, or has several rows for one code and modifiers; when applied, the
            data lacks columns, or has columns of incompatible dtypes.
    """

    def __init__(
        self,
        settable: Settable,
        rules: Sequence[Rules],
        names: Mapping[str, str] | None = None,
        code_metadata: pl.DataFrame | None = None,
        code_modifiers: Sequence[str] | None = None,
        metadata_columns: Mapping[str, str | None] | None = None,
    ) -> None:
        named = {setting: name for setting, name in (metadata_columns or {}).items() if name is not None}
        if named:
            code_metadata = _given(code_metadata, named)
            key = code_key(code_modifiers)
            check_metadata(code_metadata, [*key, *named.values()])
            check_unique(code_metadata.filter(pl.col(CODE).is_not_null()), key)
            of_metadata = rules_of_metadata(settable, code_metadata, key[1:], named)
            _check_metadata(settable, of_metadata)
            rules = followed_by(rules, of_metadata)
        self.rules = rules
        self.key = [CODE, *dict.fromkeys(name for one in rules for name in one.by)]
        """The columns of the data that decide what is set."""
        self._plain = {name: internal(f"key{n}") for n, name in enumerate(self.key)}
        self._values = _values_of(settable, rules, names or {name: name for name in settable.settings})
        self._known = KeyTable(self._find_out)

    def columns_of(self, df: pl.LazyFrame, *others: str) -> pl.DataFrame:
        """Of measurements the columns that decide what is set, and others, in memory."""
        check_data(df.collect_schema(), self.key)
        return df.select(columns(dict.fromkeys([*self.key, *others]))).collect()

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the settings."""
        found = self.of(rows)
        return rows.hstack(found.table.select(self._values.columns)[found.at])

    def of(self, rows: pl.DataFrame) -> Found:
        """The settings by the distinct codes of rows, and by what else they depend on."""
        check_data(rows.schema, self.key)
        return self._known(pl.DataFrame([rows[name].alias(plain) for name, plain in self._plain.items()]))

    def _find_out(self, keys: pl.DataFrame) -> pl.DataFrame:
        """What is set for some keys."""
        matches = [numbers for one in self.rules for numbers in _matches(one, keys, self._plain)]
        nothing = np.full(keys.height, self._values.height - 1, np.uint32)
        return keys.hstack(self._values[np.minimum.reduce([*matches, nothing])])


def _given(code_metadata: pl.DataFrame | None, named: Mapping[str, str]) -> pl.DataFrame:
    if code_metadata is None:
        raise MissingInputError(
            f"There is no code metadata, which should have the column {listed(named.values())}",
            remedy="Run the metadata stage that makes it first, or correct metadata_input_dir.",
        )
    return code_metadata


def _check_metadata(settable: Settable, rules: Sequence[Rules]) -> None:
    problems = Problems("The code metadata cannot be used")
    for one in rules:
        places = pl.format("the code {}", CODE).alias(PLACE)
        problems.found += found_wrong(settable, one.entries.with_columns(places))
    problems.raise_if_any()


def _values_of(settable: Settable, rules: Sequence[Rules], names: Mapping[str, str]) -> pl.DataFrame:
    """The settings of all rules in their order, then a row of nulls, of codes for which nothing is set."""
    nothing = pl.DataFrame({new: pl.Series([None], dtype=settable.settings[name]) for name, new in names.items()})
    wanted = [column(name).alias(new) for name, new in names.items()]
    values = [one.entries.select(wanted).with_columns(one.number.alias(_AT)) for one in rules]
    return pl.concat([*([pl.concat(values).sort(_AT).drop(_AT)] if values else []), nothing]).rechunk()


def _matches(rules: Rules, keys: pl.DataFrame, plain: Mapping[str, str]) -> Iterator[Numbers]:
    """For each key the number of the first rule with its code, and that of the first whose pattern matches it."""
    by = {name: plain[name] for name in rules.by}
    types = {k: _common_dtype(name, keys.schema[k], rules) for name, k in by.items()}
    keys = cast_columns(keys.select(_CODE, *by.values()), types, "the data")
    entries = rules.entries.select(
        column(CODE).alias(_CODE), REGEX, *(column(name).alias(k) for name, k in by.items())
    ).with_columns(rules.number.alias(_AT))
    entries = cast_columns(entries, types, rules.source)
    exact = (
        entries.filter(pl.col(_CODE).is_not_null()).drop(REGEX).unique(keys.columns, keep="first", maintain_order=True)
    )
    at = keys.join(exact, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")[_AT]
    yield at.fill_null(_NONE).to_numpy()
    yield _first_pattern(entries.filter(pl.col(REGEX).is_not_null()).drop(_CODE), keys)


def _first_pattern(entries: pl.DataFrame, keys: pl.DataFrame) -> Numbers:
    """For each key the number of the first pattern that matches it."""
    first = np.full(keys.height, _NONE, np.uint32)
    for entry in entries.reverse().iter_rows(named=True):
        is_match = keys[_CODE].str.contains(entry[REGEX])
        for k in keys.columns[1:]:
            is_match &= keys[k].eq_missing(pl.Series([entry[k]], dtype=keys.schema[k]))
        first[is_match.to_numpy()] = entry[_AT]
    return first


def _common_dtype(name: str, dtype: pl.DataType, rules: Rules) -> pl.DataType:
    other = rules.entries.schema[name]
    common = common_dtype([pl.String() if is_text(one) else one for one in (dtype, other)])
    if common is None:
        raise InputError(
            f"The column {name} is {dtype} in the data, and {other} in {rules.source}: make it the same in both."
        )
    return common
