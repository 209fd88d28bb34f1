"""What is seen of tables: how they are written, which parts belong together, whose rows they have."""

import gzip
from datetime import date, time, timedelta
from pathlib import Path

import polars as pl
import pytest

from helpers import write_table
from MEDS_transforms.draft.model import TableDraft
from MEDS_transforms.draft.profiles import Profile, profile_of
from MEDS_transforms.draft.samples import FIRST_ROWS, FURTHER_ROWS, find_samples, table_names
from MEDS_transforms.draft.tables import draft_folder
from MEDS_transforms.errors import InputError


def profile(folder: Path, name: str, content: pl.DataFrame | str | bytes) -> Profile:
    """The profile of the one table below a folder."""
    write_table(folder / name, content)
    [sample] = find_samples(folder, [])
    return profile_of(sample)


def drafts(folder: Path, tables: dict[str, pl.DataFrame | str | bytes], **options: str) -> dict[str, TableDraft]:
    """The drafts of tables, by their names."""
    for name, content in tables.items():
        write_table(folder / name, content)
    return {table.name: table for table in draft_folder(folder, [], **options).tables}


def values(table: TableDraft, event: str | None = None) -> dict[str, object]:
    """The keys of a table's draft, or of one of its events, with their values."""
    if event is None:
        return {entry.key: entry.value for entry in table.entries}
    [found] = [e for e in table.events if e.name == event]
    return {entry.key: entry.value for entry in found.entries}


QUOTED = 'Größe, in "cm"; ca. | \t'


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_separators_and_encodings(separator, encoding, tmp_path):
    rows = [["id", "wert", "text"], ["1", "5", QUOTED], ["2", "6", "€ 5"]]
    text = pl.DataFrame(rows[1:], schema=rows[0], orient="row").write_csv(separator=separator, quote_style="always")
    found = profile(tmp_path, "t.csv", text.encode(encoding))
    assert [*found.columns] == rows[0]
    assert [*found["text"].values] == [QUOTED, "€ 5"]
    assert (found.dialect.separator or ",") == separator


def test_a_separator_cuts_all_rows_alike(tmp_path):
    found = profile(tmp_path, "t.csv", "id;name, given\n1;Ann\n2;Bo\n")
    assert [*found.columns] == ["id", "name, given"]


