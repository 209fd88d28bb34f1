"""Flags values as low, normal or high, by reference ranges.

The range of a row is in columns of its own or, where it has no bound there, that of its code: the first entry of
`ranges` that matches it, else what is in the table `ranges_fp`, else what is in columns of the code metadata. A value
that equals a bound is normal, infinities are beyond every range, and where a bound is missing that side is open. Rows
without a range or a value (null or NaN) get no flag. A lower bound of a code above the upper one is an error; in a row
it is no range, of which the log warns. The account of the stage says how many values there are of each flag.

Workers share the shards. Rows and their order do not change. With `flag_as: suffix`, compute code metadata after this
stage, since codes change.

Input: data shards with the columns code and numeric_value, and those of bounds, as numbers; code metadata, if their
columns have bounds.
Output: the shards with `//` and the flag at the end of the codes (String); with `flag_as: column` instead with
`numeric_value/range_flag` (String): the flag, or null.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from ..cli.script import stage_script
from ..dataset.code_settings import CodeSettings, read_ranges
from ..dataset.columns import internal
from ..dataset.io import Frame
from ..dataset.key_tables import COUNT, KIND, Ints
from ..dataset.measurements import Bools, Floats, as_floats, as_given, checked
from ..dataset.schema import CODE, NUMERIC_VALUE, RANGE_FLAG
from ..errors import InputError, MissingColumnError, counted, listed, nearest
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers as code_modifiers_of
from ..work.accounts import note

logger = logging.getLogger(__name__)

_STAGE = "flag_abnormal_values"
LOWER, UPPER = "lower", "upper"
LOW, NORMAL, HIGH = "low", "normal", "high"
_OF_CODE = {LOWER: internal("lower"), UPPER: internal("upper")}
_WITHOUT_VALUE, _WITHOUT_RANGE = "without_value", "without_range"
_LEVELS = (_WITHOUT_VALUE, _WITHOUT_RANGE, LOW, NORMAL, HIGH)
_MOST_SHOWN = 20

Levels = npt.NDArray[np.int8]
"""Where values are in their ranges, as places in `_LEVELS`."""


class Range(NamedTuple):
    """The bounds of rows, in 32 bits as the values are, so that a value can equal one; NaN where there is none."""

    lower: Floats
    upper: Floats

    @classmethod
    def of(cls, rows: pl.DataFrame, names: Mapping[str, str]) -> Self:
        """The range in columns, by what they are."""
        nothing = np.full(1, np.nan, np.float32)
        return cls(*(as_floats(rows[names[bound]]) if bound in names else nothing for bound in (LOWER, UPPER)))

    @property
    def is_wrong(self) -> Bools:
        """Whether its bounds are the wrong way round."""
        return self.lower > self.upper

    @property
    def is_given(self) -> Bools:
        """Whether there is such a range."""
        return ~(np.isnan(self.lower) & np.isnan(self.upper)) & ~self.is_wrong

    def at(self, places: Ints) -> Self:
        """The ranges in some places."""
        return type(self)(*(bound[places] for bound in self))

    def or_else(self, other: Self) -> Self:
        """The other range where this is none."""
        is_given = self.is_given
        return type(self)(*(np.where(is_given, *bounds) for bounds in zip(self, other, strict=True)))

    def levels(self, values: Floats) -> Levels:
        """Where values are in it."""
        is_low, is_high = (values < self.lower) | (values == -np.inf), (values > self.upper) | (values == np.inf)
        levels = np.int8(_LEVELS.index(NORMAL)) + is_high.astype(np.int8) - is_low.astype(np.int8)
        levels = np.where(self.is_given, levels, np.int8(_LEVELS.index(_WITHOUT_RANGE)))
        return np.where(np.isnan(values), np.int8(_LEVELS.index(_WITHOUT_VALUE)), levels)


def flag_abnormal_values_fntr(
    stage_cfg: Mapping[str, Any], code_modifiers: list[str] | None, code_metadata: pl.DataFrame | None = None
) -> Callable[[Frame], Frame]:
    """The function of one shard that flags values.

    Raises:
        InputError: ranges cannot be used, or the code metadata lacks columns; when applied, bounds are no numbers.
        MissingInputError: there is no code metadata, and it should have bounds.
        MissingColumnError: when applied, the data lacks a column of bounds.
    """
    settable, rules = read_ranges(LOWER, UPPER, stage_cfg, code_modifiers)
    of_codes = {bound: stage_cfg.get(f"{bound}_metadata_column") for bound in (LOWER, UPPER)}
    of_rows = {bound: name for bound in (LOWER, UPPER) if (name := stage_cfg.get(f"{bound}_column")) is not None}
    as_suffix = checked_value(_STAGE, stage_cfg, "flag_as") == "suffix"
    if not (rules or of_rows or any(of_codes.values())):
        logger.warning("%s flags nothing: its block names neither ranges nor columns with bounds", _STAGE)
        return lambda df: df
    bounds_of = CodeSettings(settable, rules, _OF_CODE, code_metadata, code_modifiers, of_codes)
    flags = checked_value(_STAGE, stage_cfg, "flags")
    words = pl.Series([flags.get(level) for level in _LEVELS], dtype=pl.String)

    def add_flags(df: Frame) -> Frame:
        rows = checked(df, CODE, NUMERIC_VALUE)
        check_bounds(rows.collect_schema(), of_rows.values())
        data = bounds_of.columns_of(rows, NUMERIC_VALUE, *of_rows.values())
        of_row, found = Range.of(data, of_rows), bounds_of.of(data)
        values, of_code = as_floats(data[NUMERIC_VALUE]), Range.of(found.table, _OF_CODE).at(found.places)
        ranges = of_row.or_else(of_code) if of_rows else of_code
        by_level = found.by_kind(ranges.levels(values), len(_LEVELS))
        report(by_level.table, data[CODE].filter(pl.Series(of_row.is_wrong & ~np.isnan(values))))
        flags = words[by_level.table[KIND]]
        if not as_suffix:
            return rows.with_columns(flags.gather(by_level.at).alias(RANGE_FLAG))
        if flags.null_count() == flags.len():
            return as_given(df, rows)
        return rows.with_columns(by_level.codes_of_rows(with_flags(by_level.codes, flags)))

    return add_flags


def with_flags(codes: pl.Series, flags: pl.Series) -> pl.Series:
    """The codes with their flags at the end; as they were where they have none."""
    flagged = codes + "//" + flags
    return flagged.zip_with(flagged.is_not_null(), codes)


def check_bounds(schema: Mapping[str, pl.DataType], names: Iterable[str]) -> None:
    """Raises an error if columns of bounds are missing, or are no numbers."""
    for name in names:
        if name not in schema:
            what = f"The data has no column {name}{nearest(name, schema)}; it has {listed(schema)}"
            raise MissingColumnError(what, remedy="Correct lower_column or upper_column, or leave it out.")
        if not (schema[name].is_numeric() or schema[name] == pl.Null):
            what = f"The column {name} must be a number; it is {schema[name]}"
            raise InputError(what, remedy="Make it a number before this stage, with extract_values.")


def report(by_level: pl.DataFrame, wrong: pl.Series) -> None:
    """Notes in the account how many values have which flag, and warns of ranges that cannot be.

    Args:
        by_level: how many rows of each code there are, by levels.
        wrong: the codes of values in rows that have such ranges.
    """
    counts = np.bincount(by_level[KIND], by_level[COUNT], len(_LEVELS)).astype(int).tolist()
    figures = dict(zip(_LEVELS, counts, strict=True)) | {"wrong_range": wrong.len()}
    note({"values": {what: n for what, n in figures.items() if what != _WITHOUT_VALUE}})
    if wrong.len():
        codes = wrong.to_frame().group_by(CODE).agg(pl.len().alias(COUNT))
        codes = codes.sort(COUNT, CODE, descending=[True, False]).head(_MOST_SHOWN)
        shown = ", ".join(f"{code} ({n_rows:,})" for code, n_rows in codes.iter_rows())
        what = "has a lower bound above the upper one, which counts as no range"
        logger.warning("%s of rows whose range %s: %s", counted(wrong.len(), "value"), what, shown)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    modifiers = code_modifiers_of(cfg)
    check_revisions(cfg, lambda stage_cfg: read_ranges(LOWER, UPPER, stage_cfg, modifiers))


def others(stage_cfg: Mapping[str, Any]) -> Others:
    """What the stage does with columns that not every MEDS file has: the bounds of rows are in some."""
    return Others.PASSED_ON.but_needs(stage_cfg.get("lower_column"), stage_cfg.get("upper_column"))


run = map_stage(
    flag_abnormal_values_fntr,
    changes=(CODE, RANGE_FLAG),
    others=others,
    reads=("ranges_fp",),
    takes_categories=True,
)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
