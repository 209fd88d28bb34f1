"""The event conversion file: what each form means, and what is said about what cannot be."""

import re

import pytest
import yaml

from MEDS_transforms.extract.event_file.model import CodePart, EventFile, TableOptions
from MEDS_transforms.extract.event_file.read import read_event_file

GOOD = {"code": "LAB", "time": "col(t)"}


@pytest.fixture
def read(tmp_path):
    """Reads the tables of a file with this content."""
    return lambda content: read_event_file(written(tmp_path, content)).tables


def written(folder, content):
    """An event conversion file with this content."""
    path = folder / "events.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture
def read_event(read):
    """Reads the one event of a file."""
    return lambda event: read({"labs": {"lab": event}})["labs"].events[0]


def test_a_whole_file(read):
    tables = read(
        """
        subject_id_col: MRN
        hosp/admissions:
          subject_id_col: patient
          admission:
            code: [ADMISSION, col(type), col(ward)]
            time: col(admit)
            time_format: "%Y-%m-%d"
            hadm_id: hadm_id
            numeric_value: severity
            _metadata:
              d_admissions:
                description: ["long_title", "title"]
        labs:
          lab: {code: LAB, time: null}
        """
    )
    assert list(tables) == ["hosp/admissions", "labs"]
    admissions, labs = tables.values()
    assert (admissions.subject_id_col, labs.subject_id_col) == ("patient", "MRN")
    (admission,) = admissions.events
    assert admission.code == (CodePart("ADMISSION", False), CodePart("type", True), CodePart("ward", True))
    assert (admission.time, admission.time_formats) == ("admit", ("%Y-%m-%d",))
    assert dict(admission.values) == {"hadm_id": "hadm_id", "numeric_value": "severity"}
    assert admissions.columns[0] == "patient"
    assert set(admissions.columns) == {"patient", "type", "ward", "admit", "hadm_id", "severity"}
    assert (labs.events[0].time, labs.columns) == (None, ["MRN"])
    assert EventFile(tables, {}, TableOptions()).metadata_tables == {"d_admissions": [admission]}


@pytest.mark.parametrize(
    ("whole", "table", "expected"),
    [
        ({}, {}, "subject_id"),
        ({"subject_id_col": "MRN"}, {}, "MRN"),
        ({"subject_id": "MRN"}, {}, "MRN"),
        ({}, {"subject_id_col": "pid"}, "pid"),
        ({"subject_id_col": "MRN"}, {"subject_id_col": "pid"}, "pid"),
        ({"subject_id": "MRN"}, {"subject_id": "pid"}, "pid"),
        ({"subject_id": "MRN"}, {"subject_id_col": "pid"}, "pid"),
    ],
)
def test_the_column_of_subject_ids(read, whole, table, expected):
    assert read({**whole, "labs": {**table, "lab": GOOD}})["labs"].subject_id_col == expected


def test_subject_id_is_a_table_or_an_event_where_its_value_is_no_text(read):
    tables = read({"subject_id": {"subject_id": GOOD}})
    assert [event.path for event in tables["subject_id"].events] == ["subject_id.subject_id"]
    assert tables["subject_id"].subject_id_col == "subject_id"


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("LAB", [("LAB", False)]),
        ("col(c)", [("c", True)]),
        (["A", "col(a b)", "C"], [("A", False), ("a b", True), ("C", False)]),
        (["A"], [("A", False)]),
        (["ICD", 9], [("ICD", False), ("9", False)]),
    ],
)
def test_codes(read_event, code, parts):
    assert [(p.text, p.is_column) for p in read_event({**GOOD, "code": code}).code] == parts


def test_time_formats_keep_their_order(read_event):
    assert read_event({**GOOD, "time_format": ["%Y", "%Y-%m"]}).time_formats == ("%Y", "%Y-%m")
    assert read_event(GOOD).time_formats == ()


@pytest.mark.parametrize("time_format", ["%Y-%m-%dT%H:%M:%S%.f%z", "%F%#z", "%-d. %b %y %I%p", "%s", "%+", "100%% %Y"])
def test_time_formats_that_polars_reads(read_event, time_format):
    assert read_event({**GOOD, "time_format": time_format}).time_formats == (time_format,)


def test_the_name_of_an_event_may_be_a_number(read):
    """It appears in messages only; 0.1 took it."""
    [event] = read("labs: {50912: {code: A, time: null}}")["labs"].events
    assert event.name == "50912"


def test_a_column_without_a_name(read_event):
    """So pandas writes the index."""
    assert read_event({**GOOD, "text_value": "", "code": "col()"}).columns == {"": "code", "t": "time"}


def test_a_value_written_as_column_is_that_column_with_a_warning(read_event, caplog):
    assert read_event({**GOOD, "numeric_value": "col(n)"}).values == {"numeric_value": "n"}
    assert re.search(r"labs\.lab\.numeric_value.*col\(n\)", caplog.text)


