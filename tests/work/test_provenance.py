"""What made outputs: fingerprints, records, and what differs between two makers."""

import json
import os
from pathlib import Path

import polars as pl
import pytest

from helpers import files_below, write_table
from MEDS_transforms.work.decisions import Asked
from MEDS_transforms.work.differences import differences, is_same_for
from MEDS_transforms.work.fingerprints import fingerprint, fingerprint_or_none
from MEDS_transforms.work.outputs import StageOutputs
from MEDS_transforms.work.provenance import (
    Maker,
    OutputFile,
    Record,
    read_record,
    run_path,
    salt_of,
    write_record,
)
from MEDS_transforms.work.runs import Generation, Run
from MEDS_transforms.work.sources import Source, describe_source, has_changed, is_as_recorded

DF = pl.DataFrame({"subject_id": [1, 2], "code": ["A", "B"]})


@pytest.mark.parametrize(
    "other", [DF.head(1), DF.rename({"code": "c"}), DF.cast({"subject_id": pl.Int32}), DF.reverse()], ids=range(4)
)
def test_another_parquet_file_has_another_fingerprint(tmp_path, other):
    path = write_table(tmp_path / "0.parquet", DF)
    before = fingerprint(path)
    os.utime(path, (1, 1))
    assert fingerprint(path) == before
    assert fingerprint(write_table(path, other)) != before


@pytest.mark.parametrize("size", [0, 3, 11, 100, -1])
def test_a_file_that_was_cut_off_has_another_fingerprint(tmp_path, size):
    path = write_table(tmp_path / "0.parquet", DF)
    before = fingerprint(path)
    path.write_bytes(path.read_bytes()[:size])
    assert fingerprint(path) != before


LARGE = 17 * 1024 * 1024


