"""map_over: a function on every shard, with whatever the function asks for."""

from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from polars.testing import assert_frame_equal

from helpers import files_below, write_shards
from MEDS_transforms.mapreduce import map_over
from MEDS_transforms.mapreduce.mapper import read_and_filter_fntr
from MEDS_transforms.mapreduce.shards import shuffle_shards

SHARDS = {
    "train/0": pl.DataFrame({"subject_id": [1, 1, 2], "code": ["A", "B", "A"], "n": [1, 2, 3]}),
    "train/1": pl.DataFrame({"subject_id": [3], "code": ["B"], "n": [4]}),
    "tuning/0": pl.DataFrame({"subject_id": [4], "code": ["C"], "n": [5]}),
}
CODES = pl.DataFrame({"code": ["A", "B"], "weight": [10, 20]})


@pytest.fixture(params=["dict", "config"])
def cfg(request, tmp_path):
    write_shards(tmp_path / "in" / "data", SHARDS)
    (tmp_path / "meta").mkdir()
    CODES.write_parquet(tmp_path / "meta" / "codes.parquet")
    cfg = {
        "input_dir": str(tmp_path / "in"),
        "stage_cfg": {
            "data_input_dir": str(tmp_path / "in" / "data"),
            "metadata_input_dir": str(tmp_path / "meta"),
            "output_dir": str(tmp_path / "out"),
            "factor": 2,
        },
    }
    return cfg if request.param == "dict" else OmegaConf.create(cfg)


def results(folder) -> dict[str, pl.DataFrame]:
    assert all(name.endswith(".parquet") and "/." not in f"/{name}" for name in files_below(folder))
    return {n.removesuffix(".parquet"): pl.read_parquet(folder / n) for n in files_below(folder)}


def numbers(folder) -> dict[str, list[int]]:
    return {name: df["n"].to_list() for name, df in results(folder).items()}


def lazily(df: pl.LazyFrame) -> pl.LazyFrame:
    return df.with_columns(pl.col("n") * 2)


def eagerly(df):
    return df.with_columns(pl.col("n") * 2).collect()


def with_settings(df, cfg, stage_cfg):
    assert cfg["stage_cfg"] == stage_cfg
    return df.with_columns(pl.col("n") * stage_cfg["factor"])


def made_from_settings(stage_cfg) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    return lambda df: df.with_columns(pl.col("n") * stage_cfg["factor"])


@pytest.mark.parametrize("compute_fn", [lazily, eagerly, with_settings, made_from_settings])
def test_a_function_of_any_shape_is_applied_to_every_shard(cfg, tmp_path, compute_fn):
    paths = map_over(cfg, compute_fn=compute_fn)
    assert numbers(tmp_path / "out") == {"train/0": [2, 4, 6], "train/1": [8], "tuning/0": [10]}
    assert sorted(paths) == [tmp_path / "out" / f"{name}.parquet" for name in sorted(SHARDS)]


def test_the_paths_come_in_the_order_of_the_worker(cfg, tmp_path):
    cfg["worker"] = 3
    expected = [tmp_path / "out" / f"{name}.parquet" for name in shuffle_shards(list(SHARDS), {"worker": 3})]
    assert map_over(cfg) == expected
    assert map_over(cfg) == expected  # also where all of them are there already


def test_no_function_copies(cfg, tmp_path):
    map_over(cfg)
    for name, df in results(tmp_path / "out").items():
        assert_frame_equal(df, SHARDS[name])


def test_code_metadata_and_modifiers(cfg, tmp_path):
    cfg["code_modifiers"] = ["unit"]

    def weigh(df, code_metadata, code_modifiers):
        assert code_modifiers == ["unit"]
        joined = df.join(code_metadata.lazy(), on="code", how="left", maintain_order="left")
        return joined.with_columns(n=pl.col("n") * pl.col("weight")).drop("weight")

    map_over(cfg, compute_fn=weigh)
    assert numbers(tmp_path / "out") == {"train/0": [10, 40, 30], "train/1": [80], "tuning/0": [None]}


@pytest.mark.parametrize("former", ["code_modifier_cols", "code_modifier_columns"])
def test_code_modifiers_under_a_former_name(cfg, former):
    cfg[former] = ["unit"]
    seen = []

    def compute(df, code_modifiers):
        seen.append(code_modifiers)
        return df

    with pytest.warns(DeprecationWarning, match=former):
        map_over(cfg, compute_fn=compute)
    assert seen == [["unit"]] * 3


@pytest.mark.parametrize("bad", [lambda frame: frame, lambda df, more: (df, more)])
def test_a_function_of_no_known_shape_is_an_error_before_anything_is_written(cfg, tmp_path, bad):
    with pytest.raises(ValueError, match="compute function"):
        map_over(cfg, compute_fn=bad)
    assert files_below(tmp_path / "out") == []


def test_own_ways_to_read_write_and_find_shards(cfg, tmp_path):
    def write(df, path):
        df.write_csv(path)

    def iterate(_):
        return [(tmp_path / "in" / "data" / "train" / "1.parquet", tmp_path / "out" / "x" / "1.csv")], False

    paths = map_over(cfg, read_fn=pl.read_parquet, write_fn=write, shard_iterator_fntr=iterate)
    assert paths == [tmp_path / "out" / "x" / "1.csv"]
    assert paths[0].read_text() == "subject_id,code,n\n3,B,4\n"
    assert files_below(tmp_path / "out") == ["x/1.csv"]


