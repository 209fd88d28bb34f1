"""Expressions that calculate."""

from datetime import date, datetime

import polars as pl
import pytest

from MEDS_transforms.parser import cfg_to_expr

DF = pl.DataFrame(
    {
        "a": [1, 2, None],
        "f": [0.5, 4.0, 1.0],
        "s": ["10", " x", None],
        "bp": ["120/80", "95/60", "n.a."],
        "y": [2020, 2021, 2021],
        "m": ["2", "13", None],
        "t": ["2020-01-31", "31.01.2020 12", "?"],
        "when": [datetime(2020, 1, 1), None, datetime(2021, 1, 1)],
        "on": [date(2020, 1, 1), date(2021, 2, 28), None],
        "flag": ["Yes", "0", "maybe"],
        "large": [str(2**53 + 1), "10.5", "1e400"],
    }
)
SYSTOLIC = {"extract": {"from": "bp", "regex": r"(\d+)/"}}


def values(cfg):
    return DF.select(cfg_to_expr(cfg)[0].alias("found"))["found"].to_list()


@pytest.mark.parametrize(
    ("cfg", "expected", "columns"),
    [
        ({"cast": {"from": "s", "to": "int"}}, [10, None, None], {"s"}),
        ({"cast": {"from": "f", "to": "int"}}, [0, 4, 1], {"f"}),
        ({"cast": {"from": "a", "to": "str"}}, ["1", "2", None], {"a"}),
        ({"cast": {"from": "flag", "to": "bool"}}, [True, False, None], {"flag"}),
        ({"cast": {"from": SYSTOLIC, "to": "float"}}, [120.0, 95.0, None], {"bp"}),
        ({"cast": {"from": "large", "to": "int"}}, [2**53 + 1, 10, None], {"large"}),
        ({"cast": {"from": "large", "to": "float"}}, [float(2**53), 10.5, None], {"large"}),
        ({"cast": {"from": "f", "to": "bool"}}, [None, None, True], {"f"}),
        ({"add": ["a", "f", 1]}, [2.5, 7.0, None], {"a", "f"}),
        ({"subtract": ["f", "a"]}, [-0.5, 2.0, None], {"a", "f"}),
        ({"multiply": ["s", 2]}, [20.0, None, None], {"s"}),
        ({"divide": ["a", 2]}, [0.5, 1.0, None], {"a"}),
        ({"divide": [{"subtract": ["f", 32]}, 2]}, [-15.75, -14.0, -15.5], {"f"}),
        ({"substring": {"from": "bp", "start": 0, "length": 2}}, ["12", "95", "n."], {"bp"}),
        ({"substring": {"from": "bp", "start": -2}}, ["80", "60", "a."], {"bp"}),
        ({"date": {"year": "y"}}, [datetime(y, 1, 1) for y in (2020, 2021, 2021)], {"y"}),
        ({"date": {"year": "y", "month": "m", "day": 3, "hour": 4}}, [datetime(2020, 2, 3, 4), None, None], {"y", "m"}),
        (
            {"time": {"from": "t", "format": ["%Y-%m-%d", "%d.%m.%Y %H"]}},
            [datetime(2020, 1, 31), datetime(2020, 1, 31, 12), None],
            {"t"},
        ),
        (
            {"add": ["when", {"duration": {"days": "a", "hours": 1}}]},
            [datetime(2020, 1, 2, 1), None, None],
            {"when", "a"},
        ),
        (
            {"add": [{"time": {"from": "t", "format": "%Y-%m-%d"}}, {"duration": {"minutes": "f"}}]},
            [datetime(2020, 1, 31, 0, 0, 30), None, None],
            {"t", "f"},
        ),
        (
            {"add": ["on", {"duration": {"hours": 23}}]},
            [datetime(2020, 1, 1, 23), datetime(2021, 2, 28, 23), None],
            {"on"},
        ),
        (["s", {"str": "{bp}!"}], ["10", " x", "n.a.!"], {"s", "bp"}),
    ],
)
def test_values(cfg, expected, columns):
    assert values(cfg) == expected
    assert cfg_to_expr(cfg)[1] == columns


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"cast": {"from": "a"}}, r"cast.*missing: to"),
        ({"cast": {"from": "a", "to": "integer"}}, r"cast\.to: found 'integer'.*did you mean"),
        ({"add": ["a"]}, r"add: found \['a'\].*at least two"),
        ({"add": ["a", None]}, r"add\[1\]: found None"),
        ({"substring": {"from": "a", "start": "0"}}, r"substring\.start: found '0'.*whole number"),
        ({"substring": {"from": "a", "start": 0, "length": -1}}, r"substring\.length"),
        ({"date": {"month": "m"}}, r"date.*missing: year"),
        ({"date": {"year": "y", "moth": 1}}, r"unknown: moth.*did you mean .*month"),
        ({"time": {"from": "t", "format": "Y"}}, r"time\.format.*such as"),
        ({"time": {"from": "t", "format": "%Y %Z"}}, r"without %Z"),
        ({"time": {"from": "t", "format": "%Q"}}, r"unknown directives"),
        ({"time": {"from": "t", "format": ["%Y", "%Y%z"]}}, r"all have an offset"),
        ({"duration": {}}, r"at least one of weeks"),
        ({"duration": {"month": 1}}, r"unknown: month"),
    ],
)
def test_what_cannot_be_is_said_with_its_place(cfg, said):
    with pytest.raises(ValueError, match=said):
        cfg_to_expr(cfg)
