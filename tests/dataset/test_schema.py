"""The columns of MEDS, the names that people import, and how little an import loads."""

import importlib
import json
import subprocess
import sys

import polars as pl
import pytest

import MEDS_transforms
from MEDS_transforms.dataset import schema

HEAVY = ["polars", "pyarrow", "numpy"]


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


def test_the_version_of_the_package():
    assert MEDS_transforms.__version__[0].isdigit()


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


def test_a_name_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="NOT_THERE"):
        _ = MEDS_transforms.NOT_THERE


def test_everything_in_all_is_there():
    for name in MEDS_transforms.__all__:
        assert hasattr(MEDS_transforms, name)


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


HELP = """
sys.argv = ["script", "--help"]
try:
    import importlib
    importlib.import_module("MEDS_transforms.{module}").main()
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import MEDS_transforms",
        "import MEDS_transforms.errors, MEDS_transforms.cli.script, MEDS_transforms.stages, MEDS_transforms.runner.run",
        HELP.format(module="cli.script").replace('["script"', '["MEDS_extract-shard_events"'),
        HELP.format(module="cli.script").replace('["script"', '["MEDS_extract-finalize_MEDS_metadata"'),
        HELP.format(module="runner"),
    ],
    ids=["package", "modules", "help of a stage", "help of a metadata stage", "help of the runner"],
)
def test_neither_an_import_nor_help_loads_what_is_heavy(tmp_path, code):
    loaded = f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    ran = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{code}\n{loaded}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == []
    assert [*tmp_path.iterdir()] == []
