"""Which unit the values of a code are to have, and how they come to have it; what standardize_units does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ..dataset import units
from ..dataset.code_settings import REGEX, CodeSettings, Rules, Settable, followed_by, read_rules
from ..dataset.columns import internal
from ..dataset.schema import CODE
from ..errors import InputError
from ..settings.plain import plain

FROM, TO, FACTOR, OFFSET, UNIT = "from", "to", "factor", "offset", "unit"

_NO_FACTOR = "factor must be a number other than 0, and offset a number; neither may be infinite"
_CONVERSIONS = Settable(
    {FACTOR: pl.Float64(), OFFSET: pl.Float64()},
    further=(FROM, TO),
    wrong={_NO_FACTOR: (pl.col(FACTOR) == 0) | ~pl.col(FACTOR).is_finite() | ~pl.col(OFFSET).is_finite()},
)
_TARGETS = Settable({UNIT: pl.String()}, required=(UNIT,))
_ANY_CODE = {REGEX: ".*"}

_ASKED, _IMPLIED = internal("asked"), internal("implied")
_FACTOR, _OFFSET, _PLACE = internal("factor"), internal("offset"), internal("place")


@dataclass(frozen=True)
class UnitRules:
    """What a stage's block says of units.

    Args:
        conversions: those with a factor and an offset of their own.
        targets: the units that codes are to have.
        metadata_column: the column of the code metadata that has such units, too.
    """

    conversions: Sequence[Rules]
    targets: Sequence[Rules]
    metadata_column: str | None

    @property
    def has_targets(self) -> bool:
        """Whether units are asked for, beside those that conversions lead to."""
        return bool(self.targets) or self.metadata_column is not None


def read_unit_rules(stage_cfg: Mapping[str, Any]) -> UnitRules:
    """What a stage's block says of units.

    Raises:
        InputError: entries or tables cannot be used; the message lists all problems.
        MissingPackagesError: target units are given, and pint is not installed.
    """
    given = plain(stage_cfg.get("conversions"))
    if isinstance(given, list):
        given = [{CODE: _ANY_CODE, **entry} if isinstance(entry, dict) else entry for entry in given]
    block = {"conversions": given, "conversions_fp": stage_cfg.get("conversions_fp")}
    conversions = [_complete(rules) for rules in read_rules(_CONVERSIONS, block, *block)]
    targets = read_rules(_TARGETS, stage_cfg, "target_units", "target_units_fp")
    rules = UnitRules(conversions, targets, stage_cfg.get("target_units_metadata_column"))
    if rules.has_targets:
        units.check_packages()
    return rules


def _complete(rules: Rules) -> Rules:
    """Conversions with all that they need."""
    for name in (FROM, TO):
        if name not in rules.by or rules.entries[name].null_count():
            raise InputError(f"there is a conversion without {name!r}", rules.source, "Name both units.")
    texts = [pl.col(name).cast(pl.String).str.strip_chars() for name in (FROM, TO)]
    filled = [pl.col(FACTOR).fill_null(1), pl.col(OFFSET).fill_null(0)]
    return replace(rules, entries=rules.entries.with_columns(*texts, *filled))


class Conversions:
    """How the values of codes in units come to have the unit of their code.

    The unit of a code is that which is asked for or, where none is, that to which the first conversion of the code
    leads. Where there is none, either, a conversion for all codes leads from the unit of a value to another.

    Args:
        rules: what the stage's block says.
        code_modifiers: the columns that identify a code together with `code`, or None.
        code_metadata: has units that are asked for, if the rules name its column.
    """

    def __init__(
        self, rules: UnitRules, code_modifiers: Sequence[str] | None, code_metadata: pl.DataFrame | None
    ) -> None:
        self._knows_units = rules.has_targets
        named = {UNIT: rules.metadata_column}
        self._asked = CodeSettings(
            _TARGETS, rules.targets, {UNIT: _ASKED}, code_metadata, code_modifiers, metadata_columns=named
        )
        self._implied = CodeSettings(_TARGETS, implied_targets(rules.conversions), {UNIT: _IMPLIED})
        self._factors = CodeSettings(_CONVERSIONS, rules.conversions)

    @property
    def key(self) -> list[str]:
        """The columns of the data that decide on the unit of a code, `code` first."""
        return self._asked.key

    def of(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What is to be done with values of codes in units.

        Args:
            pairs: a row per code, with the columns of the key, and unit, in `from`.

        Returns:
            the same with `to`, the unit of the code, null where it has none; and `factor` and `offset`, null where no
            conversion is known.
        """
        wanted = self._implied(self._asked(pairs)).with_columns(pl.coalesce(_ASKED, _IMPLIED).alias(TO))
        found = self._factors(wanted.drop(_ASKED, _IMPLIED))
        return _with_known(found) if self._knows_units else found


def implied_targets(conversions: Sequence[Rules]) -> list[Rules]:
    """The units of codes that follow from conversions: those for all codes are about values in one unit alone."""
    if not conversions:
        return []
    columns = [CODE, REGEX, FROM, pl.col(TO).alias(UNIT)]
    placed = [rules.entries.select(columns).with_columns(rules.number.alias(_PLACE)) for rules in conversions]
    entries = pl.concat(placed).sort(_PLACE).drop(_PLACE)
    general = pl.Series([_matches_all(pattern) for pattern in entries[REGEX]], dtype=pl.Boolean)
    return followed_by(_rules(entries.filter(~general)), _rules(entries.filter(general), FROM))


def _rules(entries: pl.DataFrame, *by: str) -> list[Rules]:
    return [Rules(pl.Series(range(entries.height), dtype=pl.UInt32), entries, by, "conversions")]


def _matches_all(pattern: str | None) -> bool:
    """Whether a pattern is one for all codes: it finds even nothing."""
    return pattern is not None and bool(pl.Series([""]).str.contains(pattern).item())


def _with_known(found: pl.DataFrame) -> pl.DataFrame:
    """The same with those conversions that follow from the units alone."""
    is_open = pl.col(FACTOR).is_null() & (pl.col(FROM) != pl.col(TO))
    asked = found.filter(is_open).select(FROM, TO).unique().rows()
    known = [(*pair, *linear) for pair in asked if (linear := units.conversion(*pair))]
    schema = {FROM: pl.String, TO: pl.String, _FACTOR: pl.Float64, _OFFSET: pl.Float64}
    table = pl.DataFrame(known, schema=schema, orient="row")
    joined = found.join(table, on=[FROM, TO], how="left", maintain_order="left")
    factor, offset = pl.coalesce(FACTOR, _FACTOR), pl.coalesce(OFFSET, _OFFSET)
    return joined.with_columns(factor.alias(FACTOR), offset.alias(OFFSET)).drop(_FACTOR, _OFFSET)
