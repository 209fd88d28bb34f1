"""What is computed for every code, shard by shard and over all shards."""

import logging
import math
import subprocess
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from helpers import SCRIPTS, Preprocessing, measurements
from MEDS_transforms.metadata import aggregate_code_metadata as stage
from MEDS_transforms.metadata.aggregations import KNOWN, Aggregations

T = datetime(2020, 1, 1)
NAN, INF = math.nan, math.inf
FLOAT_SUMS = ["values/sum", "values/sum_sqd", "values/mean", "values/std"]
EVERYTHING = Aggregations(tuple(KNOWN), (0.25, 0.5, 1), over_all_codes=True)


def aggregate(shards, modifiers=(), aggregations=EVERYTHING):
    key = ["code", *modifiers]
    parts = [stage.summarize(shard, key, aggregations) for shard in shards]
    return stage.merge(parts, key, aggregations)


def of_code(codes, code):
    return codes.filter(pl.col("code").eq_missing(pl.lit(code))).to_dicts()[0]


ROWS = measurements(
    (1, T, "A", 1.0),
    (1, T, "A", 2.5),
    (2, T, "A", None),
    (3, T, "A", NAN),
    (3, T, "A", 5.5),
    (1, None, "B.*(", None),
    (2, T, "C", INF),
    (2, T, "C", 2.0),
)


BY_SUBJECT = [ROWS.filter(pl.col("subject_id") == subject) for subject in range(4)]


@pytest.mark.parametrize("shards", [[ROWS], BY_SUBJECT])
def test_every_figure(shards):
    got = aggregate(shards)
    assert got["code"].to_list() == [None, "A", "B.*(", "C"]
    assert got.columns == ["code", *KNOWN]
    counts = [name for name in KNOWN if "/n_" in name and not name.startswith("text")]
    a = of_code(got, "A")
    assert [a[name] for name in counts] == [3, 5, 2, 3, 1]
    assert [of_code(got, "B.*(")[name] for name in counts] == [1, 1, 0, 0, 0]
    assert [of_code(got, "C")[name] for name in counts] == [1, 2, 1, 1, 1]  # an infinity is no value
    assert of_code(got, "C")["values/max"] == of_code(got, "C")["values/mean"] == 2.0
    assert [of_code(got, None)[name] for name in counts] == [3, 8, 3, 4, 2]
    assert (a["values/sum"], a["values/sum_sqd"], a["values/min"], a["values/max"]) == (9.0, 37.5, 1.0, 5.5)
    assert (a["values/mean"], a["values/std"]) == (3.0, pytest.approx(math.sqrt(37.5 / 3 - 9)))
    assert (a["values/median"], of_code(got, "B.*(")["values/median"]) == (2.5, None)
    assert a["values/quantiles"] == {"values/quantile/0.25": 2.5, "values/quantile/0.5": 2.5, "values/quantile/1": 5.5}


def test_sums_are_added_in_float32_in_the_order_of_the_rows():
    """As in release 0.1; in another order, or in 64 bits, 1 would not be lost."""
    df = measurements(*((1, T, "A", value) for value in (2.0**24, 1.0, 1.0, -(2.0**24))))
    got = of_code(aggregate([df]), "A")
    assert (got["values/sum"], got["values/mean"]) == (0.0, 0.5)


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ([2.0**24, 1.0, 1.0], 2.0**24),  # no whole block: one by one
        ([2.0**24, *[1.0] * 128], 2.0**24 + 128),  # one, then a block
        ([2.0**24, *[1.0] * 127], 2.0**24 + 120),  # in 16 lanes, one of which loses 7
        ([2.0**24, *[1.0] * 255], 2.0**24 + 248),  # two blocks
        ([2.0**24, *[1.0] * 128, 1.0], 2.0**24 + 128),  # two, one by one, then a block
    ],
)
def test_sums_over_all_codes_are_added_in_blocks(values, total):
    """As in release 0.1."""
    got = aggregate([measurements(*((1, T, "A", value) for value in values))])
    assert of_code(got, None)["values/sum"] == total
    assert of_code(got, "A")["values/sum"] == 2.0**24


@pytest.mark.parametrize(
    ("values", "total"),
    [
        # 2**24 + 1 is 2**24 in float32, but 2**24 + 2 is more than that.
        ([2.0**24, 1.0, 1.0], 2.0**24 + 2),  # (big) + (1 + 1)
        ([1.0, 1.0, 2.0**24], 2.0**24),  # (1) + (1 + big)
        ([2.0**24, 1.0, 1.0, 1.0], 2.0**24 + 2),  # (big + 1) + (1 + 1)
        ([1.0, 2.0**24, 1.0, 1.0, 1.0], 2.0**24 + 4),  # (1 + big) + (1 + (1 + 1))
    ],
)
def test_parts_are_added_half_by_half(values, total):
    """As in release 0.1. A code that a shard lacks counts nothing there."""
    shards = [measurements((1, T, "A", value), (1, T, f"B{i}", 1.0)) for i, value in enumerate(values)]
    got = aggregate(shards)
    assert of_code(got, "A")["values/sum"] == total
    assert [of_code(got, f"B{i}")["values/sum"] for i in range(len(values))] == [1.0] * len(values)


