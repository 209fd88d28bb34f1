"""Fixed batches: every item once, its contents as padded in plain Python, the same files whoever makes them."""

import json
import os
import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from helpers import Preprocessing, files_below, wait_until
from MEDS_transforms.in_python import run_pipeline
from MEDS_transforms.tensors.fixed_batches import read_batches, read_index
from MEDS_transforms.tensors.fixed_items import Items
from MEDS_transforms.transforms.batch_tensors import main
from tensors.cohorts import DAY, History, deltas, histories, random_rows, rows, write_cohort

SHARDS = {"train/0": random_rows(1, range(40)), "train/1": random_rows(2, range(40, 59)), "tuning/0": rows()}
TRAIN = histories(SHARDS["train/0"], SHARDS["train/1"])
Measurement = tuple[float, int, float | None]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), SHARDS)


def batch(cohort: Path, folder: Path, **block: object) -> Path:
    """Runs the stage on a cohort; gives the folder with the batches."""
    own = {"data_input_dir": str(cohort / "data"), "output_dir": str(folder / "batches"), **block}
    main(Preprocessing(folder).cfg("batch_tensors", **own))
    return folder / "batches"


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_below(folder)}


def events_of(history: History, until: object = None) -> list[list[Measurement]]:
    """The events of a subject, of measurements with days since the event before, code and value."""
    return [
        [(0.0 if n or days is None else days, code, value) for n, (code, value) in enumerate(event.measurements)]
        for event, days in zip(history.events, deltas(history), strict=True)
        if until is None or event.time <= until
    ]


def flat_of(history: History, until: object = None) -> list[Measurement]:
    return [measurement for event in events_of(history, until) for measurement in event]


def padded(lists: list[list], dtype: type, width: int) -> np.ndarray:
    return np.array([[*one, *[0] * (width - len(one))] for one in lists], dtype).reshape(len(lists), width)


def flat_batch(sequences: list[list[Measurement]], static: list[list[tuple]]) -> dict[str, np.ndarray]:
    """The tensors of a batch in flat form, but for ids and labels, padded in plain Python."""
    found = {"time_delta_days": padded([[d for d, *_ in s] for s in sequences], np.float32, longest(sequences))}
    for prefix, lists in (("", [[m[1:] for m in s] for s in sequences]), ("static_", static)):
        width = longest(lists)
        found[f"{prefix}code"] = padded([[c for c, _ in s] for s in lists], np.int32, width)
        found[f"{prefix}numeric_value"] = padded([[v or 0 for _, v in s] for s in lists], np.float32, width)
        found[f"{prefix}numeric_value_mask"] = padded([[v is not None for _, v in s] for s in lists], bool, width)
        found[f"{prefix}mask"] = padded([[True] * len(s) for s in lists], bool, width)
    return found


def nested_batch(items: list[list[list[Measurement]]]) -> dict[str, np.ndarray]:
    """The tensors of a batch in nested form: first every event is padded, then every item."""
    n_events, n = longest(items), max((longest(events) for events in items), default=0)
    flat = flat_batch([event for events in items for event in [*events, *[[]] * (n_events - len(events))]], [])
    found = {name: t.reshape(len(items), n_events, n) for name, t in flat.items() if not name.startswith("static")}
    found["time_delta_days"] = found["time_delta_days"][:, :, 0]
    return found | {"event_mask": padded([[True] * len(events) for events in items], bool, n_events)}


def longest(lists: list[list]) -> int:
    return max(map(len, lists), default=0)


