"""What is known of keys is found out once, and counted by kinds of rows."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MEDS_transforms.dataset.key_tables import COUNT, KIND, KeyTable

LENGTH = "length"


@pytest.fixture
def asked():
    return []


@pytest.fixture
def table(asked):
    def find_out(keys):
        asked.extend(keys.rows())
        return keys.with_columns(pl.col("code").str.len_bytes().alias(LENGTH))

    return KeyTable(find_out)


def rows(found, *names):
    return found.table.select(names)[found.at].rows()


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_each_key_is_asked_for_once_in_all_shards(table, asked, dtype):
    for codes in (["A", "BB", "A", None], [], ["CCC", None, "BB"], [None]):
        found = table(pl.DataFrame({"code": pl.Series(codes, dtype=dtype)}))
        assert rows(found, "code", LENGTH) == [(code, code and len(code)) for code in codes]
    assert sorted(asked) == [("A",), ("BB",), ("CCC",)]


def test_keys_of_several_columns_with_any_names(table, asked):
    keys, dtypes = {"code": ["A", "A", None, "A"], "^.*$": [1, None, 1, 1]}, {"code": pl.Categorical, "^.*$": pl.Int8}
    found = table(pl.DataFrame(keys))
    assert found.table[found.at].rows() == [("A", 1, 1), ("A", None, 1), (None, None, None), ("A", 1, 1)]
    assert rows(table(pl.DataFrame(keys, schema=dtypes)), LENGTH) == [(1,), (1,), (None,), (1,)]
    assert len(asked) == 4  # as integers of another dtype they are other keys


@settings(max_examples=25)
@given(drawn=st.lists(st.tuples(st.sampled_from(["A", "BB", "CCC", None]), st.integers(0, 2)), max_size=30))
def test_rows_are_counted_by_key_and_kind(drawn):
    table = KeyTable(lambda keys: keys.with_columns(pl.col("code").str.len_bytes().alias(LENGTH)))
    codes, kinds = [code for code, _ in drawn], pl.Series([kind for _, kind in drawn], dtype=pl.UInt8)
    found = table(pl.DataFrame({"code": pl.Series(codes, dtype=pl.String)}))
    for n_kinds in (3, [3 + n for n in range(found.table.height)]):
        by_kind = found.by_kind(kinds.to_numpy(), n_kinds)
        assert rows(by_kind, "code", KIND) == drawn
        assert {(code, kind): n for code, kind, n in by_kind.table.select("code", KIND, COUNT).rows()} == Counter(drawn)
