"""Column expressions and matchers: what every form gives, and what is said about a malformed one."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import isnan

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from MEDS_transforms.parser import cfg_to_expr, is_col_field, is_matcher, matcher_to_expr, parse_col_field

FRAME = pl.DataFrame(
    {
        "i": [9, None, 10],
        "f": [9.0, 0.5, None],
        "b": [True, None, False],
        "s": ["9", "09", None],
        "t": ["120/80", "12", None],
        "n": [None, None, None],
        "a b": ["x", "y", "z"],
        "*": [1, 2, 3],
        "^i.*$": [4, 5, 6],
        "{s}": ["p", "q", "r"],
        "day": [date(2020, 1, 1), None, date(2021, 1, 1)],
        "cat": pl.Series(["u", None, "v"], dtype=pl.Categorical),
    }
)


def evaluate(cfg, frame=FRAME):
    """The expression's values, computed eagerly; computing them lazily must give the same."""
    expression = cfg_to_expr(cfg)[0].alias("result")
    eager = frame.with_columns(expression).get_column("result")
    for engine in ("in-memory", "streaming"):
        assert frame.lazy().with_columns(expression).collect(engine=engine).get_column("result").equals(eager)
    return eager.to_list()


def mask_of(matcher, frame):
    """Which rows match, checked to be what filters keep and what their negations leave."""
    expression, columns = matcher_to_expr(matcher)
    assert columns == set(matcher)
    mask = frame.with_columns(expression.alias("mask")).get_column("mask")
    assert mask.dtype == pl.Boolean
    assert mask.null_count() == 0
    rows = frame.with_row_index("row").lazy()
    kept, left = (rows.filter(e).collect().get_column("row").to_list() for e in (expression, ~expression))
    assert kept == mask.arg_true().to_list()
    assert left == (~mask).arg_true().to_list()
    return mask.to_list()


