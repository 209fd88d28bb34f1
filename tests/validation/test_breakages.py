"""Each check finds what it is for: in a real dataset that is broken in that way, at its place, and nothing else."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from MEDS_transforms.validation.kinds import KINDS
from MEDS_transforms.validation.validate import validate
from MEDS_transforms.validation.versions import MedsVersion

from .datasets import (
    CODES,
    DATASET,
    HELD_OUT,
    SPLITS,
    TRAIN_0,
    TRAIN_1,
    TUNING,
    Break,
    add,
    cast,
    cells,
    change,
    cut,
    damaged,
    dangling,
    drop,
    encoded,
    garbled,
    in_order,
    life,
    link,
    more,
    put,
    rename,
    says,
    table,
    together,
    without,
    write,
)

TOMORROW = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=3)
ERA = datetime(1849, 12, 31)


class Case(NamedTuple):
    """How a dataset is broken, and what must be found.

    `n`: how many; `rows`: the numbers of rows; `words`: a part of the text; `besides`: kinds that come with it.
    """

    name: str
    breaks: Break
    kind: str
    where: str
    n: int = 1
    rows: tuple[int, ...] = ()
    words: str = ""
    besides: tuple[str, ...] = ()
    meds: MedsVersion | None = None


CASES = [
    # files
    Case("truncated", cut(TRAIN_0, 30), "unreadable", TRAIN_0, words="truncated"),
    Case("only the footer's last byte is gone", cut(TRAIN_0, 1), "unreadable", TRAIN_0, words="truncated"),
    Case("zero bytes", put(TRAIN_0), "unreadable", TRAIN_0, words="no bytes"),
    Case("not parquet", put(TRAIN_0, b"subject_id,time,code\n1,,A\n"), "unreadable", TRAIN_0, words="no parquet file"),
    Case("damaged pages", damaged(TRAIN_0), "unreadable", TRAIN_0, words="damaged"),
    Case("a footer that is none", put(TRAIN_0, b"PAR1....\xff\xff\xff\x00PAR1"), "unreadable", TRAIN_0),
    Case("codes that are no UTF-8", garbled(CODES, b"MEDS_DEATH"), "unreadable", CODES, words="UTF"),
    Case("codes of a shard that are no UTF-8", garbled(TRAIN_0, b"SEX//F"), "unreadable", TRAIN_0, words="UTF"),
    Case("a name of a column that is no UTF-8", garbled(TRAIN_0, b"numeric_value"), "unreadable", TRAIN_0),
    Case("a link to nothing", link("data/train/9.parquet", "gone"), "unreadable", "data/train/9.parquet"),
    Case("codes that are a link to nothing", dangling(CODES), "unreadable", CODES, words="a link to nothing"),
    Case("splits that are a link to nothing", dangling(SPLITS), "unreadable", SPLITS, words="a link to nothing"),
    Case("a folder instead of codes", together(without(CODES), put(f"{CODES}/0")), "unreadable", CODES),
    Case(
        "a name that is not UTF-8",
        lambda root: (root / TRAIN_1).rename(root / os.fsdecode(b"data/train/\xff.parquet")),
        "unreadable",
        r"data/train/\xff.parquet",
        words="not UTF-8",
    ),
    Case("codes truncated", cut(CODES, 9), "unreadable", CODES, words="truncated"),
    Case("splits of zero bytes", put(SPLITS), "unreadable", SPLITS, words="no bytes"),
    Case(
        "a temporary shard",
        put("data/train/.tmp.2.parquet/2.parquet"),
        "temporary",
        "data/train/.tmp.2.parquet/2.parquet",
    ),
    Case("a hidden shard", put("data/train/._0.parquet"), "temporary", "data/train/._0.parquet"),
    Case("a partial download", put("data/train/3.parquet.part"), "temporary", "data/train/3.parquet.part"),
    Case("temporary metadata", put("metadata/codes.parquet.tmp"), "temporary", "metadata/codes.parquet.tmp"),
    Case("a lock", put("data/train/.0.parquet.lock"), "leftover_lock", "data/train/.0.parquet.lock"),
    Case("a lock of metadata", put("metadata/codes.lock"), "leftover_lock", "metadata/codes.lock"),
    Case("another kind of file", put("data/train/notes.csv", b"a"), "other_file", "data/train/notes.csv"),
    Case("no dataset.json", without(DATASET), "missing_file", DATASET),
    Case("no splits", without(SPLITS), "missing_file", SPLITS),
    Case(
        "an extraction that was interrupted",
        put("metadata/.shards.json", b'{"train/0": [1, 2], "train/1": [3], "train/2": [6]}'),
        "missing_shard",
        "metadata/.shards.json",
        words="'data/train/2.parquet'",
    ),
    Case("no codes", without(CODES), "missing_codes", CODES),
    Case(
        "an empty shard",
        change(TUNING, lambda t: t.slice(0, 0)),
        "empty_shard",
        TUNING,
        besides=("split_without_data",),
    ),
    # columns of shards
    Case("no subject_id", drop(TRAIN_0, "subject_id"), "missing_column", TRAIN_0, words="'subject_id'"),
    Case("no time", drop(TRAIN_0, "time"), "missing_column", TRAIN_0, words="'time'"),
    Case("no code", drop(TRAIN_0, "code"), "missing_column", TRAIN_0, words="'code'"),
    Case(
        "a former name", rename(TRAIN_0, time="timestamp"), "missing_column", TRAIN_0, words="'timestamp' is its name"
    ),
    Case("a misspelt name", rename(TRAIN_0, code="codes"), "missing_column", TRAIN_0, words="did you mean 'codes'"),
    Case(
        "no numeric_value in MEDS 0.3",
        drop(TRAIN_0, "numeric_value"),
        "missing_column",
        TRAIN_0,
        words="'numeric_value'",
        meds=MedsVersion.V0_3,
    ),
    *(
        Case(
            f"{column} is {to}",
            cast(TRAIN_0, column, to),
            "column_type",
            TRAIN_0,
            words=str(to),
            besides=("columns_differ",),
        )
        for column, to in (
            ("subject_id", pa.int32()),
            ("subject_id", pa.uint64()),
            ("subject_id", pa.float64()),
            ("subject_id", pa.string()),
            ("time", pa.timestamp("ns")),
            ("time", pa.timestamp("ms")),
            ("time", pa.timestamp("us", "UTC")),
            ("time", pa.date32()),
            ("numeric_value", pa.float64()),
            ("code", pa.binary()),
        )
    ),
    Case(
        "text_value is a number",
        add(TRAIN_1, "text_value", pa.array([1] * 5)),
        "column_type",
        TRAIN_1,
        words="text_value",
    ),
    Case("large_string", cast(TRAIN_0, "code", pa.large_string()), "text_layout", TRAIN_0, words="large_string"),
    Case("dictionary", encoded(TRAIN_0, "code"), "text_layout", TRAIN_0, words="dictionary<string>"),
    Case("text_value is string", add(TRAIN_1, "text_value", pa.array(["x"] * 5)), "text_layout", TRAIN_1),
    Case(
        "two columns of a name", add(TRAIN_0, "code", pa.array(["x"] * 12)), "repeated_column", TRAIN_0, words="'code'"
    ),
    Case(
        "two columns of a name in the first shard",
        add(HELD_OUT, "code", pa.array(["x"] * 6)),
        "repeated_column",
        HELD_OUT,
        words="'code'",
    ),
    Case(
        "shards differ",
        together(add(TRAIN_0, "more", pa.array([1] * 12)), add(TRAIN_1, "more", pa.array(["1"] * 5))),
        "columns_differ",
        TRAIN_1,
        words=f"'more' is int64 in {TRAIN_0} and text in {TRAIN_1}",
    ),
    # rows of shards
    Case("no subject", cells(TRAIN_0, "subject_id", (11, None)), "null_subject", TRAIN_0, rows=(11,)),
    Case("null code", cells(TRAIN_0, "code", (2, None), (8, None)), "null_code", TRAIN_0, 2, (2, 8)),
    Case(
        "empty code", cells(TRAIN_0, "code", (2, "")), "empty_code", TRAIN_0, rows=(2,), besides=("undescribed_codes",)
    ),
    Case("not contiguous", in_order(TUNING, 0, 1, 2, 3, 4, 5), "not_contiguous", TRAIN_0)._replace(
        breaks=in_order(TRAIN_0, 0, 1, 2, 6, 7, 3, 4, 5, 8, 9, 10, 11), n=2, rows=(5, 8)
    ),
    Case("not in order of time", in_order(TUNING, 0, 1, 4, 2, 3, 5), "time_order", TUNING, rows=(3,)),
    Case("static after others", in_order(TUNING, 1, 0, 2, 3, 4, 5), "static_order", TUNING, rows=(1,)),
    Case("static last", in_order(TUNING, 1, 2, 3, 4, 5, 0), "static_order", TUNING, rows=(5,)),
    Case(
        "a time to come",
        together(cells(TUNING, "time", (5, TOMORROW)), cells(HELD_OUT, "time", (5, TOMORROW))),
        "future_time",
        HELD_OUT,
        2,
        (5, 5),
        words="in 2 files",
    ),
    Case("a time long ago", cells(TUNING, "time", (1, ERA)), "early_time", TUNING, rows=(1,)),
    Case(
        "no finite values",
        cells(TUNING, "numeric_value", (2, float("nan")), (3, float("inf")), (4, float("-inf"))),
        "not_finite",
        TUNING,
        3,
        (2, 3, 4),
    ),
    Case(
        "five rows, of which three are shown",
        cells(TRAIN_0, "code", *((i, None) for i in range(2, 7))),
        "null_code",
        TRAIN_0,
        5,
        (2, 3, 4),
    ),
    Case(
        "two births",
        cells(TUNING, "code", (2, "MEDS_BIRTH")),
        "birth_repeats",
        TUNING,
        rows=(2,),
        besides=("birth_after_events",),
    ),
    Case(
        "birth after others, by a longer code",
        cells(TUNING, "code", (1, "LAB"), (4, "MEDS_BIRTH//x")),
        "birth_after_events",
        TUNING,
        rows=(4,),
        besides=("undescribed_codes",),
    ),
    Case(
        "death before others",
        cells(TUNING, "code", (2, "MEDS_DEATH"), (5, "LAB")),
        "death_before_events",
        TUNING,
        rows=(2,),
    ),
    Case("two deaths", cells(TUNING, "code", (4, "MEDS_DEATH")), "death_repeats", TUNING, rows=(5,)),
    # subjects, splits
    Case(
        "a subject in two shards",
        lambda root: write(root, TRAIN_1, table([*life(3), *life(1)])),
        "subject_in_two_shards",
        TRAIN_0,
        rows=(6, 6),
        words=f"1 in {TRAIN_0} and {TRAIN_1}",
    ),
    Case(
        "a subject in no split", in_order(SPLITS, 0, 1, 3, 4), "subject_without_split", SPLITS, rows=(0,), words=": 3"
    ),
    Case(
        "a subject without data", more(SPLITS, subject_id=9, split="train"), "split_without_data", SPLITS, words=": 9"
    ),
    Case(
        "a subject in two splits", more(SPLITS, subject_id=1, split="train"), "split_row_repeats", SPLITS, words=": 1"
    ),
    Case(
        "a subject in two splits",
        more(SPLITS, subject_id=4, split="held_out"),
        "subject_in_two_splits",
        SPLITS,
        words=": 4",
    ),
    Case(
        "another split's folder",
        cells(SPLITS, "split", (3, "train")),
        "other_split_in_folder",
        TUNING,
        rows=(0,),
        words="4 of 'train' in 'tuning'",
    )._replace(
        breaks=together(cells(SPLITS, "split", (3, "train")), more(SPLITS, subject_id=9, split="tuning")),
        besides=("split_without_data",),
    ),
    Case("a split of another name", cells(SPLITS, "split", (3, "test")), "split_name", SPLITS, words="'test'"),
    Case("a null split", cells(SPLITS, "split", (3, None)), "null_split", SPLITS, besides=("subject_without_split",)),
    Case("splits with more columns", add(SPLITS, "site", pa.array([1] * 5)), "extra_column", SPLITS, words="'site'"),
    Case("splits without split", drop(SPLITS, "split"), "missing_column", SPLITS, words="'split'"),
    Case(
        "split ids beyond int64",
        change(SPLITS, lambda t: t.set_column(0, "subject_id", pa.array([2**63, 2, 3, 4, 5], pa.uint64()))),
        "column_type",
        SPLITS,
        words="uint64",
    ),
    Case("split ids are text", cast(SPLITS, "subject_id", pa.string()), "column_type", SPLITS, words="string"),
    Case("splits as large_string", cast(SPLITS, "split", pa.large_string()), "text_layout", SPLITS),
    Case(
        "two subjects in no split",
        in_order(SPLITS, 0, 3, 4),
        "subject_without_split",
        SPLITS,
        2,
        rows=(0, 0),
        words=": 2, 3",
    ),
    Case(
        "another split's folder, as key and value",
        together(
            lambda root: (root / "data/tuning").rename(root / "data/split=tuning"),
            cells(SPLITS, "split", (3, "train")),
            more(SPLITS, subject_id=9, split="tuning"),
        ),
        "other_split_in_folder",
        "data/split=tuning/0.parquet",
        rows=(0,),
        besides=("split_without_data",),
    ),
    # codes
    Case("codes without code", drop(CODES, "code"), "missing_column", CODES, words="'code'"),
    Case(
        "codes are numbers", change(CODES, lambda t: t.set_column(0, "code", pa.array(range(5)))), "column_type", CODES
    ),
    Case("no description in MEDS 0.3", drop(CODES, "description"), "missing_column", CODES, meds=MedsVersion.V0_3),
    Case(
        "parents are text",
        change(CODES, lambda t: t.set_column(2, "parent_codes", pa.array(["X"] * 5))),
        "column_type",
        CODES,
    ),
    Case("parents in large lists", cast(CODES, "parent_codes", pa.large_list(pa.string())), "text_layout", CODES),
    Case("a null code is described", more(CODES, description="all"), "null_described_code", CODES),
    Case("a code twice", more(CODES, code="LAB"), "code_repeats", CODES, words="'LAB'"),
    Case(
        "a code is not described",
        in_order(CODES, 0, 1, 2, 4),
        "undescribed_codes",
        CODES,
        words="(15 measurements): 'LAB'",
    ),
    Case(
        "the most frequent first", in_order(CODES, 1, 2, 4), "undescribed_codes", CODES, 2, words="'LAB', 'MEDS_BIRTH'"
    ),
    Case("a code is never there", more(CODES, code="RARE"), "unused_codes", CODES, 2, words="'GROUP', 'RARE'"),
    Case(
        "a parent elsewhere",
        cells(CODES, "parent_codes", (3, ["LOINC/1"])),
        "outside_parents",
        CODES,
        words="'LOINC/1'",
    ),
    Case("its own parent", cells(CODES, "parent_codes", (3, ["LAB"])), "own_parent", CODES, words="'LAB'"),
    # dataset.json
    Case("no JSON", put(DATASET, b"{"), "unreadable", DATASET, words="not JSON"),
    Case(
        "a key repeats",
        put(DATASET, b'{"license": "a", "license": "b"}'),
        "unreadable",
        DATASET,
        words="'license' repeats",
    ),
    Case("too deep", put(DATASET, b"[" * 100_000), "unreadable", DATASET, words="nested too deeply"),
    Case("a list", put(DATASET, b"[]"), "dataset_json", DATASET),
    Case(
        "a version that is a number", says(dataset_version=1.0), "dataset_json", DATASET, words="dataset_version: 1.0"
    ),
    Case("no list", says(site_id_columns="site"), "dataset_json", DATASET, words="site_id_columns"),
    Case("no time", says(created_at="yesterday"), "created_at", DATASET, words="'yesterday'"),
    Case("another MEDS", says(meds_version="0.9"), "meds_version", DATASET, words="'0.9'"),
    Case("a column that is not there, twice", says(site_id_columns=["site", "site"]), "listed_column", DATASET),
    Case("a column that is not there", says(site_id_columns=["site"]), "listed_column", DATASET, words="'site'"),
]


def kinds_in(report: Any) -> set[str]:
    return {finding.kind for finding in report.findings}


UNAVOIDABLE = {"unused_codes"}
"""GROUP, the parent, is never in the data of the dataset; nor are codes that a broken shard alone has."""


@pytest.mark.parametrize("case", CASES, ids=[f"{case.kind}: {case.name}" for case in CASES])
def test_what_is_broken_is_found_at_its_place_and_nothing_else(root, case):
    case.breaks(root)
    report = validate(root, case.meds)
    [finding] = [f for f in report.findings if f.kind == case.kind and (f.where, f.n) == (case.where, case.n)]
    assert finding.severity is KINDS[case.kind].severity
    assert case.words in finding.what
    assert [row.row for row in finding.rows] == [*case.rows]
    assert kinds_in(report) - UNAVOIDABLE - {case.kind} == {*case.besides}
    assert report.is_valid == all(KINDS[kind].severity != "error" for kind in kinds_in(report))


def test_every_kind_is_tested():
    elsewhere = {"no_data", "not_meds", "no_measurements"}  # of whole folders: see test_folders.py
    assert {case.kind for case in CASES} | elsewhere == {*KINDS}


def test_rows_are_shown_with_their_values(root):
    cells(TRAIN_0, "code", (2, None))(root)
    [finding] = [f for f in validate(root).findings if f.kind == "null_code"]
    assert [*finding.as_json()["rows"]] == [
        {"file": TRAIN_0, "row": 2, "subject_id": 2, "time": "2001-01-02 00:00:00", "code": None}
    ]
    assert f"{TRAIN_0} row 2: subject 2, 2001-01-02 00:00:00, None" in finding.in_full().what


def test_text_that_would_break_the_line_is_quoted(root):
    cells(TRAIN_0, "code", (1, "A\nerror  x"))(root)
    in_order(TRAIN_0, 0, 2, 1, *range(3, 12))(root)
    [finding] = [f for f in validate(root).findings if f.kind == "time_order"]
    assert finding.in_full().what.splitlines()[1:] == [
        f"{TRAIN_0} row 2: subject 2, 1950-01-02 00:00:00, 'A\\nerror  x'"
    ]


@pytest.mark.parametrize("content", [b"[1, 2]", b"5"])
def test_a_shard_map_that_is_none_does_not_matter(root, content):
    put("metadata/.shards.json", content)(root)
    assert kinds_in(validate(root)) == UNAVOIDABLE


def test_what_is_wrong_with_many_files_is_one_remark(root):
    together(*(dangling(name) for name in (TRAIN_0, TRAIN_1, TUNING)))(root)
    [finding] = [f for f in validate(root).findings if f.kind == "unreadable"]
    assert (finding.where, finding.n) == (TRAIN_0, 3)


def test_a_time_that_python_has_no_object_for_is_shown_all_the_same(root):
    late = pa.array([2**60], pa.int64()).cast(pa.timestamp("us"))
    change(TRAIN_1, lambda t: t.slice(0, 1).set_column(1, "time", late))(root)
    [finding] = [f for f in validate(root).findings if f.kind == "future_time"]
    assert finding.rows[0].time.startswith("38")


def test_rows_of_a_shard_that_breaks_off_are_shown_without_values(root):
    damaged(TRAIN_0)(root)
    report = validate(root)
    assert "not_contiguous" not in kinds_in(report)
    assert "split_without_data" not in kinds_in(report)  # nobody knows who was in the shard
    assert "unused_codes" not in kinds_in(report)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("name", [TRAIN_0, CODES, SPLITS, DATASET, "data/train"])
def test_a_file_that_may_not_be_read(root, name):
    (root / name).chmod(0)
    try:
        [finding] = [f for f in validate(root).findings if f.kind == "unreadable"]
    finally:
        (root / name).chmod(0o755)
    assert finding.where == name
    assert "Permission denied" in finding.what


def test_a_null_code_is_not_counted(root):
    more(CODES, description="all")(root)
    assert validate(root).counts.described_codes == 5


def test_code_modifiers_tell_rows_of_a_code_apart(root):
    says(code_modifier_columns=["unit"])(root)
    together(more(CODES, code="LAB"), add(CODES, "unit", pa.array([*"aaaaab"])))(root)
    for name in (TRAIN_0, TRAIN_1, TUNING, HELD_OUT):
        change(name, lambda t: t.append_column("unit", pa.array(["a"] * t.num_rows)))(root)
    assert kinds_in(validate(root)) <= UNAVOIDABLE
    says(code_modifier_columns=["unit", "code", "unit"])(root)
    assert kinds_in(validate(root)) <= UNAVOIDABLE
    cells(CODES, "unit", (5, "a"))(root)
    assert "code_repeats" in kinds_in(validate(root))
