"""How units relate, as hospitals write them."""

import sys

import pytest

from MEDS_transforms.dataset import units
from MEDS_transforms.dataset.units import conversion


@pytest.mark.parametrize(
    ("source", "target", "value", "becomes"),
    [
        ("mg/L", "mg/dL", 12.0, 1.2),
        ("mg/dl", "mg/dL", 7.0, 7.0),
        ("ug/dL", "ng/mL", 3.0, 30.0),
        ("µmol/L", "mmol/L", 88.0, 0.088),  # the micro sign
        ("μmol/L", "mmol/L", 88.0, 0.088),  # the Greek letter
        ("mcg/kg/min", "mg/kg/hr", 5.0, 0.3),
        ("mEq/L", "Eq/L", 140.0, 0.14),
        ("mIU/mL", "IU/L", 2.5, 2.5),
        ("u[IU]/mL", "m[IU]/L", 2.5, 2.5),
        ("mOsm/kg", "Osm/kg", 290.0, 0.29),
        ("mg/g", "%", 30.0, 3.0),
        ("K/uL", "10^9/L", 4.5, 4.5),
        ("10e3/uL", "#/uL", 4.5, 4500.0),
        ("x10^9/L", "thou/mm3", 4.5, 4.5),
        ("10*12/L", "m/uL", 4.5, 4.5),
        ("/uL", "K/uL", 4500.0, 4.5),
        ("°F", "°C", 98.6, 37.0),
        ("Deg. F", "Deg. C", 98.6, 37.0),
        ("[degF]", "Cel", 98.6, 37.0),
        ("C", "F", 37.0, 98.6),
        ("°C", "K", 37.0, 310.15),
        ("lbs", "kg", 100.0, 45.359237),
        ("[lb_av]", "kg", 100.0, 45.359237),
        ("in", "cm", 10.0, 25.4),
        ("Inch", "cm", 10.0, 25.4),
        ("kg/m2", "g/cm^2", 25.0, 2.5),
        ("mm Hg", "kPa", 100.0, 13.3322387415),
        ("mm[Hg]", "cmH2O", 10.0, 13.5951),
        ("MG", "g", 500.0, 0.5),
        ("ML", "L", 500.0, 0.5),
        (" hrs ", "min", 2.0, 120.0),
    ],
)
def test_units_that_relate(source, target, value, becomes):
    found = conversion(source, target)
    assert found is not None
    assert value * found.factor + found.offset == pytest.approx(becomes, rel=1e-5)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("mg/dL", "mmol/L"),  # depends on the substance
        ("mEq/L", "mmol/L"),
        ("IU/L", "mg/L"),
        ("U/L", "IU/L"),
        ("g/dL", "%"),
        ("m/uL", "m"),
        ("mg", "mL"),
        ("Mg", "g"),  # magnesium, or milligrams, rather than a million grams
        ("degC/min", "degF/min"),
        ("mg/24hr", "mg/day"),
        ("mL/min/1.73 m2", "mL/min"),
        ("ng/mL FEU", "ng/mL"),
        ("log10 IU/mL", "IU/mL"),
        ("#/hpf", "/hpf"),
        ("UNK", "mg"),
        ("", "mg"),
        (" ", "%"),
        ("dBm", "mW"),
        ("mg", "__import__('os')"),
    ],
)
def test_units_that_do_not(source, target):
    assert conversion(source, target) is None


def test_there_and_back():
    there, back = conversion("°F", "°C"), conversion("°C", "°F")
    assert there is not None
    assert back is not None
    assert (101.3 * there.factor + there.offset) * back.factor + back.offset == pytest.approx(101.3, rel=1e-12)


def test_without_pint(monkeypatch):
    monkeypatch.setitem(sys.modules, "pint", None)  # so that what is there comes back
    monkeypatch.delitem(sys.modules, "pint")
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ImportError, match=r"pip install 'MEDS_transforms\[units\]'"):
        units.check_packages()
