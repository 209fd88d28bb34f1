"""Codes in order, numbered."""

import polars as pl
import pytest

from helpers import Preprocessing, measurements
from MEDS_transforms.metadata.fit_vocabulary_indices import with_vocabulary_indices


def indices(modifiers=None, **columns):
    return with_vocabulary_indices(pl.DataFrame(columns), modifiers)["code/vocab_index"].to_list()


def test_the_order_of_the_text_and_the_rows_stay():
    codes = pl.DataFrame({"code": ["b", "B", None, "a//é", "a", "10", "9", "a//f"], "n": range(8)})
    got = with_vocabulary_indices(codes, None)
    assert got["code/vocab_index"].to_list() == [8, 4, 1, 7, 5, 2, 3, 6]
    assert got.drop("code/vocab_index").equals(codes)


def test_modifiers_null_first():
    units, kinds = ["y", None, "x", "x", None], [1, 2, 10, 9, None]
    assert indices(["unit", "kind"], code=["A"] * 5, unit=units, kind=kinds) == [5, 2, 4, 3, 1]
    assert indices(["kind", "unit"], code=["A"] * 5, unit=units, kind=kinds) == [2, 3, 5, 4, 1]


@pytest.mark.parametrize(("n", "dtype"), [(0, pl.UInt8), (255, pl.UInt8), (256, pl.UInt16), (70_000, pl.UInt32)])
def test_the_smallest_unsigned_type(n, dtype):
    codes = pl.DataFrame({"code": [f"{i:05}" for i in range(n)]}, schema={"code": pl.String})
    got = with_vocabulary_indices(codes, None)["code/vocab_index"]
    assert got.dtype == dtype
    assert got.to_list() == list(range(1, n + 1))


KEEP, OVERWRITE = {"cfg_keep_existing": True}, {"cfg_do_overwrite": True}


def test_overwriting_numbers_again(tmp_path):
    data = Preprocessing(tmp_path)
    path = data.cohort / "metadata" / "codes.parquet"
    for names, how, expected in ((["b"], {}, [1]), (["b", "a"], KEEP, [1]), (["b", "a"], OVERWRITE, [2, 1])):
        data.write({"0": measurements()}, pl.DataFrame({"code": names}))
        data.run("fit_vocabulary_indices", **how)
        assert pl.read_parquet(path)["code/vocab_index"].to_list() == expected


@pytest.mark.parametrize("former", ["code_modifier_cols", "code_modifier_columns"])
def test_modifiers_under_a_former_name(tmp_path, former):
    data = Preprocessing(tmp_path)
    data.write({"0": measurements()}, pl.DataFrame({"code": ["A", "A"], "unit": ["y", "x"]}))
    with pytest.warns(DeprecationWarning, match=former):
        data.run("fit_vocabulary_indices", **{f"cfg_{former}": ["unit"]})
    assert pl.read_parquet(data.cohort / "metadata" / "codes.parquet")["code/vocab_index"].to_list() == [2, 1]


def test_a_former_number_is_replaced():
    assert indices(**{"code": ["b", "a"], "code/vocab_index": [7, 7]}) == [2, 1]


def test_duplicate_keys():
    columns = {"code": ["A", "A", "B", None, None], "unit": [None, None, "x", None, None]}
    message = r"(?s)several rows for one \(code, unit\).*\(None, None, 2\)\n  \('A', None, 2\)\n(?!.*'B')"
    with pytest.raises(ValueError, match=message):
        indices(["unit"], **columns)


def test_a_missing_modifier():
    with pytest.raises(KeyError, match=r"The code metadata has no column uint \(did you mean 'unit'\?\)"):
        indices(["uint"], code=["A"], unit=["x"])


def test_the_stage(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"0": measurements()}, pl.DataFrame({"code": ["b", "a"], "description": ["x", "y"]}))
    data.run("fit_vocabulary_indices", cfg_worker=1)
    assert not data.cohort.exists() or not list(data.cohort.rglob("codes.parquet"))
    data.run("fit_vocabulary_indices")
    got = pl.read_parquet(data.cohort / "metadata" / "codes.parquet")
    assert got.columns == ["code", "description", "code/vocab_index"]
    assert got.rows() == [("b", "x", 2), ("a", "y", 1)]


def test_an_unknown_method_and_no_metadata(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"0": measurements()})
    with pytest.raises(ValueError, match=r"not 'lexicografic' \(did you mean 'lexicographic'\?\)"):
        data.run("fit_vocabulary_indices", ordering_method="lexicografic")
    with pytest.raises(FileNotFoundError, match=r"no code metadata .*codes\.parquet\. Run a stage that makes it first"):
        data.run("fit_vocabulary_indices")
