"""What is said of event files in the newer line's language that cannot be used, and which files are in it."""

import logging

import polars as pl
import pytest
import yaml

from extract.newer_cases import extraction, rows
from MEDS_transforms.errors import InputError
from MEDS_transforms.extract.event_file.read import read_event_file
from MEDS_transforms.settings.newer_signs import is_newer

EVENT = "{code: A, time: null}"


@pytest.mark.parametrize(
    ("text", "newer"),
    [
        ("_defaults: {subject_id: $a}\nt: {e: {code: A, time: null}}", True),
        ("sources: {}\nt: {e: {code: A, time: null}}", True),
        ("t: {_defaults: {subject_id: $a}, e: {code: A, time: null}}", True),
        ("t: {_table: {}, e: {code: A, time: null}}", True),
        ("t: {e: {code: $a, time: null}}", True),
        ("t: {e: {code: A, time: '$t::\"%Y\"'}}", True),
        ("t: {e: {code: 'f\"A//{$a}\"', time: null}}", True),
        ("t: {e: {code: A, time: null, numeric_value: $x}}", True),
        ("t: {e: {code: A, time: null}}", False),
        ("subject_id_col: s\nt: {e: {code: A, time: null, numeric_value: $x}}", False),
        ("t: {e: {code: A, time: col(t), time_format: '%Y', numeric_value: $x}}", False),
        ("t: {e: {code: col(a), time: null, numeric_value: $x}}", False),
        ("t: {e: {code: [col(a)], time: null, numeric_value: x}}", False),
        ("t: {e: {code: COST IN $, time: null}}", False),
        ("t: {}", False),
        ("t", False),
        ("", False),
    ],
)
def test_a_file_tells_its_language_by_its_blocks_and_expressions(text, newer):
    assert is_newer(yaml.safe_load(text)) is newer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("_defaults: {time: $a}\nt: {e: EVENT}", ["_defaults: must be a mapping with the key subject_id"]),
        ("_defaults: {}\n", ["it names no table"]),
        ("_defaults: {}\nt: 5", ["t: must be a mapping from events"]),
        ("_defaults: {}\nt: {e: {code: A}}", ["t.e: must be a mapping with code and time"]),
        ("t: {_table: {colz: {}}, e: EVENT}", ["t._table: must be a mapping with the keys join and cols"]),
        ("t: {_table: {cols: 5}, e: EVENT}", ["t._table.cols: must be a mapping"]),
        ("t: {_table: {cols: {x: $y, y: $x}}, e: EVENT}", ["cols: x, y read themselves or each other"]),
        ("t: {_table: {join: {a: {}, b: {}}}, e: EVENT}", ["join: must be a mapping with one table"]),
        ("t: {_table: {join: {a: {key: k}}}, e: EVENT}", ["join.a: must be a mapping with key"]),
        ("t: {_table: {join: {a: {cols: [x]}}}, e: EVENT}", ["join.a: needs either key, or"]),
        ("t: {_table: {join: {a: {key: k, left_on: k, cols: [x]}}}, e: EVENT}", ["join.a: needs either key, or"]),
        ("t: {_table: {join: {a: {left_on: [k, l], right_on: k, cols: [x]}}}, e: EVENT}", ["as many columns"]),
        ("t: {_table: {join: {a: {key: k, cols: x}}}, e: EVENT}", ["join.a.cols: must be a list of columns"]),
        (
            "t: {_table: {join: {a: {key: k, cols: {x: maxx}}}}, e: EVENT}",
            ["must be one of min", "did you mean 'max'"],
        ),
        ("t: {e: {code: $a +, time: '$b ::'}}", ["Expression at t.e.code: found '$a +'", "Expression at t.e.time"]),
        ("t: {e: {code: [col(a)], time: null, x: $a}}", ["Expression at t.e.code: found ['col(a)']"]),
        ("t: {e: {code: $a, time: null, subject_id: $b}}", ["t.e.subject_id: the subject belongs to the table"]),
        ("t: {e: {code: $a, time: null, _x: $b}}", ["t.e._x: no such key"]),
        ("t: {e: {code: $a, time: null, source_block: x}}", ["t.e.source_block: the column of that name"]),
        ("_defaults: {}\nt: {e: {code: $a, time: $b, time_format: x}}", ["a format is a part of the time"]),
        ("t: {e: {code: A, time: $t, _metadata: {d: {description: $x}}}}", ["the code 'A' is made of no column"]),
        (
            "t: {e: {code: $a, time: null, _metadata: {d: {description: $x}}}}",
            ["must be called like a column", "made of a"],
        ),
        ("t: {e: {code: $a, time: null, _metadata: {d: {a: $a}}}}", ["must have a column that describes codes"]),
        ("t: {e: {code: $a, time: null, _metadata: {d: {a: $a, code: $x}}}}", ["code is made from the event"]),
        ("t: {e: {code: $a, time: null, _metadata: {_self: {a: $a, x: $x}}}}", ["a must not be described"]),
        ("t: {e: {code: $a, time: null, _metadata: {d: 5}}}", ["t.e._metadata: must be a mapping"]),
        ("t: {_defaults: {subject_id: hash($a)}, e: EVENT}\nu: {e: EVENT}", ["hash(…) in t, not in u"]),
    ],
)
def test_what_cannot_be_is_said_with_its_place(tmp_path, text, said):
    path = tmp_path / "events.yaml"
    path.write_text(text.replace("EVENT", EVENT))
    with pytest.raises(InputError) as error:
        read_event_file(path)
    for fragment in said:
        assert fragment in str(error.value)
    assert all(problem.where or problem.startswith("Expression at ") for problem in error.value.problems)