EXPRESSIONS = [
    ("i", [9, None, 10], {"i"}),
    ("a b", ["x", "y", "z"], {"a b"}),
    ("*", [1, 2, 3], {"*"}),
    ("^i.*$", [4, 5, 6], {"^i.*$"}),
    ("{*}{^i.*$}", ["14", "25", "36"], {"*", "^i.*$"}),
    ("{i}", ["9", None, "10"], {"i"}),
    ("ICD{i}CM/{s}!", ["ICD9CM/9!", None, None], {"i", "s"}),
    ("{i} {f} {b}", ["9 9.0 true", None, None], {"i", "f", "b"}),
    ("{a b}{a b}", ["xx", "yy", "zz"], {"a b"}),
    ("on {day}, {cat}", ["on 2020-01-01, u", None, "on 2021-01-01, v"], {"day", "cat"}),
    ("{i} { {} }", ["9 { {} }", None, "10 { {} }"], {"i"}),
    ("{{i}}", ["{9}", None, "{10}"], {"i"}),
    ({"col": "i"}, [9, None, 10], {"i"}),
    ({"col": "{s}"}, ["p", "q", "r"], {"{s}"}),
    ({"str": "i"}, ["i", "i", "i"], set()),
    ({"str": ""}, ["", "", ""], set()),
    ({"str": "no. {i}"}, ["no. 9", None, "no. 10"], {"i"}),
    ({"literal": "{i}"}, ["{i}"] * 3, set()),
    ({"literal": 1}, [1] * 3, set()),
    ({"literal": None}, [None] * 3, set()),
    ({"literal": [1, 2]}, [[1, 2]] * 3, set()),
    ({"literal": ["a"]}, [["a"]] * 3, set()),
    ({"literal": {"code": {"regex": "a"}}}, [{"code": {"regex": "a"}}] * 3, set()),
    ({"extract": {"from": "t", "regex": r"^(\d+)/(\d+)$"}}, ["120", None, None], {"t"}),
    ({"extract": {"from": "t", "regex": r"^(\d+)/(\d+)$", "group_index": 2}}, ["80", None, None], {"t"}),
    ({"extract": {"from": "t", "regex": r"\d", "group_index": 0}}, ["1", "1", None], {"t"}),
    ({"extract": {"from": "i", "regex": "(0|9)"}}, ["9", None, "0"], {"i"}),
    ({"extract": {"from": "f", "regex": r"(\..)"}}, [".0", ".5", None], {"f"}),
    ({"extract": {"from": "cat", "regex": "(u)"}}, ["u", None, None], {"cat"}),
    ({"extract": {"from": "{s}", "regex": "(p)"}}, ["p", None, None], {"{s}"}),
    ({"extract": {"from": ["s", "i"], "regex": "(1|9)"}}, ["9", "9", "1"], {"s", "i"}),
    ({"extract": {"from": {"str": "{i}-{s}"}, "regex": "(.)-"}}, ["9", None, None], {"s", "i"}),
    (["s"], ["9", "09", None], {"s"}),
    (["n", "f", "i"], [9.0, 0.5, 10.0], {"n", "f", "i"}),
    (["i", "s"], ["9", "09", "10"], {"i", "s"}),
    (["s", "f", {"literal": 1.5}], ["9", "09", "1.5"], {"s", "f"}),
    (["b", {"str": "?"}], ["true", "?", "false"], {"b"}),
    (["cat", "a b"], ["u", "y", "v"], {"cat", "a b"}),
    (
        ["f", {"extract": {"from": "t", "regex": r"(\d+)/"}}, {"literal": "-"}],
        ["9.0", "0.5", "-"],
        {"f", "t"},
    ),
    ({"output": "i", "matcher": {"s": "9"}}, [9, None, None], {"i", "s"}),
    ({"output": {"literal": "yes"}, "matcher": {"i": None}}, [None, "yes", None], {"i"}),
    ({"output": {"literal": "yes"}, "matcher": {}}, ["yes"] * 3, set()),
    ({"output": ["s", {"col": "a b"}], "matcher": {"b": False}}, [None, None, "z"], {"s", "a b", "b"}),
    (
        {"output": {"i": {"i": {"regex": "."}}}, "matcher": {"a b": {"regex": "[xy]"}}},
        [9, None, None],
        {"i", "a b"},
    ),
    ({"i": {}}, [9, None, 10], {"i"}),
    ({"i": {"s": "9", "b": True}}, [9, None, None], {"i", "s", "b"}),
    ({"no. {i}": {"f": {"regex": "9"}}}, ["no. 9", None, None], {"i", "f"}),
    (
        [{"ICD{i}CM/{s}": {"i": "9"}}, {"ICD10CM/{a b}": {"i": "10"}}],
        ["ICD9CM/9", None, "ICD10CM/z"],
        {"i", "s", "a b"},
    ),
]


@pytest.mark.parametrize(("cfg", "values", "columns"), EXPRESSIONS, ids=[str(e[0]) for e in EXPRESSIONS])
def test_every_form_gives_its_values_and_names_its_columns(cfg, values, columns):
    assert evaluate(cfg) == values
    assert cfg_to_expr(cfg)[1] == columns


@pytest.mark.parametrize("cfg", [e[0] for e in EXPRESSIONS if not isinstance(e[0], str)], ids=str)
def test_omegaconf_and_plain_values_give_the_same(cfg):
    configured = OmegaConf.create(cfg)
    assert evaluate(configured) == evaluate(cfg)
    assert cfg_to_expr(configured)[1] == cfg_to_expr(cfg)[1]
    inside = {"output": configured, "matcher": OmegaConf.create({})}
    assert evaluate(inside) == evaluate({"output": cfg, "matcher": {}})


