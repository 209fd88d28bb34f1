"""Which bin a value is in, and what its code becomes."""

import json
import logging
import math
from bisect import bisect_right
from dataclasses import replace
from datetime import datetime
from importlib import import_module

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import Preprocessing, measurements
from MEDS_transforms.mapreduce.passes import run_pass
from MEDS_transforms.stages import packaged_stages
from MEDS_transforms.transforms.bin_numeric_values import bin_numeric_values_fntr, check
from MEDS_transforms.transforms.bins import fields_of
from MEDS_transforms.work.expected import expecting

T = datetime(2020, 1, 1)
NAN, INF = math.nan, math.inf
DEFAULT = "{code}//value_[{left},{right})"
FIELDS = ["values/quantile/0.25", "values/quantile/0.5", "values/quantile/0.75"]


def quantiles(**of_codes):
    """Code metadata with three quantiles, or null, of each code."""
    rows = [None if edges is None else dict(zip(FIELDS, edges, strict=True)) for edges in of_codes.values()]
    dtype = pl.Struct(dict.fromkeys(FIELDS, pl.Float32))
    return pl.DataFrame({"code": [*of_codes], "values/quantiles": pl.Series(rows, dtype=dtype)})


def put_into_bins(df, metadata=None, modifiers=None, **block):
    columns = [] if metadata is None else ["values/quantiles"]
    block = {"bin_with_columns": columns, "code_with_bin_name": DEFAULT} | block
    return bin_numeric_values_fntr(block, modifiers, metadata)(df.lazy()).collect()


def new_codes(values, edges, **block):
    df = measurements(*((1, T, "A", value) for value in values))
    return put_into_bins(df, custom_bins={"A": edges}, **block)["code"].to_list()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (-5, "A//value_[-inf,0.0)"),
        (-INF, "A//value_[-inf,0.0)"),
        (-0.0, "A//value_[0.0,0.1)"),
        (0, "A//value_[0.0,0.1)"),
        (0.1, "A//value_[0.1,100.0)"),
        (99, "A//value_[0.1,100.0)"),
        (100, "A//value_[100.0,inf)"),
        (INF, "A//value_[100.0,inf)"),
        (NAN, "A"),
        (None, "A"),
    ],
)
def test_an_edge_belongs_to_the_bin_that_begins_with_it(value, code):
    df = measurements((1, T, "A", value), text=pl.lit("t"))
    got = put_into_bins(df, quantiles(A=(0, 0.1, 100)))
    assert_frame_equal(got, df.with_columns(code=pl.lit(code)))


@pytest.mark.parametrize(
    ("edge", "text"),
    [(1e-7, "1e-7"), (1e-5, "0.00001"), (1e20, "1e+20"), (3e7, "30000000.0"), (123456789, "123456790.0"), (2, "2.0")],
)
def test_how_edges_are_written(edge, text):
    """As 32-bit floats: with the fewest digits that tell them from others."""
    assert new_codes([-1], [edge], code_with_bin_name="{right}") == [text]


def test_of_equal_edges_one_counts():
    """The numbers of bins are those of the newer line, where each edge begins a bin, if an empty one."""
    values, template = [0, 1, 1.5, 2, 3], "{left},{right},{bin}"
    assert new_codes(values, [1, 1, 2], code_with_bin_name=template) == [
        "-inf,1.0,0", "1.0,2.0,2", "1.0,2.0,2", "2.0,inf,3", "2.0,inf,3"
    ]  # fmt: skip
    assert new_codes(values, [1, 1, 1], code_with_bin_name=template) == ["-inf,1.0,0", *["1.0,inf,3"] * 4]


def test_codes_without_bins_stay():
    df = measurements((1, T, "A", 1), (1, T, "B", 1), (1, T, "C", 1), (1, T, None, 1), (1, T, "D", 1))
    metadata = quantiles(A=None, B=(None, None, None), D=(None, 1, None)).vstack(quantiles(**{"": (1, 2, 3)}))
    metadata = metadata.with_columns(code=pl.col("code").replace("", None))
    assert put_into_bins(df, metadata)["code"].to_list() == ["A", "B", "C", None, "D//value_[1.0,inf)"]


