"""What is asked of the files of a dataset is what the installed package `meds` says."""

from importlib.metadata import version

import meds
import pyarrow as pa
import pytest

from MEDS_transforms.validation import standards
from MEDS_transforms.validation.columns import type_name
from MEDS_transforms.validation.standards import STANDARDS, Table, standard_for
from MEDS_transforms.validation.versions import MedsVersion

HAS_CLASSES = hasattr(meds, "DataSchema")


def types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: type_name(field.type) for field in schema}


def assert_is(table: Table, schema: type) -> None:
    """Whether a table is what a schema class of MEDS 0.4 says."""
    assert {**table.required, **table.optional} == types(schema.schema())
    assert table.is_closed is not schema.allow_extra_columns


@pytest.mark.skipif(not HAS_CLASSES, reason="meds 0.3 is installed")
def test_0_4():
    standard = STANDARDS[MedsVersion.V0_4]
    assert_is(standard.data, meds.DataSchema)
    assert_is(standard.codes, meds.CodeMetadataSchema)
    assert_is(standard.splits, meds.SubjectSplitSchema)
    assert [*standard.data.required] == meds.DataSchema.required_columns()
    assert [*standard.codes.required] == meds.CodeMetadataSchema.required_columns()
    properties = meds.DatasetMetadataSchema.schema()["properties"]
    properties = {
        key: {name: of for name, of in asked.items() if name != "format"} for key, asked in properties.items()
    }
    assert standard.dataset["properties"] == properties
    assert meds.DatasetMetadataSchema.schema()["required"] == []


@pytest.mark.skipif(HAS_CLASSES, reason="meds 0.4 is installed")
def test_0_3():
    standard = STANDARDS[MedsVersion.V0_3]
    assert standard.data.required == types(meds.data_schema())
    assert standard.codes.required == types(meds.code_metadata_schema())
    assert standard.splits.required == types(meds.subject_split_schema)
    assert standard.dataset == meds.dataset_metadata_schema


def test_names():
    assert (meds.birth_code, meds.death_code) == (standards.BIRTH_CODE, standards.DEATH_CODE)
    assert (meds.train_split, meds.tuning_split, meds.held_out_split) == standards.SPLIT_NAMES


@pytest.mark.parametrize(
    ("asked", "declared", "expected", "why"),
    [
        (MedsVersion.V0_3, "0.4.1", "0.3", "as asked for"),
        (None, "0.3.3", "0.3", "as metadata/dataset.json says"),
        (None, "0.4", "0.4", "as metadata/dataset.json says"),
        (None, "0.31", version("meds")[:3], "as the installed package"),
        (None, None, version("meds")[:3], "as the installed package"),
    ],
)
def test_the_version_is_the_one_asked_for_or_declared_or_installed(asked, declared, expected, why):
    standard, reason = standard_for(asked, declared)
    assert standard.version == expected
    assert reason.startswith(why)