def test_omegaconf_values_are_resolved_where_they_stand():
    cfg = OmegaConf.create({"version": "10", "stage": {"output": "s", "matcher": {"i": "${version}"}}})
    assert evaluate(cfg.stage) == [None, None, None]
    assert evaluate({"a b": {"i": cfg.version}}) == [None, None, "z"]
    with pytest.raises(ValueError, match="nowhere"):
        cfg_to_expr(OmegaConf.create(["s", "${nowhere}"]))
    assert is_matcher(OmegaConf.create({"i": "???"}))[0] is False


def test_expressions_work_on_scans(tmp_path):
    frame = FRAME.drop("n", "cat")
    frame.write_parquet(tmp_path / "[0-3).parquet")
    expression = cfg_to_expr([{"no. {i}": {"i": "9"}}, "s"])[0].alias("result")
    matches = matcher_to_expr({"a b": {"regex": "[xy]"}, "b": None})[0]
    scan = pl.scan_parquet(tmp_path / "[0-3).parquet", glob=False)
    assert scan.select(expression).collect().to_series().to_list() == ["no. 9", "09", None]
    assert scan.filter(matches).select("a b").collect().to_series().to_list() == ["y"]


MALFORMED = [
    (5, ["5", "text, a list, or a mapping"]),
    (None, ["None", "text, a list, or a mapping"]),
    ([], ["[]", "at least one"]),
    (["i", 5], ["at [1]", "found 5", "text or a mapping"]),
    ([["i"]], ["at [0]", "found ['i']", "text or a mapping"]),
    ({}, ["{}", "col, str, literal, extract", "0 keys"]),
    ({"col": "i", "str": "a"}, ["{'col': 'i', 'str': 'a'}", "one key", "2 keys"]),
    ({1: {}}, ["{1: {}}", "1 is not text"]),
    (
        {"nope": 3},
        ["{'nope': 3}", "col, str, literal, extract", "'nope' is not one of these keys, and 3 is not a matcher"],
    ),
    ({"litral": 3}, ["did you mean 'literal'?"]),
    ({"col": 5}, ["at col", "found 5", "name of a column"]),
    ({"col": {"i": {}}}, ["at col", "{'i': {}}", "name of a column"]),
    ({"str": None}, ["at str", "None", "text"]),
    ({"literal": [1, "a"]}, ["at literal", "[1, 'a']", "of one type"]),
    ({"output": "i"}, ["{'output': 'i'}", "`output` and `matcher` together"]),
    ({"output": "i", "matcher": {}, "x": 1}, ["'x': 1", "`output` and `matcher` together"]),
    ({"output": 5, "matcher": {}}, ["at output", "found 5"]),
    ({"output": "i", "matcher": ["i"]}, ["Matcher at matcher", "['i']", "a mapping from columns"]),
    ({"i": {"s": {"regexp": "a"}}}, ["at i.s", "{'regexp': 'a'}", "`regex`"]),
    ({"extract": "t"}, ["at extract", "'t'", "`from`", "`regex`"]),
    ({"extract": {"regex": "a"}}, ["at extract", "{'regex': 'a'}", "missing: from"]),
    ({"extract": {"from": "t"}}, ["at extract", "{'from': 't'}", "missing: regex"]),
    (
        {"extract": {"from": "t", "regex": "(a)", "group": 1}},
        ["at extract", "unknown: group", "'group_index'"],
    ),
    ({"extract": {"from": ["t", 5], "regex": "(a)"}}, ["at extract.from[1]", "found 5", "text or a mapping"]),
    ({"extract": {"from": 5, "regex": "(a)"}}, ["at extract.from", "found 5", "text, a list, or a mapping"]),
    ({"extract": {"from": "t", "regex": 5}}, ["at extract.regex", "found 5", "regular expression"]),
    ({"extract": {"from": "t", "regex": "("}}, ["at extract.regex", "'('", "unclosed group"]),
    *(
        ({"extract": {"from": "t", "regex": "(a)", "group_index": index}}, ["at extract.group_index", text])
        for index, text in [
            ("1", "found '1'; allowed: a non-negative integer"),
            (-1, "found -1; allowed: a non-negative integer"),
            (True, "found True; allowed: a non-negative integer"),
            (1.0, "found 1.0; allowed: a non-negative integer"),
            (None, "found None; allowed: a non-negative integer"),
            (2, "found 2; allowed: 0 (the whole match) to 1"),
        ]
    ),
    ({"extract": {"from": "t", "regex": "a"}}, ["at extract.group_index", "found 1;", "0 capture groups"]),
    (
        ["i", {"output": [{"literal": 1}, {"col": []}], "matcher": {}}],
        ["at [1].output[1].col", "[]"],
    ),
    (["i", {"a {b}": {"c d": {"regex": "(?=a)"}}}], ["at [1]['a {b}']['c d'].regex", "look-around"]),
]


