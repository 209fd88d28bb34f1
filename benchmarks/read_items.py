"""Reads items of a dataset for training in batches, and prints what it took as JSON; `reader.py` runs it.

    python benchmarks/read_items.py KIND FOLDER WINDOW N
    python benchmarks/read_items.py KIND FOLDER sample N      prints items instead, to compare them

It needs what it measures: KIND `numpy` and `torch` this package, `meds-torch-data` that.
"""

import importlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

BATCH = 32
SIZE = 256
SEED = 1

IN_A_SAMPLE = ("code", "numeric_value", "numeric_value_mask", "time_delta_days")

Reader = tuple[Callable[[], Any], Callable[[Any, list[int]], Iterator[Any]]]


def ours(folder: str, window: str) -> Callable[[], Any]:
    """What opens a dataset of this package."""
    from MEDS_transforms.tensors import TensorDataset, Window

    at, unit = window.split("-")
    return lambda: TensorDataset.open(folder, "train", window=Window(SIZE, unit, "end" if at == "last" else at))


def numpy_reader(folder: str, window: str) -> Reader:
    """This package with numpy's arrays."""
    from MEDS_transforms.tensors import collate

    nested = window.endswith("events")

    def batches(dataset: Any, order: list[int]) -> Iterator[Any]:
        for at in range(0, len(order), BATCH):
            yield collate([dataset[i] for i in order[at : at + BATCH]], nested=nested)

    return ours(folder, window), batches


def torch_reader(folder: str, window: str) -> Reader:
    """This package with PyTorch."""
    from functools import partial

    from MEDS_transforms.tensors.torch import TorchDataset, collate_fn

    make = ours(folder, window)
    collate = partial(collate_fn, nested=window.endswith("events"))
    return lambda: TorchDataset(make()), lambda dataset, order: loaded(dataset, order, collate)


def meds_torch_data(folder: str, window: str) -> Reader:
    """meds-torch-data, as its documentation says."""
    from meds_torchdata import MEDSPytorchDataset, MEDSTorchDataConfig

    at, unit = window.split("-")
    config = MEDSTorchDataConfig(
        tensorized_cohort_dir=folder,
        max_seq_len=SIZE,
        seq_sampling_strategy="to_end" if at == "last" else at,
        batch_mode="SEM" if unit == "events" else "SM",
    )
    opened = lambda: MEDSPytorchDataset(config, split="train")  # noqa: E731
    return opened, lambda dataset, order: loaded(dataset, order, dataset.collate)


def loaded(dataset: Any, order: list[int], collate: Callable[..., Any]) -> Iterator[Any]:
    """The batches of PyTorch's loader, in this process."""
    from torch.utils.data import DataLoader

    yield from DataLoader(dataset, batch_size=BATCH, sampler=order, collate_fn=collate)


READERS = {"numpy": numpy_reader, "torch": torch_reader, "meds-torch-data": meds_torch_data}


def order_of(n_subjects: int, n: int) -> list[int]:
    """The same items for all readers: a shuffled order, over and over."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    return np.concatenate([rng.permutation(n_subjects) for _ in range(math.ceil(n / n_subjects))])[:n].tolist()


def measure(kind: str, folder: str, window: str, n: int) -> dict[str, Any]:
    """The time of the import, of the start (until there is an item), of the first epoch and of the batches after it.

    In the first epoch files are mapped into memory: what that costs is spread over all that are read later. The memory
    of the reader's own is what there is in the end beside pages of files, which the system takes back when it needs
    them, and beyond what PyTorch, or numpy, takes.
    """
    began = time.perf_counter()
    importlib.import_module("numpy" if kind == "numpy" else "torch")
    before = own_mib()
    make, batches = READERS[kind](folder, window)
    imported = time.perf_counter()
    dataset = make()
    dataset[0]
    started = time.perf_counter()
    first, _ = rate(batches, dataset, len(dataset))
    items_per_s, items_per_cpu_s = rate(batches, dataset, n)
    rates = {"items_per_s": items_per_s, "items_per_cpu_s": items_per_cpu_s, "first_items_per_s": first}
    return {
        "import_s": imported - began,
        "start_s": started - imported,
        "own_mib": own_mib() - before,
        **rates,
        "n_subjects": len(dataset),
        "versions": versions(),
    }


def own_mib() -> float:
    """The memory of this process that is not of files."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) / 1024


def rate(batches: Callable[[Any, list[int]], Iterator[Any]], dataset: Any, n: int) -> tuple[float, float]:
    """Items per second, and per CPU second, of so many."""
    order = order_of(len(dataset), n)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    n_batches = sum(1 for _ in batches(dataset, order))
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
    assert n_batches == math.ceil(n / BATCH)
    return n / seconds, n / cpu_seconds


def versions() -> dict[str, str]:
    """What is in use."""
    import numpy as np

    import MEDS_transforms

    found = {"python": sys.version.split()[0], "MEDS_transforms": MEDS_transforms.__version__, "numpy": np.__version__}
    packages = {"torch": "torch", "meds-torch-data": "meds_torchdata"}
    return found | {name: metadata.version(name) for name, module in packages.items() if module in sys.modules}


def subjects_of(kind: str, dataset: Any) -> list[int]:
    """The subject of each item."""
    if kind == "meds-torch-data":
        return [subject for subject, _ in dataset.index]
    return (dataset.dataset if kind == "torch" else dataset).subject_ids.tolist()


def sample(kind: str, folder: str, n: int) -> dict[str, Any]:
    """The last measurements of some subjects: codes in words, values and days, all as in a batch."""
    import polars as pl

    make, batches = READERS[kind](folder, "last-measurements")
    dataset = make()
    ids = (
        [i for i, _ in dataset.index]
        if kind == "meds-torch-data"
        else getattr(dataset, "dataset", dataset).subject_ids.tolist()
    )
    order = sorted(range(len(ids)), key=ids.__getitem__)[:: max(1, len(ids) // n)]
    codes = pl.read_parquet(Path(folder) / "metadata" / "codes.parquet", columns=["code", "code/vocab_index"])
    words = dict(codes.select("code/vocab_index", "code").iter_rows())
    found = {}
    for at, batch in zip(range(0, len(order), BATCH), batches(dataset, order), strict=True):
        get = batch.__getitem__ if isinstance(batch, dict) else lambda name, batch=batch: getattr(batch, name)
        arrays = {
            name: get(name).tolist() for name in ("code", "numeric_value", "numeric_value_mask", "time_delta_days")
        }
        for row, item in enumerate(order[at : at + BATCH]):
            cells = zip(*(array[row] for array in arrays.values()), strict=True)
            found[ids[item]] = [
                (words[code], value if has_value else None, days) for code, value, has_value, days in cells if code
            ]
    return found


if __name__ == "__main__":
    kind, folder, window, n = sys.argv[1:]
    print(json.dumps(sample(kind, folder, int(n)) if window == "sample" else measure(kind, folder, window, int(n))))
