"""Chunks to the shard map: whose ids count, and the splits that are given. The draw itself: test_splits."""

import json

import polars as pl
import pytest

from MEDS_transforms.extract.split_and_shard_subjects import shard_subjects

EVENT = {"e": {"code": "A", "time": None}}
TO_TEN = pl.DataFrame({"subject_id": [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 8, 7, 10]})
SEED_1 = {"train/0": [9, 4, 8], "train/1": [2, 1, 10], "train/2": [6, 5], "tuning/0": [3], "held_out/0": [7]}


@pytest.fixture
def split(x):
    """The shard map of ids in raw tables; by default ten subjects."""

    def shards(*overrides, **tables):
        tables = tables or {"a": TO_TEN}
        for name, frame in tables.items():
            x.table(f"{name}.parquet", frame)
        x.events({name: {"subject_id_col": frame.columns[0], **EVENT} for name, frame in tables.items()})
        x.run("shard_events", ".row_chunksize=2")
        x.run("split_and_shard_subjects", *overrides)
        path = x.cohort / "metadata" / ".shards.json"
        return json.loads(path.read_text()) if path.exists() else None

    return shards


def pairs(shards):
    """With the order of the keys."""
    return list(shards.items())


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (1, SEED_1),
        (3, {"held_out/0": [9], "tuning/0": [8], "train/0": [7, 5, 3], "train/1": [2, 6, 1], "train/2": [10, 4]}),
        (7, {"train/0": [5, 1, 7], "train/1": [8, 4, 9], "train/2": [6, 2], "held_out/0": [10], "tuning/0": [3]}),
    ],
)
def test_known_results(split, seed, expected):
    assert pairs(split(".n_subjects_per_shard=3", f"seed={seed}")) == pairs(expected)


def test_ids_of_all_tables_and_dtypes_are_one_set(split):
    found = split(
        ".n_subjects_per_shard=3",
        a=pl.DataFrame({"MRN": ["01", "2", "3", None, "4"]}),
        b=pl.DataFrame({"pid": pl.Series([4, 5, 6], dtype=pl.UInt64)}),
        c=pl.DataFrame({"id": [6.0, 7.0, None, 8.0]}),
        d=pl.DataFrame({"id": pl.Series([9, 10, 1], dtype=pl.Int16)}),
    )
    assert pairs(found) == pairs(SEED_1)


def test_external_splits_follow_the_drawn_ones_as_given(x, split):
    given = {"taskA/held_out": [8, 9, 10], "taskB/held_out": [10, 8, 9]}
    (x.folder / "external.json").write_text(json.dumps(given))
    found = split(".n_subjects_per_shard=3", f".external_splits_json_fp={x.folder}/external.json")
    assert pairs(found) == [
        ("train/0", [5, 7, 4]),
        ("train/1", [1, 2]),
        ("tuning/0", [3]),
        ("held_out/0", [6]),
        ("taskA/held_out/0", [8, 9, 10]),
        ("taskB/held_out/0", [10, 8, 9]),
    ]


@pytest.mark.parametrize("name", ["external.csv", "external.parquet"])
def test_external_splits_of_a_table_are_those_of_json(x, split, name):
    given = pl.DataFrame({"subject_id": [8, 9, 10], "split": ["mine", "mine", "yours"]})
    x.table(f"../{name}", given)
    found = split(".n_subjects_per_shard=3", f".external_splits_fp={x.folder}/{name}")
    assert pairs(found)[-2:] == [("mine/0", [8, 9]), ("yours/0", [10])]
    (x.folder / "external.json").write_text(json.dumps({"mine": [8, 9], "yours": [10]}))
    json_fp = f".external_splits_json_fp={x.folder}/external.json"
    assert pairs(split(".n_subjects_per_shard=3", json_fp, "do_overwrite=True")) == pairs(found)


def test_the_hash_as_the_way_to_split(split):
    found = split(".n_subjects_per_shard=3", ".split_method=hash")
    want = shard_subjects(TO_TEN["subject_id"].to_numpy(), 3, method="hash")
    assert pairs(found) == pairs(want)
    assert {name.partition("/")[0] for name in found} != {"train"}