@pytest.mark.parametrize(("cfg", "fragments"), MALFORMED, ids=[str(m[0]) for m in MALFORMED])
def test_malformed_expressions_are_quoted_with_place_and_remedy(cfg, fragments):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is looked at below
        cfg_to_expr(cfg)
    for fragment in fragments:
        assert fragment in str(error.value)


MALFORMED_MATCHERS = [
    (None, ["found None", "a mapping from columns to values"]),
    ("code", ["found 'code'", "a mapping from columns to values"]),
    ([], ["found []", "a mapping from columns to values"]),
    ({1: 2}, ["{1: 2}", "1 is not text"]),
    ({"a": {}}, ["at a:", "found {}", "`regex`"]),
    ({"a": {"regex": "x", "y": 1}}, ["at a:", "{'regex': 'x', 'y': 1}", "`regex`"]),
    ({"a": {"regex": 1}}, ["at a.regex", "found 1"]),
    ({"a": {"regex": "[z-a]"}}, ["at a.regex", "'[z-a]'", "invalid character class range"]),
    ({"a": {"regex": r"(a)\1"}}, ["at a.regex", "backreferences are not supported"]),
    ({"a": ["x", "y"]}, ["at a:", "['x', 'y']", "for several: {regex:"]),
    ({"a": 1, "b": timedelta(1)}, ["at b:", "timedelta", "one text, number, boolean, date or null"]),
]


@pytest.mark.parametrize(("cfg", "fragments"), MALFORMED_MATCHERS, ids=[str(m[0]) for m in MALFORMED_MATCHERS])
def test_malformed_matchers_are_quoted_with_place_and_remedy(cfg, fragments):
    ok, why = is_matcher(cfg)
    assert ok is False
    for fragment in fragments:
        assert fragment in why
    with pytest.raises(ValueError, match=re.escape(why)):
        matcher_to_expr(cfg)


@pytest.mark.parametrize(
    "cfg", [{}, {"a": "x"}, {"a": None, "b": 1.5, "c": True}, {"a": {"regex": "^x"}}, {"a": date(2020, 1, 1)}]
)
def test_what_is_a_matcher_is_said_to_be_one(cfg):
    assert is_matcher(cfg) == (True, None)
    assert is_matcher(OmegaConf.create({k: v for k, v in cfg.items() if not isinstance(v, date)}))[0]


BIG = 2**53

