"""Which values become which, in which unit, and what is counted."""

import json
import logging
import math
import sys
from datetime import datetime
from importlib import import_module

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import Preprocessing, measurements
from MEDS_transforms.errors import MissingColumnError, MissingPackagesError
from MEDS_transforms.mapreduce.flow import Flow
from MEDS_transforms.transforms.standardize_units import standardize_units_fntr

T = datetime(2020, 1, 1)
NAN, INF = math.nan, math.inf
DEFAULTS = {"unit_column": "unit", "unconverted": "keep"}
GLUCOSE = {"code": "GLUCOSE", "from": "mg/dL", "to": "mmol/L", "factor": 0.0555}
TO_KG = {"from": "lb", "to": "kg", "factor": 0.45359237}


def standardize(df, metadata=None, modifiers=None, **block):
    return standardize_units_fntr({**DEFAULTS, **block}, modifiers, metadata)(df.lazy()).lazy().collect()


def rows(*rows):
    """Measurements, from rows of code, value and unit."""
    units = pl.Series([unit for *_, unit in rows], dtype=pl.String)
    return measurements(*((1, T, code, value) for code, value, _ in rows), unit=units)


def found(df, **more):
    got = standardize(df, **more)
    assert got.schema["numeric_value"] == pl.Float32
    assert got.columns == df.columns
    return got.select("code", "numeric_value", "unit").rows()


def f32(value):
    return float(np.float32(value))


def test_values_of_a_code_get_one_unit():
    df = rows(("GLUCOSE", 100, "mg/dL"), ("GLUCOSE", 5.1, "mmol/L"), ("SODIUM", 140, "mg/dL"))
    assert found(df, conversions=[GLUCOSE]) == [
        ("GLUCOSE", f32(5.55), "mmol/L"), ("GLUCOSE", f32(5.1), "mmol/L"), ("SODIUM", 140, "mg/dL")
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "becomes"), [(98.6, 37.0), (NAN, NAN), (INF, INF), (3e38, f32(3e38 * 5 / 9))])
def test_values_are_multiplied_then_shifted_in_64_bits(value, becomes):
    fahrenheit = {"code": "T", "from": "F", "to": "C", "factor": 5 / 9, "offset": -160 / 9}
    [(_, got, unit)] = found(rows(("T", value, "F")), conversions=[fahrenheit])
    assert unit == "C"
    assert got == pytest.approx(becomes, rel=1e-7, nan_ok=True)


def test_a_conversion_without_factor_and_offset_joins_spellings():
    assert found(rows(("A", 1.5, "mEq/L")), conversions=[{"code": "A", "from": "mEq/L", "to": "mmol/L"}]) == [
        ("A", 1.5, "mmol/L")
    ]


@pytest.mark.parametrize("entry", [TO_KG, {**TO_KG, "code": {"regex": ".*"}}])
def test_a_conversion_for_all_codes_says_nothing_of_other_units(entry):
    df = rows(("WEIGHT", 100, "lb"), ("WEIGHT", 50, "kg"), ("HEIGHT", 180, "cm"), ("GLUCOSE", 2, "lb"))
    assert found(df, conversions=[entry, GLUCOSE]) == [
        ("WEIGHT", f32(45.359237), "kg"), ("WEIGHT", 50, "kg"), ("HEIGHT", 180, "cm"), ("GLUCOSE", 2, "lb")
    ]  # fmt: skip


def test_the_target_decides_between_conversions():
    both = [TO_KG, {"from": "kg", "to": "lb", "factor": 2.0}, {"from": "lb", "to": "oz", "factor": 16}]
    targets = [{"code": "A", "unit": "lb"}, {"code": {"regex": "^[AB]$"}, "unit": "oz"}]
    df = rows(("A", 1, "kg"), ("A", 1, "lb"), ("B", 1, "lb"), ("C", 1, "kg"))
    assert found(df, conversions=both, target_units=targets) == [
        ("A", 2, "lb"), ("A", 1, "lb"), ("B", 16, "oz"), ("C", 2, "lb")
    ]  # fmt: skip


