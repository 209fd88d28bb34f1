"""What a stage can be asked to compute."""

import pytest
from omegaconf import OmegaConf

from MEDS_transforms.metadata.aggregations import KNOWN, read_aggregations

NAMES = [name for name in KNOWN if name != "values/quantiles"]


def read(aggregations, **block):
    return read_aggregations(OmegaConf.create({"aggregations": aggregations, **block}), "fit")


def test_every_name_in_the_order_given():
    quantiles = {"name": "values/quantiles", "quantiles": [0.25, 1]}
    got = read([*reversed(NAMES[1:]), quantiles, {"name": NAMES[0]}], do_summarize_over_all_codes=True)
    assert got.names == (*reversed(NAMES[1:]), "values/quantiles", NAMES[0])
    assert got.quantiles == (0.25, 1)
    assert got.over_all_codes
    assert not got.as_columns
    assert got.columns == list(got.names)
    assert (got.text_column, got.n_most_frequent) == ("text_value", 10)


def test_settings_of_entries():
    quantiles = {"name": "values/quantiles", "quantiles": [0.5, 1], "as_columns": "yes"}
    texts = [{"name": f"text_values/{name}", "column": "note"} for name in ("n_distinct", "most_frequent")]
    got = read(["values/median", quantiles, texts[0], texts[1] | {"n": 3}])
    assert (got.text_column, got.n_most_frequent) == ("note", 3)
    columns = ["values/median", "values/quantile/0.5", "values/quantile/1"]
    assert got.columns == [*columns, "text_values/n_distinct", "text_values/most_frequent"]
    assert got.quantile_columns == dict(zip(columns, [0.5, 0.5, 1], strict=True))


@pytest.mark.parametrize("aggregations", [None, [], "code/n_subjects", {"name": "code/n_subjects"}])
def test_no_list(aggregations):
    with pytest.raises(ValueError, match=r"stage_configs\.fit\.aggregations must be a list of at least one of"):
        read(aggregations)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("code/n_subject", r"'code/n_subject' is unknown \(did you mean 'code/n_subjects'\?\); known are: code/n_"),
        (7, "7 is unknown; known are"),
        ({"quantiles": [0.5]}, "is unknown; known are"),
        ("values/sum", "values/sum is given twice"),
        ({"name": "values/min", "quantiles": [0.5]}, "values/min has no settings"),
        ("values/quantiles", "must have a list of quantiles"),
        ({"name": "values/quantiles", "quantiles": []}, "must have a list of quantiles"),
        ({"name": "values/quantiles", "quantiles": 0.5}, "must have a list of quantiles"),
        (
            {"name": "values/quantiles", "quantile": [0.5]},
            r"(?s)no setting 'quantile'.*a list",
        ),
        ({"name": "values/quantiles", "quantiles": [0.5], "as_columns": 3}, "as_columns is true or false, not 3"),
        ({"name": "text_values/most_frequent", "n": 0}, "n is a whole number of at least 1, not 0"),
        ({"name": "text_values/most_frequent", "n": True}, "n is a whole number of at least 1, not True"),
        ({"name": "text_values/n_distinct", "n": 1}, "no setting 'n'; it has column"),
        ({"name": "text_values/n_distinct", "column": None}, "column is the name of a column, not None"),
        ({"name": "values/quantiles", "quantiles": [25]}, "from 0 to 1, not 25"),
        ({"name": "values/quantiles", "quantiles": ["half"]}, "from 0 to 1, not 'half'"),
        ({"name": "values/quantiles", "quantiles": [0.5, 0.5]}, "repeats a quantile"),
    ],
)
def test_entries_that_cannot_be_used(entry, message):
    with pytest.raises(ValueError, match=message):
        read(["values/sum", entry])


def test_texts_of_two_columns():
    with pytest.raises(ValueError, match=r"they look at several columns \(note, text_value\); give each the same"):
        read(["text_values/n_distinct", {"name": "text_values/most_frequent", "column": "note"}])


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match=r"(?s)'a' is unknown.*'b' is unknown"):
        read(["a", "b"])
