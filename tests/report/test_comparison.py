"""What differs between two datasets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import ONE_SPLIT, Extraction, measurements, write_shards
from MEDS_transforms.report.data_comparison import Pair, data_comparison, shift
from MEDS_transforms.report.dataset import find_dataset
from MEDS_transforms.report.parts import Picker, Section, Table, Text
from MEDS_transforms.report.stage_accounts import read_stage_notes
from MEDS_transforms.report.stage_comparison import stage_comparison
from MEDS_transforms.report.summary import summarize
from MEDS_transforms.report.usage import Usage
from MEDS_transforms.report.values import Distribution


def pair(folder: Path, a: Any, b: Any, min_count: int = 0) -> Pair:
    for name, rows in (("a", a), ("b", b)):
        write_shards(folder / name / "data", {"train/0": rows})
    found = [summarize(find_dataset(folder / name), min_count) for name in ("a", "b")]
    return Pair(found[0], found[1], ("A", "B"))


def tables(section: Section) -> dict[str, list[Any]]:
    return {part.caption: [*part.rows] for part in section.parts if isinstance(part, Table)}


def texts(section: Section) -> str:
    return " ".join(part.text for part in section.parts if isinstance(part, Text))


def sections(found: Pair) -> dict[str, Section]:
    return {section.id: section for section in data_comparison(found)}


def test_sizes_and_codes(tmp_path: Path):
    a = measurements((1, None, "GONE"), (1, None, "MORE"), (1, None, "SAME"))
    b = measurements((1, None, "NEW"), (1, None, "MORE"), (2, None, "MORE"), (1, None, "SAME"))
    found = sections(pair(tmp_path, a, b))
    sizes = {row[0]: row[1:] for row in tables(found["size"])["Sizes"]}
    assert sizes["Measurements"] == [3, 4, 1, pytest.approx(4 / 3)]
    assert sizes["Subjects"] == [1, 2, 1, 2]
    splits = {row[0]: row[1:3] for row in tables(found["size"])["Sizes of the splits"]}
    assert splits == {"train: subjects": [1, 2], "train: measurements": [3, 4]}
    codes = tables(found["codes"])
    assert [row[:3] for row in codes["Codes only in A"]] == [["GONE", 1, 1]]
    assert [row[:3] for row in codes["Codes only in B"]] == [["NEW", 1, 1]]
    [changed] = codes["Measurements by code, greatest change of the share first"]
    assert changed[:7] == ["MORE", 1, 2, 1, 2, pytest.approx(1 / 2), pytest.approx(2 / 3)]
    index = (2 / 3 - 1 / 2) * np.log(4 / 3) + (1 / 3 - 1 / 2) * np.log(2 / 3)
    assert f"{index:.3g}" in texts(found["codes"])


def test_equal_datasets_have_no_differences(tmp_path: Path):
    rows = measurements((1, None, "A", 1.0), (2, None, "A", 2.0))
    found = sections(pair(tmp_path, rows, rows))
    assert tables(found["codes"]) == {}
    assert "No code is only in A" in texts(found["codes"])
    assert "index of their shares of the measurements is 0." in texts(found["codes"])
    assert [row[1] for row in tables(found["values"])["Quantiles of values"]] == [0]


def test_shifts_of_values(tmp_path: Path):
    numbers = [float(n) for n in range(101)]
    a = measurements(*((1, None, "A", n) for n in numbers), *((1, None, "B", n) for n in numbers))
    b = measurements(*((1, None, "A", n + 25) for n in numbers), *((1, None, "B", n) for n in numbers))
    found = sections(pair(tmp_path, a, b))["values"]
    rows = tables(found)["Quantiles of values"]
    assert [row[:2] for row in rows] == [["A", 0.5], ["B", 0]]
    assert rows[0][2:12] == [5, 30, 25, 50, 50, 75, 75, 100, 95, 120]
    [picker] = [part for part in found.parts if isinstance(part, Picker)]
    shares: dict[str, float] = {}
    for bar in picker.choices[0].data:
        shares[bar["group"]] = shares.get(bar["group"], 0) + bar["share"]
    assert shares == {"A": pytest.approx(1, abs=0.02), "B": pytest.approx(1, abs=0.02)}


def test_a_shift_of_equal_values_has_a_unit():
    one, two = (Distribution(np.array([float(n)]), np.array([3])) for n in (5, 7))
    assert shift(one, two) == 2


def test_codes_of_few_subjects_are_not_named(tmp_path: Path):
    a = measurements((1, None, "SECRET", 1.0), (1, None, "A", 1.0), (2, None, "A", 1.0))
    found = sections(pair(tmp_path, a, a[1:], min_count=2))
    assert "SECRET" not in str([*found.values()])
    assert "1 code of fewer than 2 subjects" in texts(found["codes"])


def test_stages_that_differ(extraction: Extraction, tmp_path: Path):
    other = Extraction(tmp_path / "other")
    other.table("labs.csv", (extraction.raw / "labs.csv").read_text() + "4,2020-01-01,CRP,1\n4,,CRP,1\n")
    other.event_file.write_text(extraction.event_file.read_text())
    for one, more in ((extraction, []), (other, ["shard_events.row_chunksize=6"])):
        one.run_until("finalize_MEDS_data", ONE_SPLIT, *more)
    datasets = find_dataset(extraction.cohort), find_dataset(other.cohort)
    notes = read_stage_notes(extraction.cohort), read_stage_notes(other.cohort)
    found = {one.id: one for one in stage_comparison(("A", "B"), datasets, notes, (Usage(), Usage()))}
    events = {row[0]: row[1:4] for row in tables(found["rows"])["Events that differ"]}
    assert events["labs.lab: rows"] == [7, 9, 2]
    assert events["labs.lab: measurements"] == [3, 4, 1]
    assert events["labs.lab: dropped: time null"] == [1, 2, 1]
    assert "labs.lab: dropped: no subject" not in events
    flows = {row[0]: row[1:4] for row in tables(found["rows"])["Rows of stages that differ"]}
    assert flows["merge_to_MEDS_cohort: written"] == [3, 4, 1]
    settings = tables(found["settings"])["Stages whose settings differ"]
    assert ["shard_events", "row_chunksize: 200000000 -> 6"] in settings
    assert "Nothing is known of that of A" in texts(found["usage"])


def test_what_only_one_has_is_said(extraction: Extraction, tmp_path: Path):
    extraction.run_until("finalize_MEDS_data", ONE_SPLIT)
    write_shards(tmp_path / "plain" / "data", {"0": measurements((1, None, "A"))})
    datasets = find_dataset(extraction.cohort), find_dataset(tmp_path / "plain")
    notes = read_stage_notes(extraction.cohort), read_stage_notes(datasets[1].root)
    found = {one.id: one for one in stage_comparison(("A", "B"), datasets, notes, (Usage(), Usage()))}
    assert "of B: there are no files in metadata/accounting" in texts(found["rows"])
    assert "settings of B" in texts(found["settings"])
