"""Raw tables to a MEDS dataset: the seven extraction stages, and the event conversion file that steers them."""

from typing import Any

from ..settings.packaged import EXTRACT_CONFIG_YAML

CONFIG_YAML = EXTRACT_CONFIG_YAML

__all__ = ["CONFIG_YAML", "MEDS_DATA_MANDATORY_TYPES", "MEDS_METADATA_MANDATORY_TYPES"]


def __getattr__(name: str) -> Any:
    """The dtypes of the schema, imported (with polars) when first asked for."""
    from ..dataset import schema

    if name == "MEDS_DATA_MANDATORY_TYPES":
        return {c: schema.MANDATORY_TYPES[c] for c in schema.MANDATORY_COLUMNS}
    if name == "MEDS_METADATA_MANDATORY_TYPES":
        return schema.CODE_METADATA_TYPES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
