"""Which codes get a number: by lists, by counts, after reserved tokens, and after a vocabulary that is extended."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import Preprocessing, check_meds_codes, measurements
from MEDS_transforms.metadata.fit_vocabulary_indices import fit_vocabulary
from MEDS_transforms.metadata.former_vocabulary import read_former
from MEDS_transforms.metadata.vocabulary import read_vocabulary

COUNTS = {"A": 3, "B": 9, "C": 9, "LAB//1": None, "LAB//2": 1}
CODES = pl.DataFrame(
    {"code": [*COUNTS], "code/n_occurrences": [*COUNTS.values()], "code/n_subjects": [3, 1, 9, None, 1]},
    schema_overrides={"code/n_occurrences": pl.UInt8},
)
DEFAULTS = {"ordering_method": "lexicographic"}


def numbers(codes):
    """The number of every code that has one, and of every other None, in the order of the rows."""
    return dict(codes.select("code", "code/vocab_index").rows())


def fit(codes=CODES, former=None, modifiers=None, **block):
    return fit_vocabulary(codes, modifiers, read_vocabulary(DEFAULTS | block), former)


def numbered(codes=CODES, former=None, **block):
    return numbers(fit(codes, former, **block)[0])


def extended(folder, codes, modifiers=()):
    """What is read of a vocabulary that is to be extended."""
    path = folder / "codes.parquet"
    codes.write_parquet(path)
    return read_former(path, ["code", *modifiers])


def vocabulary(**indices):
    return pl.DataFrame({"code": [*indices], "code/vocab_index": [*indices.values()]})


@pytest.mark.parametrize(
    ("block", "order"),
    [
        ({}, ["A", "B", "C", "LAB//1", "LAB//2"]),
        ({"ordering_method": "frequency"}, ["B", "C", "A", "LAB//2", "LAB//1"]),
        ({"min_occurrences": 1}, ["A", "B", "C", "LAB//2"]),  # a null count is 0
        ({"min_occurrences": 2, "min_subjects": 3}, ["A", "C"]),
        ({"keep": ["C", {"regex": "^LAB"}]}, ["C", "LAB//1", "LAB//2"]),
        ({"keep": [{"regex": "LAB"}], "drop": ["LAB//1"]}, ["LAB//2"]),
        ({"drop": ["LAB", {"regex": "^[AB]$"}]}, ["C", "LAB//1", "LAB//2"]),
        ({"keep": []}, []),
        ({"reserved_tokens": ["PAD", "UNK"], "ordering_method": "frequency"}, ["PAD", "UNK", "B", "C", "A"]),
    ],
)
def test_which_codes_get_a_number_and_in_which_order(block, order):
    got = numbered(**block)
    assert [*got] == [*COUNTS, *block.get("reserved_tokens", [])]
    in_order = sorted((code for code, number in got.items() if number), key=got.get)
    assert in_order[: len(order)] == order
    assert sorted(filter(None, got.values())) == [*range(1, 1 + len(in_order))]


def test_how_many_and_why():
    block = {"drop": ["B"], "keep": [{"regex": "^.$"}], "min_occurrences": 5, "reserved_tokens": ["PAD"]}
    left_out = {"drop": 1, "keep": 2, "min_occurrences": 1, "min_subjects": 0}
    figures = {"numbered": 2, "reserved": 1, "new": 1, "taken_over": 0, "absent": 0, "left_out": left_out}
    assert fit(**block)[1] == figures


def test_the_row_of_all_codes_together_is_the_most_frequent():
    together = CODES.head(1).with_columns(pl.lit(None, pl.String).alias("code"), pl.col("code/n_occurrences") + 19)
    codes = pl.concat([CODES, together])
    assert numbered(codes, ordering_method="frequency")[None] == 1
    assert numbered(codes)[None] == 1


def test_what_is_extended_keeps_its_numbers(tmp_path):
    former = extended(tmp_path, vocabulary(PAD=1, gone=2, B=300, none=None))
    codes, figures = fit(CODES, former, reserved_tokens=["PAD", "UNK"], drop=["B", "C"], min_occurrences=1)
    want = {"A": 302, "B": 300, "C": None, "LAB//1": None, "LAB//2": 303, "PAD": 1, "gone": 2, "UNK": 301}
    assert numbers(codes) == want
    assert codes.schema["code/vocab_index"] == pl.UInt16
    assert codes["code/n_occurrences"].to_list() == [*COUNTS.values(), None, None, None]
    left_out = {"drop": 1, "keep": 0, "min_occurrences": 1, "min_subjects": 0}
    want = {"numbered": 6, "reserved": 1, "new": 2, "taken_over": 3, "absent": 2, "left_out": left_out}
    assert figures == want


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Categorical(pl.Categories("of a name"))])
def test_modifiers_of_other_dtypes_and_null(tmp_path, dtype):
    old = pl.DataFrame({"code": ["A", "A", "PAD"], "*": [2, None, None], "code/vocab_index": [5, 6, 7]})
    old = old.with_columns(pl.col("code").cast(dtype), pl.Series("*", [2, None, None], pl.Int8))
    new = pl.DataFrame({"code": ["A", "A", "A"], "*": [1, 2, None]})
    codes, _ = fit(new, extended(tmp_path, old, ["*"]), ["*"], reserved_tokens=["PAD", "UNK"])
    assert codes.select("code", pl.nth(1), "code/vocab_index").rows() == [
        ("A", 1, 9),
        ("A", 2, 5),
        ("A", None, 6),
        ("PAD", None, 7),
        ("UNK", None, 8),
    ]


NAMES = st.lists(st.sampled_from([f"{kind}{i}" for kind in "ab" for i in range(6)]), unique=True, max_size=8)


ORDERS = st.sampled_from(["lexicographic", "frequency"])
DATASETS = st.lists(st.tuples(NAMES, ORDERS, st.integers(0, 3)), min_size=1, max_size=4)


@given(DATASETS, st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_extension_never_renumbers_and_the_order_of_rows_does_not_matter(datasets, shuffled):
    former, known = None, {}
    for names, order, least in datasets:
        counts = [shuffled.randint(0, 4) for _ in names]
        schema = {"code": pl.String, "code/n_occurrences": pl.Int64}
        codes = pl.DataFrame({"code": names, "code/n_occurrences": counts}, schema=schema)
        block = {"ordering_method": order, "min_occurrences": least, "reserved_tokens": ["PAD"]}
        got = numbered(codes, former, **block)
        rows = [*range(len(names))]
        shuffled.shuffle(rows)
        assert numbered(codes[rows], former, **block) == got
        new = {code: number for code, number in got.items() if number is not None and code not in known}
        assert {code: got[code] for code in known} == known
        largest = max(known.values(), default=0)
        assert sorted(new.values()) == [*range(largest + 1, largest + 1 + len(new))]
        frequent = {code for code, n in zip(names, counts, strict=True) if n >= least}
        assert new.keys() == (frequent | {"PAD"}) - known.keys()
        known |= new
        former = pl.DataFrame({"code": [*known], "\ue000former": [*known.values()]})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"reserved_tokens": ["PAD", "PAD"]}, "reserved_tokens has PAD twice"),
        ({"reserved_tokens": ["PAD", "B"]}, "the code metadata has codes of these names: B"),
        ({"reserved_tokens": "PAD"}, "reserved_tokens must be a list of text or null, not 'PAD'"),
        ({"keep": ["A", {"regex": "("}]}, r"keep\[1\]: Matcher at code\.regex"),
        ({"drop": [{"code": "A"}]}, r"drop\[0\]: Matcher"),
        ({"min_subjects": -1}, "min_subjects must be a whole number of at least 0 or null, not -1"),
        ({"ordering_method": "rank"}, "ordering_method must be"),
    ],
)
def test_settings_that_cannot_be_used(block, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(**block)


def test_entries_that_mean_no_code_are_told(caplog):
    fit(keep=["A", "LAB//3"], drop=[{"regex": "^X"}])
    assert "keep: the code metadata has no such code: LAB//3" in caplog.text
    assert "drop: the code metadata has no such code: {'regex': '^X'}" in caplog.text


@pytest.mark.parametrize("block", [{"ordering_method": "frequency"}, {"min_occurrences": 0}])
def test_without_counts_the_stage_to_run_first_is_named(block):
    with pytest.raises(ValueError, match=r"there is no code/n_occurrences\. Run count_code_occurrences before"):
        fit(CODES.select("code"), **block)


@pytest.mark.parametrize(
    ("codes", "modifiers", "message"),
    [
        (vocabulary(A=1, B=2, C=2), (), r"several codes have one number \(code/vocab_index\): 2: B, C"),
        (vocabulary(A=0, B=1), (), "numbers .* below 1: A. Remove these rows"),
        (vocabulary(A=1.0), (), "must be an integer; it is Float64"),
        (CODES, (), "there is no column code/vocab_index"),
        (vocabulary(A=1), ["unit"], "there is no column unit. Give the code_modifiers with which it was made"),
        (pl.concat([vocabulary(A=1), vocabulary(A=2)]), (), r"(?s)several rows for one \(code\)"),
    ],
)
def test_vocabularies_that_cannot_be_extended(tmp_path, codes, modifiers, message):
    with pytest.raises(ValueError, match=message):
        extended(tmp_path, codes, modifiers)


def cohort(folder, codes):
    data = Preprocessing(folder)
    data.write({"train/0": measurements((1, None, "A"), (1, None, "B"), (1, None, "B"))}, codes)
    return data


def written(data):
    return pl.read_parquet(data.cohort / "metadata/codes.parquet")


def test_a_folder_is_extended_and_another_vocabulary_there_is_another_source(tmp_path):
    described = CODES.with_columns(description=pl.lit("x"), parent_codes=pl.lit(["p"]))
    data, old = cohort(tmp_path, described), tmp_path / "old"
    old.mkdir()
    vocabulary(B=7, gone=6).write_parquet(old / "codes.parquet")
    extend = {"extend_fp": str(old), "reserved_tokens": ["PAD"]}
    data.run("fit_vocabulary_indices", **extend)
    check_meds_codes(data.cohort / "metadata/codes.parquet")
    assert numbers(written(data)) == {"A": 9, "B": 7, "C": 10, "LAB//1": 11, "LAB//2": 12, "gone": 6, "PAD": 8}
    account = json.loads((data.cohort / "metadata/accounting/fit_vocabulary_indices.json").read_text())
    assert (account["in"], account["out"]) == ({"rows": 5, "codes": 5}, {"rows": 7, "codes": 7})
    assert account["vocabulary"]["taken_over"] == 2
    vocabulary(B=8).write_parquet(old / "codes.parquet")
    with pytest.raises(FileExistsError, match="extended vocabulary"):
        data.run("fit_vocabulary_indices", **extend)
    data.run("fit_vocabulary_indices", **extend, cfg_do_overwrite=True)
    assert numbers(written(data))["B"] == 8


def test_files_that_cannot_be_extended(tmp_path):
    data = cohort(tmp_path, CODES)
    with pytest.raises(FileNotFoundError, match=r"There is no file .*nowhere \(extend_fp\)"):
        data.run("fit_vocabulary_indices", extend_fp=str(tmp_path / "nowhere"))
    text = tmp_path / "codes.csv"
    text.write_text("code\nA\n")
    with pytest.raises(ValueError, match=r"codes\.csv \(extend_fp\) cannot be read as parquet"):
        data.run("fit_vocabulary_indices", extend_fp=str(text))
    with pytest.raises(ValueError, match="is what the stage writes"):
        data.run("fit_vocabulary_indices", extend_fp=str(data.cohort / "metadata/codes.parquet"))


STAGES = ("fit_vocabulary_indices", "normalization", "tokenization", "tensorization")


def test_codes_without_a_number_and_tokens_on_the_way_to_tensors(tmp_path):
    statistics = {"values/mean": 1.0, "values/std": 1.0}
    data = cohort(tmp_path, CODES.with_columns(pl.lit(value).alias(name) for name, value in statistics.items()))
    data.run(STAGES[0], *STAGES, drop=["A"], reserved_tokens=["PAD", "UNK"])
    shards = data.run(STAGES[1], *STAGES)
    assert shards["train/0"]["code"].to_list() == [3, 3]
    account = json.loads((data.cohort / "metadata/accounting/normalization.json").read_text())
    assert [account[way][what] for way in ("in", "out") for what in ("rows", "codes")] == [3, 2, 2, 1]
    for stage in STAGES[2:]:
        data.run(stage, *STAGES)
    assert (data.cohort / "data/train/0.nrt").is_file()