def test_common_units_need_no_factor_where_a_target_is_given():
    df = rows(("T", 98.6, "Deg. F"), ("T", 37.5, "°C"), ("A", 12, "mg/L"), ("A", 1, "mmol/L"), ("B", 12, "mg/L"))
    targets = [{"code": "T", "unit": "°C"}, {"code": "A", "unit": "mg/dL"}]
    assert found(df, target_units=targets) == [
        ("T", 37.0, "°C"), ("T", 37.5, "°C"), ("A", f32(1.2), "mg/dL"), ("A", 1, "mmol/L"), ("B", 12, "mg/L")
    ]  # fmt: skip


def test_conversions_of_the_settings_go_before_what_is_known():
    odd = {"code": "A", "from": "mg/L", "to": "mg/dL", "factor": 7}
    assert found(rows(("A", 1, "mg/L")), conversions=[odd], target_units=[{"code": "A", "unit": "mg/dL"}]) == [
        ("A", 7, "mg/dL")
    ]


@pytest.mark.parametrize(
    ("value", "unit"), [(None, "mg/dL"), (3.3, None), (3.3, ""), (3.3, "  "), (3.3, "mmol/L"), (3.3, " mmol/L ")]
)
def test_rows_that_stay_as_they_are(value, unit):
    df = rows(("GLUCOSE", value, unit))
    for unconverted in ("keep", "remove_value", "drop_row"):
        assert_frame_equal(standardize(df, conversions=[GLUCOSE], unconverted=unconverted), df)


def test_values_that_are_in_their_unit_keep_every_bit():
    bits = np.array(
        [0x7FC00001, 0x00000001, 0x80000000, 0x7F7FFFFF], dtype=np.uint32
    )  # a NaN, the least, -0, the greatest
    df = rows(*(("GLUCOSE", 0, "mmol/L") for _ in bits)).with_columns(numeric_value=pl.Series(bits.view(np.float32)))
    got = standardize(df, conversions=[GLUCOSE])["numeric_value"].to_numpy().view(np.uint32)
    assert got.tolist() == bits.tolist()


@pytest.mark.parametrize(
    ("unconverted", "left"),
    [
        ("keep", [(1, "mg/dL"), (2, "IU/L"), (3, None)]),
        ("remove_value", [(1, "mg/dL"), (None, "IU/L"), (3, None)]),
        ("drop_row", [(1, "mg/dL"), (3, None)]),
    ],
)
def test_what_becomes_of_values_that_cannot_be_converted(unconverted, left):
    df = rows(("A", 1, "mg/dL"), ("A", 2, "IU/L"), ("A", 3, None))
    got = standardize(df, target_units=[{"code": "A", "unit": "mg/dL"}], unconverted=unconverted)
    assert got.select("numeric_value", "unit").rows() == left


def test_units_in_codes():
    df = measurements(
        (1, T, "LAB//1//mg/L", 20), (1, T, "LAB//1//mg/dL", 3), (1, T, "LAB//1//", 4), (1, T, "LAB//1", 5),
        (1, T, "X//LAB//1//mg/L", 6), (1, T, "LAB//1//mg/L", None), (1, T, None, 7),
    )  # fmt: skip
    block = {"unit_after": "^LAB//[^/]+//", "target_units": [{"code": {"regex": "LAB//1"}, "unit": "mg/dL"}]}
    got = standardize(df, **block)
    assert got["code"].to_list() == ["LAB//1//mg/dL", "LAB//1//mg/dL", *df["code"].to_list()[2:]]
    assert got["numeric_value"].to_list() == [2, 3, 4, 5, 6, None, 7]
    anywhere = standardize(df, **{**block, "unit_after": "LAB//[^/]+//"})
    assert anywhere.select("code", "numeric_value").row(4) == ("X//LAB//1//mg/dL", f32(0.6))


