"""What is read is written as it was."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from MEDS_transforms.dataset.thrift import (
    BINARY,
    BYTE,
    DOUBLE,
    FALSE,
    I16,
    I32,
    I64,
    LIST,
    SET,
    STRUCT,
    TRUE,
    Field,
    Reader,
    written,
)

INTEGERS = st.integers(-(2**63), 2**63 - 1)
PLAIN = {
    BYTE: st.integers(0, 255),
    I16: INTEGERS,
    I32: INTEGERS,
    I64: INTEGERS,
    DOUBLE: st.binary(min_size=8, max_size=8),
    BINARY: st.binary(),
}


def values(kind, structs):
    return {**PLAIN, STRUCT: structs}[kind]


def structs_of(structs):
    def lists(kind):
        return st.lists(values(kind, structs), max_size=40).map(lambda items: (kind, items))

    kinds = st.sampled_from([*PLAIN, STRUCT])
    one = kinds.flatmap(lambda kind: values(kind, structs).map(lambda value: Field(kind, value)))
    many = st.tuples(st.sampled_from([LIST, SET]), kinds.flatmap(lists)).map(lambda field: Field(*field))
    flags = st.sampled_from([Field(TRUE, True), Field(FALSE, False)])
    return st.dictionaries(st.integers(1, 300), one | many | flags, max_size=5).map(lambda d: dict(sorted(d.items())))


@given(st.recursive(st.just({}), structs_of, max_leaves=8))
def test_any_struct(struct):
    assert Reader(written(struct)).struct() == struct


def test_a_footer_of_polars(tmp_path):
    df = pl.DataFrame({"a": [1, None], "b": [["x"], []], "c": [{"d": 1.5}, None]})
    df.write_parquet(tmp_path / "0.parquet", row_group_size=1)
    data = (tmp_path / "0.parquet").read_bytes()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    assert written(Reader(footer).struct()) == footer


def test_what_parquet_does_not_have_is_an_error():
    with pytest.raises(ValueError, match="type 11"):
        Reader(bytes([0x1B, 0x01, 0x55])).struct()