def assert_same(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    for name, tensor in want.items():
        np.testing.assert_array_equal(got[name], tensor, strict=True, err_msg=name)


@pytest.mark.parametrize("window", ["last", "first"])
@pytest.mark.parametrize("length", [1, 5, 1000])
def test_flat_batches_are_padded_sequences(cohort: Path, tmp_path: Path, window: str, length: int) -> None:
    folder = batch(cohort, tmp_path, batch_size=7, max_length=length, window=window)
    part = slice(-length, None) if window == "last" else slice(length)
    for found in read_batches(folder, "train"):
        chosen = [TRAIN[subject] for subject in found["subject_id"].tolist()]
        assert_same(found, flat_batch([flat_of(history)[part] for history in chosen], [h.static for h in chosen]))
        assert {*found} == {*flat_batch([], []), "subject_id"}


@pytest.mark.parametrize("window", ["last", "first"])
def test_nested_batches_are_padded_events(cohort: Path, tmp_path: Path, window: str) -> None:
    folder = batch(cohort, tmp_path, batch_size=6, max_length=4, window=window, form="nested")
    part = slice(-4, None) if window == "last" else slice(4)
    for found in read_batches(folder, "train"):
        assert_same(found, nested_batch([events_of(TRAIN[i])[part] for i in found["subject_id"].tolist()]))


def test_random_windows_are_parts_and_differ_between_epochs(cohort: Path, tmp_path: Path) -> None:
    folder = batch(cohort, tmp_path, batch_size=10, max_length=8, window="random", n_epochs=2)
    taken: list[dict[int, list]] = []
    for epoch in range(2):
        taken.append({})
        for found in read_batches(folder, "train", epoch):
            for row, subject in enumerate(found["subject_id"].tolist()):
                codes = found["code"][row][found["mask"][row]].tolist()
                whole = [code for _, code, _ in flat_of(TRAIN[subject])]
                assert len(codes) == min(8, len(whole))
                assert any(whole[at : at + len(codes)] == codes for at in range(len(whole)))
                taken[epoch][subject] = codes
    assert [*taken[0]] != [*taken[1]]
    assert sum(taken[0][i] != taken[1][i] for i in TRAIN) > 5


@pytest.mark.parametrize("drop_last", [False, True])
def test_every_subject_once_in_each_epoch(cohort: Path, tmp_path: Path, drop_last: bool) -> None:
    folder = batch(cohort, tmp_path, batch_size=7, n_epochs=3, drop_last=drop_last)
    index = read_index(folder)
    assert index["splits"]["tuning"] == {"items": 0, "batches": 0}
    n = len(TRAIN) // 7 + (not drop_last and len(TRAIN) % 7 > 0)
    assert index["splits"]["train"] == {"items": len(TRAIN), "batches": n}
    orders = [[i for found in read_batches(folder, "train", e) for i in found["subject_id"].tolist()] for e in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    for order in orders:
        assert len({*order}) == len(order) == (n * 7 if drop_last else len(TRAIN))
        assert {*order} <= {*TRAIN}


def test_without_shuffling_subjects_are_in_order(cohort: Path, tmp_path: Path) -> None:
    folder = batch(cohort, tmp_path, shuffle=False, splits=["train"])
    assert [i for found in read_batches(folder, "train") for i in found["subject_id"].tolist()] == sorted(TRAIN)
    assert [*read_index(folder)["splits"]] == ["train"]


def test_an_epoch_goes_on_where_it_was_interrupted(cohort: Path, tmp_path: Path) -> None:
    folder = batch(cohort, tmp_path, batch_size=5)
    whole, rest = [*read_batches(folder, "train")], [*read_batches(folder, "train", first=3)]
    assert len(rest) == len(whole) - 3
    for a, b in zip(whole[3:], rest, strict=True):
        assert_same(a, b)


def test_the_order_of_a_split_is_drawn_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of several splits are made in turns, and to order millions of items takes a second."""
    drawn, order = list[tuple[int, int]](), Items.order

    def noted(items: Items, epoch: int) -> np.ndarray:
        drawn.append((items.subject_ids[0], epoch))
        return order(items, epoch)

    monkeypatch.setattr(Items, "order", noted)
    shards = {"train/0": random_rows(1, range(20)), "tuning/0": random_rows(2, range(20, 40))}
    batch(write_cohort(tmp_path / "cohort", shards), tmp_path, batch_size=1, max_length=3, n_epochs=2)
    assert len(drawn) == len(set(drawn)) == 4


def labels_of(chance: random.Random) -> pl.DataFrame:
    """Labels at, and just before and after, events; before all events; of unknown subjects."""
    made = [(7777, DAY, True)]
    for subject, history in TRAIN.items():
        times = [history.events[0].time - timedelta(days=1), *(event.time for event in history.events)]
        for time in chance.sample(times, min(3, len(times))):
            made.append((subject, time + timedelta(microseconds=chance.choice([-1, 0, 1])), chance.random() < 0.5))
    chance.shuffle(made)
    return pl.DataFrame(made, schema=["subject_id", "prediction_time", "boolean_value"], orient="row")


@pytest.mark.parametrize("form", ["flat", "nested"])
def test_with_labels_an_item_is_what_came_until_the_prediction(cohort: Path, tmp_path: Path, form: str) -> None:
    labels = labels_of(random.Random(1))
    labels.write_parquet(tmp_path / "labels.parquet")
    block = {"batch_size": 8, "max_length": 6, "form": form, "labels_fp": str(tmp_path / "labels.parquet")}
    folder = batch(cohort, tmp_path, **block)
    seen = []
    for found in read_batches(folder, "train"):
        times = [DAY.replace(year=1970) + timedelta(microseconds=t) for t in found["prediction_time"].tolist()]
        keys = [*zip(found["subject_id"].tolist(), times, strict=True)]
        if form == "flat":
            static = [TRAIN[i].static for i, _ in keys]
            assert_same(found, flat_batch([flat_of(TRAIN[i], until)[-6:] for i, until in keys], static))
        else:
            assert_same(found, nested_batch([events_of(TRAIN[i], until)[-6:] for i, until in keys]))
        seen += [(i, time, label) for (i, time), label in zip(keys, found["label"].tolist(), strict=True)]
    assert sorted(seen) == sorted(row for row in labels.rows() if row[0] != 7777)
    account = json.loads((tmp_path / "cohort" / "metadata" / "accounting" / "batch_tensors.json").read_text())
    assert account["labels_left_out"] == 1
    assert account["batches"]["train"]["without_events"] == sum(not flat_of(TRAIN[i], t) for i, t, _ in seen) > 0


@pytest.mark.parametrize(
    ("column", "dtype", "stored"),
    [("integer_value", pl.Int64, np.int64), ("float_value", pl.Float64, np.float32), (None, pl.Int64, None)],
)
def test_labels_of_other_types(cohort: Path, tmp_path: Path, column: str, dtype: pl.DataType, stored: type) -> None:
    table = pl.DataFrame({"subject_id": [*TRAIN], "prediction_time": [DAY] * len(TRAIN)})
    if column:
        table = table.with_columns(pl.col("subject_id").cast(dtype).alias(column))
    (tmp_path / "labels" / "train").mkdir(parents=True)
    table.write_parquet(tmp_path / "labels" / "train" / "0.parquet")
    [found] = read_batches(batch(cohort, tmp_path, batch_size=100, labels_fp=str(tmp_path / "labels")), "train")
    assert ("label" in found) == (column is not None)
    if column:
        np.testing.assert_array_equal(found["label"], found["subject_id"].astype(stored), strict=True)


def test_labels_without_a_value_are_left_out(cohort: Path, tmp_path: Path) -> None:
    table = pl.DataFrame({"subject_id": [*TRAIN], "prediction_time": [DAY] * len(TRAIN)})
    table = table.with_columns(pl.Series("boolean_value", [None, *[True] * (len(TRAIN) - 1)]))
    table.write_parquet(tmp_path / "labels.parquet")
    [found] = read_batches(batch(cohort, tmp_path, batch_size=100, labels_fp=str(tmp_path / "labels.parquet")), "train")
    assert sorted(found["subject_id"].tolist()) == sorted([*TRAIN][1:])
    account = json.loads((tmp_path / "cohort" / "metadata" / "accounting" / "batch_tensors.json").read_text())
    assert account["labels_left_out"] == 1


def test_labels_that_are_texts_are_refused(cohort: Path, tmp_path: Path) -> None:
    table = pl.DataFrame({"subject_id": [*TRAIN], "prediction_time": [DAY] * len(TRAIN)})
    table.with_columns(categorical_value=pl.lit("A")).write_parquet(tmp_path / "labels.parquet")
    with pytest.raises(ValueError, match="categorical_value, which no tensor holds"):
        batch(cohort, tmp_path, labels_fp=str(tmp_path / "labels.parquet"))


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=59, max_size=59), st.booleans())
def test_same_files_in_any_sharding(
    cohort: Path, tmp_path_factory: pytest.TempPathFactory, where: list[int], labelled: bool
) -> None:
    """Shards by number, among them empty ones; the labels in another order."""
    whole, folder = pl.concat([SHARDS["train/0"], SHARDS["train/1"]]), tmp_path_factory.mktemp("sharding")
    of_shard = {n: [i for i, number in enumerate(where) if number == n] for n in range(4)}
    shards = {f"train/{n}": whole.filter(pl.col("subject_id").is_in(ids)) for n, ids in of_shard.items()}
    other = write_cohort(folder / "other", {**shards, "tuning/0": rows()})
    block = {"batch_size": 9, "max_length": 5, "window": "random", "n_epochs": 2}
    if labelled:
        labels = labels_of(random.Random(3))
        labels.write_parquet(folder / "labels.parquet")
        block["labels_fp"] = str(folder / "labels.parquet")
    assert contents(batch(other, folder / "a", **block)) == contents(batch(cohort, folder / "b", **block))


def test_other_seeds_give_other_orders(cohort: Path, tmp_path: Path) -> None:
    found = [batch(cohort, tmp_path / str(seed), cfg_seed=seed, batch_size=100) for seed in (1, 2)]
    orders = [next(read_batches(folder, "train"))["subject_id"].tolist() for folder in found]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


WORKER = """
import sys
from omegaconf import OmegaConf
from MEDS_transforms.transforms.batch_tensors import main
main(OmegaConf.merge(OmegaConf.load(sys.argv[1]), {"worker": int(sys.argv[2])}))
"""


def test_workers_share_the_batches_and_a_killed_one_is_made_up_for(cohort: Path, tmp_path: Path) -> None:
    block = {"batch_size": 2, "n_epochs": 8, "window": "random", "max_length": 20}
    expected = contents(batch(cohort, tmp_path / "expected", **block))
    out = tmp_path / "got" / "batches"
    cfg = Preprocessing(tmp_path / "got").cfg(
        "batch_tensors", data_input_dir=str(cohort / "data"), output_dir=str(out), **block
    )
    keys = ("stage", "stages", "stage_cfg", "stage_configs", "input_dir", "cohort_dir", "seed")
    OmegaConf.save({key: cfg[key] for key in keys}, tmp_path / "cfg.yaml", resolve=True)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, tmp_path / "cfg.yaml", str(worker)]) for worker in range(2)
    ]
    wait_until(lambda: [*out.glob("train/epoch=*/*.safetensors")])
    os.kill(workers[0].pid, signal.SIGKILL)
    workers[0].wait()
    assert workers[1].wait() == 0
    main(cfg)
    assert contents(out) == expected


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"form": "flatt"}, "form must be"),
        ({"window": "middle"}, "window must be"),
        ({"train_only": True}, "train_only"),
        ({"_match_revise": [{"_matcher": {"code": 5}}]}, "_match_revise"),
        ({"splits": ["trein"]}, "no 'trein'.*train"),
        ({"labels_fp": "nowhere.parquet"}, "no labels"),
        ({"schemas_dir": "nowhere"}, "nowhere"),
        ({"data_input_dir": "nowhere"}, "no tensors"),
    ],
)
def test_what_the_stage_refuses(cohort: Path, tmp_path: Path, block: dict, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        batch(cohort, tmp_path, **block)
    assert not [*tmp_path.rglob("*.safetensors")]


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ({"train/0": rows((1, 0, 5, None)), "train/1": rows((1, 2, 5, None))}, "1 subject of train in several shards"),
        ({"train/0": rows((1, None, 2**16 - 1, None), (1, 0, 5, None))}, "subjects have tensors"),
    ],
)
def test_data_that_do_not_fit(tmp_path: Path, shards: dict, message: str) -> None:
    cohort = write_cohort(tmp_path / "broken", shards)
    if "have tensors" in message:  # the tensors are of other subjects than the schemas
        other = write_cohort(tmp_path / "other", {"train/0": rows((1, 0, 5, None), (2, 0, 5, None))})
        (other / "data" / "train" / "0.nrt").replace(cohort / "data" / "train" / "0.nrt")
    with pytest.raises(ValueError, match=message):
        batch(cohort, tmp_path)
    assert not [*tmp_path.rglob("*.safetensors")]


def test_reading_what_is_not_there(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no batches"):
        read_batches(tmp_path, "train")
    folder = batch(cohort, tmp_path)
    with pytest.raises(ValueError, match=r"no split 'trian'.*train"):
        read_batches(folder, "trian")
    with pytest.raises(ValueError, match="no epoch 1"):
        read_batches(folder, "train", 1)
    (folder / "train" / "epoch=0" / "0.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no whole batch"):
        next(read_batches(folder, "train"))


@pytest.mark.parametrize("keep", [True, False])
def test_in_a_pipeline_with_and_without_intermediates(tmp_path: Path, keep: bool) -> None:
    whole = pl.concat([SHARDS["train/0"], SHARDS["train/1"]]).cast({"code": pl.Int64})
    data = Preprocessing(tmp_path)
    data.write({"train/0": whole})
    stages = ["tokenization", "tensorization", "batch_tensors"]
    cfg = {"defaults": ["_preprocess", "_self_"], "input_dir": str(data.dataset), "cohort_dir": str(data.cohort)}
    block = {"batch_tensors": {"batch_size": 5, "max_length": 9}}
    run_pipeline({**cfg, "stages": stages, "keep_intermediates": keep, "stage_configs": block})
    for found in read_batches(data.cohort / "data", "train"):
        chosen = [TRAIN[subject] for subject in found["subject_id"].tolist()]
        assert_same(found, flat_batch([flat_of(history)[-9:] for history in chosen], [h.static for h in chosen]))
    assert bool([*data.cohort.glob("tokenization/schemas/train/*.parquet")]) == keep