def test_the_first_column_with_edges_counts():
    metadata = quantiles(A=(1, 2, 3), B=None, C=(9, 9, 9)).with_columns(
        other=pl.Series([[5.0], [7.5, 5.0], None], dtype=pl.List(pl.Float64))
    )
    df = measurements((1, T, "A", 5), (1, T, "B", 5), (1, T, "C", 5))
    got = put_into_bins(df, metadata, bin_with_columns=["values/quantiles", "other"])
    assert got["code"].to_list() == ["A//value_[3.0,inf)", "B//value_[5.0,7.5)", "C//value_[-inf,9.0)"]
    got = put_into_bins(df, metadata, bin_with_columns=["other", "values/quantiles"])
    assert got["code"].to_list()[0] == "A//value_[5.0,inf)"


def test_custom_bins_count_before_files_and_these_before_metadata(tmp_path):
    df = measurements(*((1, T, code, 5) for code in "ABCDE"))
    metadata = quantiles(A=(1, 2, 3), B=(1, 2, 3), C=(1, 2, 3), D=(1, 2, 3))
    custom = {"A": {"low": 4, "high": 6}, "D": []}
    want = ["A//value_[4.0,6.0)", "B//value_[-inf,7.0)", "C//value_[3.0,inf)", "D", "E//value_[4.5,inf)"]
    files = {
        "bins.yaml": "A: [9]\nB: {x: 7}\nE: [4.5]\n",
        "bins.yml": "- {code: {regex: '[ABE]'}, edges: [4.5]}\n",
        "bins.csv": 'code,regex,edges\nB,,[7]\n,[AE],"[4.5]"\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        block = {"custom_bins": custom, "custom_bins_filepath": str(tmp_path / name)}
        got = put_into_bins(df, metadata, **block)["code"].to_list()
        assert got == [code if name != "bins.yml" or code[0] != "B" else "B//value_[4.5,inf)" for code in want]


def test_patterns_and_code_modifiers():
    df = measurements((1, T, "A1", 5), (1, T, "A2", 5), (1, T, "A2", 5)).with_columns(unit=pl.Series(["x", "x", None]))
    entries = [{"code": "A2", "unit": None, "edges": [1]}, {"code": {"regex": "^A"}, "edges": {"p": 2, "q": 6}}]
    got = put_into_bins(df, None, ["unit"], custom_bins=entries, code_with_bin_name="{code}//{bin}//{left}")
    assert got["code"].to_list() == ["A1//1//2.0", "A2//1//2.0", "A2//1//1.0"]
    metadata = quantiles(A2=(1, 2, 3), A1=(5, 6, 7)).with_columns(unit=pl.Series([None, "x"], dtype=pl.String))
    assert put_into_bins(df, metadata, ["unit"])["code"].to_list() == [
        "A1//value_[5.0,6.0)",
        "A2",
        "A2//value_[3.0,inf)",
    ]


def test_values_are_dropped_if_so_wished():
    df = measurements((1, T, "A", 5), (1, T, "A", NAN), (1, T, "A"), (1, T, "B", 5))
    got = put_into_bins(df, quantiles(A=(1, 2, 3)), do_drop_numeric_value=True)
    assert str(got["numeric_value"].to_list()) == "[None, nan, None, 5.0]"
    got = put_into_bins(df, quantiles(A=(1, 2, 3)), do_drop_numeric_value=True, code_without_value="{code}//none")
    assert got["numeric_value"].to_list() == [None, None, None, 5]


def test_rows_without_a_value_may_have_a_code_of_their_own():
    df = measurements((1, T, "A", 5), (1, T, "A", NAN), (1, T, "A"), (1, T, "B", NAN), (1, T, "B"))
    got = put_into_bins(df, quantiles(A=(1, 2, 3)), code_without_value="{code}//{{none}}")
    assert got["code"].to_list() == ["A//value_[3.0,inf)", "A//{none}", "A//{none}", "B", "B"]


def test_shards_without_values_or_rows():
    metadata = quantiles(A=(1, 2, 3))
    got = put_into_bins(measurements((1, T, "A")).drop("numeric_value"), metadata)
    assert got["code"].to_list() == ["A"]
    for dtype in (pl.Categorical, pl.Categorical(pl.Categories("of a name")), pl.Null):
        assert put_into_bins(measurements().cast({"code": dtype}), metadata).schema["code"] == pl.String
    wide = measurements((1, T, "A", 2.5)).cast({"numeric_value": pl.Float64, "code": pl.Categorical})
    assert put_into_bins(wide, metadata)["code"].to_list() == ["A//value_[2.0,3.0)"]
    assert put_into_bins(wide)["code"].to_list() == ["A"]


def test_a_shard_in_which_nothing_changes_is_given_back():
    df = measurements((1, T, "A", NAN), (1, T, "B", 5)).lazy()
    block = {"bin_with_columns": [], "code_with_bin_name": DEFAULT, "custom_bins": {"A": [1]}}
    assert bin_numeric_values_fntr({**block, "do_drop_numeric_value": True}, None)(df) is df


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"code_with_bin_name": "{code}//{lft}"},
            r"there is no \{lft\} \(did you mean 'left'\?\)\. It may have \{code\}",
        ),
        ({"code_with_bin_name": "{code}//{left:.2f}"}, r"there is no form of \{left\}"),
        ({"code_with_bin_name": "{code"}, "write other braces twice"),
        ({"code_with_bin_name": 3}, "code_with_bin_name must be text, not 3"),
        ({"code_without_value": "{left}"}, r"there is no \{left\}"),
        ({"custom_bins": {"A": [2, 1]}}, r"custom_bins\['A'\]: the edges do not ascend"),
        ({"custom_bins": {"A": {"x": 1, "y": NAN}}}, r"custom_bins\['A'\]: an edge is NaN"),
        ({"custom_bins": {"A": ["1"]}}, r"custom_bins\['A'\]\.edges must be a list of numbers, not \['1'\]"),
        ({"custom_bins": {"A": 1}}, r"custom_bins\['A'\]\.edges must be a list of numbers, not 1"),
        ({"custom_bins": [{"code": "A", "edgs": [1]}]}, r"custom_bins\[0\]\.edgs: there is no such key"),
        ({"custom_bins": [{"code": "A"}]}, r"custom_bins\[0\]: there is no edges"),
        ({"custom_bins_filepath": "no.yaml"}, "custom_bins_filepath: there is no file no.yaml"),
        ({"custom_bins_filepath": "no.txt"}, "custom_bins_filepath: must be a file"),
    ],
)
def test_wrong_settings(tmp_path, block, message):
    with pytest.raises((ValueError, TypeError), match=message):
        put_into_bins(measurements(), **block)
    with pytest.raises((ValueError, TypeError), match=message):
        check(Preprocessing(tmp_path).cfg("bin_numeric_values", **block))


