import gzip

import polars as pl
import pytest

from MEDS_transforms.dataset.code_settings import CodeSettings, Settable, read_rules
from MEDS_transforms.errors import InputError

RANGES = Settable(
    {"min": pl.Float64(), "max": pl.Float64()},
    further=("unit",),
    wrong={"min is greater than max": pl.col("min") > pl.col("max")},
)
CODES = ["A", "LAB//B", "LAB//C", None, "other", "A"]


def found(block: dict, df: pl.DataFrame | None = None, settable: Settable = RANGES, **more) -> list[tuple]:
    rules = read_rules(settable, block, "ranges", "ranges_fp")
    df = pl.DataFrame({"code": CODES}) if df is None else df
    got = CodeSettings(settable, rules, **more)(df)
    assert got.select(df.columns).equals(df)
    return got.drop(df.columns).rows()


def test_the_first_entry_that_matches_counts_with_all_its_settings():
    entries = [
        {"code": {"regex": "^LAB//B"}, "min": 1},
        {"code": "LAB//B", "min": 2, "max": 3},
        {"code": {"regex": "LAB"}, "max": 5.5},
        {"code": "A"},
        {"code": {"regex": "A"}, "min": 0},
    ]
    assert found({"ranges": entries}) == [
        (None, None), (1, None), (None, 5.5), (None, None), (None, None), (None, None)
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_further_columns_narrow_an_entry_down(dtype):
    entries = [
        {"code": "A", "unit": "mg", "min": 1},
        {"code": {"regex": "."}, "unit": None, "min": 2},
        {"code": "A", "min": 3},
    ]
    df = pl.DataFrame({"code": ["A", "A", "A", "B", "B"], "unit": ["mg", None, "g", None, "mg"]}).cast(dtype)
    assert found({"ranges": entries}, df) == [(1, None), (2, None), (3, None), (2, None), (None, None)]


def test_values_of_further_columns_may_be_numbers():
    df = pl.DataFrame({"code": ["A", "A", "A"], "unit": [1, 2, None]})
    assert found({"ranges": [{"code": "A", "unit": "1", "min": 1}, {"code": "A", "unit": 2, "min": 2}]}, df) == [
        (1, None), (2, None), (None, None)
    ]  # fmt: skip


def test_data_need_no_column_that_no_entry_names():
    assert found({"ranges": [{"code": "A", "min": 1}]}, pl.DataFrame({"code": ["A"]})) == [(1, None)]
    with pytest.raises(InputError, match="no column unit"):
        found({"ranges": [{"code": "A", "unit": "x", "min": 1}]}, pl.DataFrame({"code": ["A"]}))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_table_on_disk(tmp_path, suffix):
    table = pl.DataFrame(
        {"regex": ["^LAB", None, None], "code": [None, "A", "LAB//C"], "min": [1.5, None, 7.0], "max": [2.0, 0.0, 9.0]}
    )
    path = tmp_path / f"[0-1){suffix}"
    if suffix == ".parquet":
        table.write_parquet(path)
    else:
        text = table.write_csv().encode()
        path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    lab = (1.5, 2)
    assert found({"ranges_fp": str(path)}) == [(None, 0), lab, lab, (None, None), (None, None), (None, 0)]
    # Entries come first, and none of their settings is filled up from the table.
    block = {"ranges_fp": str(path), "ranges": [{"code": "LAB//B", "max": 9}]}
    assert found(block) == [(None, 0), (None, 9), lab, (None, None), (None, None), (None, 0)]


def test_columns_of_the_code_metadata_come_last():
    metadata = pl.DataFrame({"code": ["A", "LAB//B", None], "low": [1, 2, 3]})
    block = {"ranges": [{"code": "LAB//B", "max": 9}]}
    more = {"code_metadata": metadata, "metadata_columns": {"min": "low", "max": None}}
    nothing = (None, None)
    assert found(block, **more) == [(1, None), (None, 9), nothing, nothing, nothing, (1, None)]
    with pytest.raises(InputError, match="there is no high"):
        found(block, code_metadata=metadata, metadata_columns={"min": "high"})


def test_metadata_are_joined_by_the_modifiers():
    metadata = pl.DataFrame({"code": ["A", "A"], "unit": ["x", None], "low": [1, 2]})
    df = pl.DataFrame({"code": ["A", "A", "A"], "unit": [None, "x", "y"]})
    more = {"code_metadata": metadata, "metadata_columns": {"min": "low"}, "code_modifiers": ["unit"]}
    assert found({}, df, **more) == [(2, None), (1, None), (None, None)]


def test_codes_of_later_shards_are_looked_up_too():
    rules = read_rules(RANGES, {"ranges": [{"code": {"regex": "[13]"}, "min": 1}]}, "ranges")
    add = CodeSettings(RANGES, rules, {"min": "low"})
    for n in (1, 2, 4):
        got = add(pl.DataFrame({"code": [f"C{i}" for i in range(n)]}))
        assert got["low"].to_list() == [1 if i in (1, 3) else None for i in range(n)]
        assert got.columns == ["code", "low"]
    assert add(pl.DataFrame(schema={"code": pl.String})).shape == (0, 2)


def test_many_rows_keep_their_order():
    codes = pl.Series([f"C{i % 977}" for i in range(200_000)])
    rules = read_rules(
        RANGES, {"ranges": [{"code": {"regex": "^C[0-4]"}, "min": 1}, {"code": "C7", "max": 2}]}, "ranges"
    )
    got = CodeSettings(RANGES, rules)(pl.DataFrame({"code": codes, "n": range(200_000)}))
    assert got["n"].is_sorted()
    assert got["min"].to_list() == [1 if code[1] in "01234" else None for code in codes]
    assert (got["max"] == 2).sum() == codes.eq("C7").sum()


LISTS = Settable({"edges": pl.List(pl.Float64()), "on": pl.Boolean()}, required=("edges",))


def test_lists_and_truth_values(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('code,edges,on\nA,"[1, 2.5]",true\n"LAB//B",[],\n')
    block = {"ranges_fp": path, "ranges": [{"code": "LAB//C", "edges": [1], "on": False}]}
    nothing = (None, None)
    assert found(block, settable=LISTS) == [
        ([1, 2.5], True),
        ([], None),
        ([1], False),
        nothing,
        nothing,
        ([1, 2.5], True),
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (3, "ranges must be a list of entries, not 3"),
        ([3], r"ranges\[0\] must be a mapping with the keys code, max, min, unit, not 3"),
        ([{"code": "A", "mn": 1}], r"ranges\[0\].mn: there is no such key \(did you mean 'min'\?\)"),
        ([{"min": 1}], r"ranges\[0\]: there is no code. Name one, or a pattern"),
        ([{"code": 8867, "min": 1}], r"ranges\[0\].code must be text, not 8867. Put it in quotes: '8867'"),
        ([{"code": {"rgx": "A"}}], r"ranges\[0\].code must be a code, or a mapping with the one key regex"),
        ([{"code": {"regex": "("}}], r"ranges\[0\].code.regex must be a regular expression in Rust's dialect"),
        ([{"code": "A", "min": "1"}], r"ranges\[0\].min must be a number, not '1'"),
        ([{"code": "A", "min": True}], r"ranges\[0\].min must be a number, not True"),
        ([{"code": "A", "unit": ["x"]}], r"ranges\[0\].unit must be one value, not \['x'\]"),
        ([{"code": "A"}, {"code": "B", "min": 2, "max": 1}], r"ranges\[1\]: min is greater than max"),
    ],
)
def test_wrong_entries(entries, message):
    with pytest.raises(InputError, match=message):
        read_rules(RANGES, {"ranges": entries}, "ranges")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("cod,min\nA,1\n", r"there is no column code \(did you mean 'cod'\?\); it has cod, min"),
        ("code,mn\nA,1\n", r"there is no column min \(did you mean 'mn'\?\)"),
        ("code,min\nA,1\nB,x\n", "row 2: 1 row of the column min must be a number; the first is 'x'"),
        ("code,regex,min\nA,A,1\n", "row 1: a row must have either a code or a regex"),
        ("code,min\n,1\n", "row 1: a row must have either a code or a regex"),
        ("regex,min\n(,1\n", "row 1: regex must be a regular expression"),
        ("code,unit,min\nA,,1\nA,mg,1\nA,,2\n", "row 1: 2 rows with code 'A'. Keep one of them"),
        ("code,min,max\nA,1,2\nB,2,1\n", "row 2: min is greater than max"),
    ],
)
def test_wrong_tables(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_rules(RANGES, {"ranges_fp": str(path)}, None, "ranges_fp")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "t.parquet").write_text("x")
    for name, message in {
        "no.csv": "there is no file",
        "t.xlsx": "must be a file",
        "t.parquet": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=f"ranges_fp: .*{message}"):
            read_rules(RANGES, {"ranges_fp": str(tmp_path / name)}, None, "ranges_fp")


def test_what_is_required():
    with pytest.raises(InputError, match=r"ranges\[0\]: there is no edges. Set it"):
        read_rules(LISTS, {"ranges": [{"code": "A"}]}, "ranges")


def test_all_problems_are_listed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("code,min\nA,x\nA,1\n")
    with pytest.raises(InputError) as caught:
        read_rules(RANGES, {"ranges": [{"code": "A", "mn": 1}, {}], "ranges_fp": path}, "ranges", "ranges_fp")
    assert len(caught.value.problems) == 4


def test_columns_of_no_use_are_warned_of(tmp_path, caplog):
    path = tmp_path / "t.csv"
    path.write_text("code,min,comment\nA,1,x\n")
    read_rules(RANGES, {"ranges_fp": path}, None, "ranges_fp")
    assert "the columns comment are of no use here" in caplog.text
