"""Which findings are warnings, and which exceed a limit."""

import pytest
from omegaconf import OmegaConf

from MEDS_transforms.errors import InputError
from MEDS_transforms.mapreduce.limits import Finding, check_limits, limits_of, warnings_of

BAD_TIMES = Finding("times_not_parsed", "labs.lab", 0.02, "2 of 100 times")
NONE_MADE = [Finding("events_without_measurements", f"labs.{name}", 1, "none") for name in "ab"]


@pytest.mark.parametrize(
    ("findings", "warned"),
    [
        ([BAD_TIMES], True),
        ([Finding("times_not_parsed", "labs.lab", 0.01, "1 of 100")], False),
        ([Finding("values_lost", "labs.lab", 0.5, "half")], False),
        ([Finding("rows_dropped", "labs.lab", 0.5, "half")], False),
        ([Finding("no_numbers", "labs.lab", 1, "none", "numeric_value")], True),
        (NONE_MADE, True),
    ],
)
def test_what_is_worth_a_warning(findings, warned):
    assert warnings_of(findings) == (findings if warned else [])


@pytest.mark.parametrize(
    ("limits", "wrong"),
    [
        ({}, []),
        ({"times_not_parsed": 0.02, "events_without_measurements": 2}, []),
        ({"times_not_parsed": 0.019}, ["labs.lab: 2 of 100 times [limits.times_not_parsed: 0.019]"]),
        ({"times_not_parsed": 0.0}, ["labs.lab"]),
        ({"events_without_measurements": 1}, ["labs.a: none [limits.events_without_measurements: 1]", "labs.b: none"]),
        ({"one_code": 0, "values_lost": 0}, []),
    ],
)
def test_what_exceeds_a_limit(limits, wrong):
    findings = [BAD_TIMES, *NONE_MADE]
    if not wrong:
        check_limits(findings, limits)
        return
    with pytest.raises(InputError) as error:
        check_limits(findings, limits)
    for words in wrong:
        assert words in str(error.value)
    assert "raise the limit and run the same command again" in str(error.value)


@pytest.mark.parametrize("cfg", [{}, {"limits": None}, {"limits": {"one_code": 0, "day_month": None}}])
def test_the_limits_of_a_configuration(cfg):
    expected = {"one_code": 0.0} if cfg.get("limits") else {}
    assert limits_of(cfg) == limits_of(OmegaConf.create(cfg)) == expected
