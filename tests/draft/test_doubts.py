"""What a draft is unsure of, and what it writes so that nothing is."""

import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from draft.test_init import call, draft_and_run, of_code, write_folder
from helpers import write_table
from MEDS_transforms.draft.model import Draft, percent
from MEDS_transforms.draft.tables import draft_folder


def drafted(folder: Path, tables: dict[str, pl.DataFrame | str]) -> Draft:
    for name, content in tables.items():
        write_table(folder / name, content)
    return draft_folder(folder, [])


def doubts(draft: Draft) -> dict[str, str]:
    return dict(draft.unsure)


@pytest.mark.parametrize(
    ("share", "said"),
    [(1, "100%"), (800 / 801, "99.9%"), (0.99999, "more than 99.9%"), (0.0049, "0.5%"), (1e-6, "less than 0.1%")],
)
def test_shares_are_all_or_none_only_where_they_are(share, said):
    assert percent(share) == said


def test_shares_that_are_sums_may_be_inexact():
    assert (percent(sum([0.1] * 10)), percent(1 - sum([0.1] * 10)), percent(0)) == ("100%", "0%", "0%")


def labs(units: dict[str, list[str]], n: int = 100) -> str:
    """Laboratory results, of tests with their units, one after the other."""
    tests = [*units]
    rows = (f"{k % 9},2024-01-05,{t},{k}.5,{units[t][k % len(units[t])]}" for k in range(n) for t in [tests[k % 2]])
    return "patient,at,test,value,unit\n" + "".join(f"{row}\n" for row in rows)


def test_rows_without_the_unit_that_their_code_has_are_doubtful(tmp_path):
    rows = labs({"Hb": ["g/dl"], "pH": [""]}) + "1,2024-01-05,Hb,7.5,\n"
    found = doubts(drafted(tmp_path, {"labs.csv": rows}))
    assert found["labs.labs.code"].startswith("1% of rows have no unit, though others of the same code have one")
    assert "…//UNK" in found["labs.labs.code"]


def test_a_unit_that_a_code_never_has_is_not_doubtful(tmp_path):
    assert not doubts(drafted(tmp_path, {"labs.csv": labs({"Hb": ["g/dl"], "pH": [""]})}))


@pytest.mark.parametrize(
    ("test", "unit", "is_doubtful"), [("WBC", "/nl", False), ("W/", "nl", True), ("W", "a//b", True)]
)
def test_codes_that_cannot_be_parted_again_are_doubtful(test, unit, is_doubtful, tmp_path):
    found = doubts(drafted(tmp_path, {"labs.csv": labs({test: [unit], "Hb": ["g/dl"]})}))
    assert ("cannot be parted at // again" in found.get("labs.labs.code", "")) == is_doubtful
    assert (f"LAB//{test}//{unit}".split("//") != ["LAB", test, unit]) == is_doubtful


def test_insurance_without_a_time_is_doubtful_and_sex_is_not(tmp_path):
    rows = "".join(f"{n},{'mw'[n % 2]},{'ab'[n % 2]}\n" for n in range(30)) + ",,\n"
    draft = drafted(tmp_path, {"people.csv": "patient,Geschlecht,Krankenkasse\n" + rows})
    assert [*doubts(draft)] == ["people.krankenkasse.time"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.slow
def test_a_death_on_a_day_comes_after_other_events_of_it(kind, tmp_path):
    people = pl.DataFrame({"patient": range(30), "sex": ["f", "m"] * 15}).with_columns(
        death_date=pl.when(pl.col("patient") < 5).then(pl.date(2024, 3, 5))
    )
    vitals = "patient,seen,pulse\n" + "".join(f"{n % 30},2024-03-05 21:00,7{n % 9}\n" for n in range(60))
    write_folder(tmp_path, {f"people.{kind}": people, "vitals.csv": vitals})
    data = draft_and_run(tmp_path).filter(pl.col("subject_id") == 1)
    assert str(of_code(data, "MEDS_DEATH")["time"].item()) == "2024-03-05 23:59:59"
    assert data["code"][-1] == "MEDS_DEATH"


@pytest.mark.slow
@pytest.mark.parametrize(("dose", "decimal"), [("{} mg", "."), ("{}.5mg", "."), ("{},5 µg/ml ", ",")])
def test_the_lines_for_numbers_with_units_give_both(dose, decimal, tmp_path):
    rows = "".join(f"{n % 9};2024-01-05;Foo;{dose.format(n)};{n}{decimal}5\n" for n in range(30))
    text = "patient;at;drug;dose;weight\n" + rows + "1;2024-01-05;Foo;as needed;\n"
    write_folder(tmp_path, {"drugs.csv": text})
    call("init", "raw", folder=tmp_path)
    event_file = tmp_path / "event_cfgs.yaml"
    written = event_file.read_text(encoding="utf-8")
    assert "unsure: 97% of the values are a number and a unit" in written
    edited, n = re.subn(r"^( +)# (numeric_value|dose_unit):", r"\1\2:", written, flags=re.MULTILINE)
    assert n == 2
    event_file.write_text(edited, encoding="utf-8")
    call("run", "pipeline.yaml", folder=tmp_path)
    data = pl.read_parquet(tmp_path / "cohort" / "data" / "train" / "0.parquet", glob=False)
    of_rows = data.select("text_value", "numeric_value", "dose_unit").unique().rows()
    told = [(text, float(text.split(unit)[0].replace(",", ".")), unit) for text, _, unit in of_rows if unit]
    assert {*told} | {("as needed", None, None)} == {*of_rows}
    assert {unit for _, _, unit in told} == {dose.strip(" {},.5")}


def test_codes_with_blanks_at_an_end_are_doubtful(tmp_path):
    rows = "".join(f"{n},2024-01-05, {'KN'[n % 2]},{'fm'[n % 2]} \n" for n in range(20))
    [table] = drafted(tmp_path, {"labs.csv": f"patient,at, test,sex\n{rows}"}).tables
    codes = {event.name: entry for event in table.events for entry in event.entries if entry.key == "code"}
    said = "begin or end with blanks, which the code keeps: the line below, in its place, has none"
    assert codes["labs"].unsure == f"values of test {said}"
    assert codes["sex"].unsure == f"values of sex {said}"
    [line] = codes["labs"].addable
    assert yaml.safe_load(line) == {"code": ["LABS", {"extract": {"from": " test", "regex": r"^\s*(.*?)\s*$"}}]}


def test_a_header_with_a_name_twice_is_doubtful(tmp_path):
    rows = "".join(f"{n},2024-01-05,{n}.5,{n}\n" for n in range(20))
    found = doubts(drafted(tmp_path, {"vitals.csv": f"patient,at,pulse,pulse\n{rows}"}))
    assert found["vitals"] == "the header has pulse several times; the second is called pulse_duplicated_0"
