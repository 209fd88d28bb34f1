"""Make and pre-process MEDS datasets: sharded, parallel command-line stages built on polars.

To run what is there, from scripts and notebooks:

  run_stage                    runs one stage in this process: on a MEDS dataset, or on raw tables
  run_pipeline                 runs a pipeline, given as a file or as its content, by the runner
  StageResult                  what the first returns: the folder, the figures of the accounting, the time
  PipelineResult               the same of a pipeline, by stage

For stages of your own:

  map_over                     applies a function to every data shard and writes the results; workers share the shards
  bind_compute_fn              turns any function that `map_over` accepts into a function of one frame
  match_revise_fntr            the same for a stage with `_match_revise`: each group of rows has settings of its own
  rwlock_wrap                  reads, computes and writes one file, unless it is there or another worker is making it
  shard_iterator               the input and output path of every shard of a stage
  shard_iterator_by_shard_map  the same for the shards in the JSON file at `shards_map_fp`
  shuffle_shards               shard names in the order in which one worker visits them
  is_complete_parquet_file     whether a parquet file is there and whole

For expressions in configuration files:

  cfg_to_expr                  a column expression as a polars expression, with the columns that it reads
  matcher_to_expr              a matcher as a polars expression, with the columns that it reads
  is_matcher                   whether a value is a matcher, and if not, why

Configuration files to build on, and what is known of columns and keys:

  EXTRACT_CONFIG_YAML          the packaged extraction pipeline
  PREPROCESS_CONFIG_YAML       the packaged pre-processing pipeline
  RUNNER_CONFIG_YAML           the runner's configuration
  RESERVED_CONFIG_NAMES        names that a pipeline file of yours cannot have
  INFERRED_STAGE_KEYS          the keys of a stage's block that are filled in where they are not set
  MANDATORY_COLUMNS            the columns of every MEDS data file
  MANDATORY_TYPES              the polars dtypes that MEDS prescribes
  DEPRECATED_NAMES             former column names and their successors

`MEDS_transforms.utils` has the helpers of earlier releases.

Importing the package registers its OmegaConf resolvers, so that any `@hydra.main` can use the configuration files. It
imports neither polars nor pyarrow, to keep `--help` fast; names that need them are imported when first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.4.0"

from . import interrupts as _interrupts  # noqa: F401  answers them while the rest is imported
from .settings import resolvers as _resolvers  # noqa: F401  registers them
from .settings.folders import INFERRED_STAGE_KEYS
from .settings.packaged import EXTRACT_CONFIG_YAML, PREPROCESS_CONFIG_YAML, RESERVED_CONFIG_NAMES, RUNNER_CONFIG_YAML

__all__ = [
    "DEPRECATED_NAMES",
    "EXTRACT_CONFIG_YAML",
    "INFERRED_STAGE_KEYS",
    "MANDATORY_COLUMNS",
    "MANDATORY_TYPES",
    "PREPROCESS_CONFIG_YAML",
    "RESERVED_CONFIG_NAMES",
    "RUNNER_CONFIG_YAML",
    "PipelineResult",
    "StageResult",
    "__version__",
    "bind_compute_fn",
    "cfg_to_expr",
    "is_complete_parquet_file",
    "is_matcher",
    "map_over",
    "match_revise_fntr",
    "matcher_to_expr",
    "run_pipeline",
    "run_stage",
    "rwlock_wrap",
    "shard_iterator",
    "shard_iterator_by_shard_map",
    "shuffle_shards",
]

_HOMES = {
    ".dataset.schema": ("DEPRECATED_NAMES", "MANDATORY_COLUMNS", "MANDATORY_TYPES"),
    ".in_python": ("PipelineResult", "StageResult", "run_pipeline", "run_stage"),
    ".mapreduce.mapper": ("bind_compute_fn", "map_over", "match_revise_fntr"),
    ".mapreduce.utils": (
        "is_complete_parquet_file",
        "rwlock_wrap",
        "shard_iterator",
        "shard_iterator_by_shard_map",
        "shuffle_shards",
    ),
    ".parser": ("cfg_to_expr", "is_matcher", "matcher_to_expr"),
}
"""The modules that import polars, or much else, and the names that come from them."""


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used, with what it needs."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
