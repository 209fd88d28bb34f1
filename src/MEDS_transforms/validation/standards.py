"""What MEDS asks of each file of a dataset, in both of its versions.

The tables repeat what the package `meds` says, of which one version only can be installed, so that a dataset can be
validated against the version that it follows. A test compares them with the public objects of the installed package.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from ..dataset.schema import (
    CODE,
    DESCRIPTION,
    NUMERIC_VALUE,
    PARENT_CODES,
    SPLIT,
    SUBJECT_ID,
    TEXT_VALUE,
    TIME,
)
from .versions import MedsVersion

BIRTH_CODE, DEATH_CODE = "MEDS_BIRTH", "MEDS_DEATH"
"""A code is one of these, or begins with it and `//`."""

SPLIT_NAMES = ("train", "tuning", "held_out")
"""The names of splits that tools know; others are permitted."""

INT, MICROSECONDS, STRING, LARGE_STRING, FLOAT = "int64", "timestamp[us]", "string", "large_string", "float"
STRINGS = "list<string>"


@dataclass(frozen=True)
class Table:
    """What MEDS asks of a parquet file: arrow types (in words) of columns, in any order.

    Args:
        required: the columns that must be there.
        optional: those that may be there, and then have this type.
        is_closed: whether there may be no other column.
    """

    required: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    is_closed: bool = False


@dataclass(frozen=True)
class Standard:
    """A version of MEDS: what it asks of shards, codes.parquet, subject_splits.parquet and dataset.json."""

    version: MedsVersion
    data: Table
    codes: Table
    splits: Table
    dataset: Mapping[str, Any]


_DESCRIBED = ("dataset_name", "dataset_version", "etl_name", "etl_version", "meds_version", "created_at")
CREATED_AT, MEDS_VERSION = "created_at", "meds_version"
CODE_MODIFIERS = "code_modifier_columns"
COLUMN_LISTS = (
    "raw_source_id_columns",
    CODE_MODIFIERS,
    "additional_value_modality_columns",
    "site_id_columns",
    "other_extension_columns",
)
"""Keys of dataset.json that list columns of the data; since MEDS 0.4."""

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_ROWS = {SUBJECT_ID: INT, TIME: MICROSECONDS, CODE: STRING}
_CODES = {DESCRIPTION: STRING, PARENT_CODES: STRINGS}
_SPLITS = Table({SUBJECT_ID: INT, SPLIT: STRING}, is_closed=True)

STANDARDS = {
    MedsVersion.V0_3: Standard(
        MedsVersion.V0_3,
        data=Table({**_ROWS, NUMERIC_VALUE: FLOAT}),
        codes=Table({CODE: STRING, **_CODES}),
        splits=_SPLITS,
        dataset={"type": "object", "properties": dict.fromkeys(_DESCRIBED, _TEXT)},
    ),
    MedsVersion.V0_4: Standard(
        MedsVersion.V0_4,
        data=Table(_ROWS, {NUMERIC_VALUE: FLOAT, TEXT_VALUE: LARGE_STRING}),
        codes=Table({CODE: STRING}, _CODES),
        splits=_SPLITS,
        dataset={
            "type": "object",
            "properties": {
                **dict.fromkeys((*_DESCRIBED, "license", "location_uri", "description_uri"), _TEXT),
                **dict.fromkeys(COLUMN_LISTS, _TEXTS),
            },
        },
    ),
}


def standard_for(asked: MedsVersion | None, declared: object) -> tuple[Standard, str]:
    """The version to validate against, and in words why it is this one.

    It is the one that is asked for; else the one that the dataset declares; else that of the installed package.

    Args:
        asked: the version that the user names.
        declared: what `meds_version` in dataset.json says.
    """
    if asked is not None:
        return STANDARDS[asked], "as asked for"
    if found := _known(declared):
        return STANDARDS[found], "as metadata/dataset.json says"
    installed = version("meds")
    return STANDARDS[_known(installed) or MedsVersion.V0_4], f"as the installed package meds {installed}"


def is_known(declared: object) -> bool:
    """Whether a version of MEDS is among those that can be validated against."""
    return _known(declared) is not None


def _known(text: object) -> MedsVersion | None:
    """The version that a longer number, such as 0.3.3, belongs to.

    >>> _known("0.3.3"), _known("0.30"), _known(None)
    (<MedsVersion.V0_3: '0.3'>, None, None)
    """
    return next((known for known in MedsVersion if f"{text}.".startswith(f"{known}.")), None)