def test_parts_are_added_in_the_order_in_which_worker_0_visits_the_shards(tmp_path):
    """That is 1, 2, 0 for three shards of the split train."""
    x = Preprocessing(tmp_path)
    shards = {f"train/{i}": measurements((i, T, "A", value)) for i, value in enumerate([1.0, 2.0**24, 1.0])}
    x.write(shards, None, {"train": [0, 1, 2]})
    assert x.run("aggregate_code_metadata", aggregations=["values/sum"])
    sums = pl.read_parquet(x.cohort / "metadata/codes.parquet")["values/sum"].to_list()
    assert sums == [2.0**24 + 2]  # shard 1 + (shard 2 + shard 0)


def test_data_without_values():
    got = aggregate([ROWS.drop("numeric_value")])
    assert of_code(got, "A")["code/n_occurrences"] == 5
    assert (of_code(got, "A")["values/n_occurrences"], of_code(got, "A")["values/sum"]) == (0, 0.0)
    assert of_code(got, "A")["values/mean"] is None


def test_counts_beyond_32_bits():
    n = pl.Series([3 * 10**9] * 2, dtype=pl.UInt32)
    parts = pl.DataFrame({"code": ["A", "A"], "values/n_occurrences": n, "values/mean": [1.0, 3.0]})
    parts = parts.with_columns(pl.lit(0.0).alias("values/sum_squared_deviations"))
    got = stage.merge(
        [parts[:1], parts[1:]], ["code"], Aggregations(("values/n_occurrences", "values/mean", "values/std"))
    )
    assert got.rows() == [("A", 6 * 10**9, 2.0, 1.0)]


def test_quantiles_of_all_codes_and_of_null_modifiers():
    df = measurements((1, T, "A", 1.0), (2, T, "A", 5.0)).with_columns(unit=pl.Series([None, "x"]))
    got = aggregate([df, df.head(1)], ["unit"], Aggregations(("values/quantiles",), (1,), True))
    assert [row["values/quantile/1"] for row in got["values/quantiles"]] == [5.0, 1.0, 5.0]


def test_a_code_without_values():
    """Release 0.1 gave a struct of nulls."""
    b = of_code(aggregate([ROWS]), "B.*(")
    assert (b["values/sum"], b["values/sum_sqd"]) == (0, 0)
    assert [b[f"values/{name}"] for name in ("min", "max", "mean", "std", "quantiles")] == [None] * 5


def test_dtypes():
    got = aggregate([ROWS, ROWS.clear()]).schema
    assert {name: got[name] for name in KNOWN if "/n_" in name} == {name: pl.UInt8 for name in KNOWN if "/n_" in name}
    floats = ["values/sum", "values/sum_sqd", "values/min", "values/max"]
    assert [got[name] for name in floats] == [pl.Float32] * 4
    assert (got["values/mean"], got["values/std"]) == (pl.Float64, pl.Float64)
    assert got["values/quantiles"] == pl.Struct({f"values/quantile/{q}": pl.Float32 for q in (0.25, 0.5, 1)})


def test_counts_in_the_smallest_type_that_holds_all_of_them():
    df = measurements(*((i, T, "A", 1.0) for i in range(300)), (1, T, "B", 1.0))
    got = aggregate([df.head(200), df.tail(101)], aggregations=Aggregations(("code/n_subjects", "values/n_ints")))
    assert got.schema == {"code": pl.String, "code/n_subjects": pl.UInt16, "values/n_ints": pl.UInt16}
    assert got.rows() == [("A", 300, 300), ("B", 1, 1)]


@pytest.mark.parametrize("df", [measurements(), measurements((1, T, None, 1.0))])
def test_rows_without_a_code_count_only_for_all_codes(df):
    got = aggregate([df])
    assert got["code"].to_list() == [None]
    assert got["code/n_occurrences"].to_list() == [df.height]
    assert aggregate([df], aggregations=Aggregations(("code/n_occurrences",))).is_empty()