STRICT = "q: {f: {code: X, time: '$ts::\"%Y-%m-%d\"'}}"


def test_a_time_that_a_strict_format_does_not_suit_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=r"q\.f: .*the column ts .*'%Y-%m-%d' does not suit, such as 'nope'"):
        extraction(tmp_path, {"q.csv": "subject_id,ts\n1,2020-01-01\n2,nope\n"}, STRICT)


def test_text_without_a_format_is_no_time(tmp_path):
    with pytest.raises(InputError, match=r"q\.f\.time: \$ts is String, which is no time\. Write .* as"):
        extraction(tmp_path, {"q.csv": "subject_id,ts\n1,2020-01-01\n"}, "q: {f: {code: X, time: $ts}}", "shard_events")


def test_a_column_that_is_not_there_is_named_with_what_reads_it(tmp_path):
    text = "q: {_table: {cols: {y: $zz + 1}}, f: {code: X, time: null, y: $y, z: $aa}}"
    with pytest.raises(InputError, match=r"no column 'zz'") as error:
        extraction(tmp_path, {"q.csv": "subject_id,a\n1,2\n"}, text, "shard_events")
    assert "_table.cols.y: $zz + 1" in str(error.value)
    assert "'aa'" in str(error.value)


def test_a_bare_word_within_an_expression_is_a_warning(tmp_path, caplog):
    path = tmp_path / "events.yaml"
    path.write_text("t: {e: {code: A, time: null, numeric_value: $a + b}}")
    with caplog.at_level(logging.WARNING):
        read_event_file(path)
    assert "t.e.numeric_value: Bare word 'b'" in caplog.text


def test_codes_are_as_they_are_written_in_text_files(tmp_path):
    text = "t: {e: {code: 'f\"{$v}//{$c}\"', time: null, w: $v, numeric_value: $v + 1}}"
    x = extraction(tmp_path, {"t.csv": "subject_id,v,c\n1,007,1.10\n2,8,250.00\n"}, text)
    assert [(r["code"], r["w"], r["numeric_value"]) for r in rows(x.shard("merge_to_MEDS_cohort", "train/0"))] == [
        ("007//1.10", 7, 8.0),
        ("8//250.00", 8, 9.0),
    ]


def test_names_of_columns_are_taken_literally(tmp_path):
    table = pl.DataFrame({"subject_id": [1, 2], "*": ["a", "b"], "^x.*$": [1, 2], "two words": ["c", None]})
    text = "t: {e: {code: 'f\"{$`*`}//{$`two words`}\"', time: null, numeric_value: '$`^x.*$`'}}"
    x = extraction(tmp_path, {"t.parquet": table}, text)
    found = rows(x.shard("merge_to_MEDS_cohort", "train/0"))
    assert found == [{"subject_id": 1, "code": "a//c", "numeric_value": 1.0, "source_block": "t/e"}]


def test_hashed_subjects_are_the_same_in_every_table(tmp_path):
    text = """
_defaults: {subject_id: hash($MRN)}
p: {e: {code: P, time: null, a: $a}}
q: {e: {code: Q, time: null, a: $a}}
"""
    x = extraction(tmp_path, {"p.csv": "MRN,a\nA1,x\nB2,y\n,z\n", "q.csv": "MRN,a\nB2,y\nA1,x\n"}, text)
    df = x.shard("merge_to_MEDS_cohort", "train/0")
    subjects = df.group_by("subject_id").agg(pl.col("a").unique(), pl.col("code").sort())
    assert sorted(subjects["a"].to_list()) == [["x"], ["y"]]
    assert subjects["code"].to_list() == [["P", "Q"], ["P", "Q"]]
    assert df["subject_id"].min() >= 0


def test_events_that_describe_one_code_in_two_ways_are_an_error(tmp_path):
    text = """
m:
  e: {code: 'f"{$a}"', time: null, _metadata: {d: {a: $a, description: $t}}}
  f: {code: $a, time: null, _metadata: {d: {a: $a, description: $t}}}
"""
    with pytest.raises(InputError, match=r"The code 'A' is made, and described, by several events"):
        extraction(tmp_path, {"m.csv": "subject_id,a\n1,A\n", "d.csv": "a,t\nA,x\n"}, text, "extract_code_metadata")