def test_a_file_that_holds_no_bins(tmp_path):
    (tmp_path / "bins.yaml").write_text("5")
    with pytest.raises(ValueError, match=r"bins\.yaml must be a list of entries, not 5"):
        put_into_bins(measurements(), custom_bins_filepath=str(tmp_path / "bins.yaml"))


def test_wrong_metadata():
    metadata = quantiles(A=(1, 2, 3)).with_columns(text=pl.lit("x"))
    with pytest.raises(
        ValueError, match=r"there is no values/quantils \(did you mean 'values/quantiles'\?\). Compute it"
    ):
        put_into_bins(measurements(), metadata, bin_with_columns=["values/quantils"])
    with pytest.raises(ValueError, match="text must be a struct or a list of numbers; it is String"):
        put_into_bins(measurements(), metadata, bin_with_columns=["text"])
    with pytest.raises(FileNotFoundError, match=r"no code metadata, which should have b \(bin_with_columns\)"):
        put_into_bins(measurements(), bin_with_columns=["b"])


def test_the_stage_with_parts_of_the_rows_counts_what_it_does(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = Preprocessing(tmp_path)
    data.write(
        {"train/0": measurements((1, T, "A", 5), (1, T, "A"), (1, T, "B", 5))}, quantiles(A=(1, 2, 3), B=(1, 2, 3))
    )
    block = {"_match_revise": [{"_matcher": {"code": "A"}, "do_drop_numeric_value": True}]}
    got = data.run("bin_numeric_values", **block)["train/0"]
    assert got.select("code", "numeric_value").rows() == [("A//value_[3.0,inf)", None), ("A", None), ("B", 5)]
    assert "train/0.parquet: codes: 1 put into bins, 1 left" in caplog.text
    account = data.cohort / "metadata/accounting/bin_numeric_values.json"
    assert json.loads(account.read_text())["codes"] == {"put_into_bins": 1, "left": 1}


def test_the_script_says_what_is_wrong(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"train/0": measurements((1, T, "A", 5))}, pl.DataFrame({"code": ["A"]}))
    refused = data.script("bin_numeric_values")
    assert refused.returncode == 1
    said = " ".join(refused.stderr.split())
    assert "there is no values/quantiles. Compute it with aggregate_code_metadata before this stage" in said
    assert "Traceback" not in said


def test_fields_of_templates():
    assert fields_of("x {code}{bin}!") == [("x ", "code"), ("", "bin"), ("!", None)]
    assert fields_of("") == []


