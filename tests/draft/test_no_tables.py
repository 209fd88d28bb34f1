"""What lies beside raw tables and is none: it is left out of a draft, never without a word."""

import gzip
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from helpers import write_table
from MEDS_transforms.dataset.schema import MANDATORY_TYPES
from MEDS_transforms.draft.init import Request, check_events, write_draft
from MEDS_transforms.draft.model import Draft
from MEDS_transforms.draft.samples import FIRST_ROWS
from MEDS_transforms.draft.tables import draft_folder
from MEDS_transforms.draft.write import event_file_text
from MEDS_transforms.errors import InputError, NoFolderError

PEOPLE = "patient,sex\n" + "".join(f"{n},{'fm'[n % 2]}\n" for n in range(30))
STAYS = "patient;stay_id;seen;ward\n" + "".join(f"{n % 30};S{n};2024-01-05 10:00;A\n" for n in range(60))
SHARD = pl.DataFrame(
    {"subject_id": [1], "time": [None], "code": ["A"]},
    schema_overrides={n: t for n, t in MANDATORY_TYPES.items() if n in ("subject_id", "time", "code")},
)


def drafted(folder: Path, tables: dict[str, pl.DataFrame | str | bytes]) -> Draft:
    """The draft for tables and other files below a folder."""
    for name, content in tables.items():
        write_table(folder / name, content)
    return draft_folder(folder, [])


def names(draft: Draft) -> list[str]:
    return [table.name for table in draft.tables]


@pytest.mark.parametrize(
    ("files", "skipped"),
    [
        ({"tour/cohort/.logs/run.log": "x", "tour/cohort/events/labs.csv": STAYS}, "tour/cohort/"),
        ({"out/.provenance/x": "x", "out/labs.csv": STAYS}, "out/"),
        ({"a/data/train/0.parquet": SHARD, "a/metadata/dataset.json": "{}", "a/more/labs.csv": STAYS}, "a/"),
        ({"a/data/train/0.parquet": SHARD, "a/labs.csv": STAYS}, "a/data/train/"),
    ],
)
def test_datasets_and_outputs_are_no_tables_and_are_named(files, skipped, tmp_path):
    draft = drafted(tmp_path, {"people.csv": PEOPLE, **files})
    assert names(draft) == [*(["a/labs"] if skipped == "a/data/train/" else []), "people"]
    assert draft.passed_over == [f"Not looked into, as they are datasets or outputs of stages: {skipped}"]
    assert draft.passed_over[0] in event_file_text(draft, "raw").replace("\n# ", " ")


def test_a_dataset_in_place_of_raw_tables_is_named_as_such(tmp_path):
    write_table(tmp_path / "metadata/codes.parquet", pl.DataFrame({"code": ["A"]}))
    write_table(tmp_path / "metadata/subject_splits.parquet", pl.DataFrame({"subject_id": [1], "split": ["train"]}))
    with pytest.raises(InputError, match="this is a dataset, and no folder of raw tables"):
        drafted(tmp_path, {"data/train/0.parquet": SHARD})


@pytest.mark.parametrize("folder", ["data", "metadata"])
def test_a_folder_of_tables_may_be_called_like_one_of_a_dataset(folder, tmp_path):
    shard_like = SHARD.with_columns(subject_id=pl.lit(1, pl.Int32))
    draft = drafted(tmp_path, {f"{folder}/people.csv": PEOPLE, f"{folder}/labs.parquet": shard_like})
    assert names(draft) == [f"{folder}/labs", f"{folder}/people"]
    assert not draft.passed_over


def test_files_of_other_kinds_are_named_with_what_to_do(tmp_path):
    draft = drafted(tmp_path, {"people.csv": PEOPLE, "Labor.XLSX": b"x", "a/old.sas7bdat": b"x", "notes.md": "x"})
    assert names(draft) == ["people"]
    assert draft.passed_over == ["Not read; save each of their tables as csv or parquet: Labor.XLSX, a/old.sas7bdat"]


def test_a_folder_with_other_files_alone_says_so(tmp_path):
    write_table(tmp_path / "Labor.xlsx", b"x")
    with pytest.raises(InputError, match=r"There are no tables.* save each of their tables as csv or parquet: Labor.x"):
        draft_folder(tmp_path, [])


def test_a_copy_is_left_out_and_doubtful(tmp_path):
    draft = drafted(tmp_path, {"people.csv": PEOPLE, "stays.csv": STAYS, "stays (1).csv": STAYS})
    assert [(table.name, bool(table.events)) for table in draft.tables] == [
        ("people", True),
        ("stays", True),
        ("stays (1)", False),
    ]
    assert [(place, doubt[:29]) for place, doubt in draft.unsure if "stays" in place] == [
        ("stays (1)", "it has the same rows as stays")
    ]
    assert "\n# stays (1)\n" in (text := event_file_text(draft, "raw"))
    assert "\n# left out: a copy of stays\n# unsure: it has" in text


