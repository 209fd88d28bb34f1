"""Match & revise: where rows go, in which order they come back, what is refused."""

from datetime import datetime

import polars as pl
import pytest
from omegaconf import OmegaConf
from polars.testing import assert_frame_equal

from helpers import measurements_with_ties, stably_sorted
from MEDS_transforms.dataset.io import scan_parquet
from MEDS_transforms.mapreduce.mapper import is_match_revise, match_revise_fntr

T = [None, datetime(2020, 1, 1), datetime(2020, 1, 2)]
DF = pl.DataFrame(
    {
        "subject_id": [2, 2, 1, 1, 1, 1],
        "time": [T[2], T[0], T[1], T[1], T[1], T[0]],
        "code": ["A", "B", "C", "B", "A", "C"],
        "numeric_value": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    },
    schema_overrides={"numeric_value": pl.Float32},
)


def add(df, stage_cfg):
    return df.with_columns(pl.col("numeric_value") + stage_cfg.add)


def revise(df, compute_fn, *entries, **stage_cfg):
    stage_cfg = OmegaConf.create({"add": 1000, **stage_cfg, "_match_revise": [*entries]})
    return match_revise_fntr(OmegaConf.create({"stage_cfg": stage_cfg}), stage_cfg, compute_fn)(df).lazy().collect()


def values(df) -> list[float]:
    return df["numeric_value"].to_list()


A, B, C = ({"_matcher": {"code": code}} for code in "ABC")


@pytest.mark.parametrize(
    ("entries", "mode", "expected"),
    [
        # subject 1: static first, then the revised rows in the order of the list, then the untouched ones.
        ([A | {"add": 10}], None, [6, 15, 3, 4, 2, 11]),
        ([B | {"add": 10}, A | {"add": 20}], None, [6, 14, 25, 3, 12, 21]),
        ([A | {"add": 20}, B | {"add": 10}], None, [6, 25, 14, 3, 12, 21]),
        ([A], None, [6, 1005, 3, 4, 2, 1001]),
        ([A | {"add": 10}, {"_matcher": {"subject_id": 1}, "add": 20}], None, [26, 15, 23, 24, 2, 11]),
        (
            [A | {"add": 10}, {"_matcher": {"subject_id": 1}, "add": 20}],
            "multi_match_and_revise",
            [26, 15, 23, 24, 25, 2, 11],
        ),
        ([A | {"add": 1}, A | {"add": 2}], "match_and_revise", [6, 6, 3, 4, 2, 2]),
        ([A | {"add": 1}, A | {"add": 2}], "multi_match_and_revise", [6, 6, 7, 3, 4, 2, 2, 3]),
        ([{"_matcher": {}, "add": 10}], None, [16, 13, 14, 15, 12, 11]),
        ([{"_matcher": {}, "add": 10}, A | {"add": 20}], None, [16, 13, 14, 15, 12, 11]),
        ([{"_matcher": {"time": None}, "add": 10}], None, [16, 3, 4, 5, 12, 1]),
        ([{"_matcher": {"code": {"regex": "^[AB]$"}}, "add": 10}], None, [6, 14, 15, 3, 12, 11]),
        ([{"_matcher": {"code": "Z"}, "add": 10}], None, [6, 3, 4, 5, 2, 1]),
        ([], None, [6, 3, 4, 5, 2, 1]),
    ],
)
@pytest.mark.parametrize("frame", [DF, DF.lazy()], ids=["eager", "lazy"])
def test_where_rows_go_and_how_they_come_back(entries, mode, expected, frame):
    mode = {"_match_revise_mode": mode} if mode else {}
    result = revise(frame, add, *entries, **mode)
    assert values(result) == expected
    assert result.schema == DF.schema


def test_null_is_the_default_mode():
    entries = [A | {"add": 10}, {"_matcher": {"subject_id": 1}, "add": 20}]
    assert values(revise(DF, add, *entries, _match_revise_mode=None)) == values(revise(DF, add, *entries))


def functor(stage_cfg, cfg):
    assert set(stage_cfg) == {"add", "kept"}
    assert "_match_revise" in cfg.stage_cfg
    return lambda df: df.with_columns(pl.col("numeric_value") + stage_cfg.add)


def test_an_entry_overrides_the_keys_of_the_stage_and_keeps_the_others():
    assert values(revise(DF, functor, A | {"add": 10}, kept=1)) == [6, 15, 3, 4, 2, 11]


@pytest.mark.parametrize("eager", [True, False])
def test_functions_may_return_either_kind_of_frame(eager):
    def compute(df):
        df = df.with_columns(pl.col("numeric_value") * 2)
        return df.collect() if eager else df

    assert values(revise(DF, compute, A)) == [6, 10, 3, 4, 2, 2]


def test_no_function_passes_rows_through_in_the_order_of_the_entries():
    assert values(revise(DF, None, A)) == [6, 5, 3, 4, 2, 1]


def test_functions_may_drop_and_repeat_rows():
    def compute(df):
        return pl.concat([df.filter(pl.col("subject_id") == 2), df.filter(pl.col("subject_id") == 2)])

    assert values(revise(DF, compute, A)) == [6, 3, 4, 2, 1, 1]


