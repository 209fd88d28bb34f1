"""How the units that hospitals write relate to each other, by the package pint."""

import math
import re
from functools import cache, reduce
from importlib.util import find_spec
from operator import truediv
from typing import Any, NamedTuple

from ..errors import MissingPackagesError

_DEFINITIONS = (
    "equivalent = [chemical_equivalents] = Eq = eq",
    "international_unit = [international_units] = IU",
    "osmole = [osmoles] = Osm = osm",
)
"""Units of laboratories that pint does not know. Each relates to its multiples alone: how many mmol a mEq is depends on
the substance, and how many mg an IU."""

_PREFIXES = ("", "femto", "pico", "nano", "micro", "milli", "centi", "deci", "kilo")
"""What may stand before a unit. NOTE: others are mistaken for it: in hospitals MG and ML mean mg and mL."""

_SPELLINGS = {
    "gm": "g",
    "gms": "g",
    "GM": "g",
    "MG": "mg",
    "MCG": "mcg",
    "KG": "kg",
    "Kg": "kg",
    "kgs": "kg",
    "ML": "mL",
    "DL": "dL",
    "CM": "cm",
    "Inch": "inch",
    "MEQ": "mEq",
    "MMOL": "mmol",
    "hrs": "hr",
    "mins": "min",
    "secs": "sec",
    "mm Hg": "mmHg",
    "cm H2O": "cmH2O",
    "cumm": "mm3",
    "cu mm": "mm3",
    "[lb_av]": "lb",
    "[oz_av]": "oz",
    "[in_i]": "inch",
}
_IN_BRACKETS = re.compile(r"\[(IU|Hg|H2O)\]")
"""Parts of units in UCUM, the code system of units."""

_NAME = re.compile(r"(cmH2O|[^\W\d_]+|%)(?:\^?([23]))?")
_DEGREES = re.compile(r"\[?(?:°|º|deg(?:ree)?s?\.?)?\s*(?:(F(?:ahrenheit)?)|C(?:el(?:sius)?)?)\]?", re.IGNORECASE)
_VOLUME = re.compile(r"[mµμud]?c?L|mm\^?3|cumm|cu mm", re.IGNORECASE)
_POWER = re.compile(r"(?:x\s*)?10\s*(?:\*\*|[*^eE])\s*(\d\d?)")
_NUMBERS = {
    **dict.fromkeys(("", "#", "cells", "cell", "{cells}"), 0),
    **dict.fromkeys(("K", "k", "th", "thou", "thousand"), 3),
    **dict.fromkeys(("M", "m", "mil", "million"), 6),
}
"""The powers of ten by which cells are counted in a volume: K/uL, #/uL, m/uL. NOTE: K is kelvin, and m a metre,
elsewhere, and 10e3 is 10^3 in hospitals."""


class Linear(NamedTuple):
    """A conversion: value * factor + offset."""

    factor: float
    offset: float = 0.0


class _Unit(NamedTuple):
    scale: float
    of: Any


def check_packages() -> None:
    """Raises an ImportError that says how to install pint, where it is missing."""
    if find_spec("pint") is None:
        raise MissingPackagesError(
            "How units relate is known to the package pint, which is not installed. Install it with\n"
            "    pip install 'MEDS_transforms[units]'\n"
            "or give each conversion its factor, in conversions, and leave target_units out."
        )


@cache
def conversion(source: str, target: str) -> Linear | None:
    """How values in a unit become values in another; None where that is not known, or is no matter of units alone.

    Args:
        source: a unit as hospitals write it.
        target: another.

    >>> conversion("mg/L", "mg/dL")
    Linear(factor=0.1, offset=0.0)
    >>> conversion("mg/dL", "mmol/L") is None  # without the substance
    True
    """
    given, wanted = _read(source), _read(target)
    if given is None or wanted is None:
        return None
    import pint

    def converted(value: float) -> float:
        quantity = _registry().Quantity(value * given.scale, given.of)
        return float(quantity.to(wanted.of).magnitude) / wanted.scale

    try:
        zero, one, two = map(converted, (0.0, 1.0, 2.0))
    except (pint.DimensionalityError, pint.OffsetUnitCalculusError):
        return None
    factor = one - zero
    return Linear(factor, zero) if math.isclose(two - one, factor) else None


def _read(text: str) -> _Unit | None:
    """The unit that a text means; None where that is not evident."""
    registry = _registry()
    if degrees := _DEGREES.fullmatch(text.strip()):
        return _Unit(1.0, registry.Unit("degF" if degrees[1] else "degC"))
    above, *below = (part.strip() for part in _IN_BRACKETS.sub(r"\1", text).split("/"))
    power = _power(above) if len(below) == 1 and _VOLUME.fullmatch(below[0]) else None
    parts = [registry.Unit("") if power is not None else _part(above), *map(_part, below)]
    known = [part for part in parts if part is not None]
    return _Unit(10.0 ** (power or 0), reduce(truediv, known)) if len(known) == len(parts) else None


def _power(number: str) -> int | None:
    power = _POWER.fullmatch(number)
    return int(power[1]) if power else _NUMBERS.get(number)


def _part(text: str) -> Any:
    """What stands above or below a slash."""
    name = _NAME.fullmatch(_SPELLINGS.get(text, text))
    if not name:
        return None
    # The first of several readings is the one that pint takes.
    for prefix, unit, _ in _registry().parse_unit_name(name[1])[:1]:
        if prefix in _PREFIXES:
            return _registry().Unit(prefix + unit) ** int(name[2] or 1)
    return None


@cache
def _registry() -> Any:
    """NOTE: imported when needed, since pint takes a third of a second to read its definitions."""
    import pint

    registry: Any = pint.UnitRegistry()
    for definition in _DEFINITIONS:
        registry.define(definition)
    return registry
