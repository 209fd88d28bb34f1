"""What an event file may say of joins, and every mistake in it with its place."""

import pytest

from MEDS_transforms.errors import Problems
from MEDS_transforms.extract.raw.aggregates import Column
from MEDS_transforms.extract.raw.join_blocks import read_join
from MEDS_transforms.extract.raw.joins import Join
from MEDS_transforms.settings.yaml_file import read_yaml


def read(tmp_path, text):
    (tmp_path / "e.yaml").write_text(text)
    problems = Problems("wrong")
    joins = read_join(read_yaml(tmp_path / "e.yaml"), "labs.join", problems)
    return joins, problems.found


@pytest.mark.parametrize(
    ("text", "joins"),
    [
        (
            "{table: adm, on: hadm_id, columns: [subject_id, dischtime]}",
            [Join("adm", ("hadm_id",), ("hadm_id",), "left", {n: Column(n) for n in ("subject_id", "dischtime")})],
        ),
        (
            "{table: hosp/adm, 'on': [a, b], how: inner, columns: {x: y}}",
            [Join("hosp/adm", ("a", "b"), ("a", "b"), "inner", {"x": Column("y")})],
        ),
        (
            "{table: adm, on: {a: b, c: b}, columns: {x: y, z: {max: y}}}",
            [Join("adm", ("a", "c"), ("b", "b"), "left", {"x": Column("y"), "z": Column("y", "max")})],
        ),
        ("{table: adm, on: a, how: inner}", [Join("adm", ("a",), ("a",), "inner", {})]),
        (
            "[{table: adm, on: a, columns: [b]}, {table: pat, on: b, columns: [c]}]",
            [
                Join("adm", ("a",), ("a",), "left", {"b": Column("b")}),
                Join("pat", ("b",), ("b",), "left", {"c": Column("c")}),
            ],
        ),
        (
            "{table: adm, on: '^a|b$', columns: {'*': {first: '*'}}}",
            [Join("adm", ("^a|b$",), ("^a|b$",), "left", {"*": Column("*", "first")})],
        ),
    ],
)  # fmt: skip
def test_blocks(tmp_path, text, joins):
    assert read(tmp_path, text) == (joins, [])


def test_each_join_knows_its_place(tmp_path):
    joins, _ = read(tmp_path, "[{table: adm, on: a, columns: [b]}, {table: pat, on: b, columns: [c]}]")
    assert [join.where for join in joins] == ["labs.join[0]", "labs.join[1]"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("adm", "labs.join: must be a mapping with the keys table, on, how, columns, or a list of these, not 'adm'"),
        ("[]", "labs.join: must be a mapping"),
        ("[{table: t, on: a, columns: [b]}, 1]", "labs.join[1]: must be a mapping"),
        ("{on: a, columns: [b]}", "labs.join.table: is missing"),
        ("{table: ../t, on: a, columns: [b]}", "labs.join.table: the name '../t' of a table cannot be a path"),
        ("{table: 7, on: a, columns: [b]}", "labs.join.table: the name 7 of a table"),
        ("{table: t, columns: [b]}", "labs.join.on: is missing"),
        ("{table: t, on: [], columns: [b]}", "labs.join.on: must be a column, a list"),
        ("{table: t, on: [a, a], columns: [b]}", "labs.join.on: must be"),
        ("{table: t, on: [a, 7], columns: [b]}", "labs.join.on: must be"),
        ("{table: t, on: 7, columns: [b]}", "labs.join.on: must be"),
        ("{table: t, on: '', columns: [b]}", "labs.join.on: must be"),
        ("{table: t, on: {}, columns: [b]}", "labs.join.on: must be"),
        ("{table: t, on: {a: [b]}, columns: [b]}", "labs.join.on: must be"),
        ("{table: t, on: {7: b}, columns: [b]}", "labs.join.on: must be"),
        ("{table: t, on: [[a]], columns: [b]}", "labs.join.on: must be"),
        ("{table: t, on: a, how: outer, columns: [b]}", "labs.join.how: must be left or inner, not 'outer'"),
        ("{table: t, on: a, how: iner, columns: [b]}", "(did you mean 'inner'?)"),
        ("{table: t, on: a, how: [left], columns: [b]}", "labs.join.how: must be left or inner, not ['left']"),
        ("{table: t, on: a}", "labs.join.columns: is missing: a list"),
        ("{table: t, on: a, columns: b}", "labs.join.columns: cannot be 'b'"),
        ("{table: t, on: a, columns: []}", "labs.join.columns: cannot be []"),
        ("{table: t, on: a, columns: [b, b]}", "labs.join.columns[1]: b is there twice"),
        ("{table: t, on: a, columns: [b, {c: d}]}", "labs.join.columns[1]: must be the name of a column, not"),
        ("{table: t, on: a, columns: {7: b}}", "labs.join.columns: the name 7 is not text as it stands in the file"),
        ("{table: t, on: a, columns: {b: 7}}", "labs.join.columns.b: must be a column, or {aggregation: column}, not"),
        ("{table: t, on: a, columns: {b: {min: c, max: d}}}", "labs.join.columns.b: must be a column, or"),
        ("{table: t, on: a, columns: {b: {maxx: c}}}", ".b: there is no aggregation 'maxx' (did you mean 'max'?)"),
        ("{table: t, on: a, columns: {b: {max: [c]}}}", "columns.b.max: must be the name of a column, not"),
        ("{table: t, on: a, columns: [a]}", "labs.join.columns.a: is the key, which is there already"),
        ("{table: t, on: a, column: [b], columns: [b]}", "join.column: there is no such key (did you mean 'columns'?)"),
        ("[{table: t, on: a, columns: [b]}, {table: u, on: a, columns: [b]}]", "join[1].columns.b: labs.join[0] has"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_problem_with_its_place(tmp_path, text, problem):
    _, found = read(tmp_path, text)
    assert len(found) == 1
    assert problem in found[0]


def test_all_mistakes_are_found_at_once(tmp_path):
    _, found = read(tmp_path, "[{tabel: t, how: outer, columns: {b: {maxx: c}}}, {table: t, on: a}, null]")
    assert [problem.split(":")[0] for problem in found] == [
        "labs.join[0].tabel",
        "labs.join[0].on",
        "labs.join[0].how",
        "labs.join[0].columns.b",
        "labs.join[0].table",
        "labs.join[1].columns",
        "labs.join[2]",
    ]