EDGES = st.lists(st.sampled_from([-INF, -1e30, -2.5, -0.0, 0.0, 1e-30, 0.1, 3.0, 1e30, INF]), max_size=6).map(sorted)
VALUES = st.none() | st.floats(width=32) | st.sampled_from([-2.5, 0.0, -0.0, np.float32(0.1).item(), 3.0, INF, NAN])
ROWS = st.lists(st.tuples(st.integers(1, 5), st.none(), st.sampled_from("ABC"), VALUES), max_size=40)


@settings(max_examples=30)
@given(rows=ROWS, edges=st.fixed_dictionaries({"A": EDGES, "B": EDGES}), n=st.integers(1, 4))
def test_bins_are_those_of_bisection_in_any_shards(rows, edges, n):
    df = measurements(*rows).with_columns(id=pl.int_range(pl.len()))
    block = {"custom_bins": edges, "code_with_bin_name": "{code}|{bin}"}
    parts = [put_into_bins(df.filter(pl.col("subject_id") % n == at), **block) for at in range(n)]
    together = pl.concat(parts).sort("id")
    assert_frame_equal(together, put_into_bins(df, **block))
    for code, value, got in zip(df["code"], df["numeric_value"], together["code"], strict=True):
        ends = [np.float32(edge).item() for edge in edges.get(code, [])]
        is_in_a_bin = ends and value is not None and not math.isnan(value)
        assert got == (f"{code}|{bisect_right(ends, value)}" if is_in_a_bin else code)


STAGES = {
    "enforce_value_ranges": {"ranges": [{"code": "A", "max": 50}]},
    "edges": {
        "_script": "MEDS_transform-aggregate_code_metadata",
        "aggregations": [{"name": "values/quantiles", "quantiles": [0.25, 0.5, 0.75]}],
    },
    "bin_numeric_values": {"code_without_value": "{code}//missing"},
    "fit_normalization": {},
    "fit_vocabulary_indices": {},
    "normalization": {},
}


MODULES = {"edges": "aggregate_code_metadata", "fit_normalization": "aggregate_code_metadata"}


def module(stage):
    return import_module(packaged_stages()[MODULES.get(stage, stage)].module)


@pytest.fixture
def data(tmp_path) -> Preprocessing:
    data = Preprocessing(tmp_path)
    rows = [(n % 7, T, "AB"[n % 2], [None, 99, n][min(n % 9, 2)]) for n in range(60)]
    shards = [measurements(*sorted((r for r in rows if r[0] % 2 == k), key=lambda r: r[0])) for k in range(2)]
    data.write({f"train/{k}": shard for k, shard in enumerate(shards)}, quantiles(A=(10, 20, 30), B=(1, 1, 50)))
    return data


def test_binned_codes_get_into_the_vocabulary(data):
    for stage in STAGES:
        module(stage).main(data.cfg(stage, *STAGES, cfg_stage_configs=STAGES))
    shards = data.shards(data.cohort / "data")
    codes = pl.read_parquet(data.cohort / "metadata/codes.parquet")
    numbers = codes["code/vocab_index"].to_list()
    assert sorted(numbers) == [*range(1, codes.height + 1)]
    assert {*pl.concat(shards.values())["code"]} == {*numbers}
    names = codes["code"].to_list()
    assert [name for name in names if name.endswith("//missing")] == ["A//missing", "B//missing"]
    assert sum("//value_[" in name for name in names) == len(names) - 2 > 5
    assert sum(frame.height for frame in shards.values()) == 60


@pytest.mark.parametrize("first_is_written", [True, False])
def test_in_one_pass_the_stages_make_the_same(data, first_is_written):
    stages = ["enforce_value_ranges", "bin_numeric_values"]
    for stage in stages:
        module(stage).main(data.cfg(stage, *stages, cfg_stage_configs=STAGES))
    want = data.shards(data.cohort / "data")
    plans = []
    for stage in stages:
        cfg = data.cfg(stage, *stages, cfg_stage_configs=STAGES, cfg_cohort_dir=str(data.folder / "fused"))
        with expecting([plan.expected() for plan in plans]):
            plans.append(module(stage).run.plan(cfg))
    run_pass([replace(plans[0], is_written=first_is_written), plans[1]])
    got = data.shards(data.folder / "fused/data")
    assert got.keys() == want.keys()
    for name, frame in want.items():
        assert_frame_equal(got[name], frame)
    assert (data.folder / "fused/enforce_value_ranges/train/0.parquet").exists() is first_is_written
