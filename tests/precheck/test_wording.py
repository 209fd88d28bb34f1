"""Messages as remarks, and back."""

import pytest

from MEDS_transforms.errors import Problems
from MEDS_transforms.precheck.wording import MISSING, UNUSABLE, as_message, kind_of, remark_at, remarks_of
from MEDS_transforms.remarks import Remark, Severity

MESSAGES = {
    "labs.lab.time: none of the times fits. Add a format": ("labs.lab.time", "none of the times fits", "Add a format"),
    "stage_configs.a.b must be a number, not 'x'": ("stage_configs.a.b", "must be a number, not 'x'", ""),
    "There is no table a below b. Tables there: c": (
        "shard_events",
        "There is no table a below b. Tables there: c",
        "",
    ),
    "'x' is unknown; known are: y": ("shard_events", "'x' is unknown; known are: y", ""),
    "stages: names must be unique; rename one": ("stages", "names must be unique", "Rename one"),
    "a.csv, row 3: it has 2 fields, such as 'C: x'.": ("a.csv, row 3", "it has 2 fields, such as 'C: x'", ""),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_place_finding_and_remedy_are_told_apart(message):
    [remark] = remarks_of(message, "shard_events")
    assert (remark.where, remark.what, remark.remedy) == MESSAGES[message]
    assert remark.severity is Severity.ERROR


def test_every_item_of_a_message_is_a_remark():
    inner, outer = Problems("Tables cannot be used"), Problems("The pipeline cannot be run")
    inner.found = ["labs: it is empty", "meds.drug: no such column"]
    with pytest.raises(ValueError, match="Tables") as raised:
        inner.raise_if_any()
    outer.found = [f"shard_events: {raised.value}".replace("\n", "\n    "), "seed: must be a number"]
    with pytest.raises(ValueError, match="pipeline") as raised:
        outer.raise_if_any()
    found = [(remark.where, remark.what) for remark in remarks_of(str(raised.value))]
    assert found == [("labs", "it is empty"), ("meds.drug", "no such column"), ("seed", "must be a number")]


def test_kinds():
    assert kind_of("There are no parquet files below x") == MISSING
    assert kind_of("there is no such key") == kind_of("There is no encoding 'x'") == UNUSABLE


def test_a_remark_is_a_message_again():
    remark = remark_at("labs.lab", "times are null. Check the table", "time")
    assert as_message(remark) == "labs.lab: times are null. Check the table"
    assert as_message(Remark(Severity.NOTE, "k", "a", "b")) == "a: b"
