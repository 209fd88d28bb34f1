"""Brings the values of each code to one unit.

The unit of a row is in a column, or in its code. The unit of a code is what `target_units` say or, where these say
nothing of it, the unit to which the first conversion of the code leads. Values in another unit become value * factor +
offset, computed in 64 bits: by the first of the `conversions` from the one unit to the other, or by what is known of
common units (with the extra `units`), which never leads from mass to amount of substance. Where a code is to have no
unit, a conversion for all codes counts that begins with the unit of the value. Values already in the unit of their code
do not change, nor do rows without a unit or without a value.

Workers share the shards. The log says of which codes, and from which units, how many values were converted, and how
many could not be; the accounting file has the sums. Rows keep their order. Code metadata do not change: where values or
codes do, compute them after this stage.

Input: data shards with the columns code and numeric_value, and that of the units, as text; code metadata, if they have
units that are asked for.
Output: the shards, with numeric_value (Float32) and the unit (String) as they are then; with `unit_after` or
`code_with_unit` also other codes, and with `unconverted: drop_row` fewer rows.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..cli.script import stage_script
from ..dataset.code_metadata import check_data
from ..dataset.columns import column, columns, internal
from ..dataset.dtypes import is_text
from ..dataset.io import Frame
from ..dataset.key_tables import COUNT, KIND, Found, KeyTable
from ..dataset.measurements import as_given, checked
from ..dataset.patterns import why_no_pattern
from ..dataset.schema import CODE, NUMERIC_VALUE
from ..errors import InputError, MissingColumnError, counted, listed, nearest
from ..mapreduce.mapper import map_stage
from ..mapreduce.match_revise import check_revisions
from ..mapreduce.plans import Others
from ..settings.checks import checked_value
from ..settings.keys import code_modifiers as code_modifiers_of
from ..work.accounts import note
from .unit_conversions import FACTOR, FROM, OFFSET, TO, Conversions, UnitRules, read_unit_rules

logger = logging.getLogger(__name__)

_STAGE = "standardize_units"
_REMOVE_VALUE, _DROP_ROW = "remove_value", "drop_row"
_MOST_SHOWN = 20

_UNIT, _BEFORE = internal("unit"), internal("before")
_FOUND = {name: internal(name) for name in (FROM, TO, FACTOR, OFFSET)}
_FROM, _TO, _FACTOR, _OFFSET = _FOUND.values()

_HAS_VALUE = (pl.col(KIND) == 1) & pl.col(_TO).is_not_null()
_IS_OFF = _HAS_VALUE & (pl.col(_FROM) != pl.col(_TO)).fill_null(value=False)
"""Whether rows have a value in another unit than their code is to have."""
_IS_CONVERTED = _IS_OFF & pl.col(_FACTOR).is_not_null()
_IS_UNCONVERTED = _IS_OFF & pl.col(_FACTOR).is_null()


@dataclass(frozen=True)
class Settings:
    """The settings of the stage: where units are, what is done about them, and what becomes of the rest."""

    rules: UnitRules
    unit_column: str | None
    unit_after: str | None
    unconverted: str
    code_with_unit: str | None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.rules.conversions or self.rules.has_targets or self.code_with_unit)


def read_settings(stage_cfg: Mapping[str, Any]) -> Settings:
    """The settings of a stage's block.

    Raises:
        WrongTypeError: a value has another type than its key allows.
        InputError: a value is not allowed, or entries or tables cannot be used.
        MissingPackagesError: target units are given, and pint is not installed.
    """
    keys = ("unit_column", "unit_after", "unconverted", "code_with_unit")
    unit_column, after, unconverted, with_unit = (checked_value(_STAGE, stage_cfg, key) for key in keys)
    if after is not None and (wanted := why_no_pattern(after)):
        raise InputError(f"must be {wanted}; not {after!r}", "unit_after")
    if with_unit is not None and not {"{code}", "{unit}"} <= {*_parts_of(with_unit)}:
        raise InputError(f"must have {{code}} and {{unit}}, unlike {with_unit!r}", "code_with_unit")
    if after is not None and with_unit is not None:
        raise InputError(
            "the codes have their units already, by unit_after", "code_with_unit", "Leave out one of them."
        )
    in_column = unit_column if after is None else None
    return Settings(read_unit_rules(stage_cfg), in_column, after, unconverted, with_unit)


def standardize_units_fntr(
    stage_cfg: Mapping[str, Any], code_modifiers: list[str] | None, code_metadata: pl.DataFrame | None = None
) -> Callable[[Frame], Frame]:
    """The function of one shard that brings the values of each code to one unit.

    Raises:
        WrongTypeError, InputError, MissingPackagesError: as `read_settings`.
        InputError: the code metadata lacks a column; when applied, units are no text.
        MissingInputError: there is no code metadata, and it should have units.
        MissingColumnError: when applied, the data lacks the column of the units.
    """
    settings = read_settings(stage_cfg)
    if settings.is_idle:
        logger.warning("%s changes nothing: its block has neither conversions nor target units", _STAGE)
        return lambda df: df
    conversions = Conversions(settings.rules, code_modifiers, code_metadata)
    units_of = KeyTable(lambda keys: find_units(keys, settings, conversions))

    def standardize(df: Frame) -> Frame:
        rows = with_text_units(checked(df, CODE, NUMERIC_VALUE), settings.unit_column)
        check_data(rows.collect_schema(), conversions.key)
        keys, values = columns(conversions.key), rows.select(NUMERIC_VALUE).collect().to_series()
        if settings.unit_column is not None:
            keys.append(column(settings.unit_column).alias(_UNIT))
        units = units_of(rows.select(keys).collect()).by_kind(values.is_not_null().to_numpy(), 2)
        report(units.table)
        changed = [*changes(values, units, settings)]
        result = rows.with_columns(changed) if changed else as_given(df, rows)
        if settings.unconverted == _DROP_ROW and (fails := of_rows(units, _IS_UNCONVERTED)).any():
            return result.lazy().collect().filter(~fails)
        return result

    return standardize


def with_text_units(df: pl.LazyFrame, unit_column: str | None) -> pl.LazyFrame:
    """The rows with their units as text."""
    if unit_column is None:
        return df
    schema = df.collect_schema()
    if unit_column not in schema:
        what = f"The data has no column {unit_column}{nearest(unit_column, schema)}; it has {listed(schema)}"
        raise MissingColumnError(what, remedy="Correct unit_column, or set unit_after where units are in the codes.")
    if not (is_text(schema[unit_column]) or schema[unit_column] == pl.Null):
        what = f"The column {unit_column} must be text; it is {schema[unit_column]}"
        raise InputError(what, remedy="Name the column with the units.")
    return df.with_columns(column(unit_column).cast(pl.String))


def find_units(keys: pl.DataFrame, settings: Settings, conversions: Conversions) -> pl.DataFrame:
    """For codes and what goes with them their unit, what is in the code before it, and what `Conversions.of` says."""
    before, unit = pl.lit(None, pl.String), pl.col(_UNIT)
    if settings.unit_column is None:
        before = pl.col(CODE).str.extract(f"(?s)^.*?(?:{settings.unit_after})", 0)
        unit = pl.when(before.is_not_null()).then(pl.col(CODE).str.strip_prefix(before))
    trimmed = unit.str.strip_chars()
    pairs = keys.with_columns(before.alias(_BEFORE), pl.when(trimmed != "").then(trimmed).alias(FROM))
    return conversions.of(pairs).rename(_FOUND)


def changes(values: pl.Series, units: Found, settings: Settings) -> Iterator[pl.Series | pl.Expr]:
    """The columns that are not as they were.

    Args:
        values: those of the rows.
        units: what is known of the units of the rows, by whether they have a value.
        settings: those of the stage.
    """
    converts, fails = (units.table.select(which.any()).item() for which in (_IS_CONVERTED, _IS_UNCONVERTED))
    does_remove = fails and settings.unconverted == _REMOVE_VALUE
    if converts or does_remove or values.dtype != pl.Float32:
        yield new_values(values, units, does_remove)
    if converts and settings.unit_column is not None:
        to = of_rows(units, pl.when(_IS_CONVERTED).then(_TO))
        yield pl.coalesce(to, column(settings.unit_column)).alias(settings.unit_column)
    codes = units.table.select(pl.coalesce(new_code(settings), CODE)).to_series()
    if not codes.eq_missing(units.codes).all():
        yield units.codes_of_rows(codes)


def of_rows(units: Found, expr: pl.Expr) -> pl.Series:
    """For each row the value of an expression of what is known of its unit."""
    return units.table.select(expr).to_series().gather(units.at)


def new_values(values: pl.Series, units: Found, does_remove: bool) -> pl.Series:
    """The values in the units of their codes, and null where that cannot be, if these are to be removed."""
    new, is_converted = values.cast(pl.Float32), of_rows(units, _IS_CONVERTED)
    if is_converted.any():
        factor, offset = of_rows(units, pl.col(_FACTOR)), of_rows(units, pl.col(_OFFSET))
        new = (values.cast(pl.Float64) * factor + offset).cast(pl.Float32).zip_with(is_converted, new)
    return new.set(of_rows(units, _IS_UNCONVERTED), None) if does_remove else new


def new_code(settings: Settings) -> pl.Expr:
    """The code of rows, by their units; null where it stays."""
    if settings.unit_column is None:
        return pl.when(_IS_CONVERTED).then(pl.concat_str(_BEFORE, _TO))
    if settings.code_with_unit is None:
        return pl.lit(None, pl.String)
    unit = pl.coalesce(pl.when(_IS_CONVERTED).then(_TO), _FROM)
    parts = {"{code}": pl.col(CODE), "{unit}": unit}
    return pl.concat_str(parts.get(part, pl.lit(part)) for part in _parts_of(settings.code_with_unit))


def _parts_of(template: str) -> list[str]:
    return [part for part in re.split(r"(\{code\}|\{unit\})", template) if part]


def report(units: pl.DataFrame) -> None:
    """Notes in the account, and logs, what becomes of the values whose code is to have a unit.

    Args:
        units: what is known of units, with how many rows there are of each, by whether they have a value.
    """
    figures = {
        "converted": _IS_CONVERTED,
        "in_unit": _HAS_VALUE & (pl.col(_FROM) == pl.col(_TO)),
        "without_unit": _HAS_VALUE & pl.col(_FROM).is_null(),
        "not_converted": _IS_UNCONVERTED,
    }
    counts = units.select(pl.col(COUNT).filter(which).sum().alias(name) for name, which in figures.items())
    note({"values": (n := counts.row(0, named=True))})
    if n["converted"]:
        logger.info("%s converted: %s", counted(n["converted"], "value"), by_code_and_unit(units, _IS_CONVERTED))
    if n["not_converted"]:
        shown = by_code_and_unit(units, _IS_UNCONVERTED)
        logger.info("%s could not be brought to the unit of the code: %s", counted(n["not_converted"], "value"), shown)


def by_code_and_unit(units: pl.DataFrame, which: pl.Expr) -> str:
    """How many of some rows there are of each code and unit, in words, most first."""
    counts = units.lazy().filter(which).group_by(CODE, _FROM, _TO).agg(pl.col(COUNT).sum())
    groups = counts.sort(COUNT, CODE, _FROM, _TO, descending=[True, False, False, False]).collect()
    shown = [f"{code} from {unit} to {to} ({n:,})" for code, unit, to, n in groups.head(_MOST_SHOWN).iter_rows()]
    more = f" and {groups.height - _MOST_SHOWN} more" if groups.height > _MOST_SHOWN else ""
    return f"{', '.join(shown)}{more}"


def check(cfg: Mapping[str, Any]) -> None:
    """Raises an error where the configuration alone shows that the stage cannot run."""
    check_revisions(cfg, read_settings)
    code_modifiers_of(cfg)


def others(stage_cfg: Mapping[str, Any]) -> Others:
    """What the stage does with columns that not every MEDS file has: the units of rows may be in one."""
    in_codes = stage_cfg.get("unit_after") is not None
    return Others.PASSED_ON.but_needs(None if in_codes else checked_value(_STAGE, stage_cfg, "unit_column"))


run = map_stage(
    standardize_units_fntr, others=others, reads=("conversions_fp", "target_units_fp"), takes_categories=True
)

main = stage_script(__spec__.name)

if __name__ == "__main__":
    main()