def test_units_become_part_of_the_code():
    df = rows(("GLUCOSE", 100, "mg/dL"), ("GLUCOSE", 5, " mmol/L"), ("GLUCOSE", 5, None), ("{unit}", None, "kg"))
    assert [code for code, *_ in found(df, code_with_unit="{code} [{unit}]")] == [
        "GLUCOSE [mg/dL]", "GLUCOSE [mmol/L]", "GLUCOSE", "{unit} [kg]"
    ]  # fmt: skip
    assert [code for code, *_ in found(df, code_with_unit="{unit}//{code}", conversions=[GLUCOSE])] == [
        "mmol/L//GLUCOSE", "mmol/L//GLUCOSE", "GLUCOSE", "kg//{unit}"
    ]  # fmt: skip


def test_tables_and_the_code_metadata(tmp_path):
    (tmp_path / "c.csv").write_text("code,regex,from,to,factor\nGLUCOSE,,mg/dL,mmol/L,0.0555\n,.*,lb,kg,0.5\n")
    pl.DataFrame({"code": ["T"], "unit": ["°C"]}).write_parquet(tmp_path / "t.parquet")
    metadata = pl.DataFrame({"code": ["GLUCOSE", "T", "P", None], "ucum": ["g/L", "K", "kPa", "m"]})
    block = {"conversions_fp": str(tmp_path / "c.csv"), "target_units_fp": str(tmp_path / "t.parquet")}
    df = rows(("GLUCOSE", 100, "mg/dL"), ("W", 3, "lb"), ("T", 98.6, "°F"), ("P", 100, "mm Hg"))
    assert [row[1:] for row in found(df, **block)] == [(f32(5.55), "mmol/L"), (1.5, "kg"), (37, "°C"), (100, "mm Hg")]
    got = found(df, metadata=metadata, **block, target_units_metadata_column="ucum")
    assert [row[2] for row in got] == ["g/L", "kg", "°C", "kPa"]
    assert got[0][1] == 1


def test_targets_by_code_modifiers():
    df = rows(("A", 1, "g"), ("A", 1, "g")).with_columns(site=pl.Series(["x", None]))
    metadata = pl.DataFrame({"code": ["A", "A"], "site": ["x", None], "target": ["mg", "kg"]})
    got = standardize(df, metadata, ["site"], target_units_metadata_column="target")
    assert got["numeric_value"].to_list() == [1000, f32(0.001)]


@pytest.mark.parametrize(
    "dtype", [pl.Categorical, pl.Categorical(pl.Categories("of a name")), pl.Enum(["GLUCOSE", "mg/dL"])]
)
def test_categories(dtype):
    df = rows(("GLUCOSE", 100, "mg/dL")).cast({"code": dtype, "unit": dtype})
    assert found(df, conversions=[GLUCOSE]) == [("GLUCOSE", f32(5.55), "mmol/L")]


@pytest.mark.parametrize("block", [{"conversions": [GLUCOSE]}, {"code_with_unit": "{code}//{unit}"}])
def test_shards_without_rows_values_or_units(block):
    df = rows(("GLUCOSE", 100, "mg/dL"))
    assert_frame_equal(standardize(df.clear(), **block), df.clear())
    assert standardize(df.drop("numeric_value"), **block)["numeric_value"].to_list() == [None]
    without = df.with_columns(unit=pl.lit(None))
    assert_frame_equal(standardize(without, **block), without.cast({"unit": pl.String}))


@pytest.mark.parametrize("unconverted", ["keep", "remove_value", "drop_row"])
def test_a_shard_in_which_nothing_changes_is_given_back(unconverted):
    change = standardize_units_fntr({**DEFAULTS, "conversions": [GLUCOSE], "unconverted": unconverted}, None)
    in_units = rows(("GLUCOSE", 5, " mmol/L"), ("GLUCOSE", None, "mg/dL"), ("B", 5, "g"), ("GLUCOSE", 5, None))
    for df in (in_units.lazy(), in_units.clear().lazy()):
        assert change(df) is df
    wide = change(in_units.lazy().cast({"numeric_value": pl.Float64})).lazy().collect()
    assert_frame_equal(wide, in_units)