def test_quotes_that_are_characters(tmp_path):
    found = profile(tmp_path, "t.csv", 'id,size\n1,"5" tube\n2,"6\n')
    assert found.dialect.quote is None
    assert [*found["size"].values] == ['"5" tube', '"6']


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["NULL", "x", "y"], ("NULL",)),
        (["k.A.", "4", "5"], ("k.A.",)),
        (["NA", "4.5", "5"], ("NA",)),
        (["NA", "K", "CRP"], ()),  # sodium
        (["-", "2024-01-01", "2024-01-02"], ("-",)),
        (["-", "+", "++"], ()),
    ],
)
def test_words_that_stand_for_null(cells, words, tmp_path):
    found = profile(tmp_path, "t.csv", "id,cell\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells)))
    assert found.dialect.null_values == words
    assert found["cell"].values.len() == len(cells) - len(words)


def test_decimal_commas_are_not_those_of_versions(tmp_path):
    assert profile(tmp_path / "a", "t.csv", "id;a\n1;4,5\n2;5\n3;<0,5\n").dialect.decimal == ","
    assert profile(tmp_path / "b", "t.csv", "id;a\n1;4.5\n2;5\n").dialect.decimal == "."
    assert profile(tmp_path / "c", "t.csv", 'id,a\n1,"4,5"\n').dialect.decimal == "."  # which no separator allows


def test_tables_in_parts(tmp_path):
    for name in ("labs/a_1.csv", "labs/a_2.csv", "notes_2023.csv", "notes_2024.csv", "x/v1.csv", "x/v2.csv", "x/w.csv"):
        write_table(tmp_path / name, "id,code\n1,2\n")
    write_table(tmp_path / "y/t1.csv", "id,code\n1,2\n")
    write_table(tmp_path / "y/t2.csv", "id,other\n1,2\n")
    assert table_names(tmp_path, []) == ["labs", "notes_*", "x/v*", "x/w", "y/t1", "y/t2"]


def test_a_pattern_that_fits_other_files_is_none(tmp_path):
    for name in ("chart.csv", "chart2.csv", "chart3.csv"):
        write_table(tmp_path / name, "id,code\n1,2\n")
    assert table_names(tmp_path, []) == ["chart", "chart2", "chart3"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_further_on_are_looked_at(kind, tmp_path):
    n = 400_000
    table = pl.DataFrame({"id": range(n), "cell": ["1"] * (n // 3) + ["a"] * (n - n // 3)})
    found = profile(tmp_path, f"t.{kind}", table)
    assert found.rows == FIRST_ROWS + FURTHER_ROWS
    assert found["cell"].numbers == FIRST_ROWS / found.rows
    assert found.sample.looked_at == "the first 10,000 rows and 5,000 further on"


def test_a_compressed_table_is_looked_at_from_its_beginning(tmp_path):
    text = pl.DataFrame({"id": range(50_000)}).write_csv()
    found = profile(tmp_path, "t.csv.gz", gzip.compress(text.encode()))
    assert found.rows == FIRST_ROWS
    assert not found.sample.whole


PEOPLE = "patient_id,mrn,dob\n" + "".join(f"{n},{7000 + n},19{50 + n}-03-01\n" for n in range(20))


def test_rows_with_another_id_of_the_subject_find_it_by_the_table_that_has_both(tmp_path):
    labs = "mrn,taken,test\n" + "".join(f"{7000 + n},2024-01-05,CRP\n" for n in range(20))
    vitals = "patient_id,seen,pulse\n" + "".join(f"{n},2024-01-05,6{n % 10}\n" for n in range(20))
    found = drafts(tmp_path, {"people.csv": PEOPLE, "labs.csv": labs, "vitals.csv": vitals})
    assert values(found["labs"])["join"] == {"table": "people", "on": "mrn", "columns": {"patient_id": "patient_id"}}
    assert "join" not in values(found["vitals"])


def test_a_column_that_the_user_names_has_the_subjects(tmp_path):
    visits = "x1,patient,at\n" + "".join(f"Q{n},{n % 3},2024-01-05\n" for n in range(20))
    found = drafts(tmp_path, {"visits.csv": visits}, subject_id="x1")
    assert {left.column for left in found["visits"].left_out} == {"patient"}
    with pytest.raises(InputError, match=r"No table has a column 'pation' \(did you mean 'patient'"):
        drafts(tmp_path, {}, subject_id="pation")


@pytest.mark.parametrize(
    ("ids", "numbered"),
    [
        (["1", "2"], None),
        (["001", "002"], "integer"),
        (["001", "02"], "integer"),
        (["01", "1"], "table"),
        (["P1", "P2"], "table"),
        (["9999999999999999999", "1"], "table"),
    ],
)
def test_how_ids_become_numbers(ids, numbered, tmp_path):
    write_table(tmp_path / "people.csv", "patient,sex\n" + "".join(f"{i},{'fm'[n % 2]}\n" for n, i in enumerate(ids)))
    draft = draft_folder(tmp_path, [])
    assert {entry.key: entry.value for entry in draft.entries}.get("subject_ids") == numbered
    doubts = [doubt for _, doubt in draft.unsure]
    assert doubts == [] if ids != ["001", "02"] else "as 07 and 7 of two subjects, write table" in doubts[0]


def test_days_and_months_are_in_the_order_of_columns_that_show_it(tmp_path):
    clear = "patient,at,drug\n1,03/25/2024,A\n2,03/26/2024,B\n1,03/27/2024,A\n"
    other = "patient,seen,test\n1,03/04/2024,C\n2,05/06/2024,D\n1,03/04/2024,C\n"
    found = drafts(tmp_path, {"drugs.csv": clear, "tests.csv": other})
    assert values(found["tests"], "tests")["time_format"] == "%m/%d/%Y"
    alone = drafts(tmp_path / "alone", {"tests.csv": other})
    assert values(alone["tests"], "tests")["time_format"] == "%d/%m/%Y"


def test_a_unit_is_in_the_code_only_as_in_the_table_that_describes_it(tmp_path):
    labs = "patient,at,item,value,unit\n" + "".join(f"{n % 5},2024-01-05,{n % 2},{n}.5,mg\n" for n in range(20))
    with_unit = drafts(tmp_path / "a", {"labs.csv": labs, "items.csv": "item,unit,label\n0,mg,Foo\n1,mg,Bar\n"})
    without = drafts(tmp_path / "b", {"labs.csv": labs, "items.csv": "item,label\n0,Foo\n1,Bar\n"})
    assert values(with_unit["labs"], "labs")["code"] == ["LABS", "col(item)", "col(unit)"]
    assert values(without["labs"], "labs")["code"] == ["LABS", "col(item)"]
    assert values(without["labs"], "labs")["unit"] == "unit"


def test_of_several_columns_for_a_birth_the_full_one_of_the_subjects_is_taken(tmp_path):
    people = "patient,year_of_birth,sex\n" + "".join(f"{n},1950,f\n" for n in range(9))
    details = "patient,birth_date\n" + "".join(f"{n},1950-02-0{n + 1}\n" for n in range(9))
    rows = [f"{n % 3},2024-01-{n + 1:02},2024-02-01,1950-02-01\n" for n in range(18)]
    admissions = "patient,admitted,discharged,birth\n" + "".join(rows)
    found = drafts(tmp_path, {"people.csv": people, "details.csv": details, "admissions.csv": admissions})
    assert [name for name, table in found.items() if any(e.name == "birth" for e in table.events)] == ["details"]


def test_rows_without_a_time_have_that_of_the_end_of_their_visit(tmp_path):
    start = date(2024, 1, 1)
    visits = "visit_id,patient,begin,end\n" + "".join(
        f"V{n},{n % 4},{start + timedelta(n)},{start + timedelta(n + 2)}\n" for n in range(20)
    )
    codes = "visit_id,icd\n" + "".join(f"V{n},I1{n % 3}\n" for n in range(20))
    found = drafts(tmp_path, {"visits.csv": visits, "dx.csv": codes})
    assert values(found["dx"])["join"]["columns"] == {"patient": "patient", "end": "end"}
    assert values(found["dx"], "dx")["time"] == "col(end)"
    assert [event.name for event in found["visits"].events] == ["begin", "end"]


def test_times_of_visits_that_repeat_are_nobodys(tmp_path):
    chart = "visit_id,patient,at,item\n" + "".join(f"V{n % 4},{n % 4},2024-01-{n + 1:02},HR\n" for n in range(20))
    codes = "visit_id,icd\n" + "".join(f"V{n % 4},I1{n % 3}\n" for n in range(20))
    found = drafts(tmp_path, {"chart.csv": chart, "dx.csv": codes})
    assert values(found["dx"])["join"]["columns"] == {"patient": "patient"}
    assert values(found["dx"], "dx")["time"] is None


def test_names_of_people_are_left_out(tmp_path):
    people = "patient,first_name,sex,phone\n" + "".join(f"{n},Ann,f,0{n % 2}\n" for n in range(30))
    visits = "patient,seen,patient_name,physician,reason_type\n" + "".join(
        f"{n % 9},2024-01-01,Ann,Bo,a\n" for n in range(30)
    )
    found = drafts(tmp_path, {"people.csv": people, "visits.csv": visits})
    assert {left.column for left in found["people"].left_out} == {"first_name", "phone"}
    assert {left.column for left in found["visits"].left_out} == {"patient_name", "physician"}


def test_times_at_which_rows_were_stored_are_left_out(tmp_path):
    labs = "patient,storetime,charttime,test\n" + "".join(f"{n % 5},2024-01-06,2024-01-05,K\n" for n in range(20))
    found = drafts(tmp_path, {"labs.csv": labs})
    assert values(found["labs"], "labs")["time"] == "col(charttime)"
    assert [(left.column, left.line) for left in found["labs"].left_out] == [("storetime", "")]


def test_a_time_that_some_rows_lack_is_taken_from_the_day_beside_it(tmp_path):
    rows = [f"{n % 5},2024-01-05 00:00,{'' if n % 9 == 0 else f'2024-01-05 1{n % 9}:00'},K" for n in range(40)]
    found = drafts(tmp_path, {"labs.csv": "\n".join(["patient,chartdate,charttime,test", *rows, ""])})
    assert values(found["labs"], "labs")["time"] == {"output": ["charttime", "chartdate"], "matcher": {}}


def test_a_start_and_an_end_are_events_each_with_its_own_kinds(tmp_path):
    head = "patient,stay_id,admittime,dischtime,admission_type,discharge_location,los\n"
    stays = "".join(f"{n % 5},S{n},2024-01-05 10:00,2024-01-09 10:00,urgent,home,{n % 4}.5\n" for n in range(20))
    found = drafts(tmp_path, {"stays.csv": head + stays})["stays"]
    assert [event.name for event in found.events] == ["admit", "los", "disch"]
    assert values(found, "admit")["code"] == ["STAYS", "ADMIT", "col(admission_type)"]
    assert values(found, "disch")["code"] == ["STAYS", "DISCH", "col(discharge_location)"]
    assert values(found, "admit")["stay_id"] == "stay_id"
    assert values(found, "los")["time"] == "col(dischtime)"


def test_keys_in_two_columns_describe_codes_in_two(tmp_path):
    dx = "patient,at,icd_code,icd_version\n" + "".join(f"{n % 5},2024-01-05,I1{n % 3},{9 + n % 2}\n" for n in range(40))
    table = "icd_code,icd_version,long_title\n" + "".join(f"I1{n % 3},{9 + n // 3},Title {n}\n" for n in range(6))
    found = drafts(tmp_path, {"dx.csv": dx, "d_icd.csv": table})
    assert values(found["dx"], "dx")["code"] == ["DX", "col(icd_version)", "col(icd_code)"]
    assert values(found["dx"], "dx")["_metadata"] == {"d_icd": {"description": "long_title"}}


def test_a_table_that_describes_codes_may_name_them_otherwise(tmp_path):
    labs = "patient,at,test,value\n" + "".join(f"{n % 5},2024-01-05,T-{n % 4},{n}.5\n" for n in range(40))
    table = "no,label,loinc\n" + "".join(f"T-{n},Test {n},{n}-1\n" for n in range(9))
    found = drafts(tmp_path, {"labs.csv": labs, "catalogue.csv": table})
    described = {"test": "no", "description": "label", "parent_codes": "LOINC/{loinc}"}
    assert values(found["labs"], "labs")["_metadata"] == {"catalogue": described}


def test_numbers_that_nothing_describes_are_doubtful_codes(tmp_path):
    labs = "patient,at,itemid,value\n" + "".join(f"{n % 5},2024-01-05,{500 + n % 4},{n}.5\n" for n in range(40))
    write_table(tmp_path / "labs.csv", labs)
    assert [*draft_folder(tmp_path, []).unsure] == [("labs.labs.code", "codes are numbers, which no table describes")]


def test_times_with_and_without_a_zone_are_doubtful_together(tmp_path):
    labs = "patient,at,test\n" + "".join(f"{n % 5},2024-01-05T10:00Z,K\n" for n in range(20))
    notes = "patient,seen,note\n" + "".join(f"{n % 5},2024-01-05 10:00,all well\n" for n in range(20))
    write_table(tmp_path / "labs.csv", labs)
    assert not [*draft_folder(tmp_path, []).unsure]
    write_table(tmp_path / "notes.csv", notes)
    assert [place for place, _ in draft_folder(tmp_path, []).unsure] == ["time_zone"]


def test_the_value_the_unit_and_the_text_belong_together(tmp_path):
    head = "patient,at,drug,amount,rate_unit,rate,amount_unit,comment\n"
    rows = "".join(f"{n % 5},2024-01-05,Foo,{n}.5,mL/h,{n}.25,mg,as needed\n" for n in range(20))
    found = drafts(tmp_path, {"drugs.csv": head + rows})["drugs"]
    assert values(found, "drugs")["code"] == ["DRUGS", "col(drug)", "col(amount_unit)"]
    assert values(found, "drugs")["numeric_value"] == "amount"
    assert values(found, "drugs")["text_value"] == "comment"
    assert {left.line for left in found.left_out} == {"rate", "rate_unit"}


def test_what_never_changes_is_static(tmp_path):
    rows = "".join(f"{n % 5},2024-01-{n + 1:02},{'ab'[n % 5 % 2]},{'pq'[n % 2]},K\n" for n in range(20))
    found = drafts(tmp_path, {"visits.csv": "patient,seen,ethnicity,insurance,ward\n" + rows})["visits"]
    assert values(found, "ethnicity")["time"] is None
    assert values(found, "insurance")["time"] == "col(seen)"


def test_names_in_any_script_are_read(tmp_path):
    people = "患者id,出生日期,date de décès\n" + "".join(f"{n},1950-01-0{1 + n % 9},2020-01-05\n" for n in range(20))
    labs = "患者id,时间,°\n" + "".join(f"{n},2020-01-0{1 + n % 9} 10:00,{n}.5\n" for n in range(20))
    found = drafts(tmp_path, {"患者.csv": people, "血液.csv": labs}, subject_id="患者id")
    assert values(found["患者"], "death")["code"] == "MEDS_DEATH"
    assert [event.name for event in found["血液"].events] == ["column"]


def test_columns_of_dtypes_without_text_are_left_out(tmp_path):
    n = 20
    odd = {"stay": [timedelta(hours=k) for k in range(n)], "image": [b"\x00\xff"] * n, "tags": [["a"]] * n}
    labs = {"patient": range(n), "at": [date(2024, 1, 5)] * n, "test": ["K", "N"] * (n // 2), "text": [b"ok"] * n}
    found = drafts(tmp_path, {"labs.parquet": pl.DataFrame(labs | odd)})["labs"]
    left = {left.column: left.why for left in found.left_out}
    assert [name for name, why in left.items() if why.startswith("lists, structures, durations or bytes")] == [*odd]
    assert values(found, "labs")["text_value"] == "text"  # bytes that are text


@pytest.mark.parametrize(
    ("clocks", "formats"),
    [
        (["10:00", "9:30"], "%H:%M"),
        (["10:00", "09:30:05"], ["%H:%M", "%H:%M:%S"]),
        ([time(10), time(9, 30, 5)], "%H:%M:%S"),
        (["08:25 PM", "9:30 am"], "%I:%M %p"),
        (["08:25PM", "9:30:05 AM"], ["%I:%M%p", "%I:%M:%S %p"]),
    ],
)
def test_a_day_and_the_times_of_day_beside_it(clocks, formats, tmp_path):
    n = 20
    days = [date(2024, 1, 5 + k % 9) for k in range(n)]
    labs = {"patient": range(n), "day": days, "clock": clocks * (n // 2), "test": ["K", "N"] * (n // 2)}
    found = drafts(tmp_path, {"labs.parquet": pl.DataFrame(labs)})["labs"]
    every = [f"%Y-%m-%d {f}" for f in ([formats] if isinstance(formats, str) else formats)]
    time_of_rows = {"from": {"str": "{day} {clock}"}, "format": every[0] if len(every) == 1 else every}
    assert values(found, "labs")["time"] == {"time": time_of_rows}


def test_two_numbers_in_a_field_are_no_code(tmp_path):
    days = [date(2024, 1, 5 + k % 9) for k in range(20)]
    vitals = pl.DataFrame({"patient": range(20), "day": days, "HR": range(60, 80), "BP": ["120/80", "130/85"] * 10})
    found = drafts(tmp_path, {"vitals.parquet": vitals})["vitals"]
    assert [event.name for event in found.events] == ["hr", "bp"]


def test_a_line_with_a_total_below_a_table_does_not_hide_the_visits(tmp_path):
    visits = [f"V-{k}" for k in range(100)]
    admitted = [date(2024, 1, 1 + k % 28) for k in range(100)]
    admissions = pl.DataFrame({"patient": [k // 2 for k in range(100)], "Encounter ID": visits, "admitted": admitted})
    diagnoses = pl.DataFrame({"enc_id": [*visits, "Total rows:"], "dx": ["I10", "E11"] * 50 + ["100"]})
    found = drafts(tmp_path, {"admissions.parquet": admissions, "diagnoses.parquet": diagnoses})["diagnoses"]
    assert values(found)["join"]["on"] == {"enc_id": "Encounter ID"}


def test_times_of_day_are_no_codes(tmp_path):
    labs = pl.DataFrame({"patient": range(20), "at": [date(2024, 1, 5)] * 20, "clock {1}": [time(10), time(9)] * 10})
    found = drafts(tmp_path, {"labs.parquet": labs})["labs"]
    assert all("col(clock {1})" not in entry.value for event in found.events for entry in event.entries if entry.value)
    assert [left.why for left in found.left_out] == ["times of day, 2 distinct"]


def test_missing_numbers_of_a_column_of_floats_are_no_texts(tmp_path):
    n = 20
    labs = {"patient": range(n), "at": [date(2024, 1, 5)] * n, "test": ["K", "N"] * (n // 2)}
    labs |= {"value": [float("nan"), 4.5] * (n // 2)}
    found = drafts(tmp_path, {"labs.parquet": pl.DataFrame(labs)})["labs"]
    assert values(found, "labs").keys() >= {"numeric_value"}
    assert "text_value" not in values(found, "labs")


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_the_numbers_of_rows_are_no_measurements(name, tmp_path):
    people = f"{name},patient,sex\n" + "".join(f"{n},{n + 70},{'fm'[n % 2]}\n" for n in range(20))
    found = drafts(tmp_path, {"people.csv": people})["people"]
    assert [event.name for event in found.events] == ["sex"]
    assert [(left.column, left.why) for left in found.left_out] == [(name, "a place in an order, by its name")]


def test_ids_are_compared_without_zeros_before_them(tmp_path):
    people = "patient,sex\n" + "".join(f"{n:04},{'fm'[n % 2]}\n" for n in range(20))
    labs = "patient,at,test\n" + "".join(f"{n},2024-01-05,{'KN'[n % 2]}\n" for n in range(20))
    for name, content in {"people.csv": people, "labs.csv": labs}.items():
        write_table(tmp_path / name, content)
    assert [place for place, _ in draft_folder(tmp_path, []).unsure] == ["subject_ids"]


def test_a_name_with_brackets_is_not_that_of_several_files(tmp_path):
    found = drafts(tmp_path, {"people [2020].csv": PEOPLE})
    assert found["people [2020]"].note == ""
