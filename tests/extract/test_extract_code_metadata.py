"""What tables of the input say about codes: which rows count, how they are combined, and what codes.parquet holds."""

import gzip
import json

import polars as pl
import pytest

from helpers import files_below
from MEDS_transforms.extract.extract_code_metadata import reduce_descriptions

CODES = ["X//0", "X//1", "X//2", "X//UNK", "Y"]
CODE = ["X", "col(c)"]


@pytest.fixture
def describe(x):
    """The result for a `_metadata` block of an event with the code `X//<c>`, or for a whole event file."""

    def run(metadata=None, *overrides, tables=None, code=CODE, codes=CODES, events=None, **csv_tables):
        x.shards({"train/0": [1], "held_out/0": [2]})
        for shard, part in (("train/0", codes[:1]), ("held_out/0", codes[1:])):
            path = x.cohort / "merge_to_MEDS_cohort" / f"{shard}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame({"code": [*part, None, *part]}, schema={"code": pl.String}).write_parquet(path)
        x.events(events or {"a": {"e": {"code": code, "time": None, "_metadata": metadata}}})
        for name, content in (csv_tables | (tables or {})).items():
            x.table(name if "." in name else f"{name}.csv", content)
        x.run("extract_code_metadata", *overrides)
        path = x.cohort / "extract_code_metadata" / "codes.parquet"
        return pl.read_parquet(path) if path.exists() else None

    return run


def rows(frame):
    return frame.rows(named=True)


def test_codes_of_all_splits_count_and_others_do_not(describe):
    found = describe({"d": {"description": "label"}}, d="c,label\n2,two\n0,zero\n9,nine\n1,one\n")
    assert found.rows() == [("X//0", "zero"), ("X//1", "one"), ("X//2", "two")]
    assert found.schema == {"code": pl.String, "description": pl.String}


def test_the_mapped_table_stays_beside_the_result(x, describe):
    describe({"hosp/d": {"description": "label"}}, tables={"hosp/d.csv.gz": "c,label\n0,zero\n"})
    folder = x.cohort / "extract_code_metadata"
    assert files_below(folder) == ["codes.parquet", "hosp/d.parquet"]
    assert pl.read_parquet(folder / "hosp/d.parquet").rows() == [("X//0", "zero")]


def test_null_parts_of_codes_read_unk(describe):
    assert describe({"d": {"description": "label"}}, d="c,label\n,unknown\n").rows() == [("X//UNK", "unknown")]


def test_a_row_whose_code_begins_with_a_null_column_describes_nothing(describe):
    found = describe({"d": {"description": "label"}}, code="col(c)", codes=["0", "UNK"], d="c,label\n,none\n0,zero\n")
    assert found.rows() == [("0", "zero")]


def test_a_fixed_code_is_described_by_every_row(describe):
    found = describe({"d": {"description": "label"}}, code="Y", d="label\na\nb\n")
    assert found.rows() == [("Y", "a\nb")]


@pytest.mark.parametrize("name", ["d.parquet", "d.par", "d.csv", "d.csv.gz"])
def test_every_format(describe, name):
    found = describe(
        {"d": {"description": "label"}}, tables={name: pl.DataFrame({"c": ["0", "1"], "label": ["a", "b"]})}
    )
    assert found.rows() == [("X//0", "a"), ("X//1", "b")]


def test_csv_columns_are_text_so_that_codes_keep_leading_zeros(describe):
    found = describe({"d": {"description": "label"}}, codes=["X//007"], d="c,label\n007,bond\n7,seven\n")
    assert found.rows() == [("X//007", "bond")]


def test_rows_that_say_nothing_are_dropped_and_repeats_too(x, describe):
    found = describe(
        {"d": {"description": "label", "unit": "unit"}}, d="c,label,unit\n0,,\n1,one,\n1,one,\n2,,mg\n2,,mg\n"
    )
    assert rows(found) == [
        {"code": "X//1", "description": "one", "unit": None},
        {"code": "X//2", "description": None, "unit": "mg"},
    ]
    assert pl.read_parquet(x.cohort / "extract_code_metadata" / "d.parquet").height == 2


