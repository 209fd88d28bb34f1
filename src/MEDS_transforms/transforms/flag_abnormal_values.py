"""Flags values as low, normal or high, by reference ranges.

The range of a row is in columns of its own or, where it has no bound there, it is that of its code: from the entries of
the settings, from a table, or from columns of the code metadata. A value that equals a bound is normal, infinities are
beyond every range, and where a bound is missing that side is open. Rows without a range or a value (null or NaN) get no
flag. A lower bound above the upper one is an error in the settings and the table; in the data and the code metadata it
is no range, of which the log warns, and which the accounting file counts. Without any range the stage changes nothing.

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

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_settings import CodeSettings, Rules, Settable, read_rules
from ..dataset.columns import column, internal
from ..dataset.io import Frame
from ..dataset.measurements import checked
from ..dataset.schema import CODE, NUMERIC_VALUE, RANGE_FLAG
from ..errors import InputError, MissingColumnError, MissingInputError, counted, listed, nearest, warn_of
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers as code_modifiers_of
from ..work.accounts import note

logger = logging.getLogger(__name__)

_STAGE = "flag_abnormal_values"
LOWER, UPPER = "lower", "upper"
LOW, NORMAL, HIGH = "low", "normal", "high"
_RANGES = Settable(
    {LOWER: pl.Float64(), UPPER: pl.Float64()},
    wrong={"the lower bound is above the upper one": pl.col(LOWER) > pl.col(UPPER)},
)

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


def read_settings(stage_cfg: Mapping[str, Any]) -> tuple[list[Rules], Mapping[str, str | None], bool]:
    """The ranges that a stage's block sets, the flags by what they say of a value, and whether they go to the code.

    Raises:
        WrongTypeError: a value has another type than its key allows.
        InputError: a value is not allowed, or ranges cannot be used; the message lists all problems of these.
    """
    flags = checked_value(_STAGE, stage_cfg, "flags")
    as_suffix = checked_value(_STAGE, stage_cfg, "flag_as") == "suffix"
    return read_rules(_RANGES, stage_cfg, "ranges", "ranges_fp"), flags, as_suffix


def flag_abnormal_values_fntr(
    stage_cfg: Mapping[str, Any], code_modifiers: list[str] | None, code_metadata: pl.DataFrame | None = None
) -> Callable[[Frame], Frame]:
    """The function of one shard that flags values.

    Raises:
        WrongTypeError, InputError: as `read_settings`; the code metadata lacks a column; when applied, bounds are no
            numbers.
        MissingInputError: there is no code metadata, and it should have bounds.
        MissingColumnError: when applied, the data lacks a column of bounds.
    """
    rules, flags, as_suffix = read_settings(stage_cfg)
    metadata_columns = {bound: stage_cfg.get(f"{bound}_metadata_column") for bound in (LOWER, UPPER)}
    if code_metadata is None and any(metadata_columns.values()):
        where = "lower_metadata_column, upper_metadata_column"
        raise MissingInputError("there is no code metadata", where, "Make it before this stage, or leave the keys out.")
    of_rows = {bound: name for bound in (LOWER, UPPER) if (name := stage_cfg.get(f"{bound}_column")) is not None}
    if not (rules or of_rows or any(metadata_columns.values())):
        logger.warning("%s flags nothing: it is given no ranges", _STAGE)
        return lambda df: df
    of_codes = CodeSettings(_RANGES, rules, _OF_CODE, code_metadata, code_modifiers, metadata_columns)
    figures = figures_of(Range.of(of_rows), Range.of(_OF_CODE))

    def flag(df: Frame) -> pl.DataFrame:
        rows = checked(df, CODE, NUMERIC_VALUE)
        check_bounds(rows.collect_schema(), of_rows.values())
        found = of_codes(rows).with_columns(figures).collect()
        report(found)
        text = pl.coalesce(
            pl.when(pl.col(_LEVEL) == level).then(pl.lit(word, pl.String)) for level, word in flags.items()
        )
        code = pl.coalesce(pl.concat_str(CODE, pl.lit("//"), text), CODE)
        result = code.alias(CODE) if as_suffix else text.alias(RANGE_FLAG)
        return found.with_columns(result).drop(_LEVEL, _IS_WRONG, *_OF_CODE.values())

    return flag


def figures_of(of_row: Range, of_code: Range) -> list[pl.Expr]:
    """Where the value of a row is in its range, if it has both, and whether a range of it has its bounds wrong."""
    level = pl.when(of_row.is_given).then(of_row.level).when(of_code.is_given).then(of_code.level)
    is_wrong = of_row.is_wrong | (~of_row.is_given & of_code.is_wrong)
    has_number = _NUMBER.is_not_null()
    return [pl.when(has_number).then(level).alias(_LEVEL), (has_number & is_wrong).alias(_IS_WRONG)]


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
    note({"ranges": {"values": counts}})
    if n := counts["wrong_range"]:
        codes = found.lazy().filter(_IS_WRONG).group_by(CODE).agg(pl.len().alias(_COUNT))
        codes = codes.sort(_COUNT, CODE, descending=[True, False]).head(_MOST_SHOWN)
        shown = ", ".join(f"{code} ({n_rows:,})" for code, n_rows in codes.collect().iter_rows())
        what = f"{counted(n, 'value')} with a range whose lower bound is above the upper one, which counts as none"
        warn_of(logger, f"{what}, of the codes {shown}")


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, read_settings)
    code_modifiers_of(cfg)


run = map_stage(flag_abnormal_values_fntr, changes=(CODE, RANGE_FLAG), reads=("ranges_fp",))

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