def test_columns_are_combined_as_in_a_diagonal_concatenation():
    def compute(df, stage_cfg):
        return df.with_columns(pl.lit("x").alias(stage_cfg.name)).drop("numeric_value")

    result = revise(DF, compute, A | {"name": "a"}, B | {"name": "b"})
    assert set(result.columns) == {*DF.columns, "a", "b"}
    assert result.filter(pl.col("code") == "C")["a"].null_count() == 2
    assert values(result) == [6, None, None, 3, None, None]


def test_numbers_of_different_width_get_a_common_dtype():
    result = revise(DF, lambda df: df.with_columns(pl.col("numeric_value").cast(pl.Float64)), A)
    assert result.schema["numeric_value"] == pl.Float64


def test_incompatible_dtypes_are_an_error():
    with pytest.raises(ValueError, match="has incompatible dtypes in the outputs of _match_revise"):
        revise(DF, lambda df: df.with_columns(pl.concat_list("numeric_value").alias("numeric_value")), A)


def test_an_empty_shard_stays_empty():
    assert_frame_equal(revise(DF.clear().lazy(), add, A | {"add": 1}), DF.clear())


@pytest.mark.parametrize("mode", ["match_and_revise", "multi_match_and_revise"])
def test_rows_of_one_moment_keep_their_order_in_a_large_scan(tmp_path, mode):
    n = 1_200_000
    rows = pl.int_range(n, eager=True)
    df = pl.DataFrame({"subject_id": rows * 0, "code": rows % 3, "row": rows}).with_columns(
        code=pl.col("code").cast(pl.String), time=pl.lit(T[1])
    )
    df.write_parquet(tmp_path / "0.parquet", row_group_size=50_000)
    entries = [{"_matcher": {"code": code}} for code in ("2", "0")]
    result = revise(
        scan_parquet(tmp_path / "0.parquet"),
        lambda df: df.with_columns(pl.col("row") * 1),
        *entries,
        _match_revise_mode=mode,
    )
    in_order = pl.concat([rows.filter(rows % 3 == part) for part in (2, 0, 1)])
    assert result["row"].equals(in_order)


@pytest.mark.parametrize(
    ("stage_cfg", "message"),
    [
        ({"_match_revise": {"_matcher": {}}}, "_match_revise must be a list"),
        ({"_match_revise": "x"}, "_match_revise must be a list, not 'x'"),
        ({"_match_revise": [{"_matcher": {}}, "x"]}, r"_match_revise\[1\] must be a mapping, not 'x'"),
        ({"_match_revise": [{"add": 1}]}, r"_match_revise\[0\] has no _matcher"),
        ({"_match_revise": [{"_matcher": {}}, {"_matcher": ["A"]}]}, r"_match_revise\[1\]\._matcher"),
        ({"_match_revise": [A], "_match_revise_mode": "all"}, "_match_revise_mode: 'all'.*multi_match_and_revise"),
        ({"_match_revise": [A], "is_metadata": True}, "metadata"),
        ({"_match_revise": [A], "aggregations": ["code/n_subjects"]}, "metadata"),
    ],
)
def test_what_is_refused_before_anything_is_read(stage_cfg, message):
    with pytest.raises(ValueError, match=message):
        match_revise_fntr({}, OmegaConf.create(stage_cfg), add)


def test_a_column_that_is_not_there_is_named_with_its_entry_and_those_there_are():
    with pytest.raises(ValueError, match=r"_match_revise\[1\].*no column unit.*code, numeric_value, subject_id"):
        revise(DF, add, A, {"_matcher": {"unit": "kg"}})


@pytest.mark.parametrize(
    ("stage_cfg", "wanted"), [({}, False), ({"_match_revise": []}, False), ({"_match_revise": [A]}, True)]
)
def test_when_it_is_asked_for(stage_cfg, wanted):
    assert is_match_revise(OmegaConf.create(stage_cfg)) is wanted


def test_numbers_get_a_wider_dtype_and_a_number_does_not_become_text():
    df = pl.DataFrame({"subject_id": [1, 2], "time": [None, None], "code": ["a", "b"], "x": [1, 2]})

    def cast(df, stage_cfg):
        return df.with_columns(pl.col("x").cast(pl.Float64 if stage_cfg["to"] == "number" else pl.String))

    def revise(to):
        return match_revise_fntr({}, {"_match_revise": [{"_matcher": {"code": "a"}, "to": to}]}, cast)(df)

    assert revise("number")["x"].to_list() == [1.0, 2.0]
    with pytest.raises(
        ValueError, match=r"Column 'x' has incompatible dtypes in the outputs of _match_revise: Int64, String"
    ):
        revise("text")


def test_ties_keep_their_order_among_many_rows():
    df = stably_sorted(measurements_with_ties(100_000))
    got = match_revise_fntr({}, {"_match_revise": [{"_matcher": {"code": "B"}}]}, None)(df)
    assert_frame_equal(got.lazy().collect(), stably_sorted(pl.concat([df.filter(code="B"), df.filter(code="A")])))
