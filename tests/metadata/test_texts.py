"""The texts of codes: how many there are, and the most frequent."""

from collections import Counter
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import Preprocessing, check_meds_codes, measurements
from MEDS_transforms.mapreduce.plans import Others, others_by
from MEDS_transforms.metadata import aggregate_code_metadata as stage
from MEDS_transforms.metadata.aggregations import Aggregations
from MEDS_transforms.metadata.texts import LIMIT, TEXT, merge_texts, text_part

T = datetime(2020, 1, 1)
NAMES = ("text_values/n_occurrences", "text_values/n_distinct", "text_values/most_frequent")
ENTRIES = [*NAMES[:2], {"name": NAMES[2], "n": 2}]


def with_texts(*rows):
    """Measurements from pairs of a code and a text."""
    codes, texts = zip(*rows, strict=True) if rows else ((), ())
    frame = measurements(*((i, T, code) for i, code in enumerate(codes)))
    return frame.with_columns(text_value=pl.Series(texts, dtype=pl.String))


def aggregate(shards, n=2, key=("code",), **settings):
    wanted = Aggregations(NAMES, n_most_frequent=n, **settings)
    return stage.merge([stage.summarize(shard, key, wanted) for shard in shards], key, wanted)


def figures(codes):
    """By code: rows with a text, distinct texts, the most frequent ones as pairs."""
    return {
        code: (n, distinct, most if most is None else [(text["value"], text["count"]) for text in most])
        for code, n, distinct, most in codes.select("code", *NAMES).rows()
    }


ROWS = [("A", "b"), ("A", "é"), ("A", "é"), ("A", None), ("A", ""), ("A", "a"), ("B", None), (None, "a")]


def test_every_figure():
    got = aggregate([with_texts(*ROWS)], over_all_codes=True)
    assert figures(got) == {
        None: (6, 4, [("a", 2), ("é", 2)]),  # of equally frequent ones the first in the order of text
        "A": (5, 4, [("é", 2), ("", 1)]),
        "B": (0, 0, None),
    }
    assert got.schema["text_values/n_distinct"] == pl.UInt8
    assert got.schema["text_values/most_frequent"] == pl.List(pl.Struct({"value": pl.String, "count": pl.UInt64}))


@given(
    st.lists(st.tuples(st.sampled_from(["A", "B"]), st.none() | st.sampled_from("abcdefg")), max_size=30),
    st.integers(1, 4),
    st.integers(1, 8),
)
def test_the_same_whatever_the_shards_and_more_than_the_limit_is_said(rows, n_shards, limit):
    shards = [[(c, t) for c, t in rows[i::n_shards] if t is not None] for i in range(n_shards)]
    frames = [pl.DataFrame(s, {"code": pl.String, TEXT: pl.String}, orient="row") for s in shards]
    parts = [text_part(frame, ["code"], limit) for frame in frames]
    assert all((part["text_values/most_frequent"].list.len() <= limit + 1).all() for part in parts)
    got = {code: values for code, *values in merge_texts(pl.concat(parts), ["code"], 3, limit).rows()}
    for code in {code for code, text in rows if text is not None}:
        counts = Counter(text for c, text in rows if c == code and text is not None)
        few = [{"value": t, "count": n} for t, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]]
        assert got.pop(code) == ([len(counts), few] if len(counts) <= limit else [limit + 1, None])
    assert not got


@pytest.mark.parametrize("n_shards", [1, 3])
def test_more_texts_than_are_told_apart(n_shards):
    texts = [f"{i}" for i in range(LIMIT + 5)]
    shards = [with_texts(*(("A", text) for text in texts[i::n_shards]), ("B", "x")) for i in range(n_shards)]
    assert figures(aggregate(shards)) == {"A": (LIMIT + 5, LIMIT + 1, None), "B": (n_shards, 1, [("x", n_shards)])}


def test_with_modifiers_among_them_the_column_itself():
    shard = with_texts(*ROWS[:4]).with_columns(count=pl.Series(["x", "x", None, None]))
    assert aggregate([shard], key=("code", "count"))["text_values/n_distinct"].to_list() == [1, 2]
    assert aggregate([shard], key=("code", "text_value"))["text_values/n_distinct"].to_list() == [0, 1, 1]


@pytest.mark.parametrize(
    "dtype", [pl.String, pl.Categorical, pl.Categorical(pl.Categories("of a name")), pl.Enum(["", "a", "b", "é"])]
)
def test_every_dtype_of_text_and_another_column(tmp_path, dtype):
    data = Preprocessing(tmp_path)
    shard = with_texts(*ROWS).cast({"text_value": dtype, "code": pl.Categorical})
    shards = {"0": shard, "1": with_texts(("C", None)).cast({"text_value": pl.Null})}
    data.write({name: rows.rename({"text_value": "*"}) for name, rows in shards.items()})
    names = [{"name": name, "column": "*"} for name in NAMES]
    data.run("aggregate_code_metadata", aggregations=names, train_only=False)
    path = data.cohort / "metadata/codes.parquet"
    assert figures(pl.read_parquet(path)) == {
        "A": (5, 4, [("é", 2), ("", 1), ("a", 1), ("b", 1)]),
        "B": (0, 0, None),
        "C": (0, 0, None),
    }


def test_with_the_types_of_meds(tmp_path):
    data = Preprocessing(tmp_path)
    codes = pl.DataFrame({"code": ["A"], "description": ["x"], "parent_codes": [["p"]]})
    data.write({"0": with_texts(*ROWS).drop_nulls("code"), "1": measurements((1, T, "A", 1.0))}, codes)
    quantiles = {"name": "values/quantiles", "quantiles": [0, 0.5], "as_columns": True}
    data.run("aggregate_code_metadata", aggregations=[*ENTRIES, quantiles, "values/median"], train_only=False)
    path = data.cohort / "metadata/codes.parquet"
    check_meds_codes(path)
    got = pl.read_parquet(path)
    columns = ["values/quantile/0", "values/quantile/0.5", "values/median"]
    assert got.columns == ["code", *NAMES, *columns, "description", "parent_codes"]
    assert got.select(columns).schema == dict.fromkeys(columns, pl.Float32)
    assert got.select("code", *columns).rows() == [("A", 1.0, 1.0, 1.0), ("B", None, None, None)]
    assert figures(got)["A"] == (5, 4, [("é", 2), ("", 1)])  # the shard without text_value has no texts


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("txt_value", r"no column txt_value \(did you mean 'text_value'\?\), whose texts are to be counted"),
        ("numeric_value", "The column numeric_value, whose texts are to be counted, must be a String; it is Float32"),
    ],
)
def test_a_column_that_cannot_be_used(tmp_path, column, message):
    data = Preprocessing(tmp_path)
    data.write({"0": with_texts(*ROWS)})
    with pytest.raises(ValueError, match=message):
        data.run("aggregate_code_metadata", aggregations=[{"name": NAMES[0], "column": column}], train_only=False)


@pytest.mark.parametrize(
    ("name", "others"), [(NAMES[0], Others.DROPPED.but_needs("text_value")), ("values/sum", Others.DROPPED)]
)
def test_the_column_is_made_though_what_is_read_is_not_kept(tmp_path, name, others):
    cfg = Preprocessing(tmp_path).cfg("aggregate_code_metadata", aggregations=[name])
    assert others_by(stage.run.others, cfg.stage_cfg) == others
