"""The columns of MEDS, and the names that people import."""

import importlib
import re

import polars as pl
import pytest

import MEDS_transforms
from MEDS_transforms.dataset import schema


def test_mandatory_columns_and_types():
    assert MEDS_transforms.MANDATORY_COLUMNS == ["subject_id", "time", "code", "numeric_value"]
    assert {
        "subject_id": pl.Int64,
        "time": pl.Datetime("us"),
        "code": pl.String,
        "numeric_value": pl.Float32,
        "categorical_value": pl.String,
        "text_value": pl.String,
    } == MEDS_transforms.MANDATORY_TYPES
    assert {
        "code": pl.String,
        "description": pl.String,
        "parent_codes": pl.List(pl.String),
    } == schema.CODE_METADATA_TYPES


def test_former_column_names_lead_to_columns_there_are():
    assert set(MEDS_transforms.DEPRECATED_NAMES.values()) <= set(schema.MANDATORY_TYPES)
    assert MEDS_transforms.DEPRECATED_NAMES["timestamp"] == "time"


def test_every_column_that_has_a_name_is_in_the_table():
    parts = {"CODE_PREFIX", "VALUES_QUANTILE"}
    others = {"TRAIN_SPLIT", "DATA", "CODES", "SPLITS", "STATIC", "SEQUENCES", "FOR_MEDS_TORCH_DATA"}
    constants = {name: value for name, value in vars(schema).items() if name.isupper() and isinstance(value, str)}
    named = {value for name, value in constants.items() if not name.startswith("_") and name not in parts | others}
    assert named == {column.name for column in schema.COLUMNS}


def test_the_version_of_the_package():
    numbers = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", MEDS_transforms.__version__)
    assert numbers is not None
    assert (0, 2, 6) <= tuple(map(int, numbers.groups())) < (0, 5)


IMPORTS = {
    "MEDS_transforms": [
        "PREPROCESS_CONFIG_YAML",
        "EXTRACT_CONFIG_YAML",
        "RUNNER_CONFIG_YAML",
        "RESERVED_CONFIG_NAMES",
        "MANDATORY_COLUMNS",
        "MANDATORY_TYPES",
        "DEPRECATED_NAMES",
        "INFERRED_STAGE_KEYS",
    ],
    "MEDS_transforms.mapreduce": ["map_over", "rwlock_wrap", "shard_iterator", "shard_iterator_by_shard_map"],
    "MEDS_transforms.mapreduce.mapper": [
        "map_over",
        "rwlock_wrap",
        "identity_fn",
        "read_and_filter_fntr",
        "bind_compute_fn",
        "match_revise_fntr",
    ],
    "MEDS_transforms.mapreduce.utils": [
        "rwlock_wrap",
        "shard_iterator",
        "shard_iterator_by_shard_map",
        "shuffle_shards",
        "is_complete_parquet_file",
    ],
    "MEDS_transforms.utils": [
        "stage_init",
        "write_lazyframe",
        "get_shard_prefix",
        "is_col_field",
        "parse_col_field",
        "populate_stage",
        "current_script_name",
        "hydra_loguru_init",
    ],
    "MEDS_transforms.extract": ["CONFIG_YAML"],
    "MEDS_transforms.extract.utils": ["get_supported_fp"],
    "MEDS_transforms.extract.shard_events": ["META_KEYS", "main"],
    "MEDS_transforms.extract.split_and_shard_subjects": ["shard_subjects", "main"],
    "MEDS_transforms.extract.convert_to_sharded_events": ["main"],
    "MEDS_transforms.extract.merge_to_MEDS_cohort": ["main"],
    "MEDS_transforms.extract.extract_code_metadata": ["main"],
    "MEDS_transforms.extract.finalize_MEDS_metadata": ["main"],
    "MEDS_transforms.extract.finalize_MEDS_data": ["get_and_validate_data_schema", "main"],
    "MEDS_transforms.parser": ["cfg_to_expr", "matcher_to_expr", "is_matcher"],
    "MEDS_transforms.runner": ["main"],
}


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in IMPORTS.items() for n in names])
def test_public_names(module, name):
    assert getattr(importlib.import_module(module), name) is not None


def test_the_former_logging_set_up_warns_and_does_nothing():
    from MEDS_transforms.utils import hydra_loguru_init

    with pytest.warns(DeprecationWarning, match="remove the call"):
        hydra_loguru_init()


def test_stage_init_gives_the_folders(tmp_path):
    from MEDS_transforms.utils import stage_init

    folders = {
        "data_input_dir": str(tmp_path / "in"),
        "output_dir": str(tmp_path / "out"),
        "metadata_input_dir": str(tmp_path / "meta"),
    }
    assert stage_init({"stage": "s", "stage_cfg": folders}) == (tmp_path / "in", tmp_path / "out", tmp_path / "meta")