def test_a_described_column_with_the_name_of_a_code_part_feeds_the_code_and_stays(describe):
    found = describe({"d": {"c": "item code", "description": "label"}}, d="item code,label\n0,zero\n9,nine\n")
    assert rows(found) == [{"code": "X//0", "c": "0", "description": "zero"}]


# Several rows of one code


def test_descriptions_are_joined_in_order_of_appearance(describe):
    found = describe({"d": {"description": "label"}}, d="c,label\n0,b\n1,z\n0,a\n0,\n0,c\n")
    assert found.rows() == [("X//0", "b\na\nc"), ("X//1", "z")]


def test_description_separator(describe):
    found = describe({"d": {"description": "label"}}, '.description_separator=" | "', d="c,label\n0,b\n0,a\n")
    assert found.rows() == [("X//0", "b | a")]


def test_if_any_code_has_several_rows_the_other_columns_are_lists_for_all(describe):
    """Repeats and nulls are kept; a description of nothing but nulls is the empty text."""
    found = describe(
        {"d": {"description": "label", "parent_codes": "par", "x": "x"}},
        d="c,label,par,x\n0,l0,p0,1\n0,l0b,,2\n0,l0c,p0,1\n1,,,5\n",
    )
    assert rows(found) == [
        {"code": "X//0", "description": "l0\nl0b\nl0c", "parent_codes": ["p0", None, "p0"], "x": ["1", "2", "1"]},
        {"code": "X//1", "description": "", "parent_codes": [None], "x": ["5"]},
    ]


def test_else_they_are_plain_columns(describe):
    found = describe(
        {"d": {"description": "label", "parent_codes": "par", "x": "x"}}, d="c,label,par,x\n0,l0,p0,1\n1,,,5\n"
    )
    assert found.schema == {
        "code": pl.String,
        "description": pl.String,
        "parent_codes": pl.List(pl.String),
        "x": pl.String,
    }
    assert rows(found) == [
        {"code": "X//0", "description": "l0", "parent_codes": ["p0"], "x": "1"},
        {"code": "X//1", "description": None, "parent_codes": None, "x": "5"},
    ]


def test_columns_of_typed_tables_keep_their_dtype_apart_from_the_two_that_meds_fixes(describe):
    table = pl.DataFrame({"c": [0, 1], "i": [7, 8], "p": [[5, 6], [7]]})
    found = describe({"d": {"description": "i", "parent_codes": "p", "i": "i"}}, tables={"d.parquet": table})
    assert rows(found) == [
        {"code": "X//0", "description": "7", "parent_codes": ["5", "6"], "i": 7},
        {"code": "X//1", "description": "8", "parent_codes": ["7"], "i": 8},
    ]


def test_lists_of_parents_of_several_rows_become_one_list(describe):
    table = pl.DataFrame({"c": ["0", "0", "1", "2"], "p": [["a", "b"], ["c"], ["d"], []]})
    found = describe({"d": {"parent_codes": "p"}}, tables={"d.parquet": table})
    assert found.rows() == [("X//0", ["a", "b", "c"]), ("X//1", ["d"]), ("X//2", [None])]


# Expressions


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("a", ["a0", None]),
        (["a", "b"], ["a0", "b1"]),
        ("{b} of {c}", ["b0 of 0", "b1 of 1"]),
        ({"literal": "same"}, ["same", "same"]),
        ({"a": {"b": "b0"}}, ["a0", None]),
        ({"b": {"c": {"regex": "^1"}}}, [None, "b1"]),
        ({"extract": {"from": "b", "regex": "(.)$"}}, ["0", "1"]),
        ({"output": "b", "matcher": {"a": None}}, [None, "b1"]),
    ],
)
def test_descriptions_are_column_expressions(describe, spec, expected):
    found = describe({"d": {"description": spec}}, d="c,a,b\n0,a0,b0\n1,,b1\n")
    assert dict(found.rows()) == {f"X//{i}": text for i, text in enumerate(expected) if text is not None}


def test_parents_as_text_with_columns_in_it(describe):
    found = describe({"d": {"parent_codes": "P/{par}"}}, d="c,par\n0,p0\n1,\n")
    assert found.rows() == [("X//0", ["P/p0"])]


