"""Compute functions of every shape, judged by their signatures and bound to what they ask for."""

from collections.abc import Callable

import polars as pl
import pytest
from omegaconf import OmegaConf
from polars.testing import assert_frame_equal

from MEDS_transforms.mapreduce.compute import ComputeFnType, bind_compute_fn, compute_fn_type, identity_fn

DF = pl.DataFrame({"subject_id": [1], "code": ["A"]})
CODES = pl.DataFrame({"code": ["A"], "n": [3]})


def direct(df):
    return df.with_columns(x=1)


def direct_annotated(df: pl.LazyFrame) -> pl.LazyFrame:
    return df


def annotated_with_a_text(df: "pl.LazyFrame") -> "pl.LazyFrame":
    return df


def annotated_with_an_unknown_name(df: "Unknown") -> "Unknown":  # noqa: F821
    return df


def unbound(df, cfg, stage_cfg, code_modifiers, code_metadata):
    return df.with_columns(
        seed=cfg["seed"], n=stage_cfg["n"], m=pl.lit(str(code_modifiers)), codes=code_metadata.height
    )


def unbound_in_another_order(stage_cfg, df):
    return df.with_columns(n=stage_cfg["n"])


def functor(cfg, stage_cfg, code_modifiers, code_metadata):
    return lambda df: unbound(df, cfg, stage_cfg, code_modifiers, code_metadata)


def functor_annotated(stage_cfg) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    return lambda df: df.with_columns(n=stage_cfg["n"])


def functor_annotated_bare(stage_cfg) -> Callable:
    return lambda df: df.with_columns(n=stage_cfg["n"])


def functor_annotated_with_a_text(stage_cfg) -> "Callable[[Unknown], Unknown]":  # noqa: F821
    return lambda df: df.with_columns(n=stage_cfg["n"])


def functor_of_nothing():
    return direct


class Adds:
    def __call__(self, df, stage_cfg):
        return df.with_columns(n=stage_cfg["n"])


class Instance:
    def method(self, df):
        return df.with_columns(x=1)


@pytest.fixture
def cfg(tmp_path):
    CODES.write_parquet(tmp_path / "codes.parquet")
    stage_cfg = {"n": 2, "metadata_input_dir": str(tmp_path)}
    return OmegaConf.create({"seed": 7, "code_modifiers": ["unit"], "stage_cfg": stage_cfg})


@pytest.mark.parametrize(
    ("compute_fn", "kind", "added"),
    [
        (direct, ComputeFnType.DIRECT, {"x": 1}),
        (direct_annotated, ComputeFnType.DIRECT, {}),
        (annotated_with_a_text, ComputeFnType.DIRECT, {}),
        (annotated_with_an_unknown_name, ComputeFnType.DIRECT, {}),
        (identity_fn, ComputeFnType.DIRECT, {}),
        (Instance().method, ComputeFnType.DIRECT, {"x": 1}),
        (unbound, ComputeFnType.UNBOUND, {"seed": 7, "n": 2, "m": "['unit']", "codes": 1}),
        (unbound_in_another_order, ComputeFnType.UNBOUND, {"n": 2}),
        (Adds(), ComputeFnType.UNBOUND, {"n": 2}),
        (functor, ComputeFnType.FUNCTOR, {"seed": 7, "n": 2, "m": "['unit']", "codes": 1}),
        (functor_annotated, ComputeFnType.FUNCTOR, {"n": 2}),
        (functor_annotated_bare, ComputeFnType.FUNCTOR, {"n": 2}),
        (functor_annotated_with_a_text, ComputeFnType.FUNCTOR, {"n": 2}),
        (functor_of_nothing, ComputeFnType.FUNCTOR, {"x": 1}),
    ],
)
@pytest.mark.parametrize("frame", [DF, DF.lazy()], ids=["eager", "lazy"])
def test_every_shape_becomes_a_function_of_a_frame(cfg, compute_fn, kind, added, frame):
    assert compute_fn_type(compute_fn) is kind
    result = bind_compute_fn(cfg, cfg.stage_cfg, compute_fn)(frame).lazy().collect()
    assert_frame_equal(result, DF.with_columns(**{k: pl.lit(v) for k, v in added.items()}), check_dtypes=False)