def test_a_copy_that_was_saved_in_another_way_is_one(tmp_path):
    again = STAYS.replace(";", ",").replace("\n", "\r\n")
    draft = drafted(tmp_path, {"people.csv": PEOPLE, "stays.csv": STAYS, "Copy of stays.csv": again})
    assert [place for place, _ in draft.unsure] == ["Copy of stays"]
    assert names(draft) == ["Copy of stays", "people", "stays"]


def test_a_copy_of_a_large_table_is_found_by_its_bytes(tmp_path):
    large = STAYS + "".join(f"{n % 30};T{n};2024-01-05 10:00;A\n" for n in range(FIRST_ROWS))
    draft = drafted(tmp_path, {"people.csv": PEOPLE, "stays.csv": large, "stays (1).csv": large})
    assert [table.note for table in draft.tables if not table.events] == ["left out: a copy of stays"]


MANY = STAYS + "".join(f"{n % 30};T{n};2024-01-05 10:00;A\n" for n in range(3 * FIRST_ROWS))


@pytest.mark.parametrize(("last", "is_copy"), [("", True), ("1;U1;2024-01-05 10:00;A\n", False)])
def test_a_large_table_that_was_saved_in_another_way_is_a_copy_if_no_row_differs(last, is_copy, tmp_path):
    again = gzip.compress((MANY + last).replace(";", ",").encode())
    draft = drafted(tmp_path, {"people.csv": PEOPLE, "stays.csv": MANY, "Copy of stays.csv.gz": again})
    assert [table.note for table in draft.tables if not table.events] == ["left out: a copy of stays"] * is_copy
    doubts = [doubt for place, doubt in draft.unsure if place == "Copy of stays"]
    assert [doubt[:75] for doubt in doubts] == [
        "it has the same rows as stays, of which 1,000,000 at most are compared; wit"
    ] * is_copy


def test_a_large_table_of_which_a_later_row_differs_is_no_copy(tmp_path):
    other = MANY.replace("T25000;", "U25000;")
    draft = drafted(tmp_path, {"people.csv": PEOPLE, "a.csv": MANY, "b.csv": other})
    assert all(table.events for table in draft.tables)


def test_files_that_differ_in_a_number_are_said_to_be_one_table(tmp_path):
    swapped = "seen;ward;patient;stay_id\n" + "".join(f"2023-01-05 10:00;B;{n % 30};T{n}\n" for n in range(60))
    draft = drafted(tmp_path, {"people.csv": PEOPLE, "stays_2022.csv": STAYS, "stays_2023.csv": swapped})
    assert names(draft) == ["people", "stays_*"]
    said = (
        "all 120 rows looked at; 2 files as parts of one table, as their names differ in numbers alone: stays_2022.csv"
    )
    assert said in event_file_text(draft, "raw").replace("\n# ", " ")


def test_a_copy_among_parts_is_not_read_with_them(tmp_path):
    parts = {f"labs/20{n}.csv": STAYS.replace("2024", f"20{n}") for n in (22, 23)}
    draft = drafted(tmp_path, {"people.csv": PEOPLE, **parts, "labs/2023 (1).csv": parts["labs/2023.csv"]})
    assert [t.name for t in draft.tables if t.events] == ["labs/2022", "labs/2023", "people"]


def test_tables_of_the_same_size_with_other_rows_are_no_copies(tmp_path):
    draft = drafted(tmp_path, {"people.csv": PEOPLE, "a.csv": STAYS, "b.csv": STAYS.replace("A\n", "B\n")})
    assert all(table.events for table in draft.tables)


def test_a_table_that_gives_nothing_has_no_block(tmp_path):
    nobody = "ward;beds\n" + "".join(f"W{n};{n}\n" for n in range(20))
    for name, content in {"people.csv": PEOPLE, "stays.csv": STAYS, "wards.csv": nobody}.items():
        write_table(tmp_path / name, content)
    write_draft(Request(tmp_path, tmp_path / "out", subject_id="stay_id"), Console(quiet=True))
    text = (tmp_path / "out" / "event_cfgs.yaml").read_text()
    for name in ("people", "wards"):
        assert f"\n# {name}\n" in text
        assert f"\n{name}:" not in text


def test_what_fails_leaves_no_folder_and_names_no_temporary_file(tmp_path):
    write_table(tmp_path / "raw" / "ids.csv", "patient,stay\n" + "".join(f"{n},S{n}\n" for n in range(30)))
    with pytest.raises(InputError, match=r"(?s)No table gives an event\. .*ids: left out") as error:
        write_draft(Request(tmp_path / "raw", tmp_path / "out" / "a"), Console(quiet=True))
    assert "tmp." not in str(error.value)
    assert not (tmp_path / "out").exists()
    said = r"(?s)Nothing is written. .*out/event_cfgs.yaml.* cannot be used:.*labs: has no events"
    with pytest.raises(InputError, match=said) as error:
        check_events("labs: {separator: ';'}", Path("out", "event_cfgs.yaml"))
    assert "tmp" not in str(error.value)
    (tmp_path / "file").write_text("mine")
    write_table(tmp_path / "raw" / "people.csv", PEOPLE)
    with pytest.raises(NoFolderError, match="file"):
        write_draft(Request(tmp_path / "raw", tmp_path / "file"), Console(quiet=True))