def test_a_failure_stops_and_names_the_shard(cfg, tmp_path):
    cfg["worker"] = 0

    is_bad = [True]

    def compute(df):
        if is_bad and (df.collect()["subject_id"] == 3).any():
            raise ValueError("subject 3 cannot be")
        return df

    with pytest.raises(ValueError, match="subject 3 cannot be") as info:
        map_over(cfg, compute_fn=compute)
    assert str(tmp_path / "in" / "data" / "train" / "1.parquet") in "\n".join(info.value.__notes__)
    assert "train/1.parquet" not in files_below(tmp_path / "out")
    is_bad.clear()
    map_over(cfg, compute_fn=compute)
    assert sorted(results(tmp_path / "out")) == sorted(SHARDS)


def test_a_damaged_input_is_named(cfg, tmp_path):
    (tmp_path / "in" / "data" / "train" / "1.parquet").write_bytes(b"PAR1 not parquet")
    with pytest.raises(pl.exceptions.PolarsError) as info:
        map_over(cfg)
    assert str(tmp_path / "in" / "data" / "train" / "1.parquet") in "\n".join(info.value.__notes__)


# train_only


def test_train_only_visits_the_shards_of_the_train_split(cfg, tmp_path):
    cfg["stage_cfg"]["train_only"] = True
    map_over(cfg)
    assert set(results(tmp_path / "out")) == {"train/0", "train/1"}


def write_splits(tmp_path) -> None:
    splits = pl.DataFrame({"subject_id": [1, 3, 2, 4], "split": ["train", "train", "tuning", "held_out"]})
    (tmp_path / "in" / "metadata").mkdir()
    splits.write_parquet(tmp_path / "in" / "metadata" / "subject_splits.parquet")


@pytest.mark.parametrize("read_fn", [pl.read_parquet, pl.scan_parquet])
def test_train_only_filters_where_shards_are_not_named_after_splits(cfg, tmp_path, read_fn):
    data = tmp_path / "in" / "data"
    (data / "train").rename(data / "training")
    cfg["stage_cfg"]["train_only"] = True
    with pytest.raises(FileNotFoundError, match=r"subject_splits\.parquet.*train_only"):
        map_over(cfg)
    write_splits(tmp_path)
    map_over(cfg, read_fn=read_fn)
    assert numbers(tmp_path / "out") == {"training/0": [1, 2], "training/1": [4], "tuning/0": []}


@pytest.mark.parametrize("value", [False, None])
def test_without_train_only_everybody_counts(cfg, tmp_path, value):
    write_splits(tmp_path)
    cfg["stage_cfg"]["train_only"] = value
    map_over(cfg)
    assert set(results(tmp_path / "out")) == set(SHARDS)


def test_read_and_filter(tmp_path):
    write_shards(tmp_path, SHARDS)
    read = read_and_filter_fntr(pl.col("code") == "A", pl.scan_parquet)
    assert read(tmp_path / "train" / "0.parquet").collect()["n"].to_list() == [1, 3]


# Match & revise


def test_match_and_revise(cfg, tmp_path):
    cfg["stage_cfg"]["_match_revise"] = [{"_matcher": {"code": "A"}, "factor": 10}, {"_matcher": {"code": "B"}}]
    map_over(
        cfg,
        compute_fn=made_from_settings,
        read_fn=lambda path: pl.scan_parquet(path).with_columns(time=pl.lit(None, pl.Datetime("us"))),
    )
    assert numbers(tmp_path / "out") == {"train/0": [10, 4, 30], "train/1": [8], "tuning/0": [5]}


def test_match_and_revise_is_checked_before_anything_is_written(cfg, tmp_path):
    cfg["stage_cfg"]["_match_revise"] = [{"factor": 10}]
    with pytest.raises(ValueError, match=r"_match_revise\[0\] has no _matcher"):
        map_over(cfg, compute_fn=made_from_settings)
    assert files_below(tmp_path / "out") == []


# Invariants


rows = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ABC"), st.integers(-9, 9)), max_size=30)


@given(rows=rows)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_match_and_revise_in_two_ways_gives_the_same_rows(tmp_path_factory, rows):
    """Entries that exclude each other give the same in both modes, and the whole shard sorted."""
    folder = tmp_path_factory.mktemp("shard")
    df = pl.DataFrame(rows, schema={"subject_id": pl.Int64, "code": pl.String, "n": pl.Int64}, orient="row")
    write_shards(folder / "in", {"0": df.with_columns(time=pl.lit(None, pl.Datetime("us")))})
    found = []
    for mode in ("match_and_revise", "multi_match_and_revise"):
        stage_cfg = {
            "data_input_dir": folder / "in",
            "output_dir": folder / mode,
            "_match_revise_mode": mode,
            "_match_revise": [{"_matcher": {"code": "A"}, "factor": 10}, {"_matcher": {"code": "B"}, "factor": 1}],
        }
        map_over(
            {"stage_cfg": {k: str(v) if k.endswith("dir") else v for k, v in stage_cfg.items()}}, made_from_settings
        )
        found.append(pl.read_parquet(folder / mode / "0.parquet").drop("time"))
    assert_frame_equal(*found)
    expected = df.with_columns(n=pl.col("n") * pl.when(code="A").then(10).otherwise(1))
    order = df["code"].replace_strict({"A": 0, "B": 1, "C": 2}, return_dtype=pl.Int8).alias("order")
    expected = expected.with_columns(order).sort("subject_id", "order", maintain_order=True).drop("order")
    assert_frame_equal(found[0], expected)
