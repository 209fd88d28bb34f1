"""Make and pre-process MEDS datasets: small, sharded, parallel command-line stages built on polars.

Importing the package registers its OmegaConf resolvers, so that `PREPROCESS_CONFIG_YAML` and
`EXTRACT_CONFIG_YAML` can be used in anybody's `@hydra.main`. It imports neither polars nor pyarrow: a
script's `--help` must not wait for them.
"""

from typing import Any

__version__ = "0.2.0"

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
    "__version__",
]

_FROM_SCHEMA = ("DEPRECATED_NAMES", "MANDATORY_COLUMNS", "MANDATORY_TYPES")


def __getattr__(name: str) -> Any:
    """The schema's constants, imported (with polars) when first asked for."""
    if name in _FROM_SCHEMA:
        from .dataset import schema

        return getattr(schema, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