def test_one_metadata_table_of_several_events(read):
    tables = read(
        {
            "labs": {"a": {**GOOD, "_metadata": {"d": {"description": "x"}}}, "b": GOOD},
            "icu": {"c": {**GOOD, "_metadata": {"e": {"description": "x"}, "d": {"parent_codes": "y"}}}},
        }
    )
    by_table = {
        name: [e.path for e in events] for name, events in EventFile(tables, {}, TableOptions()).metadata_tables.items()
    }
    assert by_table == {"d": ["labs.a", "icu.c"], "e": ["icu.c"]}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"time": None}, ["labs.lab.code", "missing"]),
        ({"code": "A"}, ["labs.lab.time", "missing", "null"]),
        ({**GOOD, "code": None}, ["labs.lab.code", "None"]),
        ({**GOOD, "code": []}, ["labs.lab.code", "[]"]),
        ({**GOOD, "code": ["A", None]}, ["labs.lab.code", "None"]),
        ({**GOOD, "code": {"a": 1}}, ["labs.lab.code", "{'a': 1}"]),
        ({**GOOD, "time": "t"}, ["labs.lab.time", "'t'", "did you mean col(t)"]),
        ({**GOOD, "time": "col(t"}, ["labs.lab.time", "'col(t'", "did you mean col(t)"]),
        ({**GOOD, "code": ["LAB", "col(test"]}, ["labs.lab.code", "'col(test'", "did you mean col(test)"]),
        ({**GOOD, "code": "col (test)"}, ["labs.lab.code", "'col (test)'", "did you mean col(test)"]),
        ({**GOOD, "time": 2020}, ["labs.lab.time", "2020"]),
        ({**GOOD, "time_format": "Y-m-d"}, ["labs.lab.time_format", "'Y-m-d'", "%Y-%m-%d"]),
        ({**GOOD, "time_format": []}, ["labs.lab.time_format", "[]"]),
        ({**GOOD, "subject_id": "MRN"}, ["labs.lab.subject_id", "subject_id_col"]),
        ({**GOOD, "numeric_value": 3}, ["labs.lab.numeric_value", "3", "column"]),
        ({**GOOD, "numeric_value": [3]}, ["labs.lab.numeric_value", "3", "text or a mapping"]),
        ({**GOOD, "numeric_value": None}, ["labs.lab.numeric_value", "None", "column"]),
        ({**GOOD, "time_format": ["%Y", "%Y-%Q"]}, ["labs.lab.time_format", "'%Y-%Q'", "directive"]),
        ({**GOOD, "time_format": "%Y %"}, ["labs.lab.time_format", "'%Y %'"]),
        ({**GOOD, True: "v"}, ["labs.lab: the name True is not text", "quotes"]),
        ({**GOOD, "_metadata": {"d": {3: "x"}}}, ["labs.lab._metadata.d: the name 3 is not text", "quotes"]),
        ({**GOOD, "_metadata": {"d": {"code": "x"}}}, ["labs.lab._metadata.d.code", "the code itself"]),
        ({**GOOD, "_metadata": ["d"]}, ["labs.lab._metadata", "['d']"]),
        ({**GOOD, "_metadata": {"d": "title"}}, ["labs.lab._metadata", "title"]),
        ({**GOOD, "_metadata": {"codes": {"description": "x"}}}, ["labs.lab._metadata.codes", "collides"]),
        ({**GOOD, "_metadata": {"d": {"description": 3}}}, ["labs.lab._metadata.d.description", "3"]),
        ("LAB", ["labs.lab", "'LAB'", "code", "time"]),
    ],
)
def test_what_an_event_cannot_be(read_event, event, said):
    with pytest.raises(ValueError, match="cannot be used") as error:
        read_event(event)
    for part in ["events.yaml", *said]:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- labs", ["['labs']", "mapping"]),
        ("", ["names no table"]),
        ("subject_id_col: MRN", ["names no table"]),
        ("labs: {}", ["labs", "no events"]),
        ("labs: {subject_id_col: MRN}", ["labs", "no events"]),
        ("labs: 3", ["labs", "3"]),
        ("subject_id_col: 3\nlabs: {lab: {code: A, time: null}}", ["subject_id_col", "3"]),
        ("subject_id_col: a\nsubject_id: b\nlabs: {lab: {code: A, time: null}}", ["subject_id", "one of the two"]),
        ("labs: {lab: {code: A, time: null}}\nlabs: {x: {code: A, time: null}}", ["duplicate key", "labs", "line 2"]),
        ("labs:\n  lab:\n    code: A\n    code: B\n    time: null", ["duplicate key", "code", "line 4"]),
        ("labs: {lab: [", ["YAML", "line 1"]),
        ("\tlabs: 3", ["YAML", "line 1"]),
    ],
)
def test_what_a_file_cannot_be(read, content, said):
    with pytest.raises(ValueError, match=r"events\.yaml") as error:
        read(content)
    for part in said:
        assert part in str(error.value)


def test_all_that_is_wrong_is_said_at_once(read):
    with pytest.raises(ValueError, match="cannot be used") as error:
        read({"labs": {"a": {"code": 1}, "b": {"time": "t"}}, "icu": {}})
    assert [line.partition(":")[0] for line in str(error.value).splitlines()[1:]] == [
        "  - labs.a.time",
        "  - labs.b.code",
        "  - labs.b.time",
        "  - icu",
    ]


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml.*event_conversion_config_fp"):
        read_event_file(tmp_path / "none.yaml")
