"""Codes as categories: what is known of them is found by their numbers, and is what is known of their texts."""

from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from MEDS_transforms.dataset.categories import CODE_CATEGORIES, ByCategory, in_categories, in_texts
from MEDS_transforms.dataset.code_metadata import Lookup
from MEDS_transforms.dataset.dtypes import is_text
from MEDS_transforms.dataset.key_tables import KeyTable

ROWS = pl.DataFrame({"code": ["A", None, "B", "A"], "n": [1, 2, 3, 4]})
CODES = st.lists(st.sampled_from(["A", "B", "C", "é", "", None]), max_size=12)


def as_categories(codes):
    return pl.Series("code", codes, dtype=pl.String).cast(CODE_CATEGORIES)


@pytest.mark.parametrize("lazy", [False, True])
def test_texts_become_categories_and_texts_again(lazy):
    rows = in_categories(ROWS)
    assert rows.schema == {"code": CODE_CATEGORIES, "n": pl.Int64}
    back = in_texts(rows.lazy() if lazy else rows)
    assert isinstance(back, pl.LazyFrame) == lazy
    assert_frame_equal(back.lazy().collect(), ROWS)


def test_what_has_no_texts_stays():
    for rows in (ROWS.drop("code"), ROWS.with_columns(code=pl.lit(1)), ROWS.cast({"code": pl.Categorical})):
        assert in_categories(rows) is rows
        assert in_texts(rows) is rows
    assert in_texts(None) is None


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Categorical(pl.Categories("units")), CODE_CATEGORIES])
def test_categories_of_any_name_are_texts(dtype):
    assert is_text(dtype)


@settings(max_examples=50)
@given(shards=st.lists(CODES, max_size=6))
def test_numbers_by_category_are_those_by_text(shards):
    numbers, asked = {"A": 0, "B": 1, "": 2}, []

    def of_texts(texts):
        asked.extend(texts)
        return pl.Series([numbers.get(text) for text in texts], dtype=pl.UInt8)

    by_category = ByCategory(of_texts)
    for codes in shards:
        # No series is kept from shard to shard, after which polars might give the same categories other numbers.
        assert by_category(as_categories(codes)).to_list() == [numbers.get(code) for code in codes]
    assert len(asked) == len({*asked})


@settings(max_examples=50)
@given(shards=st.lists(CODES, max_size=4), known=st.sets(st.sampled_from(["A", "B", "C", ""])))
def test_metadata_are_looked_up_as_by_text(shards, known):
    metadata = pl.DataFrame({"code": sorted(known), "n": range(len(known))}, {"code": pl.String, "n": pl.Int64})
    lookup = Lookup(metadata, None, {"n": "found"})
    for codes in shards:
        texts = pl.DataFrame({"code": codes}, {"code": pl.String})
        by_category = lookup(in_categories(texts).lazy()).collect()
        assert by_category.schema["code"] == CODE_CATEGORIES
        assert_frame_equal(in_texts(by_category), lookup(texts.lazy()).collect())


@settings(max_examples=50)
@given(shards=st.lists(CODES, max_size=4))
def test_what_is_found_out_of_keys_is_the_same(shards):
    table = KeyTable(lambda keys: keys.with_columns(pl.col("code").str.len_bytes().alias("length")))
    for codes in shards:
        found = table(as_categories(codes).to_frame())
        assert found.table[found.at].rows() == [(code, None if code is None else len(code.encode())) for code in codes]


def test_many_threads_find_the_same():
    texts = [f"code {n % 700}" for n in range(20_000)]
    by_category = ByCategory(lambda texts: texts.str.slice(5).cast(pl.UInt32))

    def one(first):
        return by_category(as_categories(texts[first : first + 5000])).to_list()

    with ThreadPoolExecutor(8) as pool:
        for first, found in zip(range(0, 15_000, 1000), pool.map(one, range(0, 15_000, 1000)), strict=True):
            assert found == [n % 700 for n in range(first, first + 5000)]
