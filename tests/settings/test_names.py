"""Names that become paths, and folders that must not overlap."""

import json
import re

import polars as pl
import pytest

from helpers import Extraction, Preprocessing, files_below, measurements
from MEDS_transforms.settings.folders import overlap
from MEDS_transforms.settings.names import wrong_with_name

BAD = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "a/../../x",
    "/etc/x",
    "a//b",
    "a/",
    ".hidden",
    "a/.hidden/b",
    "a\\b",
    "a\0b",
    5,
    None,
]


@pytest.mark.parametrize("name", BAD)
def test_names_that_cannot_be_paths(name):
    assert wrong_with_name(name)


@pytest.mark.parametrize("name", ["a", "hosp/labs", "train/0", "taskA/held_out/0", "a.b", "a..b", "ä b", "[0-1)", "*"])
def test_names_that_can(name):
    assert wrong_with_name(name) is None


@pytest.fixture
def x(tmp_path) -> Extraction:
    x = Extraction(tmp_path)
    x.table("labs.csv", "subject_id,code\n1,A\n2,B\n")
    return x


EVENT = {"code": "A", "time": None}


@pytest.mark.parametrize("name", ["../labs", "/labs", ".labs"])
def test_tables(x, name):
    x.events({name: {"lab": EVENT}, "labs": {"lab": {**EVENT, "_metadata": {name: {"description": "x"}}}}})
    with pytest.raises(ValueError, match=r"of a table cannot be a path(.|\n)*of a metadata table cannot be a path"):
        x.run("shard_events")
    assert files_below(x.folder) == ["events.yaml", "raw/labs.csv"]


def test_a_metadata_table_named_by_its_absolute_path_leaves_the_raw_file_alone(x):
    raw = x.table("d_labs.parquet", pl.DataFrame({"code": ["A"], "label": ["a"]}))
    before = raw.read_bytes()
    name = str(raw).removesuffix(".parquet")
    x.events({"labs": {"lab": {**EVENT, "_metadata": {name: {"description": "label"}}}}})
    with pytest.raises(ValueError, match="absolute path"):
        x.run("extract_code_metadata", "do_overwrite=True")
    assert raw.read_bytes() == before


@pytest.mark.parametrize("split", ["../../../x", "/tmp/x", ".x"])
@pytest.mark.parametrize("given", ["external splits", "fractions"])
def test_splits(x, split, given):
    x.events({"labs": {"lab": EVENT}})
    x.run("shard_events")
    (x.folder / "ext.json").write_text(json.dumps({split: [1]}))
    cfg = x.cfg("split_and_shard_subjects")
    if given == "fractions":
        cfg.stage_configs.split_and_shard_subjects.split_fracs = {split: 1.0}
    else:
        cfg.stage_configs.split_and_shard_subjects.external_splits_json_fp = str(x.folder / "ext.json")
    from MEDS_transforms.extract.split_and_shard_subjects import main

    with pytest.raises(ValueError, match="of a split cannot be a path"):
        main(cfg)
    assert not (x.cohort / "metadata/.shards.json").exists()


def test_splits_of_a_dataset(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"0": measurements((1, None, "A"))}, splits={"../../x": [1]})
    with pytest.raises(ValueError, match="of a split cannot be a path"):
        data.run("reshard_to_split")


def test_shards(x):
    x.events({"labs": {"lab": EVENT}})
    x.run("shard_events")
    x.shards({"../../../x/0": [1, 2]})
    with pytest.raises(ValueError, match="of a shard cannot be a path"):
        x.run("convert_to_sharded_events")


@pytest.mark.parametrize("text", ['{"a/0": [1], "a/0": [2]}'])
def test_a_shard_map_that_names_a_shard_twice(x, text):
    x.events({"labs": {"lab": EVENT}})
    x.run("shard_events")
    x.shards({})
    (x.cohort / "metadata/.shards.json").write_text(text)
    with pytest.raises(ValueError, match="the key 'a/0' repeats"):
        x.run("convert_to_sharded_events")


@pytest.mark.parametrize(
    ("source", "target", "wrong"),
    [
        ("in", "out", None),
        ("in", "in/out", None),
        ("in/raw", "in", None),
        ("in", "in", "same folder"),
        ("in", "link", "same folder"),
        ("in", "in/data/out", "cohort_dir .* lies in"),
        ("in", "in/metadata", "cohort_dir .* lies in"),
        ("out/data", "out", "input_dir .* lies in"),
        ("out/data/x", "out", "input_dir .* lies in"),
    ],
)
def test_folders_that_overlap(tmp_path, source, target, wrong):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    got = overlap(tmp_path / source, tmp_path / target)
    if wrong is None:
        assert got is None
    else:
        assert re.search(wrong, got)


def test_a_dataset_is_not_its_own_cohort(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"0": measurements((1, None, "A"))}, pl.DataFrame({"code": ["A"]}))
    before = {name: (data.dataset / name).read_bytes() for name in files_below(data.dataset)}
    ran = data.script("fit_vocabulary_indices", f"cohort_dir={data.dataset}")
    assert ran.returncode == 1
    assert "input_dir and cohort_dir are the same folder" in ran.stderr
    assert {name: (data.dataset / name).read_bytes() for name in files_below(data.dataset)} == before


def test_an_output_folder_within_the_input(tmp_path):
    data = Preprocessing(tmp_path)
    data.write({"0": measurements((1, None, "A"))})
    for folder in (data.dataset / "data", data.dataset / "data/out", data.dataset):
        with pytest.raises(ValueError, match="would read its own outputs"):
            data.run("filter_subjects", output_dir=str(folder))


def test_links_to_folders_are_followed_once(x):
    elsewhere = x.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "more.csv").write_text("subject_id,code\n3,C\n")
    (x.raw / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(x.raw)
    x.events({"labs": {"lab": EVENT}, "linked/more": {"e": EVENT}})
    x.run("shard_events")
    assert x.chunk("linked/more", 0, 1)["subject_id"].to_list() == [3]


def test_a_link_in_place_of_a_scratch_folder_or_a_lock_leads_nowhere(x):
    x.events({"labs": {"lab": EVENT}})
    victim = x.folder / "victim"
    victim.mkdir()
    (victim / "precious").write_text("a")
    folder = x.cohort / "shard_events"
    folder.mkdir(parents=True)
    (folder / ".tmp.labs").symlink_to(victim)
    x.run("shard_events")
    assert [path.name for path in victim.iterdir()] == ["precious"]
    assert x.chunk("labs", 0, 2).height == 2
