"""The tensors in PyTorch, with workers that are forked and spawned.

PyTorch is not among the packages of the tests. `make downstream` runs these in the environment of another tool that
has it; hence they import nothing that only the tests have.
"""

from functools import partial
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest

from MEDS_transforms.errors import MissingPackagesError
from MEDS_transforms.tensors import TensorDataset, Window, collate

from .cohorts import DAY, random_rows, write_cohort

HAS_TORCH = find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed; `make downstream` runs this with it")
if HAS_TORCH:
    import torch
    from torch.utils.data import DataLoader

    from MEDS_transforms.tensors.torch import TorchDataset, collate_fn


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    shards = {f"train/{number}": random_rows(number, range(20 * number, 20 * number + 20)) for number in range(3)}
    return write_cohort(tmp_path_factory.mktemp("cohort"), shards)


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
def test_the_extra_is_named_where_pytorch_is_missing():
    with pytest.raises(MissingPackagesError, match=r"pip install 'MEDS_transforms\[torch\]'"):
        import_module("MEDS_transforms.tensors.torch")


@needs_torch
@pytest.mark.parametrize(
    ("method", "options"),
    [(None, {}), ("fork", {"nested": True}), ("spawn", {"pad": "left", "max_length": 5})],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_batches_are_those_of_numpy(cohort, method, options):
    dataset = TensorDataset.open(cohort, "train", window=Window(10, at="random"))
    dataset[0]
    loader = DataLoader(
        TorchDataset(dataset),
        batch_size=7,
        collate_fn=partial(collate_fn, **options),
        num_workers=2 if method else 0,
        multiprocessing_context=method,
    )
    batches, wanted = list(loader), list(dataset.batches(7, **options))
    assert len(batches) == len(wanted) > 3
    for batch, arrays in zip(batches, wanted, strict=True):
        assert batch.keys() == arrays.keys()
        for name, array in arrays.items():
            assert isinstance(batch[name], torch.Tensor)
            np.testing.assert_array_equal(batch[name].numpy(), array, strict=True)


@needs_torch
def test_labels_and_times(cohort):
    ids = TensorDataset.open(cohort).subject_ids[:2].tolist()
    labels = pl.DataFrame(
        {"subject_id": ids, "prediction_time": [DAY.replace(year=2090)] * 2, "categorical_value": ["a", "b"]}
    )
    dataset = TensorDataset.open(cohort, labels=labels)
    batch, arrays = (make([dataset[0], dataset[1]]) for make in (collate_fn, collate))
    assert batch["label"].tolist() == ["a", "b"]
    assert np.array_equal(batch["prediction_time"].numpy(), arrays["prediction_time"].astype(np.int64))


@needs_torch
@pytest.mark.parametrize("persist", [False, True])
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_another_epoch_has_other_windows(cohort, method, persist):
    dataset = TorchDataset(TensorDataset.open(cohort, "train", window=Window(3, at="random")))
    loader = DataLoader(
        dataset,
        batch_size=len(dataset),
        collate_fn=collate_fn,
        num_workers=1,
        multiprocessing_context=method,
        persistent_workers=persist,
    )
    [first], [again] = list(loader), list(loader)
    dataset.set_epoch(1)
    [second] = list(loader)
    assert torch.equal(first["code"], again["code"])
    assert not torch.equal(first["code"], second["code"])
    assert torch.equal(second["code"], collate_fn([dataset[number] for number in range(len(dataset))])["code"])