@pytest.mark.parametrize(
    ("size", "at", "whole", "is_noticed"),
    [
        (40_000, 0, False, True),
        (40_000, 20_000, False, True),
        (40_000, 39_999, False, True),
        (LARGE, 100, False, True),
        (LARGE, LARGE - 1, False, True),
        (LARGE, LARGE // 2, False, False),  # as documented
        (LARGE, LARGE // 2, True, True),
    ],
)
def test_an_edit_that_leaves_the_size_is_noticed(tmp_path, size, at, whole, is_noticed):
    path = tmp_path / "a.csv"
    content = bytearray(b"0123456789" * (size // 10 + 1))[:size]
    path.write_bytes(content)
    before = fingerprint(path, whole)
    content[at] = ord("x")
    path.write_bytes(content)
    assert (fingerprint(path, whole) != before) is is_noticed
    assert fingerprint_or_none(tmp_path / "none") is None


def test_tensors_are_known_by_their_ends(tmp_path):
    path = tmp_path / "0.nrt"
    header = b'{"x":{"dtype":"U8","shape":[100000],"data_offsets":[0,100000]}}'
    content = bytearray(len(header).to_bytes(8, "little") + header + bytes(100_000))
    prints = []
    for at in (None, 50_000, len(content) - 1):
        if at:
            content[at] = 1
        path.write_bytes(content)
        prints.append(fingerprint(path))
    assert prints[0] == prints[1] != prints[2]


def test_all_of_a_large_file_that_holds_settings_counts(tmp_path):
    path = tmp_path / "splits.json"
    path.write_bytes(b" " * LARGE)
    source = Source.of_files(path, whole=True)
    described = describe_source(source, tmp_path)
    assert not has_changed(described, tmp_path)
    path.write_bytes(b" " * (LARGE // 2) + b"1" + b" " * (LARGE - LARGE // 2 - 1))
    assert has_changed(described, tmp_path)
    assert describe_source(source, tmp_path) != described


def test_a_watched_file_counts_as_a_whole(tmp_path):
    path = tmp_path / "events.yaml"
    path.write_bytes(b" " * LARGE)
    watched = StageOutputs(tmp_path, "first", Asked(Maker("1", {})), watched=[path]).closing.watched
    write_record(tmp_path, "first", Record(Maker("1", {}), {}, watched))
    assert is_as_recorded(tmp_path, "first")
    path.write_bytes(b" " * (LARGE // 2) + b"#" + b" " * (LARGE - LARGE // 2 - 1))
    assert not is_as_recorded(tmp_path, "first")


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["a: 1 -> true"]),
        ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}, ["a.b: [1] -> [1, 2]"]),
        ({"a": 1}, {}, ["a: 1 -> (none)"]),
        ({}, {"a": None}, ["a: (none) -> null"]),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, ["the order of a"]),
    ],
)
def test_what_differs(old, new, lines):
    assert differences(old, new) == lines


def inputs(**files):
    return {"data": {"folder": "../in", "suffix": ".parquet", "files": files}}


@pytest.mark.parametrize(
    ("new", "sources", "same"),
    [
        (Maker("1", {"x": 1}, inputs(a=[1, "a"], b=[2, "b"])), ["../in/a", "../in/b"], True),
        (Maker("1", {"x": 1}, inputs(a=[1, "a"], b=[3, "c"])), ["../in/a"], True),
        (Maker("1", {"x": 1}, inputs(a=[1, "a"], b=[3, "c"])), ["../in/b"], False),
        (Maker("1", {"x": 1}, inputs(a=[1, "a"], b=[3, "c"])), ["../in"], False),
        (Maker("1", {"x": 1}, inputs(a=[1, "a"])), ["../in/a"], True),
        (Maker("1", {"x": 1}, inputs(a=[1, "a"], b=[3, "c"])), [""], False),
        (Maker("1", {"x": 2}, inputs(a=[1, "a"], b=[2, "b"])), ["../in/a"], False),
        (Maker("2", {"x": 1}, inputs(a=[1, "a"], b=[2, "b"])), ["../in/a"], False),
    ],
)
def test_an_input_that_changed_matters_to_what_was_made_of_it(new, sources, same):
    old = Maker("1", {"x": 1}, inputs(a=[1, "a"], b=[2, "b"]))
    assert is_same_for(old, new, sources) is same


def recorded(folder, stage="first") -> Record:
    """A folder with two shards and the record of the stage that made them."""
    outputs = {}
    for name in ("train/0.parquet", "train/1.parquet"):
        outputs[name] = {name: OutputFile(*fingerprint(write_table(folder / name, DF)), DF.height)}
    record = Record(Maker("1", {"x": 1}), outputs, {}, ".")
    write_record(folder, stage, record)
    return record


def test_a_record_comes_back_as_it_was(tmp_path):
    assert read_record(tmp_path, "first") is None
    assert read_record(tmp_path / "none", "first") is None
    record = recorded(tmp_path)
    assert read_record(tmp_path, "first") == record
    assert json.loads((tmp_path / ".provenance/first.record").read_text())["outputs"]["train/0.parquet"][
        "train/0.parquet"
    ][2] == len(DF)


def begin_run(folder: Path) -> None:
    run_path(folder, "first").mkdir()
    assert Run(folder, "first").begin(Generation(Maker("1", {"x": 2})))


SPOILED = {
    "missing": lambda folder: (folder / "train/1.parquet").unlink(),
    "replaced": lambda folder: write_table(folder / "train/1.parquet", DF.head(1)),
    "cut off": lambda folder: (folder / "train/1.parquet").write_bytes(b"PAR1"),
    "surplus": lambda folder: write_table(folder / "train/2.parquet", DF),
    "has not finished": begin_run,
}


@pytest.mark.parametrize("how", SPOILED)
def test_inputs_that_are_not_as_their_stage_left_them_are_named(tmp_path, how):
    recorded(tmp_path)
    source = Source(tmp_path, ".parquet")
    assert describe_source(source, tmp_path)["made_by"].keys() == {"first"}
    assert is_as_recorded(tmp_path, "first")
    SPOILED[how](tmp_path)
    assert not is_as_recorded(tmp_path, "first")
    wording = {"missing": "missing", "surplus": "did not make", "has not finished": "has not finished"}
    with pytest.raises((ValueError, FileNotFoundError), match=wording.get(how, "is damaged or replaced")) as info:
        describe_source(source, tmp_path)
    assert "first" in str(info.value)


def test_the_salt_of_a_folder_is_drawn_once(tmp_path):
    salt = salt_of(tmp_path / "a")
    assert len(salt) == 32
    assert salt_of(tmp_path / "a") == salt != salt_of(tmp_path / "b")
    assert files_below(tmp_path / "a") == [".provenance/.salt"]


def test_inputs_without_a_record_are_what_is_there(tmp_path):
    write_table(tmp_path / "in/0.parquet", DF)
    described = describe_source(Source(tmp_path / "in", ".parquet"), tmp_path / "out")
    assert described["folder"] == "../in"
    assert list(described["files"]) == ["0.parquet"]
    assert "made_by" not in described