def test_matchers_compare_text_in_csv_and_values_in_typed_tables(describe):
    """Parents by the version of a classification, as the MIMIC event file has them."""
    spec = {"d": {"parent_codes": [{"ICD9/{c}": {"version": "9"}}, {"ICD10/{c}": {"version": "10"}}]}}
    expected = [("X//0", ["ICD9/0"]), ("X//1", ["ICD10/1"])]
    assert describe(spec, d="c,version\n0,9\n1,10\n2,09\n").rows() == expected
    table = pl.DataFrame({"c": ["0", "1", "2"], "version": [9, 10, 11]})
    assert describe(spec, "do_overwrite=True", tables={"d.parquet": table}).rows() == expected


# Several tables and events


def test_several_tables_are_combined_in_the_order_of_the_event_file(describe):
    found = describe(
        {"z": {"description": "label"}, "a": {"description": "title", "unit": "u"}},
        z="c,label\n0,from z\n1,one\n",
        a="c,title,u\n0,from a,mg\n",
    )
    assert rows(found) == [
        {"code": "X//0", "description": "from z\nfrom a", "unit": [None, "mg"]},
        {"code": "X//1", "description": "one", "unit": [None]},
    ]


def test_one_table_of_several_events(describe):
    event = {"time": None, "_metadata": {"d": {"description": "label"}}}
    events = {
        "a": {"e": {"code": CODE, **event}},
        "b": {"e": {"code": ["Y"], **event}, "f": {"code": "Z", "time": None}},
    }
    found = describe(events=events, d="c,label\n0,zero\n")
    assert found.rows() == [("X//0", "zero"), ("Y", "zero")]


def test_no_metadata_anywhere_is_a_success_with_nothing_to_do(x, describe):
    assert describe(events={"a": {"e": {"code": "A", "time": None}}}) is None
    assert not (x.cohort / "extract_code_metadata").exists()


def test_metadata_that_describes_no_code_of_the_data(describe):
    found = describe({"d": {"description": "label"}}, d="c,label\n9,nine\n")
    assert found.is_empty()
    assert found.schema == {"code": pl.String, "description": pl.String}


# Earlier code metadata


def test_earlier_code_metadata_join_in_full_and_new_values_win(x, describe):
    earlier = x.folder / "earlier" / "codes.parquet"
    earlier.parent.mkdir()
    pl.DataFrame(
        {"code": ["X//0", "X//1", "old"], "description": ["old 0", "old 1", "old"], "x": [1, 2, 3]}
    ).write_parquet(earlier)
    found = describe(
        {"d": {"description": "label", "unit": "u"}},
        f".metadata_input_dir={earlier.parent}",
        d="c,label,u\n0,zero,mg\n1,,mg\n2,two,\n",
    )
    assert rows(found) == [
        {"code": "X//0", "description": "zero", "unit": "mg", "x": 1},
        {"code": "X//1", "description": "old 1", "unit": "mg", "x": 2},
        {"code": "X//2", "description": "two", "unit": None, "x": None},
        {"code": "old", "description": "old", "unit": None, "x": 3},
    ]


# What cannot be


def test_all_missing_tables_are_named(describe):
    with pytest.raises(FileNotFoundError) as error:
        describe({"d_lab": {"description": "x"}, "other": {"description": "x"}}, d_labs="c,x\n")
    for part in ("d_lab ", "did you mean 'd_labs'", "other"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("spec", "table", "said"),
    [
        ({"description": "label"}, "c,lable\n", ["label", "did you mean 'lable'", "It has: c, lable"]),
        ({"description": ["l1", "l2 {l3}"]}, "c,x\n", ["l1, l3"]),
        ({"description": {"label": {"version": 9}}}, "c,label\n", ["version"]),
        ({"description": "label"}, "item,label\n", ["column c", "item", "`c: <column>`"]),
    ],
)
def test_missing_columns_are_named(describe, spec, table, said):
    with pytest.raises(ValueError, match=r"a\.e\._metadata\.d") as error:
        describe({"d": spec}, d=table)
    for part in said:
        assert part in str(error.value)