def test_without_settings_nothing_changes(caplog):
    df = measurements((1, T, "A", NAN))
    assert_frame_equal(standardize(df), df)
    assert "changes nothing" in caplog.text


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"conversions": [{"code": "A", "from": "g", "factor": 2}]}, "a conversion without 'to'"),
        ({"conversions": [{"code": "A", "from": None, "to": "g"}]}, "a conversion without 'from'"),
        ({"conversions": [{**GLUCOSE, "factor": 0}]}, r"conversions\[0\]: factor must be a number other than 0"),
        ({"conversions": [{**GLUCOSE, "factor": INF}]}, r"conversions\[0\]: factor must be"),
        ({"conversions": [{**GLUCOSE, "offset": NAN}]}, r"conversions\[0\]: factor must be"),
        ({"conversions": [{**GLUCOSE, "factor": "2"}]}, r"conversions\[0\]\.factor must be a number"),
        ({"conversions": [{**GLUCOSE, "form": "g"}]}, r"no such key \(did you mean 'from'\?\)"),
        ({"conversions": ["mg"]}, r"conversions\[0\] must be a mapping"),
        ({"conversions_fp": "no.csv"}, "conversions_fp: there is no file no.csv"),
        ({"target_units": [{"code": "A"}]}, r"target_units\[0\]: there is no unit"),
        ({"target_units_metadata_column": "ucum"}, "no code metadata, which should have the column ucum"),
        ({"unit_after": "("}, "unit_after: must be a regular expression"),
        ({"code_with_unit": "{code}//unit"}, r"code_with_unit: must have \{code\} and \{unit\}"),
        ({"code_with_unit": "{code}{unit}", "unit_after": "X"}, "the codes have their units already"),
        ({"unconverted": "null"}, "unconverted must be"),
        ({"unit_column": None}, "unit_column must be text"),
    ],
)
def test_wrong_settings(block, message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        standardize(rows(), **block)


def test_wrong_data():
    with pytest.raises(MissingColumnError, match=r"no column unit \(did you mean 'units'\?\)"):
        standardize(rows().rename({"unit": "units"}), conversions=[GLUCOSE])
    with pytest.raises(ValueError, match="The column unit must be text; it is Int64"):
        standardize(rows().cast({"unit": pl.Int64}), conversions=[GLUCOSE])


def test_target_units_need_pint(monkeypatch):
    df, block = rows(("GLUCOSE", 100, "mg/dL")), {"conversions": [GLUCOSE]}
    assert standardize(df, **block, target_units=[{"code": "GLUCOSE", "unit": "g/L"}])["unit"].to_list() == ["g/L"]
    monkeypatch.delitem(sys.modules, "pint")
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingPackagesError, match=r"pip install 'MEDS_transforms\[units\]'"):
        standardize(df, **block, target_units=[{"code": "GLUCOSE", "unit": "g/L"}])
    assert standardize(df, **block)["unit"].to_list() == ["mmol/L"]


def test_the_stage_counts_and_names_what_it_could_not_convert(tmp_path, caplog):
    data = Preprocessing(tmp_path)
    df = rows(
        ("GLUCOSE", 100, "mg/dL"), ("GLUCOSE", 5, "mmol/L"), ("GLUCOSE", 5, "U"), ("GLUCOSE", 5, None),
        ("GLUCOSE", None, "U"), ("HCG", 1, "IU/L"), ("HCG", 2, "IU/L"), ("OTHER", 3, "IU/L"),
    )  # fmt: skip
    data.write({"train/0": df, "train/1": df.head(3), "held_out/0": df.clear()})
    caplog.set_level(logging.INFO)
    data.run("standardize_units", conversions=[GLUCOSE], target_units=[{"code": "HCG", "unit": "ng/mL"}])
    account = json.loads((data.cohort / "metadata/accounting/standardize_units.json").read_text())
    assert account["values"] == {"converted": 2, "in_unit": 2, "without_unit": 1, "not_converted": 4}
    messages = [record.getMessage() for record in caplog.records]
    assert sorted(message for message in messages if "could not" in message) == [
        "1 value could not be brought to the unit of the code: GLUCOSE from U to mmol/L (1)",
        "3 values could not be brought to the unit of the code: "
        "HCG from IU/L to ng/mL (2), GLUCOSE from U to mmol/L (1)",
    ]
    assert "1 value converted: GLUCOSE from mg/dL to mmol/L (1)" in caplog.text