def test_none_is_the_identity(cfg):
    assert bind_compute_fn(cfg, cfg.stage_cfg, None)(DF) is DF


def frame_and_more(df, stage_cfg, other):
    return df, stage_cfg, other


def any_positional(*args):
    return args


def any_keyword(df, **kwargs):
    return df, kwargs


def positional_only(df, /):
    return df


def wrong_name(frame):
    return frame


def with_default(df, threshold=3):
    return df, threshold


def direct_that_returns_a_function(df) -> Callable:
    return df


def functor_that_returns_a_frame(stage_cfg) -> pl.LazyFrame:
    return stage_cfg


def functor_that_returns_a_text(stage_cfg) -> "pl.LazyFrame":
    return stage_cfg


@pytest.mark.parametrize(
    ("compute_fn", "why"),
    [
        (frame_and_more, "not other"),
        (any_positional, r"not \*args"),
        (any_keyword, r"not \*\*kwargs"),
        (positional_only, "by name, not df"),
        (wrong_name, "not frame"),
        (with_default, "not threshold=3"),
        (direct_that_returns_a_function, "must not be Callable"),
        (functor_that_returns_a_frame, "must be Callable"),
        (functor_that_returns_a_text, "must be Callable"),
    ],
)
def test_a_function_of_another_shape_is_an_error_that_says_why(compute_fn, why):
    with pytest.raises(ValueError, match=why) as info:
        compute_fn_type(compute_fn)
    assert compute_fn.__name__ in str(info.value)


def test_what_cannot_be_called_is_an_error():
    with pytest.raises((ValueError, TypeError), match="callable, not 'direct'"):
        compute_fn_type("direct")


def test_code_metadata_is_read_only_where_it_is_wanted(cfg, tmp_path):
    (tmp_path / "codes.parquet").unlink()
    assert bind_compute_fn(cfg, cfg.stage_cfg, unbound_in_another_order)(DF)["n"].to_list() == [2]
    with pytest.raises(FileNotFoundError, match=r"codes\.parquet.*metadata_input_dir"):
        bind_compute_fn(cfg, cfg.stage_cfg, functor)


def with_or_without_metadata(df, code_metadata=None):
    return df.with_columns(codes=0 if code_metadata is None else code_metadata.height)


def test_code_metadata_may_be_missing_where_the_function_has_a_default(cfg, tmp_path):
    assert bind_compute_fn(cfg, cfg.stage_cfg, with_or_without_metadata)(DF)["codes"].to_list() == [1]
    (tmp_path / "codes.parquet").unlink()
    assert bind_compute_fn(cfg, cfg.stage_cfg, with_or_without_metadata)(DF)["codes"].to_list() == [0]


def test_code_metadata_of_a_later_run_is_read_again(cfg, tmp_path):
    assert bind_compute_fn(cfg, cfg.stage_cfg, unbound)(DF)["codes"].to_list() == [1]
    pl.concat([CODES, CODES]).write_parquet(tmp_path / "new.parquet")
    (tmp_path / "new.parquet").replace(tmp_path / "codes.parquet")
    assert bind_compute_fn(cfg, cfg.stage_cfg, unbound)(DF)["codes"].to_list() == [2]


@pytest.mark.parametrize("former", ["code_modifier_cols", "code_modifier_columns"])
def test_code_modifiers_under_a_former_name(cfg, former):
    cfg = {"seed": 7, former: ["old"], "stage_cfg": cfg.stage_cfg}
    with pytest.warns(DeprecationWarning, match=former):
        compute = bind_compute_fn(cfg, cfg["stage_cfg"], unbound)
    assert compute(DF)["m"].to_list() == ["['old']"]


def test_without_code_modifiers_there_is_none(cfg):
    cfg = {"seed": 7, "stage_cfg": cfg.stage_cfg}
    assert bind_compute_fn(cfg, cfg["stage_cfg"], unbound)(DF)["m"].to_list() == ["None"]
