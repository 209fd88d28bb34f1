"""Which files a stage reads and writes, and in which order."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from MEDS_transforms.mapreduce.shards import read_shard_map, shard_iterator, shard_iterator_by_shard_map, shuffle_shards

NAMES = ["train/0", "train/1", "tuning/0", "held_out/a b/0", "[0-10)"]


@pytest.fixture(params=[dict, OmegaConf.create], ids=["dict", "config"])
def cfg(request, tmp_path):
    folders = {"data_input_dir": str(tmp_path / "in"), "output_dir": str(tmp_path / "out")}
    return request.param({"worker": 0, "stage_cfg": folders, "shards_map_fp": str(tmp_path / "shards.json")})


def make_files(folder, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@given(names=st.lists(st.text(min_size=1), unique=True), worker=st.integers(0, 20))
def test_the_order_is_that_of_the_hashes_of_worker_and_name(names, worker):
    def in_order(name: str) -> str:
        return hashlib.sha256((str(worker) + name).encode()).hexdigest()

    assert shuffle_shards(names, {"worker": worker}) == sorted(names, key=in_order)


def test_workers_start_in_different_places():
    names = [f"train/{i}" for i in range(20)]
    assert len({shuffle_shards(names, {"worker": worker})[0] for worker in range(10)}) > 3


def test_without_a_worker_the_clock_decides():
    names = [f"train/{i}" for i in range(20)]
    orders = {tuple(shuffle_shards(names, {})) for _ in range(5)}
    assert len(orders) > 1
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(names))}


def test_every_parquet_file_below_the_input_folder(tmp_path, cfg):
    make_files(tmp_path / "in", *(f"{name}.parquet" for name in NAMES))
    make_files(tmp_path / "in", ".logs/x.parquet", "train/.tmp.9.parquet", "train/0.csv", "codes.json")
    (tmp_path / "in" / "folder.parquet").mkdir()
    shards, includes_only_train = shard_iterator(cfg)
    assert shards == [
        (tmp_path / "in" / f"{n}.parquet", tmp_path / "out" / f"{n}.parquet") for n in shuffle_shards(NAMES, cfg)
    ]
    assert includes_only_train is False


def test_a_hidden_folder_above_the_input_does_not_matter(tmp_path):
    make_files(tmp_path / ".hidden", "0.parquet")
    cfg = {"stage_cfg": {"data_input_dir": str(tmp_path / ".hidden"), "output_dir": str(tmp_path / "out")}}
    assert [out_fp.name for _, out_fp in shard_iterator(cfg)[0]] == ["0.parquet"]


def test_suffix_and_prefix(tmp_path, cfg):
    make_files(tmp_path / "in", "tokens/train/0.parquet", "other/train/1.parquet")
    assert shard_iterator(cfg, out_suffix=".nrt", in_prefix="tokens/") == (
        [(tmp_path / "in" / "tokens" / "train" / "0.parquet", tmp_path / "out" / "train" / "0.nrt")],
        False,
    )


@pytest.mark.parametrize(
    ("train_only", "names", "expected", "includes_only_train"),
    [
        (True, ["train/0", "train/1", "tuning/0"], {"train/0", "train/1"}, True),
        (False, ["train/0", "tuning/0"], {"train/0", "tuning/0"}, False),
        (None, ["train/0", "tuning/0"], {"train/0", "tuning/0"}, False),
        (True, ["0", "1"], {"0", "1"}, False),
        (True, ["training/0", "a/train/0"], {"training/0", "a/train/0"}, False),
    ],
)
def test_train_only(tmp_path, cfg, train_only, names, expected, includes_only_train):
    cfg["stage_cfg"]["train_only"] = train_only
    make_files(tmp_path / "in", *(f"{name}.parquet" for name in names))
    (tmp_path / "shards.json").write_text(json.dumps({name: [1] for name in names}))
    for iterator in (shard_iterator, shard_iterator_by_shard_map):
        shards, only_train = iterator(cfg)
        out_dir = tmp_path / "out"
        assert {o.relative_to(out_dir).as_posix() for _, o in shards} == {f"{n}.parquet" for n in expected}
        assert only_train is includes_only_train


def test_no_input_is_an_error_that_lists_what_is_there(tmp_path, cfg):
    with pytest.raises(FileNotFoundError, match="in does not exist"):
        shard_iterator(cfg)
    make_files(tmp_path / "set/data", "train/0.parquet")
    with pytest.raises(FileNotFoundError, match=r"set/data has parquet files: a dataset is the folder that has data/"):
        shard_iterator({"stage_cfg": {"data_input_dir": str(tmp_path / "set/data/data"), "output_dir": "out"}})
    make_files(tmp_path / "in", "a.csv", "b/c.csv")
    with pytest.raises(FileNotFoundError, match=r"holds: a\.csv, b\..*data_input_dir"):
        shard_iterator(cfg)


def test_names_from_the_shard_map_have_folders_as_inputs(tmp_path, cfg):
    (tmp_path / "shards.json").write_text(json.dumps({name: [1, 2] for name in NAMES}))
    assert shard_iterator_by_shard_map(cfg) == (
        [(tmp_path / "in" / n, tmp_path / "out" / f"{n}.parquet") for n in shuffle_shards(NAMES, cfg)],
        False,
    )


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "null"])
def test_a_shard_map_that_cannot_be_used(tmp_path, cfg, content):
    (tmp_path / "shards.json").write_text(content)
    with pytest.raises(ValueError, match=r"shards\.json .* Run split_and_shard_subjects again"):
        read_shard_map(cfg)


def test_a_shard_map_that_is_not_there(cfg):
    with pytest.raises(FileNotFoundError, match=r"shards\.json"):
        shard_iterator_by_shard_map(cfg)
    with pytest.raises(ValueError, match="shards_map_fp is not set"):
        shard_iterator_by_shard_map({"stage_cfg": cfg["stage_cfg"]})