@pytest.mark.parametrize(("column", "wrong"), [("ucum", []), ("ucmu", ["there is no ucmu"])])
def test_what_is_known_before_a_run(tmp_path, column, wrong):
    """Which columns the data have beside those of every MEDS file is not."""
    data = Preprocessing(tmp_path)
    data.write({"train/0": rows(("A", 1, "g"))}, pl.DataFrame({"code": ["A"], "ucum": ["mg"]}))
    cfg = data.cfg("standardize_units", target_units_metadata_column=column)
    problems = Flow().pass_by(import_module(standardize_units_fntr.__module__), cfg)
    assert [problem.what.partition(": ")[2] for problem in problems] == wrong


def test_another_table_makes_other_outputs(tmp_path):
    data, table = Preprocessing(tmp_path), tmp_path / "c.csv"
    data.write({"train/0": rows(("A", 1, "g"))})
    for factor in (2, 3):
        table.write_text(f"code,from,to,factor\nA,g,x,{factor}\n")
        got = data.run("standardize_units", conversions_fp=str(table), cfg_do_overwrite=factor == 3)
        assert got["train/0"]["numeric_value"].to_list() == [factor]


def test_the_script_with_parts_of_the_rows(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"train/0": rows(("A", 1, "g"), ("B", 1, "g"), ("C", 1, "g"))})
    entries = "{_matcher:{code:A},target_units:[{code:A,unit:mg}]},{_matcher:{unit:g},target_units:[{code:B,unit:kg}]}"
    ran = data.script("standardize_units", f"._match_revise=[{entries}]")
    assert ran.returncode == 0, ran.stderr
    got = data.shards(data.cohort / "data")["train/0"]
    assert got.select("code", "numeric_value", "unit").rows() == [
        ("A", 1000, "mg"),
        ("B", f32(0.001), "kg"),
        ("C", 1, "g"),
    ]


ROWS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.sampled_from(["A", "B", "C", None]),
        st.none() | st.sampled_from([-1.0, 0.0, 0.1, 3.0, NAN, INF]),
        st.sampled_from(["g", "mg", "lb", "IU", "", None]),
    ),
    max_size=40,
)
BLOCK = {
    "conversions": [{"code": "B", "from": "IU", "to": "mg", "factor": 0.3}, TO_KG],
    "target_units": [{"code": {"regex": "A"}, "unit": "mg"}],
    "code_with_unit": "{code}//{unit}",
}


@settings(max_examples=25, deadline=None)
@given(given_rows=ROWS, n=st.integers(1, 4), how=st.sampled_from(["keep", "remove_value", "drop_row"]))
def test_shards_do_not_show(given_rows, n, how):
    df = measurements(*((subject, T, code, value) for subject, code, value, _ in given_rows)).with_columns(
        unit=pl.Series([unit for *_, unit in given_rows], dtype=pl.String), id=pl.int_range(pl.len())
    )
    change = standardize_units_fntr({**DEFAULTS, **BLOCK, "unconverted": how}, None)
    parts = [change(df.filter(pl.col("subject_id") % n == at).lazy()).lazy().collect() for at in range(n)]
    assert_frame_equal(pl.concat(parts).sort("id"), standardize(df, **BLOCK, unconverted=how))