ONE_COLUMN = [
    (pl.String, ["9", "09", "9.0", None], "9", [0]),
    (pl.String, ["9", "09", "9.0", None], 9, [0]),
    (pl.String, ["9", "09", "9.0", None], 9.0, [2]),
    (pl.String, ["true", "True", "1"], True, [0]),
    (pl.String, ["2020-01-01", "2020-01-01 00:00:00"], date(2020, 1, 1), [0]),
    (pl.String, ["2020-01-01", "2020-01-01 00:00:00"], datetime(2020, 1, 1), [1]),
    (pl.String, ["", " ", None], "", [0]),
    (pl.Categorical, ["9", "x", None], 9, [0]),
    (pl.Enum(["9", "x"]), ["9", "x", None], "x", [1]),
    (pl.Enum(["9", "x"]), ["9", "x", None], "absent", []),
    (pl.Int64, [9, 10, None], "9", [0]),
    (pl.Int64, [9, 10, None], "09", [0]),
    (pl.Int64, [9, 10, None], "9.0", [0]),
    (pl.Int64, [9, 10, None], 9.0, [0]),
    (pl.Int64, [9, 10, None], "9.5", []),
    (pl.Int64, [9, 10, None], "nine", []),
    (pl.Int64, [9, 10, None], "", []),
    (pl.Int64, [9, 10, None], " 9", []),
    (pl.Int64, [1, 0, None], True, []),
    (pl.Int64, [BIG, BIG + 1], str(BIG + 1), [1]),
    (pl.Int64, [BIG, BIG + 1], BIG, [0]),
    (pl.Int64, [2**63 - 1], 2**63, []),
    (pl.Int64, [2**63 - 1], "9e999", []),
    (pl.Int64, [-(2**63), 0], -(2**63), [0]),
    (pl.Int8, [1, 44, None], 300, []),
    (pl.UInt64, [2**64 - 1, 2**64 - 2], 2**64 - 1, [0]),
    (pl.UInt64, [0, 1], -1, []),
    (pl.UInt8, [0, 44], 300, []),
    (pl.Int128, [2**100, 5], 5, [1]),
    (pl.Float64, [9.0, 0.1, None], "9", [0]),
    (pl.Float64, [9.0, 0.1, None], "1e-1", [1]),
    (pl.Float64, [9.0, float("inf")], "1e400", []),
    (pl.Float64, [float("nan"), 1.0, None], float("nan"), [0]),
    (pl.Float64, [float("inf"), 1.0, float("-inf")], "-inf", [2]),
    (pl.Float32, [0.1, 0.2, None], "0.1", [0]),
    (pl.Float32, [0.1, 0.2, None], 0.2, [1]),
    (pl.Float32, [float("inf"), 1.0], 1e300, []),
    (pl.Float32, [float("inf"), 1.0], "inf", [0]),
    (pl.Decimal(10, 2), [Decimal("1.50"), Decimal("100.00"), Decimal("-0.25"), None], "1.5", [0]),
    (pl.Decimal(10, 2), [Decimal("1.50"), Decimal("100.00"), Decimal("-0.25"), None], 100, [1]),
    (pl.Decimal(10, 2), [Decimal("1.50"), Decimal("100.00"), Decimal("-0.25"), None], -0.25, [2]),
    (pl.Decimal(10, 2), [Decimal("1.50"), Decimal("100.00"), Decimal("-0.25"), None], "1.501", []),
    (pl.Decimal(38, 0), [Decimal(10**37), Decimal(0)], "1e37", [0]),
    (pl.Boolean, [True, False, None], True, [0]),
    (pl.Boolean, [True, False, None], "False", [1]),
    (pl.Boolean, [True, False, None], 1, []),
    (pl.Boolean, [True, False, None], "yes", []),
    (pl.Date, [date(2020, 1, 1), None], "2020-01-01", [0]),
    (pl.Date, [date(2020, 1, 1), None], date(2020, 1, 1), [0]),
    (pl.Date, [date(2020, 1, 1), None], 20200101, []),
    (pl.Date, [date(2020, 1, 1), None], "1 January", []),
    (pl.Datetime("us"), [datetime(2020, 1, 1), datetime(2020, 1, 1, 10, 5), None], "2020-01-01", [0]),
    (pl.Datetime("us"), [datetime(2020, 1, 1), datetime(2020, 1, 1, 10, 5), None], "2020-01-01 10:05", [1]),
    (pl.Datetime("us"), [datetime(2020, 1, 1), datetime(2020, 1, 1, 10, 5)], "2020-01-01T10:05:00", [1]),
    (pl.Datetime("us"), [datetime(2020, 1, 1)], "2020-01-01 00:00:00+00:00", []),
    (pl.Datetime("ns"), [datetime(2020, 1, 1), None], datetime(2020, 1, 1), [0]),
    (pl.Datetime("ns"), [datetime(2020, 1, 1), None], "9999-12-31", []),
    (pl.Datetime("ms"), [datetime(2020, 1, 1), None], datetime(2020, 1, 1, 0, 0, 0, 1), []),
    (pl.Datetime("us", "UTC"), [datetime(2020, 1, 1, tzinfo=UTC), None], "2020-01-01", [0]),
    (pl.Datetime("us", "UTC"), [datetime(2020, 1, 1, tzinfo=UTC)], "2020-01-01 01:00+01:00", [0]),
    (pl.Datetime("us", "UTC"), [datetime(2020, 1, 1, tzinfo=UTC)], "0001-01-01 00:00+05:00", []),
    (pl.Time, [time(10, 5), None], "10:05", [0]),
    (pl.Time, [time(10, 0), None], "10", []),
    (pl.Duration, [timedelta(days=1), None], "1 day", []),
    (pl.List(pl.String), [["9"], None], "9", []),
    (pl.Struct({"x": pl.Int64}), [{"x": 9}], 9, []),
    (pl.Binary, [b"9", None], "9", []),
    (pl.Null, [None, None], "9", []),
    (pl.String, ["9", None], None, [1]),
    (pl.Float64, [float("nan"), None], None, [1]),
    (pl.List(pl.String), [["9"], None], None, [1]),
    (pl.Null, [None, None], None, [0, 1]),
    (pl.String, ["LAB//1", "XLAB//", "lab", None], {"regex": "^LAB//"}, [0]),
    (pl.String, ["a", "", None], {"regex": ""}, [0, 1]),
    (pl.Categorical, ["LAB", "x", None], {"regex": "AB"}, [0]),
    (pl.Int64, [19, 90, 1, None], {"regex": "9$"}, [0]),
    (pl.Float64, [9.0, 0.5, None], {"regex": r"\.0$"}, [0]),
    (pl.Boolean, [True, False, None], {"regex": "^t"}, [0]),
    (pl.Date, [date(2020, 1, 1), date(2021, 1, 1), None], {"regex": "^2020"}, [0]),
    (pl.Null, [None, None], {"regex": ""}, []),
]


