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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_settings import CodeSettings, Rules, Settable, read_rules
from ..dataset.columns import column, internal
from ..dataset.io import Frame
from ..dataset.measurements import checked
from ..dataset.schema import CODE, NUMERIC_VALUE, RANGE_FLAG
from ..errors import InputError, MissingColumnError, counted, listed, nearest
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers as code_modifiers_of
from ..work.accounts import note

logger = logging.getLogger(__name__)

_STAGE = "flag_abnormal_values"
LOWER, UPPER = "lower", "upper"
LOW, NORMAL, HIGH = "low", "normal", "high"
_OF_CODE = {LOWER: internal("lower"), UPPER: internal("upper")}
_LEVEL, _IS_WRONG, _COUNT = internal("level"), internal("is_wrong"), internal("count")
_MOST_SHOWN = 20

_NUMBER = pl.col(NUMERIC_VALUE).cast(pl.Float32).fill_nan(None)
"""The value; null where it is not a number."""


class Range(NamedTuple):
    """The bounds of rows, in 32 bits as the values are, so that a value can equal one; null where there is none."""

    lower: pl.Expr
    upper: pl.Expr

    @classmethod
    def of(cls, names: Mapping[str, str]) -> Self:
        """The range in columns, by what they are; NaN is no bound."""
        bounds = {bound: column(name).cast(pl.Float32).fill_nan(None) for bound, name in names.items()}
        nothing = pl.lit(None, pl.Float32)
        return cls(bounds.get(LOWER, nothing), bounds.get(UPPER, nothing))

    @property
    def is_wrong(self) -> pl.Expr:
        """Whether its bounds are the wrong way round."""
        return (self.lower > self.upper).fill_null(value=False)

    @property
    def is_given(self) -> pl.Expr:
        """Whether there is such a range."""
        return (self.lower.is_not_null() | self.upper.is_not_null()) & ~self.is_wrong

    @property
    def level(self) -> pl.Expr:
        """Where the value is in it."""
        is_low = (_NUMBER.is_infinite() & (_NUMBER < 0)) | (_NUMBER.lt(self.lower))
        is_high = (_NUMBER.is_infinite() & (_NUMBER > 0)) | (_NUMBER.gt(self.upper))
        return pl.when(is_low).then(pl.lit(LOW)).when(is_high).then(pl.lit(HIGH)).otherwise(pl.lit(NORMAL))


def read_ranges(stage_cfg: Mapping[str, Any], code_modifiers: Sequence[str] | None) -> tuple[Settable, list[Rules]]:
    """What the stage's block says of ranges: what can be set, and what its entries and its table set.

    Raises:
        InputError: entries or the table cannot be used; the message lists all problems.
    """
    lower, upper = pl.col(LOWER), pl.col(UPPER)
    wrong = {
        "lower is greater than upper": lower.gt(upper) & ~lower.is_nan() & ~upper.is_nan(),
        "a bound is NaN": lower.is_nan() | upper.is_nan(),
    }
    settable = Settable({LOWER: pl.Float64(), UPPER: pl.Float64()}, tuple(code_modifiers or ()), wrong=wrong)
    return settable, read_rules(settable, stage_cfg, "ranges", "ranges_fp")