def test_modifiers_null_first():
    units, kinds = ["y", None, "x", None, None], [1, 2, None, 2, None]
    df = measurements(*((i, T, "A") for i in range(5))).with_columns(unit=pl.Series(units), kind=pl.Series(kinds))
    got = aggregate([df.head(2), df.tail(3)], ["unit", "kind"], Aggregations(("code/n_subjects",), (), True))
    want = [(None, None, None, 5), ("A", None, None, 1), ("A", None, 2, 2), ("A", "x", None, 1), ("A", "y", 1, 1)]
    assert got.rows() == want


def test_a_modifier_that_has_no_type_in_a_shard_without_any():
    a = measurements((1, T, "A")).with_columns(unit=pl.lit(None))
    b = measurements((2, T, "A")).with_columns(unit=pl.lit("x"))
    got = aggregate([a, b], ["unit"], Aggregations(("code/n_subjects",)))
    assert got.rows() == [("A", None, 1), ("A", "x", 1)]


def test_a_deviation_that_32_bit_sums_lose():
    """sqrt(E[x^2] - E[x]^2) of release 0.1 cancels; mean and deviation of their own do not."""
    values = np.float32(100_000) + np.tile(np.float32([-0.5, 0.5]), 5000)
    df = measurements(*((i // 100, T, "A", v) for i, v in enumerate(values)))
    for shards in ([df], [df.slice(i, 1000) for i in range(0, 10_000, 1000)]):
        a = aggregate(shards).row(1, named=True)
        assert (a["values/mean"], a["values/std"]) == (pytest.approx(1e5, rel=1e-12), pytest.approx(0.5, rel=1e-9))


MEASUREMENT = st.tuples(
    st.integers(0, 5),
    st.just(T),
    st.sampled_from(["A", "B", "A//(x)", None]),
    st.none() | st.sampled_from([NAN, 1.0, -2.0]) | st.floats(-1e6, 1e6, width=32),
)


def assert_same_codes(got, want):
    """Sums up to rounding, all else exactly."""
    assert_frame_equal(got.drop(FLOAT_SUMS), want.drop(FLOAT_SUMS))
    # A sum that cancels is off by the rounding of its terms, not of itself.
    size = want["values/sum_sqd"].fill_null(0).max() or 0
    assert_frame_equal(got.select(FLOAT_SUMS), want.select(FLOAT_SUMS), rel_tol=1e-5, abs_tol=1e-6 * (1 + size**0.5))


@given(st.lists(MEASUREMENT, max_size=40), st.integers(1, 4), st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_the_same_whatever_the_number_of_shards(rows, n_shards, by_unit):
    df = measurements(*sorted(rows, key=lambda row: row[0]))
    df = df.with_columns(unit=pl.Series(["x", None, None][i % 3] for i in range(len(rows))).cast(pl.String))
    modifiers = ["unit"] if by_unit else []
    shards = [df.filter(pl.col("subject_id") % n_shards == i) for i in range(n_shards)]
    assert_same_codes(aggregate(shards, modifiers), aggregate([df], modifiers))


def cfg(data, name="fit", worker=0, aggregations=KNOWN[:-1], **block):
    return data.cfg(name, aggregations=list(aggregations), cfg_worker=worker, **block)


def codes(data):
    return pl.read_parquet(data.cohort / "metadata" / "codes.parquet")


@pytest.fixture
def data(tmp_path):
    dataset = Preprocessing(tmp_path)
    shards = {"train/0": ROWS.head(2), "train/1": ROWS.slice(2, 3), "tuning/0": ROWS.slice(5)}
    dataset.write(shards, splits={"train": [1, 2, 3], "tuning": [2, 1]})
    return dataset


def test_only_the_train_split_is_looked_at(data):
    stage.main(cfg(data))
    assert codes(data)["code"].to_list() == ["A"]
    assert data.shards(data.cohort / "fit").keys() == {"train/0", "train/1"}


def test_only_the_train_split_where_shards_are_not_named_after_it(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"0": ROWS.head(5), "1": ROWS.clear()}, splits={"train": [1], "tuning": [2, 3]})
    stage.main(cfg(data, aggregations=["code/n_occurrences"]))
    assert codes(data).rows() == [("A", 2)]


def test_a_subject_of_two_splits_is_one_subject(data):
    data.write({"tuning/1": measurements((3, T, "A", 1.0), (1, T, "A", None))})
    stage.main(cfg(data, train_only=False, do_summarize_over_all_codes=True))
    got = codes(data).select("code", "code/n_subjects", "code/n_occurrences", "values/n_subjects")
    assert got.rows() == [(None, 3, 10, 3), ("A", 3, 7, 2), ("B.*(", 1, 1, 0), ("C", 1, 2, 1)]
    assert got.schema["code/n_subjects"] == pl.UInt8


def test_the_former_metadata_of_the_codes_seen_follow(data, caplog):
    caplog.set_level(logging.INFO)
    former = {
        "code": ["gone", "A"],
        "description": ["x", "y"],
        "values/sum": [7.0, 7.0],
        "parent_codes": [["p"], ["q"]],
    }
    data.write({}, pl.DataFrame(former))
    stage.main(cfg(data, aggregations=["values/sum"]))
    want = {"code": ["A"], "values/sum": [9.0], "description": ["y"], "parent_codes": [["q"]]}
    assert_frame_equal(codes(data), pl.DataFrame(want, schema_overrides={"values/sum": pl.Float32}))
    assert "1 of 2 codes of the former code metadata no longer occur; dropped" in caplog.text


def test_the_same_bytes_whatever_the_number_of_workers(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 500))
    shards = {
        f"train/{i}": measurements(*((i, T, f"C{rng.integers(9)}", value) for value in values[i])) for i in range(5)
    }
    results = []
    for n_workers in (1, 3):
        data = Preprocessing(tmp_path / str(n_workers))
        data.write(shards)
        for worker in reversed(range(n_workers)):
            stage.main(cfg(data, worker=worker))
        results.append((data.cohort / "metadata" / "codes.parquet").read_bytes())
    assert results[0] == results[1]


def test_missing_columns(data):
    data.write({"train/1": ROWS.rename({"numeric_value": "numerical_value"})})
    with pytest.raises(ValueError, match=r"numeric_value is missing \(did you mean 'numerical_value'"):
        stage.main(cfg(data))
    with pytest.raises(ValueError, match="The data has no column unit"):
        stage.main(cfg(data, aggregations=["code/n_subjects"], cfg_code_modifiers=["unit"]))


def test_parts_that_were_made_with_other_settings(data):
    stage.main(cfg(data, worker=1, aggregations=["code/n_subjects"]))
    with pytest.raises(FileExistsError, match=r'(?s)\["code/n_subjects"\] -> \["values/sum"\].*do_overwrite=True'):
        stage.main(cfg(data, aggregations=["values/sum"]))
    stage.main(cfg(data, aggregations=["values/sum"], cfg_do_overwrite=True))
    assert codes(data).rows() == [("A", 9.0)]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("count_code_occurrences", ["code", "code/n_occurrences", "code/n_subjects"]),
        ("preliminary_counts", ["code", "code/n_occurrences", "code/n_subjects"]),
        ("fit_outlier_detection", ["code", "values/n_occurrences", "values/sum", "values/sum_sqd"]),
        ("fit_normalization", ["code", "code/n_occurrences", "code/n_subjects", *KNOWN[3:4], *KNOWN[5:7]]),
    ],
)
def test_the_preset_stages(data, name, columns):
    stage.main(data.cfg(name))
    assert codes(data).columns == columns
    assert codes(data)["code"].to_list() == [None, "A"][-1 if name.startswith("fit") else 0 :]