@pytest.mark.parametrize(("dtype", "values", "wanted", "rows"), ONE_COLUMN, ids=str)
def test_values_compare_in_the_type_of_the_column(dtype, values, wanted, rows):
    mask = mask_of({"x": wanted}, pl.DataFrame({"x": pl.Series(values, dtype=dtype)}))
    assert [row for row, matches in enumerate(mask) if matches] == rows


def test_all_conditions_hold_at_once_and_none_match_every_row():
    assert mask_of({}, FRAME) == [True, True, True]
    assert mask_of({"i": None, "b": None, "s": {"regex": "9"}}, FRAME) == [False, True, False]
    assert mask_of({"*": "1", "^i.*$": 4, "a b": {"regex": "x"}}, FRAME) == [True, False, False]


def test_a_missing_column_is_an_error_whatever_the_value():
    for wanted in ("x", 1, None, {"regex": "x"}):
        with pytest.raises(pl.exceptions.ColumnNotFoundError, match="absent"):
            FRAME.filter(matcher_to_expr({"absent": wanted})[0])


NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def text_of(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def equals(cell, text):
    """The rule in plain Python: does the cell hold what the text says?"""
    if isinstance(cell, bool):
        return text.lower() == text_of(cell)
    if isinstance(cell, float) and text.lower() == "nan":
        return isnan(cell)
    if isinstance(cell, int):
        return bool(NUMBER.fullmatch(text)) and Fraction(text) == cell
    if isinstance(cell, float):
        return bool(NUMBER.fullmatch(text)) and float(text) == cell
    if isinstance(cell, datetime):
        return text.replace("T", " ") in (str(cell), str(cell.date()) if cell.time() == time() else None)
    return text == str(cell)


def matches(cell, wanted):
    if wanted is None or cell is None:
        return wanted is None and cell is None
    if isinstance(wanted, dict):
        return re.search(wanted["regex"], text_of(cell)) is not None
    return equals(cell, text_of(wanted))


INTEGERS = [-1, 0, 1, 9, 10, BIG, BIG + 1, 2**63 - 1]
FLOATS = [-1.0, 0.0, 0.5, 9.0, 10.0, float(BIG)]
DAYS = [date(2020, 1, 1), date(1900, 2, 28)]
TEXTS = [
    *["", " ", "9", "09", "+9", " 9", "9 ", "9.0", "9.5", ".5", "1e1", "1E1", "1_0", "1/2", "x", "nan"],
    *["true", "True", "FALSE", "yes", "1", "0", "-1", "-0", "2020-01-01", "2020-01-01 00:00:00"],
    *["2020-01-01T00:00:00", "1900-02-28 10:05:00", str(BIG), str(BIG + 1), str(2**63), "٩"],
]
CELLS = {
    "integer": (pl.Int64, INTEGERS),
    "float": (pl.Float64, [*FLOATS, float("nan")]),
    "boolean": (pl.Boolean, [True, False]),
    "text": (pl.String, TEXTS),
    "category": (pl.Categorical, TEXTS),
    "day": (pl.Date, DAYS),
    "time": (pl.Datetime("us"), [datetime(2020, 1, 1), datetime(1900, 2, 28, 10, 5)]),
}
WANTED = st.sampled_from([None, True, False, *INTEGERS, *FLOATS[:-1], *TEXTS])
# Floats have their own text in polars, so that the model has patterns for the other columns only.
PATTERN = st.sampled_from(["", "9", "^0", "0$", "^tr", "^[0-9]+$", "-01-", "x|T", r"\."]).map(
    lambda pattern: {"regex": pattern}
)


@st.composite
def frames(draw):
    height = draw(st.integers(0, 6))
    columns = {}
    for name, (dtype, values) in CELLS.items():
        cells = st.lists(st.none() | st.sampled_from(values), min_size=height, max_size=height)
        columns[name] = pl.Series(draw(cells), dtype=dtype)
    return pl.DataFrame(columns)


@st.composite
def matchers(draw):
    columns = draw(st.lists(st.sampled_from([*CELLS]), unique=True, max_size=3))
    without_text = ("float", "time")
    return {c: draw(WANTED if c in without_text else WANTED | PATTERN) for c in columns}


@settings(max_examples=150)
@given(frames(), matchers())
def test_matchers_agree_with_plain_python(frame, matcher):
    expected = [all(matches(row[c], wanted) for c, wanted in matcher.items()) for row in frame.to_dicts()]
    assert mask_of(matcher, frame) == expected


@settings(max_examples=50)
@given(frames(), matchers())
def test_conditional_expressions_are_null_exactly_where_nothing_matches(frame, matcher):
    mask = mask_of(matcher, frame)
    cfg = {"output": {"literal": "here"}, "matcher": matcher}
    assert evaluate(cfg, frame) == ["here" if matched else None for matched in mask]


@pytest.mark.parametrize(
    ("text", "name"),
    [("col(a)", "a"), ("col( a )", " a "), ("col()", ""), ("col((a))", "(a)"), ("col(a)b)", "a)b")],
)
def test_col_syntax_gives_the_name_as_it_is(text, name):
    assert is_col_field(text)
    assert parse_col_field(text) == name


@pytest.mark.parametrize("text", ["a", "", " col(a)", "col(a) ", "col(a", "COL(a)", "col", None, 5])
def test_anything_else_names_no_column(text):
    assert not is_col_field(text)
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_col_field(text)