def test_a_table_called_codes_would_collide_with_the_result(describe):
    with pytest.raises(ValueError, match=r"a\.e\._metadata\.codes.*collides"):
        describe({"codes": {"description": "label"}}, tables={"codes.csv": "c,label\n0,x\n"})


def test_codes_in_a_folder_does_not_collide(describe):
    found = describe({"hosp/codes": {"description": "label"}}, tables={"hosp/codes.csv": "c,label\n0,x\n"})
    assert found.rows() == [("X//0", "x")]


def test_missing_shards_are_named(x, describe):
    describe({"d": {"description": "label"}}, d="c,label\n0,zero\n")
    (x.cohort / "merge_to_MEDS_cohort/held_out/0.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 shards is missing.*held_out/0.*merge_to_MEDS_cohort"):
        x.run("extract_code_metadata", "do_overwrite=True")


def test_a_metadata_table_with_nothing_but_a_header_describes_nothing(describe):
    assert describe({"d": {"description": "label"}}, d="c,label\n").is_empty()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.csv", b"", "is empty"),
        ("d.parquet", b"", "is empty"),
        ("d.parquet", b"no parquet", "cannot be read.*Get a new copy"),
        ("d.csv.gz", gzip.compress(b"c,label\n" + b"0,zero\n" * 999, mtime=0)[:-9], "cannot be read.*Get a new copy"),
        ("d.csv", "c,label\n0,caf\xe9\n".encode("latin-1"), r"row 1 after.*UTF-8"),
        ("d.csv", b"c,label\n0,zero,more\n", r"row 1 after.*3 fields.*Quote fields"),
    ],
)
def test_a_metadata_table_that_cannot_be_read_is_named(x, describe, name, content, said):
    with pytest.raises(ValueError, match=rf"{name}\W+{said}"):
        describe({"d": {"description": "label"}}, tables={name: content})
    assert not [n for n in files_below(x.cohort / "extract_code_metadata") if "lock" not in n]


# Several workers


def test_other_workers_leave_the_merging_to_worker_0(x, describe):
    assert describe({"d": {"description": "label"}}, "worker=1", d="c,label\n0,zero\n") is None
    assert (x.cohort / "extract_code_metadata" / "d.parquet").exists()
    assert describe({"d": {"description": "label"}}, "worker=0", d="c,label\n0,zero\n").rows() == [("X//0", "zero")]


def test_the_result_is_sorted_by_code_and_the_same_bytes_each_time(x, describe):
    """In release 0.1 the order changed from run to run."""
    codes = [f"X//{i}" for i in range(3000)]
    table = "c,label\n" + "".join(f"{i * 7919 % 3000},l{i}\n" for i in range(6000))
    describe({"d": {"description": "label"}}, codes=codes, d=table)
    path = x.cohort / "extract_code_metadata" / "codes.parquet"
    first = path.read_bytes()
    found = describe({"d": {"description": "label"}}, "do_overwrite=True", codes=codes, d=table)
    assert path.read_bytes() == first
    assert found["code"].to_list() == sorted(codes)
    by_code = {f"X//{i * 7919 % 3000}": f"l{i}\nl{i + 3000}" for i in range(3000)}
    assert dict(found.rows()) == by_code


def test_reduction_does_not_depend_on_how_rows_are_spread_over_tables(tmp_path):
    frame = pl.DataFrame({"code": ["a", "b", "a"], "description": ["1", "2", "3"], "x": [1, 2, 3]})
    paths = [tmp_path / f"{i}.parquet" for i in range(3)]
    for i, path in enumerate(paths):
        frame[i : i + 1].write_parquet(path)
    frame.write_parquet(tmp_path / "all.parquet")
    assert reduce_descriptions(paths, ";").equals(reduce_descriptions([tmp_path / "all.parquet"], ";"))


def test_the_shard_map_says_whose_codes_count(x, describe):
    found = describe({"d": {"description": "label"}}, d="c,label\n0,zero\n1,one\n")
    assert found.height == 2
    (x.cohort / "metadata" / ".shards.json").write_text(json.dumps({"train/0": [1]}))
    x.run("extract_code_metadata", "do_overwrite=True")
    assert pl.read_parquet(x.cohort / "extract_code_metadata" / "codes.parquet")["code"].to_list() == ["X//0"]