def test_external_splits_may_hold_ids_that_are_not_in_the_data(x, split):
    (x.folder / "external.json").write_text(json.dumps({"all": [99, *range(10, 0, -1)]}))
    assert split(f".external_splits_json_fp={x.folder}/external.json") == {"all/0": [99, *range(10, 0, -1)]}


def test_fractions_are_ignored_with_a_warning_where_external_splits_cover_all(x, split, caplog):
    (x.folder / "external.json").write_text(json.dumps({"all": [*range(1, 11)]}))
    split(f".external_splits_json_fp={x.folder}/external.json", ".split_fracs.train=0.3")
    assert "split_fracs" in caplog.text
    assert "ignored" in caplog.text


def test_a_split_with_a_null_fraction_is_dropped(split):
    found = split(".split_fracs={train: 0.5, tuning: null, held_out: 0.5}")
    assert sorted(found) == ["held_out/0", "train/0"]
    assert sorted(i for ids in found.values() for i in ids) == [*range(1, 11)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "not list"),
        ('{"train": ["a"]}', "'train'"),
        ('{"train": 3}', "'train'"),
        ('{"train": [true]}', "'train'"),
        ('{"train": [1.5]}', "'train'"),
        ("{", "integer subject ids:"),
    ],
)
def test_external_splits_that_are_none(x, split, content, said):
    path = x.folder / "external.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"external\.json.*JSON object of lists") as error:
        split(f".external_splits_json_fp={path}")
    assert said in str(error.value)
    assert not (x.cohort / "metadata" / ".shards.json").exists()


def test_a_missing_file_of_external_splits(x, split):
    with pytest.raises(FileNotFoundError, match=r"none\.json.*external_splits_json_fp"):
        split(f".external_splits_json_fp={x.folder}/none.json")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (".split_fracs.train=0.7", "sum to 1, not 0.9"),
        (".split_fracs={train: 1.0, tuning: 0.0, held_out: 0.0}", "Too few"),
        (".n_subjects_per_shard=0", "n_subjects_per_shard"),
        (".n_subjects_per_shard=2.5", "n_subjects_per_shard"),
    ],
)
def test_what_cannot_be_split(split, override, said):
    with pytest.raises(ValueError, match=said):
        split(override)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["1", "A7"], "'A7'"),
        ([1.5], "1.5"),
        (pl.Series([2**63], dtype=pl.UInt64), str(2**63)),
        ([str(10**25)], str(10**25)),
    ],
)
def test_ids_that_are_no_integers_are_named(split, ids, said):
    """Release 0.1 made nulls of them."""
    with pytest.raises(ValueError, match=r"Table hosp, column MRN: .*whole numbers") as error:
        split(hosp=pl.DataFrame({"MRN": ids}))
    assert said in str(error.value)


def test_no_subjects_at_all(split):
    with pytest.raises(ValueError, match="Every subject id in every table is null"):
        split(a=pl.DataFrame({"subject_id": [None, None]}, schema={"subject_id": pl.Int64}))


def test_a_table_without_chunks(x, split):
    split()
    x.events({"a": EVENT, "b": EVENT})
    with pytest.raises(FileNotFoundError, match=r"shard_events/b.*Run the stage that writes them"):
        x.run("split_and_shard_subjects", "do_overwrite=True")


def test_what_is_there_stays_and_overwriting_replaces_it(x, split):
    split(".n_subjects_per_shard=3")
    path = x.cohort / "metadata" / ".shards.json"
    before = path.stat()
    with pytest.raises(FileExistsError, match=r"seed: 1 -> 7"):
        x.run("split_and_shard_subjects", "seed=7")
    x.run("split_and_shard_subjects", "seed=7", "keep_existing=True")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    x.run("split_and_shard_subjects", "seed=7", "do_overwrite=True", ".n_subjects_per_shard=3")
    assert json.loads(path.read_text())["train/0"] == [5, 1, 7]


def test_shards_map_fp_says_where_it_goes(x, split):
    split(f"shards_map_fp={x.folder}/elsewhere/map.json")
    assert json.loads((x.folder / "elsewhere" / "map.json").read_text())


def test_former_import_path():
    assert shard_subjects(range(1, 11), 3) == SEED_1