def flag_abnormal_values_fntr(
    stage_cfg: Mapping[str, Any], code_modifiers: list[str] | None, code_metadata: pl.DataFrame | None = None
) -> Callable[[Frame], Frame]:
    """The function of one shard that flags values.

    Raises:
        InputError: ranges cannot be used, or the code metadata lacks columns; when applied, bounds are no numbers.
        MissingInputError: there is no code metadata, and it should have bounds.
        MissingColumnError: when applied, the data lacks a column of bounds.
    """
    settable, rules = read_ranges(stage_cfg, code_modifiers)
    of_codes = {bound: stage_cfg.get(f"{bound}_metadata_column") for bound in (LOWER, UPPER)}
    of_rows = {bound: name for bound in (LOWER, UPPER) if (name := stage_cfg.get(f"{bound}_column")) is not None}
    as_suffix = checked_value(_STAGE, stage_cfg, "flag_as") == "suffix"
    if not (rules or of_rows or any(of_codes.values())):
        logger.warning("%s flags nothing: its block names neither ranges nor columns with bounds", _STAGE)
        return lambda df: df
    add_bounds = CodeSettings(settable, rules, _OF_CODE, code_metadata, code_modifiers, of_codes)
    figures, flag = figures_of(Range.of(of_rows), Range.of(_OF_CODE)), flag_of(stage_cfg["flags"])
    flagged_code = pl.coalesce(pl.concat_str(CODE, pl.lit("//"), flag), CODE)

    def add_flags(df: Frame) -> pl.DataFrame:
        rows = checked(df, CODE, NUMERIC_VALUE)
        check_bounds(rows.collect_schema(), of_rows.values())
        found = add_bounds(rows).with_columns(figures).collect()
        report(found)
        result = flagged_code.alias(CODE) if as_suffix else flag.alias(RANGE_FLAG)
        return found.with_columns(result).drop(_LEVEL, _IS_WRONG, *_OF_CODE.values())

    return add_flags


def figures_of(of_row: Range, of_code: Range) -> list[pl.Expr]:
    """Where the value of a row is in its range, if it has both, and whether the bounds of its own cannot be."""
    level = pl.when(of_row.is_given).then(of_row.level).when(of_code.is_given).then(of_code.level)
    has_number = _NUMBER.is_not_null()
    return [pl.when(has_number).then(level).alias(_LEVEL), (has_number & of_row.is_wrong).alias(_IS_WRONG)]


def flag_of(words: Mapping[str, str | None]) -> pl.Expr:
    """The flag of a row; null where it has none."""
    levels = (LOW, NORMAL, HIGH)
    return pl.coalesce(pl.when(pl.col(_LEVEL) == level).then(pl.lit(words.get(level), pl.String)) for level in levels)


def check_bounds(schema: Mapping[str, pl.DataType], names: Iterable[str]) -> None:
    """Raises an error if columns of bounds are missing, or are no numbers."""
    for name in names:
        if name not in schema:
            what = f"The data has no column {name}{nearest(name, schema)}; it has {listed(schema)}"
            raise MissingColumnError(what, remedy="Correct lower_column or upper_column, or leave it out.")
        if not (schema[name].is_numeric() or schema[name] == pl.Null):
            what = f"The column {name} must be a number; it is {schema[name]}"
            raise InputError(what, remedy="Make it a number before this stage, with extract_values.")


def report(found: pl.DataFrame) -> None:
    """Notes in the account how many values have which flag, and warns of ranges that cannot be."""
    figures = {name: pl.col(_LEVEL) == name for name in (LOW, NORMAL, HIGH)}
    figures |= {"without_range": _NUMBER.is_not_null() & pl.col(_LEVEL).is_null(), "wrong_range": pl.col(_IS_WRONG)}
    counts = found.select(is_one.sum().alias(name) for name, is_one in figures.items()).row(0, named=True)
    note({"values": counts})
    if n := counts["wrong_range"]:
        codes = found.lazy().filter(_IS_WRONG).group_by(CODE).agg(pl.len().alias(_COUNT))
        codes = codes.sort(_COUNT, CODE, descending=[True, False]).head(_MOST_SHOWN)
        shown = ", ".join(f"{code} ({n_rows:,})" for code, n_rows in codes.collect().iter_rows())
        what = "has a lower bound above the upper one, which counts as no range"
        logger.warning("%s of rows whose range %s: %s", counted(n, "value"), what, shown)


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    modifiers = code_modifiers_of(cfg)
    check_revisions(cfg, lambda stage_cfg: read_ranges(stage_cfg, modifiers))


run = map_stage(flag_abnormal_values_fntr, changes=(CODE, RANGE_FLAG), reads=("ranges_fp",))

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