def test_the_script_under_another_name(data):
    folders = [f"input_dir={data.dataset}", f"cohort_dir={data.cohort}", "stages=[mine]", "stage=mine"]
    script = [str(SCRIPTS / "MEDS_transform-aggregate_code_metadata"), *folders]

    def run(aggregations):
        command = [*script, f"+stage_configs.mine.aggregations={aggregations}"]
        return subprocess.run(command, capture_output=True, text=True, cwd=data.folder, timeout=120, check=False)

    failed = run("[code/n_subject]")
    assert failed.returncode == 1
    assert "did you mean 'code/n_subjects'?" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert run("[{name: values/quantiles, quantiles: [0.5]}]").returncode == 0
    assert codes(data).rows() == [("A", {"values/quantile/0.5": 2.5})]


def test_ids_and_codes_of_several_dtypes_get_a_common_one(data):
    """A subject in two splits counts once, whatever the width of its id and the kind of its codes."""
    rows = measurements((5, T, "A", 1.0), (6, T, "A", 1.0))
    data.write({"train/0": rows, "tuning/0": rows.cast({"subject_id": pl.Int32, "code": pl.Categorical})})
    stage.main(cfg(data, train_only=False, aggregations=["code/n_subjects"]))
    assert codes(data).filter(code="A")["code/n_subjects"].to_list() == [4]


@pytest.mark.parametrize("former", ["code_modifier_cols", "code_modifier_columns"])
def test_modifiers_under_a_former_name(data, former):
    data.write({name: ROWS.head(2).with_columns(unit=pl.lit("x")) for name in ("train/0", "train/1")})
    with pytest.warns(DeprecationWarning, match=former):
        stage.main(cfg(data, aggregations=["code/n_occurrences"], **{f"cfg_{former}": ["unit"]}))
    assert codes(data).columns[:2] == ["code", "unit"]
